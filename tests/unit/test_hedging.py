"""Forced flows and further readings, by hand and against a full re-price of every contract."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace
from synthetic_chain import AT, EXPIRY, PARAMETERS, SPOT, chain

from common.board import ShardState
from common.chain import solve
from common.clock import SECOND
from common.hedging import MINUTES, SPOT_MOVES
from common.levels import Levels, evaluate
from common.models import Expiry
from common.quant.blackscholes import deltas
from common.quant.exposure import MULTIPLIER


def levels_of(*shards: ShardState, as_of: int = AT, spot: float = SPOT) -> Levels:
    return evaluate(symbol="SPY", shards=shards, spot=spot, as_of=as_of, parameters=PARAMETERS)


def shard(**given) -> ShardState:
    expiry = given.get("expiry", EXPIRY)
    rows = chain(**given)
    return ShardState(expiry, rows, solve(quotes=rows, expiry=expiry, parameters=PARAMETERS))


FRIDAY = Expiry(EXPIRY.expiration.replace(day=21))
NEXT = Expiry(EXPIRY.expiration.replace(day=28))


def shares(levels: Levels, spot: float, elapsed: float) -> float:
    """Each contract re-priced on its own, puts as puts."""
    board = levels.board
    carries = np.log(board.bases) / board.years
    years = board.years - elapsed
    found = deltas(
        spots=spot,
        forwards=spot * np.exp(carries * np.maximum(years, 0.0)),
        strikes=board.strikes,
        years=years,
        sigmas=board.sigmas,
        rates=levels.rate,
        puts=board.puts,
    )
    position = board.signs * board.open_interests * MULTIPLIER
    return float(np.sum((position * found)[board.used]))


def test_every_scenario_is_a_full_reprice() -> None:
    levels = levels_of(shard(), shard(expiry=FRIDAY))
    now, hedging = shares(levels, SPOT, 0.0), levels.hedging
    assert now * SPOT == pytest.approx(levels.totals.dex, rel=1e-10)
    scale = 1e-9 * np.sum(levels.board.open_interests) * MULTIPLIER * SPOT
    for move in SPOT_MOVES:
        expected = (shares(levels, SPOT * (1 + move), 0.0) - now) * SPOT
        assert hedging.by_spot[move] == pytest.approx(expected, abs=scale)
    for minutes in MINUTES:
        expected = (shares(levels, SPOT, minutes / 525_600) - now) * SPOT
        assert hedging.by_minutes[minutes] == pytest.approx(expected, abs=scale)
    front = float(levels.board.years.min())
    expected = (shares(levels, SPOT, front) - now) * SPOT
    assert hedging.charm_into_close == pytest.approx(expected, abs=scale)
    assert hedging.charm_into_close != 0.0


def test_a_small_move_is_gamma_and_a_minute_is_charm() -> None:
    levels = levels_of(shard(expiry=NEXT))
    per_percent = levels.hedging.by_spot[0.0025] - levels.hedging.by_spot[-0.0025]
    assert per_percent / 0.5 == pytest.approx(levels.net_gex, rel=2e-2)
    assert levels.hedging.by_minutes[1] == pytest.approx(levels.cex_per_minute, rel=1e-3)


def test_settled_options_keep_what_settlement_leaves() -> None:
    strikes = np.array([700.0, SPOT + 100.0])
    found = deltas(
        spots=SPOT, forwards=SPOT, strikes=strikes, years=0.0, sigmas=0.2, rates=0.04, puts=False
    )
    assert found.tolist() == [1.0, 0.0]
    found = deltas(
        spots=SPOT, forwards=SPOT, strikes=strikes, years=-1.0, sigmas=0.2, rates=0.04, puts=True
    )
    assert found.tolist() == [0.0, -1.0]


def test_readings_add_up() -> None:
    levels = levels_of(shard(), shard(expiry=FRIDAY), shard(expiry=NEXT))
    rows, readings = levels.expirations, levels.readings
    week = sum(row.net_gex for row in rows if row.expiration <= FRIDAY.expiration)
    assert readings.net_gex_week == pytest.approx(week, rel=1e-12)
    assert readings.net_gex_by_sign["index"] == pytest.approx(levels.net_gex, rel=1e-12)
    gross = np.sum(np.abs(levels.strikes.call_gex)) + np.sum(np.abs(levels.strikes.put_gex))
    assert readings.net_gex_by_sign["short_all"] == pytest.approx(-gross, rel=1e-12)
    near = np.abs(levels.strikes.strikes - SPOT) <= 0.01 * SPOT
    assert readings.local_gex == pytest.approx(levels.strikes.net_gex[near].sum(), rel=1e-12)
    sizes = np.sort(np.abs(levels.strikes.net_gex))[::-1][:5]
    assert [abs(gex) for _, gex in readings.largest_strikes] == sizes.tolist()


def test_the_skew_is_that_of_the_smile() -> None:
    levels = levels_of(shard(foot=SPOT * 1.01))  # low strikes dear, high ones cheap
    skew = levels.readings.skews[EXPIRY.shard]
    assert skew > 0.0
    flat = replace(shard(), solution=replace(shard().solution, iv=np.full(42, 0.15)))
    assert levels_of(flat).readings.skews[EXPIRY.shard] == pytest.approx(0.0, abs=1e-12)


def test_a_minute_before_the_end_only_the_present_counts() -> None:
    levels = levels_of(shard(at=AT + 3 * 3600 * SECOND - 60 * SECOND), as_of=AT + 10_740 * SECOND)
    assert levels.hedging.by_minutes[5] == pytest.approx(levels.hedging.charm_into_close)
