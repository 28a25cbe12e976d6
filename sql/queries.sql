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

-- name: server_facts
SELECT current_setting('server_version') AS server_version,
       (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb') AS timescaledb,
       current_database() AS database,
       pg_size_pretty(pg_database_size(current_database())) AS size;

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

-- name: describe_session
UPDATE gex.sessions
SET open_at = %(open_at)s, close_at = %(close_at)s, source = %(source)s
WHERE key = %(key)s
  AND (open_at, close_at, source) IS DISTINCT FROM
      (%(open_at)s::timestamptz, %(close_at)s::timestamptz, %(source)s::text);

-- name: copy_quotes
COPY gex.quotes (
    "time", session_id, seq, symbol, expiration, settlement, strike, "right", bid, ask, last,
    bid_size, ask_size, volume, open_interest, spot, withdrawn, received_at
) FROM STDIN (FORMAT BINARY);

-- name: stage_quotes
CREATE TEMPORARY TABLE staged_quotes (LIKE gex.quotes) ON COMMIT DROP;

-- name: copy_staged_quotes
COPY staged_quotes (
    "time", session_id, seq, symbol, expiration, settlement, strike, "right", bid, ask, last,
    bid_size, ask_size, volume, open_interest, spot, withdrawn, received_at
) FROM STDIN (FORMAT BINARY);

-- name: insert_staged_quotes
INSERT INTO gex.quotes SELECT * FROM staged_quotes ON CONFLICT DO NOTHING;

-- name: copy_greeks
COPY gex.greeks (
    "time", session_id, seq, symbol, expiration, settlement, strike, "right", status, side,
    iv, delta, gamma, forward_ratio, forward_source
) FROM STDIN (FORMAT BINARY);

-- name: stage_greeks
CREATE TEMPORARY TABLE staged_greeks (LIKE gex.greeks) ON COMMIT DROP;

-- name: copy_staged_greeks
COPY staged_greeks (
    "time", session_id, seq, symbol, expiration, settlement, strike, "right", status, side,
    iv, delta, gamma, forward_ratio, forward_source
) FROM STDIN (FORMAT BINARY);

-- name: insert_staged_greeks
INSERT INTO gex.greeks SELECT * FROM staged_greeks ON CONFLICT DO NOTHING;

-- name: insert_spots
INSERT INTO gex.spots ("time", session_id, seq, symbol, price)
SELECT at, %(session_id)s, seq, %(symbol)s, price
FROM unnest(%(times)s::timestamptz[], %(seqs)s::bigint[], %(prices)s::float8[])
     AS row (at, seq, price)
ON CONFLICT DO NOTHING;

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

-- name: stored_counts
SELECT s.key,
       (SELECT count(*) FROM gex.quotes q WHERE q.session_id = s.session_id) AS quotes,
       (SELECT count(*) FROM gex.spots p WHERE p.session_id = s.session_id) AS spots,
       (SELECT count(*) FROM gex.greeks g WHERE g.session_id = s.session_id) AS greeks,
       (SELECT count(*) FROM gex.levels l WHERE l.session_id = s.session_id) AS levels
FROM gex.sessions s
WHERE s.symbol = %(symbol)s
ORDER BY s.first_seen_at;

-- name: empty_quotes
TRUNCATE gex.quotes, gex.spots;
