"""The underlying of the market model: chained dates, a plausible day, whole cents."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from common.clock import SECOND, next_trading_day
from common.market_path import STEP_US, MarketPath

MONDAY = date(2026, 11, 23)
HOUR = 3600 * SECOND


@pytest.fixture(scope="module")
def path() -> MarketPath:
    """SPY on a Monday."""
    return MarketPath(symbol="SPY", seed=20261123, trading_date=MONDAY)


def test_numbers_depend_on_no_hash_seed_of_the_process(path: MarketPath) -> None:
    # Pinned: another value means that recorded sessions can no longer be drawn again.
    middle = (path.open_us + path.close_us) // 2
    prices = [path.spot(at_us) for at_us in (path.open_us, middle, path.close_us)]
    assert prices == [703.53, 707.03, 709.51]


def test_consecutive_dates_chain_and_stay_plausible() -> None:
    day, paths = date(2026, 9, 1), []
    for _ in range(60):
        paths.append(MarketPath(symbol="SPY", seed=1, trading_date=day))
        day = next_trading_day(day)
    closes = [each.spot(each.close_us) for each in paths]
    assert [each.previous_close for each in paths[1:]] == closes[:-1]
    assert 560 < min(closes) < max(closes) < 780
    daily = np.diff(np.log(closes))
    assert 0.004 < daily.std() < 0.011
    assert np.abs(daily).max() < 0.03


def test_spot_moves_like_a_day_with_a_busy_open_and_close() -> None:
    day, squares = date(2026, 9, 1), np.zeros(13)
    for _ in range(25):
        path = MarketPath(symbol="SPY", seed=2, trading_date=day)
        if path.close_us - path.open_us == 6.5 * HOUR:
            steps = range(path.open_us, path.close_us + 1, 60 * SECOND)
            moves = np.diff(np.log([path.spot(at_us) for at_us in steps]))
            squares += (moves**2).reshape(13, 30).sum(axis=1)
        day = next_trading_day(day)
    assert squares[0] > 1.8 * squares[6]
    assert squares[12] > 1.8 * squares[6]


def test_spot_is_in_cents_and_defined_outside_the_session(path: MarketPath) -> None:
    at_us = path.open_us + 2 * HOUR
    prices = np.array([path.spot(at_us + step * STEP_US) for step in range(400)])
    assert (np.round(prices, 2) == prices).all()
    assert np.unique(prices).size > 20
    assert np.abs(np.diff(prices)).max() < 0.15
    assert path.spot(path.open_us - 1) == path.previous_close
    assert path.spot(path.close_us + HOUR) == path.spot(path.close_us)


def test_spot_stands_still_within_a_step_of_the_grid(path: MarketPath) -> None:
    at_us = path.open_us + HOUR
    assert {path.spot(at_us + offset) for offset in (0, 1, STEP_US - 1)} == {path.spot(at_us)}


def test_unknown_symbols_have_a_level_of_their_own() -> None:
    levels = [
        MarketPath(symbol=name, seed=1, trading_date=MONDAY).previous_close
        for name in ("AAA", "BBB", "CCC", "DDD")
    ]
    assert len(set(levels)) == 4
    assert all(60 < level < 800 for level in levels)


def test_the_session_so_far_is_that_of_the_prices_seen(path: MarketPath) -> None:
    for steps in (0, 1, 2, 1000, 50_000):
        at_us = path.open_us + steps * STEP_US
        prices = [path.spot(path.open_us + step * STEP_US) for step in range(steps + 1)]
        so_far = path.so_far(at_us)
        assert (so_far.open, so_far.high, so_far.low) == (prices[0], max(prices), min(prices))
        assert so_far.low <= so_far.vwap <= so_far.high
    assert path.so_far(path.open_us - HOUR) == path.so_far(path.open_us)
    assert path.so_far(path.close_us + HOUR) == path.so_far(path.close_us)
    # within a hundred seconds the day's activity hardly changes
    flat = np.mean([path.spot(path.open_us + step * STEP_US) for step in range(1, 401)])
    assert path.so_far(path.open_us + 400 * STEP_US).vwap == pytest.approx(flat, abs=0.01)
