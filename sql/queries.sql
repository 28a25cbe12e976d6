-- Named queries; common/db/sql.py reads them. Every value is a parameter.

-- name: try_advisory_lock
SELECT pg_try_advisory_lock(hashtext('gex.migrations'));

-- name: release_advisory_lock
SELECT pg_advisory_unlock(hashtext('gex.migrations'));

-- name: has_migrations_table
SELECT to_regclass('gex.migrations') IS NOT NULL;

-- name: applied_migrations
SELECT version, name, checksum, applied_at FROM gex.migrations ORDER BY version;

-- name: record_migration
INSERT INTO gex.migrations (version, name, checksum)
VALUES (%(version)s, %(name)s, %(checksum)s);

-- name: take_your_time
SET LOCAL statement_timeout = 0;

-- name: server_facts
SELECT current_setting('server_version') AS server_version, used.version AS timescaledb,
       coalesce('TimescaleDB ' || used.version,
                'TimescaleDB ' || there.version || ' available, not in this database',
                'no TimescaleDB') AS engine,
       current_database() AS database,
       pg_size_pretty(pg_database_size(current_database())) AS size
FROM (SELECT max(extversion) AS version FROM pg_extension WHERE extname = 'timescaledb') AS used,
     (SELECT max(default_version) AS version FROM pg_available_extensions
      WHERE name = 'timescaledb') AS there;

-- name: apply_policies
SELECT gex.apply_policies(%(keep_days)s::jsonb, %(compress_after_hours)s::float8);

-- name: storage_report
SELECT * FROM gex.storage_report();

-- name: session_id
WITH made AS (
    INSERT INTO gex.sessions (key, symbol, trading_date, feed, software)
    VALUES (%(key)s, %(symbol)s, %(trading_date)s, %(feed)s, %(software)s)
    ON CONFLICT (key) DO NOTHING
    RETURNING session_id
)
SELECT session_id FROM made
UNION ALL
SELECT session_id FROM gex.sessions WHERE key = %(key)s
LIMIT 1;

-- name: read_by_index
SET LOCAL enable_seqscan = off;

-- name: describe_session
WITH present AS (
    SELECT * FROM gex.sessions WHERE key = %(key)s FOR UPDATE
), mine AS (
    SELECT session_id FROM present
), told AS (  -- of levels, where all that are new come after them
    SELECT level_count, first_level_at, last_level_at, coverage_oi, coverage_gamma, oi_date
    FROM present WHERE last_level_at < %(levels_since)s::timestamptz
), part AS (
    SELECT * FROM told
    UNION ALL
    SELECT count(*), min("time"), max("time"), avg(coverage_oi), avg(coverage_gamma), max(oi_date)
    FROM gex.levels
    WHERE session_id = (SELECT session_id FROM mine)
      AND "time" > coalesce((SELECT last_level_at FROM told), '-infinity')
), level AS (
    SELECT sum(level_count) AS level_count, min(first_level_at) AS first_level_at,
           max(last_level_at) AS last_level_at, max(oi_date) AS oi_date,
           sum(coverage_oi * level_count)
               / sum(level_count) FILTER (WHERE coverage_oi IS NOT NULL) AS coverage_oi,
           sum(coverage_gamma * level_count)
               / sum(level_count) FILTER (WHERE coverage_gamma IS NOT NULL) AS coverage_gamma
    FROM part
), start AS (  -- the last entry before the new ones: silences that ended by then stand
    SELECT coalesce(max("time"), '-infinity') AS at
    FROM gex.entries
    WHERE session_id = (SELECT session_id FROM mine)
      AND "time" < %(entries_since)s::timestamptz
), silence AS (
    SELECT "time" AS since, lead("time") OVER (ORDER BY "time") AS until
    FROM gex.entries
    WHERE session_id = (SELECT session_id FROM mine) AND "time" >= (SELECT at FROM start)
), found AS (
    SELECT since, until FROM silence
    WHERE until > since + %(patience)s::interval
      AND since >= %(open_at)s::timestamptz AND since < %(close_at)s::timestamptz
    UNION
    SELECT (pair->>0)::timestamptz, (pair->>1)::timestamptz
    FROM start, present, jsonb_array_elements(gaps) AS pair
    WHERE (pair->>1)::timestamptz <= start.at
    UNION
    SELECT since, until
    FROM unnest(%(lost_since)s::timestamptz[], %(lost_until)s::timestamptz[])
         AS lost (since, until)
), gap AS (
    SELECT coalesce(jsonb_agg(jsonb_build_array(since, until) ORDER BY since), '[]') AS gaps
    FROM found
)
UPDATE gex.sessions
SET open_at = %(open_at)s, close_at = %(close_at)s, source = %(source)s, ended = %(ended)s,
    level_count = level.level_count, first_level_at = level.first_level_at,
    last_level_at = level.last_level_at, coverage_oi = level.coverage_oi,
    coverage_gamma = level.coverage_gamma, oi_date = level.oi_date, gaps = gap.gaps
FROM level, gap
WHERE key = %(key)s;

-- name: copy_quotes
COPY gex.quotes (
    "time", session_id, seq, symbol, expiration, settlement, strike, "right", bid, ask, last,
    bid_size, ask_size, volume, open_interest, spot, withdrawn, bought, sold
) FROM STDIN (FORMAT BINARY);

-- name: stage_quotes
CREATE TEMPORARY TABLE IF NOT EXISTS staged_quotes (LIKE gex.quotes) ON COMMIT DELETE ROWS;

-- name: copy_staged_quotes
COPY staged_quotes (
    "time", session_id, seq, symbol, expiration, settlement, strike, "right", bid, ask, last,
    bid_size, ask_size, volume, open_interest, spot, withdrawn, bought, sold
) FROM STDIN (FORMAT BINARY);

-- name: insert_staged_quotes
INSERT INTO gex.quotes SELECT * FROM staged_quotes ON CONFLICT DO NOTHING;

-- name: empty_staged_quotes
TRUNCATE staged_quotes;

-- name: copy_greeks
COPY gex.greeks (
    "time", session_id, seq, symbol, expiration, settlement, strike, "right", status, side,
    iv, delta, gamma, forward_ratio, forward_source
) FROM STDIN (FORMAT BINARY);

-- name: stage_greeks
CREATE TEMPORARY TABLE IF NOT EXISTS staged_greeks (LIKE gex.greeks) ON COMMIT DELETE ROWS;

-- name: copy_staged_greeks
COPY staged_greeks (
    "time", session_id, seq, symbol, expiration, settlement, strike, "right", status, side,
    iv, delta, gamma, forward_ratio, forward_source
) FROM STDIN (FORMAT BINARY);

-- name: insert_staged_greeks
INSERT INTO gex.greeks SELECT * FROM staged_greeks ON CONFLICT DO NOTHING;

-- name: empty_staged_greeks
TRUNCATE staged_greeks;

-- name: insert_batch
WITH spot AS (
    INSERT INTO gex.spots ("time", session_id, seq, symbol, price, prior_close)
    SELECT at, session, seq, (%(symbols)s::text[])[delivery], price, nullif(prior_close, 'NaN')
    FROM unnest(%(spot_times)s::timestamptz[], %(spot_sessions)s::integer[],
                %(spot_deliveries)s::integer[], %(seqs)s::bigint[], %(prices)s::float8[],
                %(prior_closes)s::float8[])
         AS row (at, session, delivery, seq, price, prior_close)
    ON CONFLICT DO NOTHING
), entry AS (
    INSERT INTO gex.entries (
        "time", session_id, symbol, expiration, settlement, entry_ms, entry_n, epoch, batch,
        resets, quotes, first_seq, last_seq, spot_seq, received_at
    )
    SELECT at, session, (%(symbols)s::text[])[delivery], (%(expirations)s::date[])[delivery],
           (%(settlements)s::text[])[delivery], entry_ms, entry_n, epoch, batch, resets, quotes,
           first_seq, last_seq, spot_seq, received
    FROM unnest(%(times)s::timestamptz[], %(sessions)s::integer[], %(deliveries)s::integer[],
                %(entry_ms)s::bigint[], %(entry_n)s::bigint[], %(epochs)s::bigint[],
                %(batches)s::bigint[], %(resets)s::boolean[], %(quotes)s::integer[],
                %(first_seqs)s::bigint[], %(last_seqs)s::bigint[], %(spot_seqs)s::bigint[],
                %(received)s::timestamptz[])
         AS row (at, session, delivery, entry_ms, entry_n, epoch, batch, resets, quotes,
                 first_seq, last_seq, spot_seq, received)
    ON CONFLICT DO NOTHING
)
SELECT pg_advisory_xact_lock_shared(session, chain)
FROM (SELECT DISTINCT session, hashtext((%(shards)s::text[])[delivery]) AS chain
      FROM unnest(%(sessions)s::integer[], %(deliveries)s::integer[]) AS row (session, delivery)
      ORDER BY session, chain
     ) AS held;

-- name: own_chains
SELECT pg_advisory_xact_lock(%(session_id)s, chain)
FROM (SELECT DISTINCT hashtext(shard) AS chain FROM unnest(%(shards)s::text[]) AS row (shard)
      ORDER BY chain
     ) AS held;

-- name: forget_checkpoints
DELETE FROM gex.checkpoints c
USING (SELECT session_id, (%(expirations)s::date[])[delivery] AS expiration,
              (%(settlements)s::text[])[delivery] AS settlement, min(first_seq) AS seq
       FROM unnest(%(sessions)s::integer[], %(deliveries)s::integer[], %(first_seqs)s::bigint[])
            AS row (session_id, delivery, first_seq)
       GROUP BY session_id, expiration, settlement) AS came
WHERE c.session_id = came.session_id AND c.expiration = came.expiration
  AND c.settlement = came.settlement AND c.seq >= came.seq;

-- name: insert_checkpoints
WITH span AS (
    SELECT min("time") - interval '1 day' AS since, max("time") + interval '1 day' AS until
    FROM gex.entries WHERE session_id = %(session_id)s
), due AS (
    SELECT chain.expiration, chain.settlement, coalesce(before.seq, -1) AS seq, before.seqs
    FROM unnest(%(expirations)s::date[], %(settlements)s::text[])
             AS chain (expiration, settlement)
    LEFT JOIN LATERAL (
        SELECT c.seq, c.seqs FROM gex.checkpoints c
        WHERE c.session_id = %(session_id)s AND c.expiration = chain.expiration
          AND c.settlement = chain.settlement
        ORDER BY c.seq DESC LIMIT 1) AS before ON true
), candidate AS (
    SELECT q."time", q.symbol, q.expiration, q.settlement, q.strike, q."right", q.seq
    FROM span, due, unnest(due.seqs) AS held (seq), LATERAL (
        SELECT * FROM gex.quotes
        WHERE session_id = %(session_id)s AND seq = held.seq
          AND "time" BETWEEN span.since AND span.until
          AND expiration = due.expiration AND settlement = due.settlement
        OFFSET 0) AS q  -- each by its key, whatever the planner knows of the table
    UNION ALL  -- what is new is read once for all of them: no key has the expiration
    SELECT q."time", q.symbol, q.expiration, q.settlement, q.strike, q."right", q.seq
    FROM span, gex.quotes q, due
    WHERE q.session_id = %(session_id)s AND q."time" BETWEEN span.since AND span.until
      AND q.seq > (SELECT min(seq) FROM due)
      AND q.expiration = due.expiration AND q.settlement = due.settlement AND q.seq > due.seq
), newest AS (  -- by hashing, without sorting them all
    SELECT max("time") AS "time", min(symbol) AS symbol, expiration, settlement, max(seq) AS seq
    FROM candidate GROUP BY expiration, settlement, strike, "right"
)
INSERT INTO gex.checkpoints ("time", session_id, symbol, expiration, settlement, seq, seqs)
SELECT max("time"), %(session_id)s, min(symbol), expiration, settlement, max(seq),
       array_agg(seq ORDER BY seq)
FROM newest GROUP BY expiration, settlement
ON CONFLICT DO NOTHING;

-- name: make_partitions
SELECT gex.make_partitions(series, %(instants)s::timestamptz[])
FROM unnest(gex.series_and_sessions()) AS series WHERE series <> 'sessions';

-- name: probe
SELECT count(*) FROM gex.migrations;

-- name: insert_level
INSERT INTO gex.levels (
    "time", session_id, symbol, state, sign, spot, net_gex, net_gex_0dte, zero_gamma, call_wall,
    put_wall, max_pain, expected_move, dex, vex, cex, net_volume_gex, atm_iv, regime,
    coverage_oi, coverage_gamma, oldest_quote_at, oi_date, result, watermark
) VALUES (
    %(time)s, %(session_id)s, %(symbol)s, %(state)s, %(sign)s, %(spot)s, %(net_gex)s,
    %(net_gex_0dte)s, %(zero_gamma)s, %(call_wall)s, %(put_wall)s, %(max_pain)s,
    %(expected_move)s, %(dex)s, %(vex)s, %(cex)s, %(net_volume_gex)s, %(atm_iv)s, %(regime)s,
    %(coverage_oi)s, %(coverage_gamma)s, %(oldest_quote_at)s, %(oi_date)s, %(result)s,
    %(watermark)s
) ON CONFLICT DO NOTHING;

-- name: insert_strikes
INSERT INTO gex.strike_exposures (
    "time", session_id, symbol, strike, call_gex, put_gex, net_gex, call_oi, put_oi,
    call_volume, put_volume
)
SELECT %(time)s, %(session_id)s, %(symbol)s, row.strike, row.call_gex, row.put_gex, row.net_gex,
       row.call_oi, row.put_oi, row.call_volume, row.put_volume
FROM jsonb_to_recordset(%(strikes)s) AS row (
    strike float8, call_gex float8, put_gex float8, net_gex float8, call_oi bigint,
    put_oi bigint, call_volume bigint, put_volume bigint)
WHERE NOT EXISTS (
    SELECT 1 FROM gex.strike_exposures stored
    WHERE stored.session_id = %(session_id)s
      AND stored."time" >= date_bin(%(cadence)s, %(time)s, 'epoch')
      AND stored."time" < date_bin(%(cadence)s, %(time)s, 'epoch') + %(cadence)s
)
ON CONFLICT DO NOTHING;

-- name: latest_level
SELECT l.*, s.key AS session, s.feed
FROM gex.levels l JOIN gex.sessions s USING (session_id)
WHERE l.symbol = %(symbol)s
ORDER BY s.first_seen_at DESC, l."time" DESC
LIMIT 1;

-- name: level_history
WITH span AS (
    SELECT s.session_id,
           (SELECT min(l."time") FROM gex.levels l
            WHERE l.session_id = s.session_id AND l."time" > %(since)s) AS first,
           (SELECT max(l."time") FROM gex.levels l
            WHERE l.session_id = s.session_id AND l."time" > %(since)s) AS last
    FROM gex.sessions s
    WHERE s.key = %(session)s
)
SELECT DISTINCT ON (part) l."time", l.state, l.spot, l.net_gex, l.zero_gamma,
       date_bin(greatest((last - first) / %(points)s::float8, interval '1 millisecond'),
                l."time", first) AS part
FROM span
JOIN gex.levels l ON l.session_id = span.session_id AND l."time" >= span.first
ORDER BY part, l."time" DESC;

-- name: history_buckets
SELECT b."time", s.key AS session, s.feed, last.spot, last.net_gex, b.net_gex_low,
       b.net_gex_high, last.zero_gamma, last.call_wall, last.put_wall, b.levels
FROM (
    SELECT date_bin(%(bucket)s, "time", 'epoch') AS "time", session_id, max("time") AS last_time,
           min(net_gex) AS net_gex_low, max(net_gex) AS net_gex_high, count(*) AS levels
    FROM gex.levels
    WHERE session_id = ANY(ARRAY(
            SELECT session_id FROM gex.sessions
            WHERE symbol = %(symbol)s AND key = coalesce(%(session)s::text, key)
              AND trading_date BETWEEN %(first_day)s AND %(last_day)s))
      AND "time" >= %(since)s AND "time" < %(until)s
    GROUP BY 1, 2
) AS b
JOIN gex.levels last ON last.session_id = b.session_id AND last."time" = b.last_time
JOIN gex.sessions s ON s.session_id = b.session_id
ORDER BY b."time", s.session_id;

-- name: last_day
SELECT max(trading_date) FROM gex.sessions
WHERE symbol = %(symbol)s AND key = coalesce(%(session)s::text, key);

-- name: level_at
SELECT l."time", l.state, l.result, l.watermark, s.session_id, s.key, s.symbol, s.feed,
       s.trading_date
FROM gex.sessions s CROSS JOIN LATERAL (
    SELECT * FROM gex.levels
    WHERE session_id = s.session_id AND "time" <= %(at)s
      AND "time" > %(at)s::timestamptz - interval '1 day'
    ORDER BY "time" DESC LIMIT 1
) AS l
WHERE s.symbol = %(symbol)s AND s.trading_date = %(trading_date)s
  AND s.key = coalesce(%(session)s::text, s.key)
ORDER BY s.first_seen_at DESC
LIMIT 1;

-- name: chain_marks
WITH named AS (
    SELECT shard, left(shard, 10)::date AS expiration,
           CASE right(shard, 3) WHEN '-AM' THEN 'AM' ELSE 'PM' END AS settlement,
           split_part(entry, '-', 1)::bigint AS entry_ms,
           split_part(entry, '-', 2)::bigint AS entry_n
    FROM jsonb_each_text(%(watermark)s::jsonb) AS given (shard, entry)
), mark AS (
    SELECT n.shard, n.expiration, n.settlement, last.entry_ms, last.entry_n, last.epoch,
           last.resets
    FROM named n LEFT JOIN LATERAL (
        SELECT * FROM gex.entries e
        WHERE e.session_id = %(session_id)s AND e.expiration = n.expiration
          AND e.settlement = n.settlement
          AND (e.entry_ms, e.entry_n) >= (n.entry_ms, n.entry_n)
          AND ((e.entry_ms, e.entry_n) = (n.entry_ms, n.entry_n)
               OR e."time" <= %(until)s::timestamptz)
        ORDER BY e.entry_ms DESC, e.entry_n DESC LIMIT 1
    ) AS last ON true
)
SELECT m.shard, m.expiration, m.settlement, m.epoch,
       CASE WHEN m.resets THEN (
           SELECT e.first_seq FROM gex.entries e
           WHERE e.session_id = %(session_id)s AND e.expiration = m.expiration
             AND e.settlement = m.settlement AND e.epoch = m.epoch AND e.first_seq IS NOT NULL
           ORDER BY e.entry_ms, e.entry_n LIMIT 1) ELSE 0 END AS low,
       (SELECT e.last_seq FROM gex.entries e
        WHERE e.session_id = %(session_id)s AND e.expiration = m.expiration
          AND e.settlement = m.settlement AND e.last_seq IS NOT NULL
          AND (e.entry_ms, e.entry_n) <= (m.entry_ms, m.entry_n)
          AND (e.epoch = m.epoch OR NOT m.resets)
        ORDER BY e.entry_ms DESC, e.entry_n DESC LIMIT 1) AS high,
       (SELECT e.spot_seq FROM gex.entries e
        WHERE e.session_id = %(session_id)s AND e.expiration = m.expiration
          AND e.settlement = m.settlement AND e.spot_seq IS NOT NULL
          AND (e.entry_ms, e.entry_n) <= (m.entry_ms, m.entry_n)
          AND (e.epoch = m.epoch OR NOT m.resets)
        ORDER BY e.entry_ms DESC, e.entry_n DESC LIMIT 1) AS spot_seq
FROM mark m ORDER BY m.shard;

-- name: chain_quotes
WITH start AS (
    SELECT seq, seqs FROM gex.checkpoints
    WHERE session_id = %(session_id)s AND expiration = %(expiration)s
      AND settlement = %(settlement)s AND seq <= %(high)s
    ORDER BY seq DESC LIMIT 1
), candidate AS (
    SELECT q.*
    FROM start, unnest(start.seqs) AS held (seq)
    JOIN gex.quotes q ON q.session_id = %(session_id)s AND q.seq = held.seq
    WHERE q."time" BETWEEN %(since)s AND %(until)s
      AND q.expiration = %(expiration)s AND q.settlement = %(settlement)s
    UNION ALL
    SELECT q.*
    FROM gex.quotes q
    WHERE q.session_id = %(session_id)s AND q."time" BETWEEN %(since)s AND %(until)s
      AND q.seq > coalesce((SELECT seq FROM start), -1) AND q.seq <= %(high)s
      AND q.expiration = %(expiration)s AND q.settlement = %(settlement)s
)
SELECT DISTINCT ON (strike, "right") strike, "right" = 'P' AS put, withdrawn,
       (extract(epoch FROM "time") * 1000000)::bigint AS "time", seq,
       coalesce(spot, 'NaN')::float8 AS spot, coalesce(bid, 'NaN')::float8 AS bid,
       coalesce(ask, 'NaN')::float8 AS ask, coalesce(last, 'NaN')::float8 AS last,
       coalesce(bid_size, -1) AS bid_size,
       coalesce(ask_size, -1) AS ask_size, coalesce(volume, -1) AS volume,
       coalesce(open_interest, -1) AS open_interest, coalesce(bought, 0) AS bought,
       coalesce(sold, 0) AS sold
FROM candidate WHERE seq >= %(low)s
ORDER BY strike, "right", seq DESC;

-- name: spots_between
SELECT (extract(epoch FROM "time") * 1000000)::bigint AS "time", seq, price,
       coalesce(prior_close, 'NaN') AS prior_close
FROM gex.spots
WHERE session_id = %(session_id)s AND seq BETWEEN %(first)s AND %(last)s
  AND "time" BETWEEN %(since)s AND %(until)s
ORDER BY seq;

-- name: stored_counts
SELECT s.key,
       (SELECT count(*) FROM gex.quotes q WHERE q.session_id = s.session_id) AS quotes,
       (SELECT count(*) FROM gex.spots p WHERE p.session_id = s.session_id) AS spots,
       (SELECT count(*) FROM gex.greeks g WHERE g.session_id = s.session_id) AS greeks,
       (SELECT count(*) FROM gex.levels l WHERE l.session_id = s.session_id) AS levels
FROM gex.sessions s
WHERE s.symbol = %(symbol)s
ORDER BY s.first_seen_at;

-- name: backup_days
SELECT trading_date, array_agg(session_id ORDER BY session_id) AS sessions
FROM gex.sessions
WHERE trading_date = coalesce(%(day)s::date, trading_date)
GROUP BY trading_date ORDER BY trading_date;

-- name: day_counts
SELECT (SELECT count(*) FROM gex.sessions WHERE session_id = ANY(%(sessions)s)) AS sessions,
       (SELECT count(*) FROM gex.quotes WHERE session_id = ANY(%(sessions)s)) AS quotes,
       (SELECT count(*) FROM gex.spots WHERE session_id = ANY(%(sessions)s)) AS spots,
       (SELECT count(*) FROM gex.entries WHERE session_id = ANY(%(sessions)s)) AS entries,
       (SELECT count(*) FROM gex.checkpoints WHERE session_id = ANY(%(sessions)s))
           AS checkpoints,
       (SELECT count(*) FROM gex.greeks WHERE session_id = ANY(%(sessions)s)) AS greeks,
       (SELECT count(*) FROM gex.levels WHERE session_id = ANY(%(sessions)s)) AS levels,
       (SELECT count(*) FROM gex.strike_exposures WHERE session_id = ANY(%(sessions)s))
           AS strike_exposures;

-- name: begin_trial
SELECT gex.begin_trial();

-- name: trial_differences
SELECT series, differences FROM gex.trial_differences(%(sessions)s::integer[]);

-- name: whose_tables
SELECT set_config('search_path', 'gex', true);

-- name: known_sessions
SELECT session_id, key FROM gex.sessions
WHERE session_id = ANY(%(sessions)s) OR key = ANY(%(keys)s);

-- name: number_sessions_on
SELECT setval(pg_get_serial_sequence('gex.sessions', 'session_id'), max(session_id))
FROM gex.sessions;

-- name: backup_sessions
SELECT * FROM gex.sessions WHERE session_id = ANY(%(sessions)s) ORDER BY session_id;

-- name: restore_sessions
COPY sessions FROM STDIN;

-- name: backup_quotes
SELECT * FROM gex.quotes WHERE session_id = ANY(%(sessions)s) ORDER BY session_id, seq;

-- name: restore_quotes
COPY quotes FROM STDIN;

-- name: backup_spots
SELECT * FROM gex.spots WHERE session_id = ANY(%(sessions)s) ORDER BY session_id, seq;

-- name: restore_spots
COPY spots FROM STDIN;

-- name: backup_entries
SELECT * FROM gex.entries WHERE session_id = ANY(%(sessions)s) ORDER BY session_id, expiration, settlement, entry_ms, entry_n;

-- name: restore_entries
COPY entries FROM STDIN;

-- name: backup_checkpoints
SELECT * FROM gex.checkpoints WHERE session_id = ANY(%(sessions)s) ORDER BY session_id, expiration, settlement, seq;

-- name: restore_checkpoints
COPY checkpoints FROM STDIN;

-- name: backup_greeks
SELECT * FROM gex.greeks WHERE session_id = ANY(%(sessions)s) ORDER BY session_id, seq;

-- name: restore_greeks
COPY greeks FROM STDIN;

-- name: backup_levels
SELECT * FROM gex.levels WHERE session_id = ANY(%(sessions)s) ORDER BY session_id, "time";

-- name: restore_levels
COPY levels FROM STDIN;

-- name: backup_strike_exposures
SELECT * FROM gex.strike_exposures WHERE session_id = ANY(%(sessions)s) ORDER BY session_id, "time", strike;

-- name: restore_strike_exposures
COPY strike_exposures FROM STDIN;

-- name: compress_quotes
SELECT compress_chunk(chunk) FROM show_chunks('gex.quotes') AS chunk;

-- name: create_bench_database
CREATE DATABASE gex_bench;

-- name: drop_bench_database
DROP DATABASE IF EXISTS gex_bench WITH (FORCE);

-- name: may_checkpoint
SELECT pg_has_role('pg_checkpoint', 'USAGE');

-- name: checkpoint
CHECKPOINT;

-- name: empty_quotes
TRUNCATE gex.quotes, gex.spots, gex.entries, gex.checkpoints;

-- name: quote_rows
SELECT "time", session_id, seq, symbol, expiration, settlement, strike, "right", bid, ask, last,
       bid_size, ask_size, volume, open_interest, spot, withdrawn, bought, sold
FROM gex.quotes ORDER BY seq;

-- name: insert_quote
INSERT INTO gex.quotes (
    "time", session_id, seq, symbol, expiration, settlement, strike, "right", bid, ask, last,
    bid_size, ask_size, volume, open_interest, spot, withdrawn, bought, sold
) VALUES (
    %(time)s, %(session_id)s, %(seq)s, %(symbol)s, %(expiration)s, %(settlement)s, %(strike)s,
    %(right)s, %(bid)s, %(ask)s, %(last)s, %(bid_size)s, %(ask_size)s, %(volume)s,
    %(open_interest)s, %(spot)s, %(withdrawn)s, %(bought)s, %(sold)s
) ON CONFLICT DO NOTHING;

-- name: empty_history
TRUNCATE gex.sessions, gex.quotes, gex.spots, gex.entries, gex.checkpoints, gex.greeks,
         gex.levels, gex.strike_exposures;

-- name: analyze_history
ANALYZE gex.sessions, gex.quotes, gex.spots, gex.entries, gex.checkpoints, gex.levels;

-- name: count_quotes
SELECT count(*) FROM gex.quotes;

-- name: repeat_session
INSERT INTO gex.sessions (key, symbol, trading_date, feed, software)
SELECT %(key)s, symbol, trading_date - %(days)s::integer, feed, software
FROM gex.sessions WHERE session_id = (SELECT min(session_id) FROM gex.sessions);

-- name: repeat_quotes
INSERT INTO gex.quotes
SELECT q."time" - %(days)s * interval '1 day', n.session_id, q.seq, q.symbol,
       q.expiration - %(days)s::integer, q.settlement, q.strike, q."right", q.bid, q.ask, q.last,
       q.bid_size, q.ask_size, q.volume, q.open_interest, q.spot, q.withdrawn, q.bought,
       q.sold
FROM gex.quotes q JOIN gex.sessions n ON n.key = %(key)s
WHERE q.session_id = (SELECT min(session_id) FROM gex.sessions);

-- name: repeat_spots
INSERT INTO gex.spots
SELECT p."time" - %(days)s * interval '1 day', n.session_id, p.seq, p.symbol, p.price,
       p.prior_close
FROM gex.spots p JOIN gex.sessions n ON n.key = %(key)s
WHERE p.session_id = (SELECT min(session_id) FROM gex.sessions);

-- name: repeat_entries
INSERT INTO gex.entries
SELECT e."time" - %(days)s * interval '1 day', n.session_id, e.symbol,
       e.expiration - %(days)s::integer, e.settlement, e.entry_ms, e.entry_n, e.epoch, e.batch,
       e.resets, e.quotes, e.first_seq, e.last_seq, e.spot_seq, e.received_at
FROM gex.entries e JOIN gex.sessions n ON n.key = %(key)s
WHERE e.session_id = (SELECT min(session_id) FROM gex.sessions);

-- name: repeat_checkpoints
INSERT INTO gex.checkpoints
SELECT c."time" - %(days)s * interval '1 day', n.session_id, c.symbol,
       c.expiration - %(days)s::integer, c.settlement, c.seq, c.seqs
FROM gex.checkpoints c JOIN gex.sessions n ON n.key = %(key)s
WHERE c.session_id = (SELECT min(session_id) FROM gex.sessions);

-- name: repeat_levels
INSERT INTO gex.levels
SELECT l."time" - %(days)s * interval '1 day', n.session_id, l.symbol, l.state, l.sign, l.spot,
       l.net_gex, l.net_gex_0dte, l.zero_gamma, l.call_wall, l.put_wall, l.max_pain,
       l.expected_move, l.dex, l.vex, l.cex, l.net_volume_gex, l.atm_iv, l.regime, l.coverage_oi,
       l.coverage_gamma, l.oldest_quote_at, l.oi_date, l.result,
       (SELECT jsonb_object_agg((shard::date - %(days)s::integer)::text, entry)
        FROM jsonb_each_text(l.watermark) AS mark (shard, entry))
FROM gex.levels l JOIN gex.sessions n ON n.key = %(key)s
WHERE l.session_id = (SELECT min(session_id) FROM gex.sessions);
