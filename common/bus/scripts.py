"""The Lua scripts: each is one atomic step that either happens whole or not at all.

Owns the scripts' text and what their keys and arguments mean; must not hold clients. At its
memory bound Redis refuses a script whose first write may take memory, and lets others finish:
the steps that free memory, or hold still while it is freed, begin with a write that takes none.
Only what brings new data in is refused.
"""

from __future__ import annotations

APPEND = """
-- KEYS appended, counters, producer epoch, stream ...
-- ARGV epoch, then for each stream: shard, batch, header, quotes, spots, n, m, batch before
-- Append batches, each unless it is already there; refuse a producer that was replaced. Returns
-- for each the entry's id; of one that had been appended before, the id of its shard's last one;
-- and in place of the first whose predecessor has been lost, as the last of the reply, the
-- number of the last batch that there is.
local mine, produced = tonumber(ARGV[1]), tonumber(redis.call('GET', KEYS[3]) or '0')
local replies, totals = {}, {quotes = 0, spots = 0, batches = 0}
local function count()
  if totals.batches == 0 then return end
  for name, n in pairs(totals) do redis.call('HINCRBY', KEYS[2], name .. '_appended', n) end
end
for i = 4, #KEYS do
  local at = 2 + 8 * (i - 4)
  local shard, number = ARGV[at], tonumber(ARGV[at + 1])
  local newest, held, reply = math.max(produced, 0), 0, nil
  local last = redis.call('HGET', KEYS[1], shard)
  local epoch, batch, id = string.match(last or '', '^(%d+):(%d+):(.+)$')
  if epoch then
    newest = math.max(newest, tonumber(epoch))
    if tonumber(epoch) == mine then
      held = tonumber(batch)
      if held >= number then reply = id end
    end
  end
  if not reply then
    if newest > mine then
      count()
      return redis.error_reply('FENCED a newer producer appends')
    end
    if held < tonumber(ARGV[at + 7]) then
      replies[#replies + 1] = held
      break
    end
    local h, q, s = ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
    reply = redis.call('XADD', KEYS[i], '*', 'h', h, 'q', q, 's', s)
    redis.call('HSET', KEYS[1], shard, ARGV[1] .. ':' .. ARGV[at + 1] .. ':' .. reply)
    totals.quotes, totals.spots = totals.quotes + ARGV[at + 5], totals.spots + ARGV[at + 6]
    totals.batches = totals.batches + 1
  end
  replies[#replies + 1] = reply
end
count()
return replies
"""

EPOCH_ORIGIN = 1_704_067_200
"""2024-01-01 UTC [s since the Unix epoch]: where producer epochs count from."""

NEXT_EPOCH = """
-- KEYS epoch   ARGV origin
local last = tonumber(redis.call('GET', KEYS[1]) or '0')
local clock = tonumber(redis.call('TIME')[1]) - tonumber(ARGV[1])
local epoch = math.max(last + 1, clock)
redis.call('SET', KEYS[1], string.format('%d', epoch))
return epoch
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
redis.call('PERSIST', KEYS[1])  -- takes no memory, so what follows is never refused for want of it
if not mine then redis.call('HINCRBY', KEYS[1], 'epoch', 1) end
redis.call('HSET', KEYS[1], 'name', ARGV[1], 'token', ARGV[2], 'until', now + tonumber(ARGV[3]))
redis.call('PEXPIRE', KEYS[1], 604800000)  -- a week after the last worker let go of it
return tonumber(redis.call('HGET', KEYS[1], 'epoch'))
"""

SIGN_IN = """
-- KEYS actors   ARGV name, now, oldest   Sign in; how many have since the oldest instant.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
return redis.call('ZCARD', KEYS[1])
"""

RELEASE = """
-- KEYS lease   ARGV token
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], 604800000)
redis.call('HSET', KEYS[1], 'until', 0, 'name', '', 'token', '')
return 1
"""

HOLD = """
-- KEYS lock   ARGV name, milliseconds   Take the lock or keep it; the name that holds it now.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return holder end
redis.call('PERSIST', KEYS[1])  -- takes no memory: see LEASE
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
"""

LET_GO = """
-- KEYS lock   ARGV name
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

CLAIM = """
-- KEYS stream   ARGV group, consumer, idle ms
-- Take over every pending entry that was idle so long; returns how many, and the ids of those
-- whose content was trimmed away, which leave the pending list with this.
local start, taken, lost = '0-0', 0, {}
repeat
  local page = redis.call(
    'XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], start, 'COUNT', 500, 'JUSTID')
  start, taken = page[1], taken + #page[2]
  for _, id in ipairs(page[3] or {}) do lost[#lost + 1] = id end
until start == '0-0'
return {taken, lost}
"""

ACKNOWLEDGE = """
-- KEYS stream, counters   ARGV group, counter pairs n, name, value ..., id ...
-- Acknowledge and count, or nothing when one of the entries is not pending: it comes again, or
-- somebody else has counted it.
local at = 3 + 2 * tonumber(ARGV[2])
local pending = {}
if #ARGV >= at then  -- as a rule they follow each other, and one look shows all
  local last, most = ARGV[#ARGV], #ARGV - at + 1
  for _, row in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[at], last, most)) do
    pending[row[1]] = true
  end
end
for i = at, #ARGV do
  if not pending[ARGV[i]]
    and #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1) == 0 then return 0 end
end
for i = at, #ARGV, 500 do
  redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, i, math.min(i + 499, #ARGV)))
end
for i = 3, at - 1, 2 do redis.call('HINCRBY', KEYS[2], ARGV[i], ARGV[i + 1]) end
return 1
"""

COMMIT = """
-- KEYS lease, chain, watermark, greeks, quotes, counters, registry, dead letters
-- ARGV fencing epoch, group, shard, last id, blob, result header, result rows, last id before,
--      ahead, patches n, place, bytes ..., counter pairs n, name, value ...,
--      burials n, id, reason, traceback ..., id ...
-- State, results, watermark, counters, dead letters and acknowledgement of a batch, or nothing when
-- fenced.
-- With patches, of what the state before was, the length of both stands in place of the blob.
-- An older entry that is pending elsewhere (a reader took it after its lease had lapsed) fences
-- too: the last id promises that everything before it is in the state. So does a state that is
-- not the one this goes on from, and an entry that is not pending: Redis was set back, and what
-- it had not delivered yet, or not been given, comes again under an id of its own.
-- So many entries ahead follow those with ids and were not delivered: the group moves beyond them,
-- if it stands where they begin and the last of them is still there.
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
  return redis.error_reply('FENCED the lease has moved on')
end
local ahead = tonumber(ARGV[9])
local patches = 2 * tonumber(ARGV[10])
local counts = 11 + patches
local burials = counts + 1 + 2 * tonumber(ARGV[counts])
local at = burials + 1 + 3 * tonumber(ARGV[burials])
local before = redis.call('HGET', KEYS[3], ARGV[3]) or ''
if before == ARGV[4] then return 0 end  -- a retry of what is done
if before ~= ARGV[8]
  or patches > 0 and redis.call('STRLEN', KEYS[2]) ~= tonumber(ARGV[5]) then
  return redis.error_reply('FENCED the state is another one')
end
local mine = {}
for i = at, #ARGV do mine[ARGV[i]] = true end
local rows = redis.call('XPENDING', KEYS[5], ARGV[2], '-', ARGV[4], #ARGV - at + 2)
for _, row in ipairs(rows) do
  if not mine[row[1]] then return redis.error_reply('FENCED an older entry is pending') end
end
if #rows <= #ARGV - at then return redis.error_reply('FENCED an entry is not pending') end
local group = {}
if ahead > 0 then
  for _, row in ipairs(redis.call('XINFO', 'GROUPS', KEYS[5])) do
    if row[2] == ARGV[2] then
      for i = 1, #row, 2 do group[row[i]] = row[i + 1] end
    end
  end
  if group['last-delivered-id'] ~= ARGV[#ARGV]
    or #redis.call('XRANGE', KEYS[5], ARGV[4], ARGV[4]) == 0 then
    return redis.error_reply('FENCED the group stands elsewhere')
  end
end
for i = at, #ARGV, 500 do
  redis.call('XACK', KEYS[5], ARGV[2], unpack(ARGV, i, math.min(i + 499, #ARGV)))
end
if ahead > 0 then
  local read = group['entries-read']
  local known = read and {'ENTRIESREAD', read + ahead} or {}
  redis.call('XGROUP', 'SETID', KEYS[5], ARGV[2], ARGV[4], unpack(known))
end
if patches == 0 then redis.call('SET', KEYS[2], ARGV[5]) end
for i = 11, counts - 1, 2 do redis.call('SETRANGE', KEYS[2], ARGV[i], ARGV[i + 1]) end
redis.call('HSET', KEYS[3], ARGV[3], ARGV[4])
if #ARGV[7] > 0 then
  redis.call('SADD', KEYS[7], KEYS[4])
  redis.call('XADD', KEYS[4], '*', 'h', ARGV[6], 'r', ARGV[7])
end
for i = counts + 1, burials - 1, 2 do
  redis.call('HINCRBY', KEYS[6], ARGV[i], ARGV[i + 1])
end
for i = burials + 1, at - 1, 3 do
  local letter = {'stream', KEYS[5], 'id', ARGV[i], 'reason', ARGV[i + 1],
    'traceback', ARGV[i + 2], 'deliveries', 1}
  local found = redis.call('XRANGE', KEYS[5], ARGV[i], ARGV[i])
  local fields = found[1] and found[1][2] or {}
  for n = 1, #fields, 2 do
    letter[#letter + 1] = 'f:' .. fields[n]
    letter[#letter + 1] = fields[n + 1]
  end
  redis.call('XADD', KEYS[8], '*', unpack(letter))
end
return 1
"""

PUBLISH = """
-- KEYS tick, latest, levels, profile, levels stream, registry, counters
-- ARGV channel, epoch, at, final, ttl ms, latest, profile, session, breaches, recorded, field,
--      value ...
-- All of a level at once, never an older one over a newer one; the last of a session stays.
-- Where memory is short a level is published and not recorded.
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
redis.call('DEL', KEYS[3])
redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'at', ARGV[3], 'final', ARGV[4])
redis.call('SET', KEYS[2], ARGV[6])
for i = 11, #ARGV, 2 do redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
redis.call('SET', KEYS[4], ARGV[7])
if tonumber(ARGV[5]) > 0 then
  for i = 2, 4 do redis.call('PEXPIRE', KEYS[i], ARGV[5]) end
end
if not again then
  if ARGV[10] == '1' then
    redis.call('SADD', KEYS[6], KEYS[5])
    redis.call('XADD', KEYS[5], '*', 'at', ARGV[3], 'session', ARGV[8], 'json', ARGV[6])
  else
    redis.call('HINCRBY', KEYS[7], 'levels_unrecorded', 1)
  end
  redis.call('HINCRBY', KEYS[7], 'levels_published', 1)
  redis.call('HINCRBY', KEYS[7], 'invariant_breaches', ARGV[9])
end
redis.call('PUBLISH', ARGV[1], ARGV[6])
return 1
"""

PUBLISH_LIVE = """
-- KEYS lease, live, watermark   ARGV lease epoch, ttl ms, json, shard, id ...
-- The provisional level of the holder of a lease, or nothing when it has lost it, or when a state
-- that the level rests on was not committed.
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
  return redis.error_reply('FENCED the lease has moved on')
end
for i = 4, #ARGV, 2 do
  if redis.call('HGET', KEYS[3], ARGV[i]) ~= ARGV[i + 1] then
    return redis.error_reply('FENCED a state was not committed')
  end
end
if redis.set_repl then redis.set_repl(redis.REPL_REPLICA) end  -- too short-lived for the log
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[2])
return redis.call('PUBLISH', KEYS[2], ARGV[3])
"""

RETRY = """
-- KEYS dead letters, stream, counters   ARGV letter id, group
-- Append a letter's entry to its stream again and drop the letter; false when it is gone.
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if #found == 0 then return false end
local letter, entry = found[1][2], {}
for i = 1, #letter, 2 do
  if string.sub(letter[i], 1, 2) == 'f:' then
    entry[#entry + 1] = string.sub(letter[i], 3)
    entry[#entry + 1] = letter[i + 1]
  end
end
local id = redis.call('XADD', KEYS[2], '*', unpack(entry))
redis.call('XDEL', KEYS[1], ARGV[1])
redis.call('HINCRBY', KEYS[3], 'dead_' .. ARGV[2] .. '_retried', 1)
return id
"""
