-- The history of the platform: what arrived, what was made of it, what was published.
-- On a server with TimescaleDB the time series become hypertables; without it they are
-- plain tables of the same names and columns.

CREATE TABLE gex.sessions (
    session_id        integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key               text        NOT NULL UNIQUE,
    symbol            text        NOT NULL,
    trading_date      date        NOT NULL,
    feed              text        NOT NULL,
    open_at           timestamptz,
    close_at          timestamptz,
    source            text,
    software          text,
    first_seen_at     timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE gex.sessions IS 'One trading date of one symbol from one source; rows of other tables belong to one.';

CREATE TABLE gex.quotes (
    "time"            timestamptz NOT NULL,
    session_id        integer     NOT NULL REFERENCES gex.sessions,
    seq               bigint      NOT NULL,
    symbol            text        NOT NULL,
    expiration        date        NOT NULL,
    settlement        text        NOT NULL,
    strike            float8      NOT NULL,
    "right"           text        NOT NULL CHECK ("right" IN ('C', 'P')),
    bid               float8,
    ask               float8,
    last              float8,
    bid_size          integer,
    ask_size          integer,
    volume            integer,
    open_interest     integer,
    spot              float8,
    withdrawn         boolean     NOT NULL DEFAULT false,
    received_at       timestamptz NOT NULL,
    PRIMARY KEY (session_id, "time", seq)
);
COMMENT ON TABLE gex.quotes IS 'Every quote that was appended to the stream; seq is the order of events within a session.';
COMMENT ON COLUMN gex.quotes."time" IS 'Market time of the quote; received_at is the wall time it reached the platform.';
COMMENT ON COLUMN gex.quotes.spot IS 'Price of the underlying when the quote was taken.';

CREATE TABLE gex.spots (
    "time"            timestamptz NOT NULL,
    session_id        integer     NOT NULL REFERENCES gex.sessions,
    seq               bigint      NOT NULL,
    symbol            text        NOT NULL,
    price             float8      NOT NULL,
    PRIMARY KEY (session_id, "time", seq)
);
COMMENT ON TABLE gex.spots IS 'Prices of the underlying.';

CREATE TABLE gex.greeks (
    "time"            timestamptz NOT NULL,
    session_id        integer     NOT NULL REFERENCES gex.sessions,
    seq               bigint      NOT NULL,
    symbol            text        NOT NULL,
    expiration        date        NOT NULL,
    settlement        text        NOT NULL,
    strike            float8      NOT NULL,
    "right"           text        NOT NULL,
    status            text        NOT NULL,
    side              text        NOT NULL,
    iv                float8,
    delta             float8,
    gamma             float8,
    forward_ratio     float8,
    forward_source    text        NOT NULL,
    PRIMARY KEY (session_id, "time", seq)
);
COMMENT ON TABLE gex.greeks IS 'Implied volatility and Greeks of a quote (same time and seq); null unless status is ok.';

CREATE TABLE gex.levels (
    "time"            timestamptz NOT NULL,
    session_id        integer     NOT NULL REFERENCES gex.sessions,
    symbol            text        NOT NULL,
    state             text        NOT NULL,
    sign              text        NOT NULL,
    spot              float8,
    net_gex           float8,
    net_gex_0dte      float8,
    zero_gamma        float8,
    call_wall         float8,
    put_wall          float8,
    max_pain          float8,
    expected_move     float8,
    dex               float8,
    vex               float8,
    cex               float8,
    net_volume_gex    float8,
    atm_iv            float8,
    regime            text        NOT NULL,
    coverage_oi       float8,
    coverage_gamma    float8,
    oldest_quote_at   timestamptz,
    oi_date           date,
    result            jsonb       NOT NULL,
    watermark         jsonb       NOT NULL,
    PRIMARY KEY (session_id, "time")
);
COMMENT ON TABLE gex.levels IS 'Published levels on the tick grid; result is what subscribers got, without its strikes; watermark names the last stream entries it includes.';

CREATE TABLE gex.strike_exposures (
    "time"            timestamptz NOT NULL,
    session_id        integer     NOT NULL REFERENCES gex.sessions,
    symbol            text        NOT NULL,
    strike            float8      NOT NULL,
    call_gex          float8,
    put_gex           float8,
    net_gex           float8,
    call_oi           bigint,
    put_oi            bigint,
    call_volume       bigint,
    put_volume        bigint,
    PRIMARY KEY (session_id, "time", strike)
);
COMMENT ON TABLE gex.strike_exposures IS 'Exposure by strike of published levels, at the cadence of strike_seconds.';

CREATE INDEX levels_symbol_time ON gex.levels (symbol, "time" DESC);
CREATE INDEX quotes_symbol_time ON gex.quotes (symbol, "time" DESC);

CREATE VIEW gex.levels_1m AS
SELECT date_bin('1 minute', "time", 'epoch') AS "time", session_id, symbol,
       (array_agg(spot ORDER BY "time" DESC))[1]       AS spot,
       (array_agg(net_gex ORDER BY "time" DESC))[1]    AS net_gex,
       min(net_gex) AS net_gex_low, max(net_gex) AS net_gex_high,
       (array_agg(zero_gamma ORDER BY "time" DESC))[1] AS zero_gamma,
       (array_agg(call_wall ORDER BY "time" DESC))[1]  AS call_wall,
       (array_agg(put_wall ORDER BY "time" DESC))[1]   AS put_wall,
       count(*) AS levels
FROM gex.levels GROUP BY 1, 2, 3;

CREATE VIEW gex.levels_5m AS
SELECT date_bin('5 minutes', "time", 'epoch') AS "time", session_id, symbol,
       (array_agg(spot ORDER BY "time" DESC))[1]       AS spot,
       (array_agg(net_gex ORDER BY "time" DESC))[1]    AS net_gex,
       min(net_gex) AS net_gex_low, max(net_gex) AS net_gex_high,
       (array_agg(zero_gamma ORDER BY "time" DESC))[1] AS zero_gamma,
       (array_agg(call_wall ORDER BY "time" DESC))[1]  AS call_wall,
       (array_agg(put_wall ORDER BY "time" DESC))[1]   AS put_wall,
       count(*) AS levels
FROM gex.levels GROUP BY 1, 2, 3;
