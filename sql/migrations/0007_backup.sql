-- Trying a backup's rows before they count as one: into temporary tables of the same names,
-- then compared with what is stored.

CREATE FUNCTION gex.series_and_sessions() RETURNS text[] LANGUAGE sql IMMUTABLE
RETURN ARRAY['sessions', 'quotes', 'spots', 'entries', 'checkpoints', 'greeks', 'levels',
             'strike_exposures'];

CREATE FUNCTION gex.begin_trial() RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    series text;
BEGIN
    FOREACH series IN ARRAY gex.series_and_sessions() LOOP
        EXECUTE format('CREATE TEMPORARY TABLE IF NOT EXISTS %I (LIKE gex.%I)', series, series);
        EXECUTE format('TRUNCATE pg_temp.%I', series);
    END LOOP;
    RETURN 1;
END
$$;
COMMENT ON FUNCTION gex.begin_trial IS 'Empty temporary tables that stand before those of gex in the search path of this connection.';

CREATE FUNCTION gex.trial_differences(ids integer[])
RETURNS TABLE (series text, differences bigint) LANGUAGE plpgsql AS $$
BEGIN
    FOREACH series IN ARRAY gex.series_and_sessions() LOOP
        EXECUTE format(
            'SELECT count(*) FROM ('
            '(SELECT * FROM gex.%1$I WHERE session_id = ANY($1) EXCEPT ALL TABLE pg_temp.%1$I) '
            'UNION ALL '
            '(TABLE pg_temp.%1$I EXCEPT ALL SELECT * FROM gex.%1$I WHERE session_id = ANY($1))'
            ') AS odd', series) INTO differences USING ids;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION gex.trial_differences IS 'Rows of these sessions that are not in the temporary tables, or the other way round.';
