-- Quotes in fewer bytes: prices as decimal numbers, which compress to a half of what binary
-- fractions take, and no received_at, which gex.entries has once for all quotes of an entry.
-- What TimescaleDB compresses is cut by expiry, so that what its rows have in common stands once,
-- and has no filter by key, which takes a byte a row and serves late rows alone; nor is there an
-- index by time alone on either engine.

DO $$
DECLARE
    plain boolean := NOT gex.is_hypertable('quotes');
    part regclass;
    series text;
    filters text := '';
BEGIN
    PERFORM set_config('extra_float_digits', '1', true);  -- every digit of a price
    CREATE SCHEMA gex_before;
    FOR part IN
        SELECT inhrelid FROM pg_inherits WHERE plain AND inhparent = 'gex.quotes'::regclass
        UNION ALL SELECT 'gex.quotes'::regclass
    LOOP
        EXECUTE format('ALTER TABLE %s SET SCHEMA gex_before', part);
    END LOOP;
    EXECUTE $sql$
        CREATE TABLE gex.quotes (
            "time"            timestamptz NOT NULL,
            session_id        integer     NOT NULL,
            seq               bigint      NOT NULL,
            symbol            text        NOT NULL,
            expiration        date        NOT NULL,
            settlement        text        NOT NULL,
            strike            float8      NOT NULL,
            "right"           text        NOT NULL CHECK ("right" IN ('C', 'P')),
            bid               numeric,
            ask               numeric,
            last              numeric,
            bid_size          integer,
            ask_size          integer,
            volume            integer,
            open_interest     integer,
            spot              numeric,
            withdrawn         boolean     NOT NULL DEFAULT false,
            bought            integer,
            sold              integer
        ) $sql$ || CASE WHEN plain THEN 'PARTITION BY RANGE ("time")' ELSE '' END;
    IF NOT plain THEN
        PERFORM create_hypertable('gex.quotes'::regclass, by_range('time', INTERVAL '1 day'),
                                  create_default_indexes => false);
        DROP INDEX IF EXISTS gex.greeks_time_idx;
        IF (SELECT string_to_array(substring(extversion FROM '^\d+\.\d+'), '.')::integer[]
            FROM pg_extension WHERE extname = 'timescaledb') >= ARRAY[2, 22] THEN
            filters := $sql$, timescaledb.sparse_index = 'minmax("time")' $sql$;
        END IF;
        FOREACH series IN ARRAY ARRAY['quotes', 'greeks'] LOOP
            EXECUTE format(
                'ALTER TABLE gex.%I SET (timescaledb.enable_columnstore, '
                'timescaledb.segmentby = %L, timescaledb.orderby = %L %s)',
                series, 'symbol, session_id, expiration, settlement', 'strike, "right", seq',
                filters);
        END LOOP;
    END IF;
    ALTER TABLE gex.quotes ADD CONSTRAINT quotes_pkey PRIMARY KEY (session_id, seq, "time");
    PERFORM gex.make_partitions(
        'quotes', (SELECT array_agg(DISTINCT gex.week_of("time")) FROM gex_before.quotes));
    INSERT INTO gex.quotes
    SELECT "time", session_id, seq, symbol, expiration, settlement, strike, "right",
           bid::text::numeric, ask::text::numeric, last::text::numeric, bid_size, ask_size,
           volume, open_interest, spot::text::numeric, withdrawn, bought, sold
    FROM gex_before.quotes;
    DROP TABLE gex_before.quotes;
    DROP SCHEMA gex_before;
END
$$;
COMMENT ON TABLE gex.quotes IS 'Every quote that was appended to the stream; seq is the order of events within a session.';
COMMENT ON COLUMN gex.quotes."time" IS 'Market time of the quote; when it reached the platform is received_at of its entry, the one of its expiry in gex.entries with seq between first_seq and last_seq.';
COMMENT ON COLUMN gex.quotes.spot IS 'Price of the underlying when the quote was taken.';
COMMENT ON COLUMN gex.quotes.bought IS 'Part of the volume that buyers began; sold, that sellers began.';
