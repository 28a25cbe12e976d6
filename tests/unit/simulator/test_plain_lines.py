"""Every byte of a chain stream, against a desk that goes contract by contract in plain Python."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from fake_site import MARKET, MONDAY_AT_11
from hypothesis import given, settings
from hypothesis import strategies as st
from random_day import FAR, RandomDay

from common.clock import SECOND, new_york_date
from common.models import FLAG_WITHDRAWN
from workers.simulator.changes import TURNS
from workers.simulator.desk import Desk
from workers.simulator.market import Day
from workers.simulator.paced_market import Pace, PacedMarket
from workers.simulator.quotes import wire_time
from workers.simulator.rows import FIELDS, GREEK_FIELDS, WHOLE_FIELDS, number_text, number_texts
from workers.simulator.subscriptions import ChainSubscription

Row = dict[str, Any]
_COUNTS = ("open_interest", "ask_size", "bid_size", "volume")


def same(one: float, other: float) -> bool:
    """Whether two numbers are, nothing being nothing."""
    return one == other or (math.isnan(one) and math.isnan(other))


def plain_number(value: float) -> str:
    """Four decimals at most, the shortest form."""
    return repr(float(np.round(value, 4)) + 0.0).removesuffix(".0")


class PlainDesk:
    """What a desk says, and how it is written."""

    def __init__(self, day: Day, at_us: int) -> None:
        self.day, self.steps, self.spot = day, 0, math.nan
        self.said: dict[int, Row] = {}
        self.lasts: dict[int, list[float]] = {place: [] for place in range(day.contracts.size)}
        for instant in day.instants(at_us):
            for place, row in enumerate(self._board(instant)):
                self._trade(place, row)
        self.step(at_us, everything=True)

    def _board(self, at_us: int) -> list[Row]:
        rows = self.day.board(at_us).rows
        names = rows.dtype.names or ()
        return [dict(zip(names, row, strict=True)) for row in rows.tolist()]

    def _trade(self, place: int, row: Row) -> None:
        if row["last"] > 0.0:
            self.lasts[place].append(row["last"])

    def step(self, at_us: int, *, everything: bool = False) -> list[int]:
        """The contracts of which something is said."""
        self.steps += 1
        told = []
        for place, row in enumerate(self._board(at_us)):
            names = ["bid", "ask"]
            if everything or place % TURNS == self.steps % TURNS:
                names += ["last", "bid_size", "ask_size", "volume", "open_interest"]
            before = self.said.get(place)
            news = before is None or not all(same(row[name], before[name]) for name in names)
            if news and not row["flags"] & FLAG_WITHDRAWN:
                told.append(place)
                self.said[place] = row
                self._trade(place, row)
        self.spot = self.day.board(at_us).underlying.last
        mids = np.full(self.day.contracts.size, np.nan)
        for place, row in self.said.items():
            mids[place] = 0.5 * (row["bid"] + row["ask"])
        self.computed = self.day.analytics(at_us, np.arange(mids.size), mids)
        return told

    def line(self, place: int, *, greeks: bool) -> bytes:
        """A contract's row."""
        row, contracts = self.said[place], self.day.contracts
        strike, put = float(contracts.strikes[place]), bool(contracts.puts[place])
        bid, ask, last = row["bid"], row["ask"], row["last"]
        before = float(self.day.previous_closes[place])
        mid, lasts = 0.5 * (bid + ask), self.lasts[place] or [math.nan]
        intrinsic = max(strike - self.spot if put else self.spot - strike, 0.0)
        values = {
            **{name: float(each[place]) for name, each in self.computed.items()},
            **{"Bid": bid, "Ask": ask, "Mid": mid, "Last": last, "Close": last},
            **{"IntrinsicValue": intrinsic, "ExtrinsicValue": mid - intrinsic},
            **{"Open": lasts[0], "High": max(lasts), "Low": min(lasts), "PreviousClose": before},
            "NetChange": last - before,
            "NetChangePct": (last - before) / before if before > 0.0 else math.nan,
        }
        for name, column in zip(WHOLE_FIELDS, _COUNTS, strict=True):
            values[name] = row[column] if row[column] >= 0 else math.nan
        text = "{"
        for name in FIELDS:
            if name in GREEK_FIELDS and not greeks:
                continue
            if math.isfinite(value := values.get(name, math.nan)):
                quote = "" if name in WHOLE_FIELDS else '"'
                text += f'"{name}":{quote}{plain_number(value)}{quote},'
        return text.encode() + contracts.tails[place]


def assert_same_bytes(day: Day, instants: list[int]) -> int:
    """Two windows of a day, read at every instant; how many lines there were."""
    desk, plain = Desk(day, instants[0]), PlainDesk(day, instants[0])
    far = day.contracts.of_expiry(day.contracts.expiries[-1])
    readers = [
        (ChainSubscription(desk, window, greeks=greeks), window, greeks)
        for window, greeks in ((far, True), (~far, True), (far | True, False))
    ]
    told, count = sorted(plain.said), 0
    for at_us in [*instants[1:], None]:
        for reader, window, greeks in readers:
            lines = [plain.line(place, greeks=greeks) for place in told if window[place]]
            assert reader.take() == lines
            count += len(lines)
        if at_us is not None:
            desk.step(at_us)
            told = plain.step(at_us)
    return count


@pytest.mark.parametrize("pace", [2000.0, 1e6])
def test_a_paced_day_is_written_as_plainly(pace: float) -> None:
    day = PacedMarket(MARKET, Pace(pace)).day("SPY", new_york_date(MONDAY_AT_11))
    day.board(MONDAY_AT_11)
    size = day.contracts.size
    count = assert_same_bytes(day, [MONDAY_AT_11 + step * 5000 for step in range(24)])
    assert count >= 2 * size + 2 * 23 * 10


def test_the_model_is_written_as_plainly() -> None:
    day = MARKET.day("SPY", new_york_date(MONDAY_AT_11))
    instants = [MONDAY_AT_11 + step * SECOND // 4 for step in range(3)]
    assert assert_same_bytes(day, instants) > 2 * day.contracts.size


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 1000), late=st.integers(0, 5))
def test_any_day_is_written_as_plainly(seed: int, late: int) -> None:
    day = RandomDay(seed, listed_late=late)
    assert day.contracts.expiries[-1] == FAR
    assert_same_bytes(day, list(range(30)))


numbers = st.one_of(st.floats(-1e7, 1e7), st.integers(0, 10**7).map(float), st.just(-0.00001))


@given(st.lists(numbers, min_size=1, max_size=20))
def test_many_numbers_are_written_as_each(values: list[float]) -> None:
    plain = [plain_number(value) for value in values]
    assert number_texts(values) == plain
    assert [number_text(value) for value in values] == plain
    assert number_texts([]) == []  # of a contract that has neither quote nor close


@given(st.integers(0, 4 * 10**15))
def test_an_instant_is_written_in_whole_seconds(at_us: int) -> None:
    at = datetime.fromtimestamp(at_us // SECOND, UTC)
    assert wire_time(at_us) == f"{at:%Y-%m-%dT%H:%M:%SZ}"
