"""Every chain file of the recorded market data, against the figures that came with it."""

from __future__ import annotations

import gzip
from dataclasses import dataclass

import numpy as np
import orjson
import pytest

from common.clock import iso_ms, parse_instant
from common.feeds.files import load_snapshot
from common.feeds.recording import read_recording
from common.feeds.source import read_source
from common.levels import check_invariants
from common.models import key_puts, key_strikes
from common.parity_spot import parity_spot
from common.quant.zero_gamma import Book, net_gex
from common.settings import QuantParameters
from workers.commands.compute import document_of, levels_of

pytestmark = pytest.mark.data
PARAMETERS = QuantParameters()


@dataclass(frozen=True)
class Known:
    """What is known of a file from outside; money in billions of $, NaN for nothing."""

    path: str
    symbol: str
    as_of: str
    spot: float
    contracts: int
    expired: int
    total: float
    """With the file's own Greeks, expired rows included ..."""
    alive: float
    """... and without them."""
    same_day: float
    """Of what expires on the date of the quotes."""


FIGURES = """
cboe_quotedata/spx_quotedata_2022-07-12_1155et.csv.gz
    SPX 2022-07-12T15:40:00 3856.28   19378   0 -17.4866  -17.4866  0.5904
cboe_quotedata/spx_quotedata_2022-03-23_1011et_es.csv.gz
    SPX 2022-03-23T13:56:00 4479.0898 19002   0 -1.7310   -1.7310   -0.2274
cboe_quotedata/spx_quotedata_2023-09-14_1631et.csv.gz
    SPX 2023-09-14T20:00:00 4505.1001 19920 296 23.3097   23.3097   nan
cboe_quotedata/spy_quotedata_2023-09-14_1631et.csv.gz
    SPY 2023-09-14T20:00:00 450.81     7292 250 4.9428    1.525     nan
cboe_quotedata/xsp_quotedata_2023-09-14_1630et.csv.gz
    XSP 2023-09-14T20:00:00 450.51    10882 280 -0.2808   -0.2808   nan
cboe_quotedata/spy_quotedata_2025-05-01_1649et.csv.gz
    SPY 2025-05-01T20:00:00 557.65     4876 386 1.5626    -0.628    nan
cboe_quotedata/spy_quotedata_2025-05-01_0828et_stale.csv.gz
    SPY 2025-04-30T20:00:00 560.36     4876   0 -0.0549   -0.0549   nan
cboe_quotedata/spx_quotedata_2026-03-14_0734et.csv.gz
    SPX 2026-03-13T20:00:00 6632.1899  1944  36 -34.2567  -12.899   nan
cboe_quotedata/spx_quotedata_2022-12-12_gflows.csv.gz
    SPX 2022-12-12T21:00:00 3990.5601 19156 286 -1.075157 -1.075157 nan
cboe_quotedata/rut_quotedata_2022-12-12_gflows.csv.gz
    RUT 2022-12-12T21:00:00 1817.4937  7334 322 -0.321249 -0.321249 nan
cboe_quotedata/ndx_quotedata_2022-12-12_gflows.csv.gz
    NDX 2022-12-12T21:00:00 11706.4395 19118 716 1.087541 1.087541  nan
cboe_json/spy_cboe_2022-07-12_1857et.json.gz
    SPY 2022-07-12T20:00:00 380.88     9208   0 -6.1197   -6.1197   nan
cboe_json/spy_cboe_2022-04-03_flat_noquotes.json.gz
    SPY 2022-04-04T00:00:00 452.92     9798 372 -3.6954   -3.6954   nan
cboe_json/iwm_cboe_2025-06-06_close.json.gz
    IWM 2025-06-06T20:00:00 211.90     4314   0 -0.5132   -0.5132   nan
cboe_json/rut_cboe_2025-06-04_2344et.json.gz
    RUT 2025-06-04T20:30:12 2098.4824  7882 276 -0.1373   -0.1502   nan
broker_json/tdameritrade_chain_SPY_2020-01-29.json.gz
    SPY 2020-01-29T21:15:00 326.22      462 164 nan       nan       nan
broker_json/tdameritrade_chain_SPY_2022-05-20.json.gz
    SPY 2022-05-20T20:15:00 390.65     1024   0 nan       nan       nan
"""


def known_files():
    words = FIGURES.split()
    for at in range(0, len(words), 9):
        path, symbol, as_of, spot, contracts, expired, *sums = words[at : at + 9]
        yield Known(
            path, symbol, as_of, float(spot), int(contracts), int(expired), *map(float, sums)
        )


FILES = list(known_files())
IDS = [known.path.split("/")[1].split(".")[0] for known in FILES]
SPX_CLOSE, XSP_CLOSE, STALE, SPX, RUT, NDX = (FILES[at] for at in (2, 4, 6, 8, 9, 10))
UNDATED = "cboe_json/spy_cboe_2022-04-03_flat_noquotes.json.gz"
"""Carries no time; its Greeks are of that Sunday evening."""


@pytest.fixture(scope="module")
def read(market_data):
    """Known file → its snapshot; (known file, source) → its levels. Each made once."""
    snapshots, levels = {}, {}

    def snapshot_of(known):
        if known.path not in snapshots:
            at = parse_instant("2022-04-03T20:00") if known.path == UNDATED else None
            snapshots[known.path] = load_snapshot(market_data / known.path, at_us=at, symbol=None)
        return snapshots[known.path]

    def evaluated(known, source="own"):
        if (known.path, source) not in levels:
            snapshot = snapshot_of(known)
            found = levels_of(snapshot, parameters=PARAMETERS, source=source)
            levels[known.path, source] = (snapshot, found)
        return levels[known.path, source]

    return evaluated


def test_no_chain_file_is_forgotten(market_data):
    there = {
        str(path.relative_to(market_data))
        for folder in ("cboe_json", "cboe_quotedata", "broker_json")
        for path in (market_data / folder).iterdir()
        if "gex_reference" not in path.name
    }
    assert there == {known.path for known in FILES}


@pytest.mark.parametrize("known", FILES, ids=IDS)
def test_what_a_file_is(read, known):
    snapshot, levels = read(known)
    assert (snapshot.symbol, iso_ms(snapshot.as_of)[:19]) == (known.symbol, known.as_of)
    assert (snapshot.spot, snapshot.quotes.size) == (known.spot, known.contracts)
    assert (snapshot.unnamed, snapshot.left_out) == (0, 0)
    assert levels.as_of == snapshot.as_of


@pytest.mark.parametrize("known", FILES, ids=IDS)
def test_vendor_totals(read, known):
    """1e-3, or half of the last decimal of the reference where that is more."""
    snapshot, levels = read(known, "vendor")
    assert levels.quality.rejected.get("expired", 0) == known.expired
    assert levels.totals.net_gex_0dte / 1e9 == pytest.approx(known.same_day, rel=1e-3, nan_ok=True)
    if known.path.startswith("broker"):
        return  # nobody published a total; the next test has one
    assert levels.net_gex / 1e9 == pytest.approx(known.alive, rel=1e-3, abs=5e-5)
    board = levels.board
    gex = board.signs * board.open_interests * board.greeks.gamma * snapshot.spot**2
    everything = (levels.net_gex + np.nansum(gex[~board.alive])) / 1e9
    assert everything == pytest.approx(known.total, rel=1e-3, abs=5e-5)


@pytest.mark.parametrize("known", FILES[-2:], ids=IDS[-2:])
def test_broker_totals(read, market_data, known):
    """Against a sum over the raw JSON; what expires on the quotes' date has expired by 16:15."""
    document = orjson.loads(gzip.decompress((market_data / known.path).read_bytes()))
    total = 0.0
    for name, sign in (("callExpDateMap", 1.0), ("putExpDateMap", -1.0)):
        for label, strikes in document[name].items():
            rows = [row for strike in strikes.values() for row in strike if row["gamma"] != -999]
            if label[:10] > known.as_of[:10]:
                total += sign * sum(row["gamma"] * row["openInterest"] for row in rows)
    _, levels = read(known, "vendor")
    assert levels.net_gex == pytest.approx(total * document["underlyingPrice"] ** 2, rel=1e-9)


@pytest.mark.parametrize("source", ["own", "vendor"])
@pytest.mark.parametrize("known", FILES, ids=IDS)
def test_every_contract_is_accounted_for(read, known, source):
    snapshot, levels = read(known, source)
    document = orjson.loads(orjson.dumps(document_of(levels, snapshot, contracts=True)))
    quality, contracts = document["quality"], document["contracts"]
    assert quality["with_iv"] + sum(quality["rejected"].values()) == quality["contracts"]
    assert quality["contracts"] == len(contracts) == known.contracts
    assert quality["with_iv"] == sum(row["status"] == "ok" for row in contracts)
    gone = [row for row in contracts if row["status"] == "expired"]
    assert len(gone) == known.expired
    assert all(row["iv"] is None for row in gone)
    assert sum(row["contracts"] for row in document["expirations"]) == len(contracts) - len(gone)
    per_strike = sum(row["net_gex"] for row in document["strikes"])
    assert per_strike == pytest.approx(document["levels"]["net_gex"] or 0.0, rel=1e-9)
    assert check_invariants(levels) == []


def test_both_settlements_of_one_date_stand_apart(read):
    """AM and PM options of one date have forwards, times and sums of their own."""
    _, levels = read(SPX_CLOSE)
    friday = [row for row in levels.expirations if row.expiration.isoformat() == "2023-09-15"]
    assert [(row.settlement, row.dte) for row in friday] == [("AM", 1), ("PM", 1)]
    assert [row.forward_source for row in friday] == ["parity", "parity"]
    board = levels.board
    hours = {
        shard.expiry.settlement: board.years[board.shard_of == at][0] * 8760.0
        for at, shard in enumerate(board.shards)
        if shard.expiry.expiration == friday[0].expiration
    }
    assert hours == pytest.approx({"AM": 17.5, "PM": 24.0}, abs=1e-6)


def test_a_tenth_of_the_index_is_its_cross_check(read):
    """XSP is SPX/10, quoted in the same minute: forwards and volatilities agree."""
    (_, spx), (_, xsp) = read(SPX_CLOSE), read(XSP_CLOSE)
    of_spx = {row.expiration: row for row in spx.expirations if row.settlement == "PM"}
    compared = [(row, of_spx[row.expiration]) for row in xsp.expirations[:8]]
    assert len(compared) == 8
    for small, large in compared:
        assert small.forward * 10.0 == pytest.approx(large.forward, rel=2e-4)
        assert small.atm_iv == pytest.approx(large.atm_iv, abs=0.004)


def test_quotes_of_last_night_beside_a_price_of_this_morning(read):
    """The file's price is live at 08:13, its quotes are of the close: 0DTE was yesterday's."""
    snapshot, levels = read(STALE)
    assert iso_ms(snapshot.spot_at)[:16] == "2025-05-01T12:13"
    document = document_of(levels, snapshot, contracts=False)
    assert document["spot_at"][:16] == "2025-05-01T12:13"
    assert document["quality"]["oldest_quote_at"] == document["as_of"] == "2025-04-30T20:00:00.000Z"
    assert document["levels"]["net_gex_0dte"] is None
    front = levels.expirations[0]
    assert (front.expiration.isoformat(), front.dte) == ("2025-05-01", 1)
    implied = parity_spot(shards=levels.board.shards, parameters=PARAMETERS)
    assert implied == pytest.approx(556.4, abs=0.15)
    assert levels.board.quotes["spot"][0] == pytest.approx(implied, abs=0.02)
    assert front.forward == pytest.approx(levels.spot, rel=5e-4)
    # In the file's own Greeks net GEX is next to nothing: zero gamma is where those quotes were.
    assert levels.zero_gamma == pytest.approx(implied, abs=0.5)


def test_broker_quotes_of_the_close_beside_a_price_of_the_evening(read):
    snapshot, levels = read(FILES[-1])
    assert iso_ms(snapshot.spot_at)[:16] == "2022-05-21T00:00"
    assert levels.board.quotes["spot"][0] == pytest.approx(389.5, abs=0.2)  # it closed at 389.63
    assert levels.spot == 390.65


def reference_flip(snapshot, years):
    """The reference's own recipe: r = q = 0, 60 spots over S ± 20 %, a line between two."""
    sigmas = snapshot.vendor["iv"]
    rows = sigmas > 0.0
    puts = key_puts(snapshot.quotes["key"])
    count = int(rows.sum())
    book = Book(
        strikes=key_strikes(snapshot.quotes["key"])[rows],
        bases=np.ones(count),
        years=years[snapshot.expiry_index][rows],
        sigmas=sigmas[rows],
        discounts=np.ones(count),
        positions=(np.where(puts, -1.0, 1.0) * snapshot.quotes["open_interest"])[rows],
    )
    spots = np.linspace(0.8 * snapshot.spot, 1.2 * snapshot.spot, 60)
    curve = net_gex(book=book, spots=spots)
    (at,) = np.flatnonzero(np.diff(np.sign(curve)))
    return float(np.interp(0.0, curve[at : at + 2], spots[at : at + 2]))


def business_years(snapshot):
    days = np.array([np.busday_count("2022-12-12", each.expiration) for each in snapshot.expiries])
    return np.where(days == 0, 1, days) / 262.0


def calendar_years(snapshot):
    first = np.datetime64("2022-12-12")
    days = np.array([(np.datetime64(e.expiration) - first).astype(int) for e in snapshot.expiries])
    return np.maximum(days, 1) / 365.0


@pytest.mark.parametrize(
    ("known", "clock", "flip"),
    [
        (SPX, business_years, 4013.949),
        (SPX, calendar_years, 4006.463),
        (RUT, business_years, 1898.235),
    ],
)
def test_flips_of_the_reference_by_its_own_recipe(read, known, clock, flip):
    """The rows that were read give the published flips to the last digit."""
    snapshot, _ = read(known)
    assert reference_flip(snapshot, clock(snapshot)) == pytest.approx(flip, abs=6e-4)


def test_flip_by_own_greeks_where_the_chain_is_quoted(read):
    """Within 0.5 % of the Russell file's 1898.235, and 0.1 % of it on the calendar's clock.

    Business days of 1/262 year put 1.4 times the time of calendar days into a weekend; that
    alone is 0.38 %. What is left of our difference is parity forwards in place of r = q = 0,
    and one volatility per strike, from quotes, in place of the vendor's two.
    """
    snapshot, levels = read(RUT)
    assert levels.zero_gamma == pytest.approx(1898.235, rel=5e-3)
    assert levels.zero_gamma == pytest.approx(
        reference_flip(snapshot, calendar_years(snapshot)), rel=1e-3
    )
    assert levels.net_gex / 1e9 == pytest.approx(-0.321249, rel=0.05)
    assert levels.quality.coverage_gamma > 0.95


def test_flip_by_own_greeks_where_the_curve_hovers(read):
    """The Nasdaq curve crosses zero seven times by the vendor's Greeks; ours lies among them.

    A quarter of its open interest is in strikes without a usable bid, so the one root by our
    own Greeks cannot be held to the nearest of theirs (11140.2), only to where they are.
    """
    _, vendor = read(NDX, "vendor")
    assert vendor.zero_gamma == pytest.approx(11140.2, rel=5e-4)
    assert len(vendor.flip.roots) > 1
    _, own = read(NDX)
    assert vendor.flip.roots[0] < own.zero_gamma < vendor.flip.roots[-1]
    assert own.net_gex == pytest.approx(vendor.net_gex, rel=0.06)
    assert own.regime == vendor.regime == "positive"


def test_flip_by_own_greeks_where_nothing_is_quoted(read):
    """Cboe empties SPX quotes in the evening: no level is made of a fiftieth of the chain."""
    _, own = read(SPX)
    assert own.quality.coverage_oi < 0.03
    assert own.quality.rejected["no_bid"] > 18_000
    assert np.isnan(own.zero_gamma)
    snapshot, _ = read(SPX)
    flat = levels_of(snapshot, parameters=QuantParameters(rate=0.0), source="vendor")
    assert flat.zero_gamma == pytest.approx(4006.463, rel=5e-4)  # whole days, a coarser grid


RECORDED = {
    "2026-07-20": (0.76, -3.13),
    "2026-07-22": (-1.22, -0.25),
    "2026-07-23": (-2.57, -4.03),
    "2026-07-24": (-1.01, -2.25),
    "2026-07-27": (2.49, -1.37),
    "2026-07-28": (-0.88, 1.21),
    "2026-07-31": (2.58, 7.74),
    "2026-08-05": (2.66, 0.32),
    "2026-08-07": (1.76, 4.63),
    "2026-08-10": (1.14, 3.05),
    "2026-08-11": (0.76, -2.57),
    "2026-08-13": (3.58, 4.85),
    "2026-08-18": (-2.43, -3.38),
    "2026-08-19": (0.21, -0.46),
    "2026-08-21": (0.13, -0.10),
}
"""Date → net 0DTE GEX of the second and the last snapshot [billions of $]."""


@pytest.mark.parametrize("day", RECORDED)
def test_recorded_days_with_the_vendors_greeks(market_data, day):
    path = market_data / "intraday" / f"spy_0dte_{day}.csv.gz"
    series = read_recording(read_source(path), symbol=None)
    second = series.snapshot(series.fetches[1])
    last = load_snapshot(path, at_us=None, symbol=None)
    for snapshot, net in zip((second, last), RECORDED[day], strict=True):
        levels = levels_of(snapshot, parameters=PARAMETERS, source="vendor")
        assert levels.totals.net_gex_0dte / 1e9 == pytest.approx(net, abs=0.0051)
        assert levels.net_gex == levels.totals.net_gex_0dte


@pytest.mark.parametrize("recorder", ["2026-08-19_recorder2", "2026-08-21_recorder2"])
def test_the_second_recorder(market_data, recorder):
    path = market_data / "intraday" / f"spy_0dte_{recorder}.csv.gz"
    levels = levels_of(load_snapshot(path, at_us=None, symbol=None), parameters=PARAMETERS)
    assert np.isfinite(levels.net_gex)
    assert np.isfinite(levels.zero_gamma)
