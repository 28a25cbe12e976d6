"""The Lua scripts: each is one atomic step that either happens whole or not at all.

Owns the scripts' text and what their keys and arguments mean; must not hold clients.
"""

from __future__ import annotations

APPEND = """
-- KEYS stream, appended, counters   ARGV shard, epoch, batch, header, quotes, spots, n, m
-- Append a batch unless it is already there; refuse a producer that was replaced.
local last = redis.call('HGET', KEYS[2], ARGV[1])
if last then
  local at = string.find(last, ':', 1, true)
  local epoch, batch = tonumber(string.sub(last, 1, at - 1)), tonumber(string.sub(last, at + 1))
  if epoch > tonumber(ARGV[2]) then return redis.error_reply('FENCED a newer producer appends') end
  if epoch == tonumber(ARGV[2]) and batch >= tonumber(ARGV[3]) then return false end
end
local id = redis.call('XADD', KEYS[1], '*', 'h', ARGV[4], 'q', ARGV[5], 's', ARGV[6])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2] .. ':' .. ARGV[3])
redis.call('HINCRBY', KEYS[3], 'quotes_appended', ARGV[7])
redis.call('HINCRBY', KEYS[3], 'spots_appended', ARGV[8])
redis.call('HINCRBY', KEYS[3], 'batches_appended', 1)
return id
"""

LEASE = """
-- KEYS lease   ARGV name, token, milliseconds
-- Take, keep or refuse the lease; returns the fencing epoch, or 0 when another holds it.
-- A new incarnation (token) of the same name takes over at once, under a new epoch.
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local name, token, till = unpack(redis.call('HMGET', KEYS[1], 'name', 'token', 'until'))
local mine = token == ARGV[2]
if not mine and name and name ~= ARGV[1] and tonumber(till) > now then return 0 end
if not mine then redis.call('HINCRBY', KEYS[1], 'epoch', 1) end
redis.call('HSET', KEYS[1], 'name', ARGV[1], 'token', ARGV[2], 'until', now + tonumber(ARGV[3]))
return tonumber(redis.call('HGET', KEYS[1], 'epoch'))
"""

RELEASE = """
-- KEYS lease   ARGV token
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'until', 0, 'name', '', 'token', '')
return 1
"""

COMMIT = """
-- KEYS lease, chain, watermark, greeks, quotes, counters, registry
-- ARGV fencing epoch, group, shard, last id, blob, result header, result rows,
--      counter pairs n, name, value ..., id ...
-- State, results, watermark, counters and acknowledgement of a batch, or nothing when fenced.
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
  return redis.error_reply('FENCED the lease has moved on')
end
redis.call('SET', KEYS[2], ARGV[5])
redis.call('HSET', KEYS[3], ARGV[3], ARGV[4])
if #ARGV[7] > 0 then
  redis.call('SADD', KEYS[7], KEYS[4])
  redis.call('XADD', KEYS[4], '*', 'h', ARGV[6], 'r', ARGV[7])
end
local at = 9 + 2 * tonumber(ARGV[8])
for i = 9, at - 1, 2 do redis.call('HINCRBY', KEYS[6], ARGV[i], ARGV[i + 1]) end
for i = at, #ARGV, 500 do
  redis.call('XACK', KEYS[5], ARGV[2], unpack(ARGV, i, math.min(i + 499, #ARGV)))
end
return 1
"""

PUBLISH = """
-- KEYS tick, latest, levels, profile, levels stream, registry, counters
-- ARGV channel, epoch, at, final, ttl ms, latest, profile, session, breaches, field, value ...
-- All of a level at once, never an older one over a newer one; the last of a session stays.
local epoch, at, final = unpack(redis.call('HMGET', KEYS[1], 'epoch', 'at', 'final'))
if epoch then
  epoch, at = tonumber(epoch), tonumber(at)
  local mine, now = tonumber(ARGV[2]), tonumber(ARGV[3])
  if mine < epoch then return 0 end
  if mine == epoch and (now < at or (now == at and not (final == '0' and ARGV[4] == '1'))) then
    return 0
  end
end
local again = epoch == tonumber(ARGV[2]) and at == tonumber(ARGV[3])
redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'at', ARGV[3], 'final', ARGV[4])
redis.call('SET', KEYS[2], ARGV[6])
redis.call('DEL', KEYS[3])
for i = 10, #ARGV, 2 do redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
redis.call('SET', KEYS[4], ARGV[7])
if tonumber(ARGV[5]) > 0 then
  for i = 2, 4 do redis.call('PEXPIRE', KEYS[i], ARGV[5]) end
end
if not again then
  redis.call('SADD', KEYS[6], KEYS[5])
  redis.call('XADD', KEYS[5], '*', 'at', ARGV[3], 'session', ARGV[8], 'json', ARGV[6])
  redis.call('HINCRBY', KEYS[7], 'levels_published', 1)
  redis.call('HINCRBY', KEYS[7], 'invariant_breaches', ARGV[9])
end
redis.call('PUBLISH', ARGV[1], ARGV[6])
return 1
"""
