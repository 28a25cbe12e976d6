"""The recorded SPY days and the Cboe chains against their vendors' figures."""

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
from common.quant.blackscholes import greeks
from common.quant.exposure import MULTIPLIER, ONE_PERCENT
from common.settings import QuantParameters
from workers.commands.compute import levels_of

pytestmark = pytest.mark.data
PARAMETERS = QuantParameters()
GROSS_LIMIT = 0.02
FILES = 17


@dataclass(frozen=True)
class Compared:
    """One snapshot: our gamma against the vendor's on the same contracts."""

    at: str
    gamma_errors: np.ndarray
    net_error: float
    """|own - vendor| / |vendor|"""
    gross_error: float
    """|own - vendor| / gross |vendor|"""
    vendor_gross_error: float
    """The same of Black-Scholes at the vendor's *own* IV and clock against its own gamma."""
    breaches: int


def compare(snapshot):
    levels = evaluated(snapshot)
    board, vendor, quotes = levels.board, snapshot.vendor, snapshot.quotes
    delta = np.abs(vendor["delta"])
    two_sided = (quotes["bid"] > 0) & (quotes["ask"] > quotes["bid"])
    rows = two_sided & (delta > 0.02) & (delta < 0.98) & (vendor["gamma"] > 0) & board.used
    if not rows.any():
        return None
    weights = board.signs * board.open_interests * MULTIPLIER * ONE_PERCENT * snapshot.spot**2
    own, theirs = (weights * board.greeks.gamma)[rows], (weights * vendor["gamma"])[rows]
    gross = np.abs(theirs).sum()
    return Compared(
        at=iso_ms(snapshot.as_of),
        gamma_errors=np.abs(board.greeks.gamma[rows] / vendor["gamma"][rows] - 1),
        net_error=abs(own.sum() - theirs.sum()) / abs(theirs.sum()),
        gross_error=abs(own.sum() - theirs.sum()) / gross,
        vendor_gross_error=vendor_inconsistency(snapshot, board, rows, weights) / gross,
        breaches=len(check_invariants(levels)),
    )


def vendor_inconsistency(snapshot, board, rows, weights):
    """How far the vendor's gamma column is from its IV column, T counted to 16:30 as it does."""
    sigmas = np.where(snapshot.vendor["iv"] > 0, snapshot.vendor["iv"], np.nan)
    gammas = greeks(
        spots=snapshot.spot,
        forwards=snapshot.spot,
        strikes=board.strikes,
        years=board.years + 0.53 / 8760,
        sigmas=sigmas,
        rates=0.0,
        puts=board.puts,
    ).gamma
    usable = rows & np.isfinite(gammas)
    return abs(np.sum((weights * (gammas - snapshot.vendor["gamma"]))[usable]))


def evaluated(snapshot, source="own"):
    return levels_of(snapshot, parameters=PARAMETERS, source=source)


@pytest.fixture(scope="module")
def recorded(market_data):
    """File → its compared snapshots, all recorded days."""
    found = {}
    for path in sorted((market_data / "intraday").glob("spy_0dte_*")):
        series = read_recording(read_source(path), symbol=None)
        compared = [compare(snapshot) for snapshot in series.snapshots()]
        found[path.name.removesuffix(".csv.gz")] = [c for c in compared if c is not None]
    assert len(found) == FILES
    return found


def test_gamma_within_two_percent_in_the_median_of_every_day(recorded):
    for day, compared in recorded.items():
        errors = np.concatenate([c.gamma_errors for c in compared])
        assert np.median(errors) < 0.02, day


def test_net_gex_within_three_percent_in_the_median(recorded):
    assert np.median([c.net_error for day in recorded.values() for c in day]) < 0.03


def test_net_gex_within_two_percent_of_gross_in_all_but_seven_snapshots(recorded):
    """Of 1,019 snapshots seven are off by 2.1 to 2.6 % of gross; exactly these.

    In the first two the vendor's Greeks belong to a spot 0.3 $ away from that of their row; in
    the others wings are quoted at one to three ticks. The vendor's own IV misses its own gamma
    ten times as often.
    """
    every = [c for day in recorded.values() for c in day]
    missed = {c.at[:19] for c in every if not c.gross_error < GROSS_LIMIT}
    assert missed == {
        "2026-07-28T15:10:19",
        "2026-08-10T13:30:13",
        "2026-08-13T17:38:22",
        "2026-08-18T19:07:18",
        "2026-08-18T19:37:20",
        "2026-08-18T19:42:20",
        "2026-08-18T19:47:19",
    }
    assert max(c.gross_error for c in every) < 0.027
    assert sum(c.vendor_gross_error > GROSS_LIMIT for c in every) > 10 * len(missed)


def test_the_invariants_hold_in_every_snapshot(recorded):
    assert sum(c.breaches for day in recorded.values() for c in day) == 0


def chain(market_data, name, at=None):
    path = market_data / "cboe_json" / f"{name}.json.gz"
    return load_snapshot(path, at_us=parse_instant(at) if at else None, symbol=None)


@pytest.mark.parametrize(
    ("name", "at", "reference"),
    [
        ("spy_cboe_2022-07-12_1857et", None, (5.6992, 11.8189, -6.1197)),
        ("spy_cboe_2022-04-03_flat_noquotes", "2022-04-03T20:00", (10.8732, 14.5687, -3.6954)),
        ("iwm_cboe_2025-06-06_close", None, (2.7193, 3.2325, -0.5132)),
        ("rut_cboe_2025-06-04_2344et", None, (2.1497, 2.2869, -0.1373)),
    ],
)
def test_vendor_totals(market_data, name, at, reference):
    call, put, net = reference
    snapshot = chain(market_data, name, at)
    levels = evaluated(snapshot, "vendor")
    board = levels.board
    gex = board.open_interests * board.greeks.gamma * snapshot.spot**2  # m · 0.01 = 1
    totals = [np.nansum(gex[~board.puts]) / 1e9, np.nansum(gex[board.puts]) / 1e9]
    assert totals == pytest.approx([call, put], rel=1e-3)
    assert totals[0] - totals[1] == pytest.approx(net, rel=1e-3)
    # The reference includes expired rows; ours never do.
    expired = np.nansum((board.signs * gex)[~board.alive])
    assert levels.net_gex + expired == pytest.approx(net * 1e9, rel=1e-3)
    if name.startswith("rut"):
        assert levels.quality.rejected["expired"] == 276
        assert expired != 0.0
    else:
        assert expired == 0.0


def test_iwm_strikes_equal_the_external_reference_exactly(market_data):
    levels = evaluated(chain(market_data, "iwm_cboe_2025-06-06_close"), "vendor")
    path = market_data / "cboe_json" / "iwm_cboe_2025-06-06_close.gex_reference.json.gz"
    with gzip.open(path) as lines:
        reference = orjson.loads(lines.read())["expiryData"]["all"]
    table = levels.strikes
    halves = set(table.strikes[table.strikes % 1 != 0].tolist())
    assert halves == {192.5, 197.5, 202.5, 207.5, 212.5, 217.5, 222.5}
    ours = {}
    for strike, call, put in zip(table.strikes, table.call_gex, table.put_gex, strict=True):
        at = float(np.floor(strike))  # the reference cuts 192.5 down to 192
        calls, puts = ours.get(at, (0.0, 0.0))
        ours[at] = (calls + call / 1e9, puts + put / 1e9)
    assert ours.keys() == {row["strike"] for row in reference["strikeData"]}
    for row in reference["strikeData"]:
        gamma = row["gamma"]
        expected = (gamma["callExposure"], gamma["putExposure"])
        assert ours[row["strike"]] == pytest.approx(expected, rel=1e-12, abs=1e-18)
    assert levels.net_gex / 1e9 == pytest.approx(reference["totalExposure"], rel=1e-12)


def test_iwm_zero_gamma_by_our_own_greeks(market_data):
    levels = evaluated(chain(market_data, "iwm_cboe_2025-06-06_close"))
    assert 212.5 < levels.zero_gamma < 214.0
    assert check_invariants(levels) == []


@pytest.mark.parametrize("source", ["own", "vendor"])
def test_a_file_without_quotes(market_data, source):
    snapshot = chain(market_data, "spy_cboe_2022-04-03_flat_noquotes", "2022-04-03T20:00")
    document = evaluated(snapshot, source).to_json()
    if source == "own":
        assert document["levels"]["net_gex"] is None
        assert document["quality"]["with_iv"] == 0
    else:
        assert document["levels"]["net_gex"] < 0
    assert document["quality"]["rejected"]["expired"] > 0
    assert document["expirations"][0]["expiration"] == "2022-04-04"
