-- Hypertables where the server has TimescaleDB; no change elsewhere.
DO $$
DECLARE
    series text;
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb') THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'timescaledb') THEN
        BEGIN
            CREATE EXTENSION timescaledb;
        EXCEPTION WHEN OTHERS THEN
            RAISE NOTICE 'TimescaleDB is available but cannot be created here (%); plain tables serve', SQLERRM;
            RETURN;
        END;
    END IF;
    FOREACH series IN ARRAY ARRAY['quotes', 'spots', 'greeks', 'levels', 'strike_exposures'] LOOP
        PERFORM create_hypertable(
            format('gex.%I', series)::regclass, by_range('time', INTERVAL '1 day'),
            if_not_exists => true);
    END LOOP;
END
$$;
