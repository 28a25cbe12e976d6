-- The whole schema: what all migrations make (checked by a test; do not edit).
CREATE SCHEMA gex;
CREATE FUNCTION gex.apply_hypertable_policies(series text, keep interval, compress interval) RETURNS jsonb
    LANGUAGE plpgsql
    AS $_$
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
$_$;
COMMENT ON FUNCTION gex.apply_hypertable_policies(series text, keep interval, compress interval) IS 'Compression and retention of a series on TimescaleDB; what was changed.';
CREATE FUNCTION gex.apply_partition_policies(series text, keep interval) RETURNS jsonb
    LANGUAGE plpgsql
    AS $$
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
COMMENT ON FUNCTION gex.apply_partition_policies(series text, keep interval) IS 'Partitions of a series on plain PostgreSQL: this week and the next made, those past keep dropped.';
CREATE FUNCTION gex.apply_policies(keep_days jsonb, compress_after_hours double precision) RETURNS jsonb
    LANGUAGE plpgsql
    AS $$
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
COMMENT ON FUNCTION gex.apply_policies(keep_days jsonb, compress_after_hours double precision) IS 'Retention by series [days, 0 for ever], compression [hours, 0 never], partitions: as wanted from now on; what was changed.';
CREATE FUNCTION gex.apply_refresh_policy(aggregate text, keep interval, every interval) RETURNS jsonb
    LANGUAGE plpgsql
    AS $_$
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
$_$;
COMMENT ON FUNCTION gex.apply_refresh_policy(aggregate text, keep interval, every interval) IS 'Refreshing of an aggregate on TimescaleDB; what was changed.';
CREATE FUNCTION gex.begin_trial() RETURNS integer
    LANGUAGE plpgsql
    AS $$
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
COMMENT ON FUNCTION gex.begin_trial() IS 'Empty temporary tables that stand before those of gex in the search path of this connection.';
CREATE FUNCTION gex.is_hypertable(series text) RETURNS boolean
    LANGUAGE plpgsql STABLE
    AS $_$
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
$_$;
COMMENT ON FUNCTION gex.is_hypertable(series text) IS 'Whether TimescaleDB keeps a series; else it has weekly partitions.';
CREATE FUNCTION gex.make_partitions(series text, instants timestamp with time zone[]) RETURNS integer
    LANGUAGE plpgsql
    AS $$
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
COMMENT ON FUNCTION gex.make_partitions(series text, instants timestamp with time zone[]) IS 'Partitions for rows of these instants; how many were missing. Nothing on TimescaleDB.';
CREATE FUNCTION gex.series_and_sessions() RETURNS text[]
    LANGUAGE sql IMMUTABLE
    RETURN ARRAY['sessions'::text, 'quotes'::text, 'spots'::text, 'entries'::text, 'checkpoints'::text, 'greeks'::text, 'levels'::text, 'strike_exposures'::text];
CREATE FUNCTION gex.storage_report() RETURNS TABLE(series text, kind text, parts bigint, bytes bigint, bytes_before_compression bigint, bytes_after_compression bigint)
    LANGUAGE plpgsql STABLE
    AS $_$
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
$_$;
COMMENT ON FUNCTION gex.storage_report() IS 'Where each series is kept and how large it is [bytes, indexes included].';
CREATE FUNCTION gex.trial_differences(ids integer[]) RETURNS TABLE(series text, differences bigint)
    LANGUAGE plpgsql
    AS $_$
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
$_$;
COMMENT ON FUNCTION gex.trial_differences(ids integer[]) IS 'Rows of these sessions that are not in the temporary tables, or the other way round.';
CREATE FUNCTION gex.week_of(instant timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN date_bin('7 days'::interval, instant, '2001-01-01 00:00:00+00'::timestamp with time zone);
COMMENT ON FUNCTION gex.week_of(instant timestamp with time zone) IS 'The Monday, midnight UTC, that begins the week of an instant.';
CREATE TABLE gex.checkpoints (
    "time" timestamp with time zone NOT NULL,
    session_id integer NOT NULL,
    symbol text NOT NULL,
    expiration date NOT NULL,
    settlement text NOT NULL,
    seq bigint NOT NULL,
    seqs bigint[] NOT NULL
)
PARTITION BY RANGE ("time");
COMMENT ON TABLE gex.checkpoints IS 'The chain of an expiry through seq: which quotes are the newest of their contracts. Reading the chain of any moment begins at one of these.';
CREATE TABLE gex.entries (
    "time" timestamp with time zone NOT NULL,
    session_id integer NOT NULL,
    symbol text NOT NULL,
    expiration date NOT NULL,
    settlement text NOT NULL,
    entry_ms bigint NOT NULL,
    entry_n bigint NOT NULL,
    epoch bigint NOT NULL,
    batch bigint NOT NULL,
    resets boolean NOT NULL,
    quotes integer NOT NULL,
    first_seq bigint,
    last_seq bigint,
    spot_seq bigint,
    received_at timestamp with time zone NOT NULL
)
PARTITION BY RANGE ("time");
COMMENT ON TABLE gex.entries IS 'Every entry of the quotes streams by its id (entry_ms-entry_n), which watermarks name: the range of seq it brought, and its newest price of the underlying.';
COMMENT ON COLUMN gex.entries."time" IS 'Market time of its newest row.';
COMMENT ON COLUMN gex.entries.resets IS 'Whether the state starts empty with the first entry of this epoch.';
CREATE TABLE gex.greeks (
    "time" timestamp with time zone NOT NULL,
    session_id integer NOT NULL,
    seq bigint NOT NULL,
    symbol text NOT NULL,
    expiration date NOT NULL,
    settlement text NOT NULL,
    strike double precision NOT NULL,
    "right" text NOT NULL,
    status text NOT NULL,
    side text NOT NULL,
    iv double precision,
    delta double precision,
    gamma double precision,
    forward_ratio double precision,
    forward_source text NOT NULL
)
PARTITION BY RANGE ("time");
COMMENT ON TABLE gex.greeks IS 'Implied volatility and Greeks of a quote (same time and seq); null unless status is ok.';
CREATE TABLE gex.levels (
    "time" timestamp with time zone NOT NULL,
    session_id integer NOT NULL,
    symbol text NOT NULL,
    state text NOT NULL,
    sign text NOT NULL,
    spot double precision,
    net_gex double precision,
    net_gex_0dte double precision,
    zero_gamma double precision,
    call_wall double precision,
    put_wall double precision,
    max_pain double precision,
    expected_move double precision,
    dex double precision,
    vex double precision,
    cex double precision,
    net_volume_gex double precision,
    atm_iv double precision,
    regime text NOT NULL,
    coverage_oi double precision,
    coverage_gamma double precision,
    oldest_quote_at timestamp with time zone,
    oi_date date,
    result jsonb NOT NULL,
    watermark jsonb NOT NULL
)
PARTITION BY RANGE ("time");
COMMENT ON TABLE gex.levels IS 'Published levels on the tick grid; result is what subscribers got, without its strikes; watermark names the last stream entries it includes.';
CREATE VIEW gex.levels_1m AS
 SELECT bucket."time",
    bucket.session_id,
    bucket.symbol,
    last.spot,
    last.net_gex,
    bucket.net_gex_low,
    bucket.net_gex_high,
    last.zero_gamma,
    last.call_wall,
    last.put_wall,
    bucket.levels
   FROM (( SELECT date_bin('00:01:00'::interval, levels."time", '1970-01-01 00:00:00+00'::timestamp with time zone) AS "time",
            levels.session_id,
            levels.symbol,
            max(levels."time") AS last_time,
            min(levels.net_gex) AS net_gex_low,
            max(levels.net_gex) AS net_gex_high,
            count(*) AS levels
           FROM gex.levels
          GROUP BY (date_bin('00:01:00'::interval, levels."time", '1970-01-01 00:00:00+00'::timestamp with time zone)), levels.session_id, levels.symbol) bucket
     JOIN gex.levels last ON (((last.session_id = bucket.session_id) AND (last."time" = bucket.last_time))));
CREATE VIEW gex.levels_5m AS
 SELECT bucket."time",
    bucket.session_id,
    bucket.symbol,
    last.spot,
    last.net_gex,
    bucket.net_gex_low,
    bucket.net_gex_high,
    last.zero_gamma,
    last.call_wall,
    last.put_wall,
    bucket.levels
   FROM (( SELECT date_bin('00:05:00'::interval, levels."time", '1970-01-01 00:00:00+00'::timestamp with time zone) AS "time",
            levels.session_id,
            levels.symbol,
            max(levels."time") AS last_time,
            min(levels.net_gex) AS net_gex_low,
            max(levels.net_gex) AS net_gex_high,
            count(*) AS levels
           FROM gex.levels
          GROUP BY (date_bin('00:05:00'::interval, levels."time", '1970-01-01 00:00:00+00'::timestamp with time zone)), levels.session_id, levels.symbol) bucket
     JOIN gex.levels last ON (((last.session_id = bucket.session_id) AND (last."time" = bucket.last_time))));
CREATE TABLE gex.migrations (
    version integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE gex.quotes (
    "time" timestamp with time zone NOT NULL,
    session_id integer NOT NULL,
    seq bigint NOT NULL,
    symbol text NOT NULL,
    expiration date NOT NULL,
    settlement text NOT NULL,
    strike double precision NOT NULL,
    "right" text NOT NULL,
    bid numeric,
    ask numeric,
    last numeric,
    bid_size integer,
    ask_size integer,
    volume integer,
    open_interest integer,
    spot numeric,
    withdrawn boolean DEFAULT false NOT NULL,
    bought integer,
    sold integer,
    CONSTRAINT quotes_right_check CHECK (("right" = ANY (ARRAY['C'::text, 'P'::text])))
)
PARTITION BY RANGE ("time");
COMMENT ON TABLE gex.quotes IS 'Every quote that was appended to the stream; seq is the order of events within a session.';
COMMENT ON COLUMN gex.quotes."time" IS 'Market time of the quote; when it reached the platform is received_at of its entry, the one of its expiry in gex.entries with seq between first_seq and last_seq.';
COMMENT ON COLUMN gex.quotes.spot IS 'Price of the underlying when the quote was taken.';
COMMENT ON COLUMN gex.quotes.bought IS 'Part of the volume that buyers began; sold, that sellers began.';
CREATE TABLE gex.sessions (
    session_id integer NOT NULL,
    key text NOT NULL,
    symbol text NOT NULL,
    trading_date date NOT NULL,
    feed text NOT NULL,
    open_at timestamp with time zone,
    close_at timestamp with time zone,
    source text,
    software text,
    first_seen_at timestamp with time zone DEFAULT now() NOT NULL,
    oi_date date,
    ended boolean DEFAULT false NOT NULL,
    coverage_oi double precision,
    coverage_gamma double precision,
    level_count bigint,
    first_level_at timestamp with time zone,
    last_level_at timestamp with time zone,
    gaps jsonb
);
COMMENT ON TABLE gex.sessions IS 'One trading date of one symbol from one source; rows of other tables belong to one.';
COMMENT ON COLUMN gex.sessions.coverage_oi IS 'Share of open interest with an IV, mean of the levels; so coverage_gamma.';
COMMENT ON COLUMN gex.sessions.gaps IS 'Silences of the feed within the session, longer than its levels stay live: [[from, until], …].';
ALTER TABLE gex.sessions ALTER COLUMN session_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME gex.sessions_session_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE gex.spots (
    "time" timestamp with time zone NOT NULL,
    session_id integer NOT NULL,
    seq bigint NOT NULL,
    symbol text NOT NULL,
    price double precision NOT NULL,
    prior_close double precision
)
PARTITION BY RANGE ("time");
COMMENT ON TABLE gex.spots IS 'Prices of the underlying.';
CREATE TABLE gex.strike_exposures (
    "time" timestamp with time zone NOT NULL,
    session_id integer NOT NULL,
    symbol text NOT NULL,
    strike double precision NOT NULL,
    call_gex double precision,
    put_gex double precision,
    net_gex double precision,
    call_oi bigint,
    put_oi bigint,
    call_volume bigint,
    put_volume bigint
)
PARTITION BY RANGE ("time");
COMMENT ON TABLE gex.strike_exposures IS 'Exposure by strike of published levels, at the cadence of strike_seconds.';
CREATE VIEW gex.strike_exposures_1m AS
 SELECT bucket."time",
    bucket.session_id,
    bucket.symbol,
    bucket.strike,
    last.call_gex,
    last.put_gex,
    last.net_gex,
    last.call_oi,
    last.put_oi,
    last.call_volume,
    last.put_volume,
    bucket.samples
   FROM (( SELECT date_bin('00:01:00'::interval, strike_exposures."time", '1970-01-01 00:00:00+00'::timestamp with time zone) AS "time",
            strike_exposures.session_id,
            strike_exposures.symbol,
            strike_exposures.strike,
            max(strike_exposures."time") AS last_time,
            count(*) AS samples
           FROM gex.strike_exposures
          GROUP BY (date_bin('00:01:00'::interval, strike_exposures."time", '1970-01-01 00:00:00+00'::timestamp with time zone)), strike_exposures.session_id, strike_exposures.symbol, strike_exposures.strike) bucket
     JOIN gex.strike_exposures last ON (((last.session_id = bucket.session_id) AND (last."time" = bucket.last_time) AND (last.strike = bucket.strike))));
CREATE VIEW gex.strike_exposures_5m AS
 SELECT bucket."time",
    bucket.session_id,
    bucket.symbol,
    bucket.strike,
    last.call_gex,
    last.put_gex,
    last.net_gex,
    last.call_oi,
    last.put_oi,
    last.call_volume,
    last.put_volume,
    bucket.samples
   FROM (( SELECT date_bin('00:05:00'::interval, strike_exposures."time", '1970-01-01 00:00:00+00'::timestamp with time zone) AS "time",
            strike_exposures.session_id,
            strike_exposures.symbol,
            strike_exposures.strike,
            max(strike_exposures."time") AS last_time,
            count(*) AS samples
           FROM gex.strike_exposures
          GROUP BY (date_bin('00:05:00'::interval, strike_exposures."time", '1970-01-01 00:00:00+00'::timestamp with time zone)), strike_exposures.session_id, strike_exposures.symbol, strike_exposures.strike) bucket
     JOIN gex.strike_exposures last ON (((last.session_id = bucket.session_id) AND (last."time" = bucket.last_time) AND (last.strike = bucket.strike))));
ALTER TABLE ONLY gex.checkpoints
    ADD CONSTRAINT checkpoints_pkey PRIMARY KEY (session_id, expiration, settlement, seq, "time");
ALTER TABLE ONLY gex.entries
    ADD CONSTRAINT entries_pkey PRIMARY KEY (session_id, expiration, settlement, entry_ms, entry_n, "time");
ALTER TABLE ONLY gex.greeks
    ADD CONSTRAINT greeks_pkey PRIMARY KEY (session_id, seq, "time");
ALTER TABLE ONLY gex.levels
    ADD CONSTRAINT levels_pkey PRIMARY KEY (session_id, "time");
ALTER TABLE ONLY gex.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (version);
ALTER TABLE ONLY gex.quotes
    ADD CONSTRAINT quotes_pkey PRIMARY KEY (session_id, seq, "time");
ALTER TABLE ONLY gex.sessions
    ADD CONSTRAINT sessions_key_key UNIQUE (key);
ALTER TABLE ONLY gex.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (session_id);
ALTER TABLE ONLY gex.spots
    ADD CONSTRAINT spots_pkey PRIMARY KEY (session_id, seq, "time");
ALTER TABLE ONLY gex.strike_exposures
    ADD CONSTRAINT strike_exposures_pkey PRIMARY KEY (session_id, "time", strike);
CREATE INDEX entries_session_time ON ONLY gex.entries USING btree (session_id, "time");
CREATE INDEX levels_net_gex ON ONLY gex.levels USING btree (session_id, "time") INCLUDE (net_gex);
CREATE INDEX levels_symbol_time ON ONLY gex.levels USING btree (symbol, "time" DESC);
