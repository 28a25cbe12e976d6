"""Quotes at a set pace: so many a second, each of them told by its contract's volume."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import orjson
import pytest
from fake_site import MARKET, MONDAY_AT_11

from common.clock import SECOND, new_york_date
from common.errors import UsageError
from workers.simulator.desk import Desk
from workers.simulator.paced_market import Pace, PacedDay, PacedMarket, change_order

MONDAY = new_york_date(MONDAY_AT_11)


def paced(quotes_per_second: float) -> tuple[Pace, PacedDay]:
    """A date of SPY, opened at eleven."""
    market = PacedMarket(MARKET, Pace(quotes_per_second))
    day = market.day("SPY", MONDAY)
    day.board(MONDAY_AT_11)
    return market.pace, day


def test_quotes_come_at_their_pace_and_each_changes_one_contract() -> None:
    _, day = paced(40.0)
    boards = [day.board(MONDAY_AT_11 + step * SECOND // 20).rows for step in range(41)]
    for before, after in pairwise(boards):
        changed = np.flatnonzero(after["volume"] != before["volume"])
        assert len(changed) == 2
        assert np.all(after["volume"][changed] == before["volume"][changed] + 1)
        assert np.array_equal(changed, np.flatnonzero(after["bid"] != before["bid"]))
        assert np.array_equal(changed, np.flatnonzero(after["ask"] != before["ask"]))
        assert np.abs(after["bid"] - before["bid"])[changed] == pytest.approx(0.01)
    assert boards[-1]["volume"].sum() == 80


def test_another_pace_keeps_what_has_been() -> None:
    pace, day = paced(10.0)
    assert pace.count(MONDAY_AT_11 + 2 * SECOND) == 20
    stretch = pace.change(1000.0, MONDAY_AT_11 + 2 * SECOND)
    assert (stretch.before, pace.count(MONDAY_AT_11 + 3 * SECOND)) == (20, 1020)
    pace.change(0.0, MONDAY_AT_11 + 3 * SECOND)
    assert pace.count(MONDAY_AT_11 + 9 * SECOND) == 1020
    assert pace.count(MONDAY_AT_11 + SECOND) == 10
    assert day.board(MONDAY_AT_11 + 9 * SECOND).rows["volume"].sum() == 1020


@pytest.mark.parametrize("wanted", [-1.0, float("inf"), float("nan")])
def test_what_is_no_pace_is_refused(wanted: float) -> None:
    with pytest.raises(UsageError, match="no number of quotes"):
        Pace(1.0).change(wanted, MONDAY_AT_11)


@pytest.mark.parametrize("size", [1, 2, 7, 320, 618])
def test_every_contract_has_its_turn(size: int) -> None:
    assert sorted(change_order(size).tolist()) == list(range(size))


def test_the_underlying_moves_a_cent_a_second() -> None:
    _, day = paced(0.0)
    lasts = [day.board(MONDAY_AT_11 + half * SECOND // 2).underlying.last for half in range(8)]
    moves = np.abs(np.diff(lasts)).round(2).tolist()
    assert moves == [0.0, 0.01, 0.0, 0.01, 0.0, 0.01, 0.0]


def test_rows_are_as_long_as_the_model_s() -> None:
    _, day = paced(100.0)
    everywhere = np.arange(day.contracts.size)
    own, model = (
        Desk(each, MONDAY_AT_11).lines(everywhere, greeks=True)
        for each in (day, MARKET.day("SPY", MONDAY))
    )
    lacking = {"Last", "Close", "NetChange", "NetChangePct", "High", "Low", "Open"}
    for mine, theirs in zip(map(orjson.loads, own), map(orjson.loads, model), strict=True):
        assert mine.keys() ^ theirs.keys() <= lacking
        assert mine["Legs"] == theirs["Legs"]
