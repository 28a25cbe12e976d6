-- How long rows are kept and when they are compressed. gex.apply_policies is called again and
-- again with the settings in force; what stands already as wanted is left alone.

DO $$
DECLARE
    series text;
BEGIN
    IF NOT gex.is_hypertable('quotes') THEN
        RETURN;
    END IF;
    FOREACH series IN ARRAY ARRAY['quotes', 'greeks'] LOOP
        EXECUTE format(
            'ALTER TABLE gex.%I SET (timescaledb.enable_columnstore, timescaledb.segmentby = %L, '
            'timescaledb.orderby = %L)',
            series, 'symbol',
            'session_id, expiration, settlement, strike, "right", seq, "time"');
    END LOOP;
    ALTER TABLE gex.spots SET (timescaledb.enable_columnstore,
        timescaledb.segmentby = 'symbol', timescaledb.orderby = 'session_id, seq, "time"');
    ALTER TABLE gex.entries SET (timescaledb.enable_columnstore,
        timescaledb.segmentby = 'symbol', timescaledb.orderby =
        'session_id, expiration, settlement, entry_ms, entry_n, "time"');
    ALTER TABLE gex.checkpoints SET (timescaledb.enable_columnstore,
        timescaledb.segmentby = 'symbol', timescaledb.orderby =
        'session_id, expiration, settlement, seq, "time"');
    ALTER TABLE gex.levels SET (timescaledb.enable_columnstore,
        timescaledb.segmentby = 'symbol', timescaledb.orderby = 'session_id, "time"');
    ALTER TABLE gex.strike_exposures SET (timescaledb.enable_columnstore,
        timescaledb.segmentby = 'symbol', timescaledb.orderby = 'session_id, strike, "time"');
END
$$;

CREATE FUNCTION gex.apply_partition_policies(series text, keep interval) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    part text;
    dropped jsonb := '[]';
    made integer;
BEGIN
    PERFORM set_config('lock_timeout', '2s', true);  -- rather later than in everyone's way
    made := gex.make_partitions(series, ARRAY[now(), now() + interval '7 days']);
    FOR part IN
        SELECT child.relname
        FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
        WHERE inhparent = format('gex.%I', series)::regclass
          AND to_date(right(child.relname, 10), 'YYYY_MM_DD') + 7 <= (now() - keep)::date
        ORDER BY 1
    LOOP
        EXECUTE format('DROP TABLE gex.%I', part);
        dropped := dropped || to_jsonb(part);
    END LOOP;
    RETURN jsonb_build_object('made', made, 'dropped', dropped);
END
$$;
COMMENT ON FUNCTION gex.apply_partition_policies IS 'Partitions of a series on plain PostgreSQL: this week and the next made, those past keep dropped.';

CREATE FUNCTION gex.apply_hypertable_policies(series text, keep interval, compress interval)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    present interval;
    changes jsonb := '{}';
    find_job constant text :=
        'SELECT (config->>$3)::interval FROM timescaledb_information.jobs '
        'WHERE hypertable_schema = ''gex'' AND hypertable_name = $1 AND proc_name = $2';
BEGIN
    EXECUTE find_job INTO present USING series, 'policy_compression', 'compress_after';
    IF present IS DISTINCT FROM compress THEN
        EXECUTE 'CALL remove_columnstore_policy($1::regclass, if_exists => true)'
            USING format('gex.%I', series);
        IF compress IS NOT NULL THEN
            EXECUTE 'CALL add_columnstore_policy($1::regclass, after => $2)'
                USING format('gex.%I', series), compress;
        END IF;
        changes := changes || jsonb_build_object('compress_after', compress);
    END IF;
    EXECUTE find_job INTO present USING series, 'policy_retention', 'drop_after';
    IF present IS DISTINCT FROM keep THEN
        EXECUTE 'SELECT remove_retention_policy($1::regclass, if_exists => true)'
            USING format('gex.%I', series);
        IF keep IS NOT NULL THEN
            EXECUTE 'SELECT add_retention_policy($1::regclass, $2::interval)'
                USING format('gex.%I', series), keep;
        END IF;
        changes := changes || jsonb_build_object('keep', keep);
    END IF;
    RETURN changes;
END
$$;
COMMENT ON FUNCTION gex.apply_hypertable_policies IS 'Compression and retention of a series on TimescaleDB; what was changed.';

CREATE FUNCTION gex.apply_refresh_policy(aggregate text, keep interval, every interval)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    present jsonb;
    since interval := keep - interval '1 day';  -- what retention takes must not be taken again
BEGIN
    EXECUTE 'SELECT config FROM timescaledb_information.jobs WHERE hypertable_schema = ''gex'' '
            'AND hypertable_name = $1 AND proc_name = ''policy_refresh_continuous_aggregate'''
        INTO present USING aggregate;
    IF present IS NOT NULL AND (present->>'start_offset')::interval IS NOT DISTINCT FROM since THEN
        RETURN '{}';
    END IF;
    EXECUTE 'SELECT remove_continuous_aggregate_policy($1::regclass, if_exists => true)'
        USING format('gex.%I', aggregate);
    EXECUTE 'SELECT add_continuous_aggregate_policy($1::regclass, start_offset => $2::interval, '
            'end_offset => $3::interval, schedule_interval => $3::interval)'
        USING format('gex.%I', aggregate), since, every;
    RETURN jsonb_build_object('refresh_since', since);
END
$$;
COMMENT ON FUNCTION gex.apply_refresh_policy IS 'Refreshing of an aggregate on TimescaleDB; what was changed.';

CREATE FUNCTION gex.apply_policies(keep_days jsonb, compress_after_hours double precision)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    series text;
    source text;
    days double precision;
    keep interval;
    one jsonb;
    report jsonb := '{}';
BEGIN
    FOREACH series IN ARRAY
        ARRAY['quotes', 'spots', 'entries', 'checkpoints', 'greeks', 'levels', 'strike_exposures']
    LOOP
        days := nullif((keep_days->>series)::double precision, 0);  -- 0: for ever
        keep := make_interval(secs => days * 86400);
        IF gex.is_hypertable(series) THEN
            one := gex.apply_hypertable_policies(
                series, keep, make_interval(secs => nullif(compress_after_hours, 0) * 3600));
            IF series IN ('levels', 'strike_exposures') THEN
                one := one
                    || gex.apply_refresh_policy(series || '_1m', keep, interval '1 minute')
                    || gex.apply_refresh_policy(series || '_5m', keep, interval '5 minutes');
            END IF;
        ELSE
            one := gex.apply_partition_policies(series, keep);
        END IF;
        report := report || jsonb_build_object(series, one);
    END LOOP;
    RETURN report;
END
$$;
COMMENT ON FUNCTION gex.apply_policies IS 'Retention by series [days, 0 for ever], compression [hours, 0 never], partitions: as wanted from now on; what was changed.';

CREATE FUNCTION gex.storage_report()
RETURNS TABLE (series text, kind text, parts bigint, bytes bigint,
               bytes_before_compression bigint, bytes_after_compression bigint)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    FOREACH series IN ARRAY
        ARRAY['quotes', 'spots', 'entries', 'checkpoints', 'greeks', 'levels', 'strike_exposures']
    LOOP
        bytes_before_compression := NULL;
        bytes_after_compression := NULL;
        IF gex.is_hypertable(series) THEN
            kind := 'hypertable';
            EXECUTE 'SELECT count(*) FROM show_chunks($1::regclass)'
                INTO parts USING format('gex.%I', series);
            EXECUTE 'SELECT hypertable_size($1::regclass)'
                INTO bytes USING format('gex.%I', series);
            EXECUTE 'SELECT before_compression_total_bytes, after_compression_total_bytes '
                    'FROM hypertable_columnstore_stats($1::regclass)'
                INTO bytes_before_compression, bytes_after_compression
                USING format('gex.%I', series);
        ELSE
            kind := 'partitions';
            SELECT count(*) FILTER (WHERE tree.isleaf), sum(pg_total_relation_size(tree.relid))
                INTO parts, bytes
                FROM pg_partition_tree(format('gex.%I', series)::regclass) AS tree;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION gex.storage_report IS 'Where each series is kept and how large it is [bytes, indexes included].';
