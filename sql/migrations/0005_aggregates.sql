-- Levels and strike exposures by the minute and by five: continuous aggregates with a
-- real-time tail on TimescaleDB, views of the same names and columns elsewhere.
DO $$
DECLARE
    width record;
BEGIN
    FOR width IN VALUES ('1m', '1 minute'), ('5m', '5 minutes') LOOP
        IF gex.is_hypertable('levels') THEN
            EXECUTE format($sql$
                CREATE MATERIALIZED VIEW gex.levels_%1$s
                WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
                SELECT time_bucket(%2$L::interval, "time") AS "time", session_id, symbol,
                       last(spot, "time") AS spot, last(net_gex, "time") AS net_gex,
                       min(net_gex) AS net_gex_low, max(net_gex) AS net_gex_high,
                       last(zero_gamma, "time") AS zero_gamma,
                       last(call_wall, "time") AS call_wall, last(put_wall, "time") AS put_wall,
                       count(*) AS levels
                FROM gex.levels GROUP BY 1, 2, 3 WITH NO DATA $sql$,
                width.column1, width.column2);
            EXECUTE format($sql$
                CREATE MATERIALIZED VIEW gex.strike_exposures_%1$s
                WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
                SELECT time_bucket(%2$L::interval, "time") AS "time", session_id, symbol, strike,
                       last(call_gex, "time") AS call_gex, last(put_gex, "time") AS put_gex,
                       last(net_gex, "time") AS net_gex,
                       last(call_oi, "time") AS call_oi, last(put_oi, "time") AS put_oi,
                       last(call_volume, "time") AS call_volume,
                       last(put_volume, "time") AS put_volume, count(*) AS samples
                FROM gex.strike_exposures GROUP BY 1, 2, 3, 4 WITH NO DATA $sql$,
                width.column1, width.column2);
        ELSE
            EXECUTE format($sql$
                CREATE VIEW gex.levels_%1$s AS
                SELECT bucket."time", bucket.session_id, bucket.symbol, last.spot, last.net_gex,
                       bucket.net_gex_low, bucket.net_gex_high, last.zero_gamma, last.call_wall,
                       last.put_wall, bucket.levels
                FROM (SELECT date_bin(%2$L::interval, "time", 'epoch') AS "time", session_id,
                             symbol, max("time") AS last_time, min(net_gex) AS net_gex_low,
                             max(net_gex) AS net_gex_high, count(*) AS levels
                      FROM gex.levels GROUP BY 1, 2, 3) AS bucket
                JOIN gex.levels AS last
                  ON last.session_id = bucket.session_id AND last."time" = bucket.last_time $sql$,
                width.column1, width.column2);
            EXECUTE format($sql$
                CREATE VIEW gex.strike_exposures_%1$s AS
                SELECT bucket."time", bucket.session_id, bucket.symbol, bucket.strike,
                       last.call_gex, last.put_gex, last.net_gex, last.call_oi, last.put_oi,
                       last.call_volume, last.put_volume, bucket.samples
                FROM (SELECT date_bin(%2$L::interval, "time", 'epoch') AS "time", session_id,
                             symbol, strike, max("time") AS last_time, count(*) AS samples
                      FROM gex.strike_exposures GROUP BY 1, 2, 3, 4) AS bucket
                JOIN gex.strike_exposures AS last
                  ON last.session_id = bucket.session_id AND last."time" = bucket.last_time
                 AND last.strike = bucket.strike $sql$,
                width.column1, width.column2);
        END IF;
    END LOOP;
END
$$;
