-- The whole schema: what all migrations make (checked by a test; do not edit).
CREATE SCHEMA gex;
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
);
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
);
COMMENT ON TABLE gex.levels IS 'Published levels on the tick grid; result is what subscribers got, without its strikes; watermark names the last stream entries it includes.';
CREATE VIEW gex.levels_1m AS
 SELECT date_bin('00:01:00'::interval, "time", '1970-01-01 00:00:00+00'::timestamp with time zone) AS "time",
    session_id,
    symbol,
    (array_agg(spot ORDER BY levels."time" DESC))[1] AS spot,
    (array_agg(net_gex ORDER BY levels."time" DESC))[1] AS net_gex,
    min(net_gex) AS net_gex_low,
    max(net_gex) AS net_gex_high,
    (array_agg(zero_gamma ORDER BY levels."time" DESC))[1] AS zero_gamma,
    (array_agg(call_wall ORDER BY levels."time" DESC))[1] AS call_wall,
    (array_agg(put_wall ORDER BY levels."time" DESC))[1] AS put_wall,
    count(*) AS levels
   FROM gex.levels
  GROUP BY (date_bin('00:01:00'::interval, "time", '1970-01-01 00:00:00+00'::timestamp with time zone)), session_id, symbol;
CREATE VIEW gex.levels_5m AS
 SELECT date_bin('00:05:00'::interval, "time", '1970-01-01 00:00:00+00'::timestamp with time zone) AS "time",
    session_id,
    symbol,
    (array_agg(spot ORDER BY levels."time" DESC))[1] AS spot,
    (array_agg(net_gex ORDER BY levels."time" DESC))[1] AS net_gex,
    min(net_gex) AS net_gex_low,
    max(net_gex) AS net_gex_high,
    (array_agg(zero_gamma ORDER BY levels."time" DESC))[1] AS zero_gamma,
    (array_agg(call_wall ORDER BY levels."time" DESC))[1] AS call_wall,
    (array_agg(put_wall ORDER BY levels."time" DESC))[1] AS put_wall,
    count(*) AS levels
   FROM gex.levels
  GROUP BY (date_bin('00:05:00'::interval, "time", '1970-01-01 00:00:00+00'::timestamp with time zone)), session_id, symbol;
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
    bid double precision,
    ask double precision,
    last double precision,
    bid_size integer,
    ask_size integer,
    volume integer,
    open_interest integer,
    spot double precision,
    withdrawn boolean DEFAULT false NOT NULL,
    received_at timestamp with time zone NOT NULL,
    CONSTRAINT quotes_right_check CHECK (("right" = ANY (ARRAY['C'::text, 'P'::text])))
);
COMMENT ON TABLE gex.quotes IS 'Every quote that was appended to the stream; seq is the order of events within a session.';
COMMENT ON COLUMN gex.quotes."time" IS 'Market time of the quote; received_at is the wall time it reached the platform.';
COMMENT ON COLUMN gex.quotes.spot IS 'Price of the underlying when the quote was taken.';
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
    first_seen_at timestamp with time zone DEFAULT now() NOT NULL
);
COMMENT ON TABLE gex.sessions IS 'One trading date of one symbol from one source; rows of other tables belong to one.';
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
    price double precision NOT NULL
);
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
);
COMMENT ON TABLE gex.strike_exposures IS 'Exposure by strike of published levels, at the cadence of strike_seconds.';
ALTER TABLE ONLY gex.greeks
    ADD CONSTRAINT greeks_pkey PRIMARY KEY (session_id, "time", seq);
ALTER TABLE ONLY gex.levels
    ADD CONSTRAINT levels_pkey PRIMARY KEY (session_id, "time");
ALTER TABLE ONLY gex.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (version);
ALTER TABLE ONLY gex.quotes
    ADD CONSTRAINT quotes_pkey PRIMARY KEY (session_id, "time", seq);
ALTER TABLE ONLY gex.sessions
    ADD CONSTRAINT sessions_key_key UNIQUE (key);
ALTER TABLE ONLY gex.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (session_id);
ALTER TABLE ONLY gex.spots
    ADD CONSTRAINT spots_pkey PRIMARY KEY (session_id, "time", seq);
ALTER TABLE ONLY gex.strike_exposures
    ADD CONSTRAINT strike_exposures_pkey PRIMARY KEY (session_id, "time", strike);
CREATE INDEX levels_symbol_time ON gex.levels USING btree (symbol, "time" DESC);
CREATE INDEX quotes_symbol_time ON gex.quotes USING btree (symbol, "time" DESC);
ALTER TABLE ONLY gex.greeks
    ADD CONSTRAINT greeks_session_id_fkey FOREIGN KEY (session_id) REFERENCES gex.sessions(session_id);
ALTER TABLE ONLY gex.levels
    ADD CONSTRAINT levels_session_id_fkey FOREIGN KEY (session_id) REFERENCES gex.sessions(session_id);
ALTER TABLE ONLY gex.quotes
    ADD CONSTRAINT quotes_session_id_fkey FOREIGN KEY (session_id) REFERENCES gex.sessions(session_id);
ALTER TABLE ONLY gex.spots
    ADD CONSTRAINT spots_session_id_fkey FOREIGN KEY (session_id) REFERENCES gex.sessions(session_id);
ALTER TABLE ONLY gex.strike_exposures
    ADD CONSTRAINT strike_exposures_session_id_fkey FOREIGN KEY (session_id) REFERENCES gex.sessions(session_id);
