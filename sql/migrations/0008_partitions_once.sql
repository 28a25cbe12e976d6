-- A partition that two want at once is made by the first and found by the second. The look behind
-- the lock must be a query: to_regclass() may answer from what this session has cached, which
-- waiting for an advisory lock does not renew.

CREATE OR REPLACE FUNCTION gex.make_partitions(series text, instants timestamptz[]) RETURNS integer
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
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_class WHERE relname = part AND relnamespace = 'gex'::regnamespace);
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
