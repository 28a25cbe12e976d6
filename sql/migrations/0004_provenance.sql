-- What a level was made of: the stream entries that brought the quotes, and what became of a
-- session as a whole.

ALTER TABLE gex.quotes ADD COLUMN bought integer, ADD COLUMN sold integer;
COMMENT ON COLUMN gex.quotes.bought IS 'Part of the volume that buyers began; sold, that sellers began.';
ALTER TABLE gex.spots ADD COLUMN prior_close float8;

CREATE TABLE gex.entries (
    "time"            timestamptz NOT NULL,
    session_id        integer     NOT NULL,
    symbol            text        NOT NULL,
    expiration        date        NOT NULL,
    settlement        text        NOT NULL,
    entry_ms          bigint      NOT NULL,
    entry_n           bigint      NOT NULL,
    epoch             bigint      NOT NULL,
    batch             bigint      NOT NULL,
    resets            boolean     NOT NULL,
    quotes            integer     NOT NULL,
    first_seq         bigint,
    last_seq          bigint,
    spot_seq          bigint,
    received_at       timestamptz NOT NULL
);
COMMENT ON TABLE gex.entries IS 'Every entry of the quotes streams by its id (entry_ms-entry_n), which watermarks name: the range of seq it brought, and its newest price of the underlying.';
COMMENT ON COLUMN gex.entries."time" IS 'Market time of its newest row.';
COMMENT ON COLUMN gex.entries.resets IS 'Whether the state starts empty with the first entry of this epoch.';

CREATE TABLE gex.checkpoints (
    "time"            timestamptz NOT NULL,
    session_id        integer     NOT NULL,
    symbol            text        NOT NULL,
    expiration        date        NOT NULL,
    settlement        text        NOT NULL,
    seq               bigint      NOT NULL,
    seqs              bigint[]    NOT NULL
);
COMMENT ON TABLE gex.checkpoints IS 'The chain of an expiry through seq: which quotes are the newest of their contracts. Reading the chain of any moment begins at one of these.';

ALTER TABLE gex.sessions
    ADD COLUMN oi_date date,
    ADD COLUMN ended boolean NOT NULL DEFAULT false,
    ADD COLUMN coverage_oi float8,
    ADD COLUMN coverage_gamma float8,
    ADD COLUMN level_count bigint,
    ADD COLUMN first_level_at timestamptz,
    ADD COLUMN last_level_at timestamptz,
    ADD COLUMN gaps jsonb;
COMMENT ON COLUMN gex.sessions.coverage_oi IS 'Share of open interest with an IV, mean of the levels; so coverage_gamma.';
COMMENT ON COLUMN gex.sessions.gaps IS 'Silences of the feed within the session, longer than its levels stay live: [[from, until], …].';

DO $$
DECLARE
    series text;
    wanted_key text;
    remark text;
BEGIN
    FOR series, wanted_key IN VALUES
        ('entries', 'session_id, expiration, settlement, entry_ms, entry_n, "time"'),
        ('checkpoints', 'session_id, expiration, settlement, seq, "time"')
    LOOP
        IF gex.is_hypertable('quotes') THEN
            PERFORM create_hypertable(
                format('gex.%I', series)::regclass, by_range('time', INTERVAL '1 day'));
        ELSE
            remark := obj_description(format('gex.%I', series)::regclass, 'pg_class');
            EXECUTE format('ALTER TABLE gex.%I RENAME TO %I', series, series || '_before');
            EXECUTE format('CREATE TABLE gex.%I (LIKE gex.%I INCLUDING ALL) '
                           'PARTITION BY RANGE ("time")', series, series || '_before');
            EXECUTE format('DROP TABLE gex.%I', series || '_before');
            EXECUTE format('COMMENT ON TABLE gex.%I IS %L', series, remark);
        END IF;
        EXECUTE format('ALTER TABLE gex.%I ADD CONSTRAINT %I PRIMARY KEY (%s)',
                       series, series || '_pkey', wanted_key);
    END LOOP;
END
$$;
