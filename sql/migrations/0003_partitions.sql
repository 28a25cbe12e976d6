-- Keys by the order of events: new rows go to the end of the index, and a stretch of a session
-- is read in order; no foreign keys on the series (the store makes the session's row in the same
-- transaction, and a look-up for each row costs more than the row); and, where there is no
-- TimescaleDB, weekly partitions of the same names and columns.

DROP VIEW gex.levels_1m, gex.levels_5m;
DROP INDEX gex.quotes_symbol_time, gex.levels_symbol_time;

CREATE FUNCTION gex.week_of(instant timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN date_bin('7 days', instant, '2001-01-01 00:00:00+00');
COMMENT ON FUNCTION gex.week_of IS 'The Monday, midnight UTC, that begins the week of an instant.';

CREATE FUNCTION gex.is_hypertable(series text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE
    found boolean := false;
BEGIN
    IF to_regclass('timescaledb_information.hypertables') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM timescaledb_information.hypertables '
                'WHERE hypertable_schema = ''gex'' AND hypertable_name = $1)'
        INTO found USING series;
    END IF;
    RETURN found;
END
$$;
COMMENT ON FUNCTION gex.is_hypertable IS 'Whether TimescaleDB keeps a series; else it has weekly partitions.';

CREATE FUNCTION gex.make_partitions(series text, instants timestamptz[]) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    week timestamptz;
    part text;
    made integer := 0;
BEGIN
    IF gex.is_hypertable(series) THEN
        RETURN 0;
    END IF;
    FOR week IN SELECT DISTINCT gex.week_of(instant) FROM unnest(instants) AS instant ORDER BY 1 LOOP
        part := series || to_char(week AT TIME ZONE 'UTC', '_YYYY_MM_DD');
        CONTINUE WHEN to_regclass(format('gex.%I', part)) IS NOT NULL;
        PERFORM pg_advisory_xact_lock(hashtext('gex.partitions'));
        CONTINUE WHEN to_regclass(format('gex.%I', part)) IS NOT NULL;
        EXECUTE format('CREATE TABLE gex.%I (LIKE gex.%I INCLUDING ALL)', part, series);
        IF series = 'levels' THEN  -- documents out of line: a day's numbers are few pages
            EXECUTE format('ALTER TABLE gex.%I SET (toast_tuple_target = 128)', part);
        END IF;
        -- attaching, unlike creating in place, lets others read and write meanwhile
        EXECUTE format(
            'ALTER TABLE gex.%I ATTACH PARTITION gex.%I FOR VALUES FROM (%L) TO (%L)',
            series, part, week, week + interval '7 days');
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;
COMMENT ON FUNCTION gex.make_partitions IS 'Partitions for rows of these instants; how many were missing. Nothing on TimescaleDB.';

DO $$
DECLARE
    series text;
    wanted_key text;
    remark text;
    weeks timestamptz[];
    plain boolean := NOT gex.is_hypertable('quotes');
    keys constant text[] := ARRAY[
        'quotes', 'session_id, seq, "time"',
        'spots', 'session_id, seq, "time"',
        'greeks', 'session_id, seq, "time"',
        'levels', 'session_id, "time"',
        'strike_exposures', 'session_id, "time", strike'];
BEGIN
    FOR number IN 1 .. array_length(keys, 1) / 2 LOOP
        series := keys[2 * number - 1];
        wanted_key := keys[2 * number];
        EXECUTE format('ALTER TABLE gex.%I DROP CONSTRAINT %I, DROP CONSTRAINT %I',
                       series, series || '_pkey', series || '_session_id_fkey');
        IF plain THEN
            remark := obj_description(format('gex.%I', series)::regclass, 'pg_class');
            EXECUTE format('ALTER TABLE gex.%I RENAME TO %I', series, series || '_before');
            EXECUTE format(
                'CREATE TABLE gex.%I (LIKE gex.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS '
                'INCLUDING COMMENTS) PARTITION BY RANGE ("time")', series, series || '_before');
            EXECUTE format('COMMENT ON TABLE gex.%I IS %L', series, remark);
        END IF;
        EXECUTE format('ALTER TABLE gex.%I ADD CONSTRAINT %I PRIMARY KEY (%s)',
                       series, series || '_pkey', wanted_key);
        IF plain THEN
            EXECUTE format('SELECT array_agg(DISTINCT gex.week_of("time")) FROM gex.%I',
                           series || '_before') INTO weeks;
            PERFORM gex.make_partitions(series, weeks);
            EXECUTE format('INSERT INTO gex.%I SELECT * FROM gex.%I', series, series || '_before');
            EXECUTE format('DROP TABLE gex.%I', series || '_before');
        END IF;
    END LOOP;
    IF NOT plain THEN
        PERFORM set_chunk_time_interval('gex.levels', INTERVAL '7 days');
        PERFORM set_chunk_time_interval('gex.strike_exposures', INTERVAL '7 days');
    END IF;
END
$$;
CREATE INDEX levels_symbol_time ON gex.levels (symbol, "time" DESC);
