"""A market at a set pace: prices stand still but for so many quotes a second, each one numbered.

Owns which contract changes when; what the board looks like is another market's. The volume of a
contract is the number of its changes, so whoever sees a volume knows which quote it has seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from common.clock import SECOND
from common.errors import UsageError
from common.models import FloatArray
from workers.simulator.contracts import Contracts
from workers.simulator.market import Board, Day, Market, Places, Underlying
from workers.simulator.timeline import Dates

_TICK = 0.01
_STRIDE = 0.618
"""Of the board, from one change to the next: neighbours in time are of different expirations."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Market time at one pace."""

    from_us: int
    """Its beginning [us, market time]."""
    before: int
    """Quotes of each underlying until then."""
    quotes_per_second: float

    def count(self, at_us: int) -> int:
        """Quotes of each underlying until an instant of the stretch."""
        passed = (at_us - self.from_us) / SECOND
        return self.before + math.floor(max(passed, 0.0) * self.quotes_per_second + 1e-9)


class Pace:
    """How many quotes there have been at any instant."""

    def __init__(self, quotes_per_second: float) -> None:
        """Begin with the first instant asked for."""
        self._first, self._stretches = quotes_per_second, list[Stretch]()

    def change(self, quotes_per_second: float, at_us: int) -> Stretch:
        """Another pace from an instant on [us, market time]; quotes until then stay.

        :raises UsageError: when it is no number of quotes.
        """
        if not 0.0 <= quotes_per_second < math.inf:
            raise UsageError(f"{quotes_per_second} is no number of quotes a second")
        stretch = Stretch(at_us, self.count(at_us), quotes_per_second)
        self._stretches.append(stretch)
        return stretch

    def count(self, at_us: int) -> int:
        """Quotes of each underlying until an instant."""
        if not self._stretches:
            self._stretches.append(Stretch(at_us, 0, self._first))
        held = [each for each in self._stretches if each.from_us <= at_us]
        return (held or self._stretches)[-1 if held else 0].count(at_us)


class PacedMarket:
    """Another market's first board of each date, kept moving."""

    def __init__(self, market: Market, pace: Pace) -> None:
        """Show what ``market`` shows, at ``pace``."""
        self._market, self.pace = market, pace

    @property
    def symbols(self) -> frozenset[str]:
        """The other market's."""
        return self._market.symbols

    @property
    def dates(self) -> Dates:
        """The other market's."""
        return self._market.dates

    def day(self, symbol: str, trading_date: date) -> PacedDay:
        """One trading date of a symbol."""
        return PacedDay(self._market.day(symbol, trading_date), self.pace)


class PacedDay:
    """One trading date: the board of its first instant, and the changes since."""

    def __init__(self, day: Day, pace: Pace) -> None:
        self._day, self._pace = day, pace
        self._still: Board | None = None
        self._fields: list[str] = []
        self._values = np.empty((0, day.contracts.size))
        """Of each of the fields, a row each."""
        self._order = change_order(day.contracts.size)
        self._turns = np.argsort(self._order)

    @property
    def contracts(self) -> Contracts:
        """The other market's."""
        return self._day.contracts

    @property
    def previous_closes(self) -> FloatArray:
        """The other market's."""
        return self._day.previous_closes

    def board(self, at_us: int) -> Board:
        """The first board with every change so far: a cent up, a cent down, one more traded.

        The underlying moves a cent, up or down, once a second of market time.
        """
        still = self._still_at(at_us)
        size = self.contracts.size
        counts = (self._pace.count(at_us) - self._turns + size - 1) // size
        rows = still.rows.view(np.uint8).copy().view(still.rows.dtype)  # not field by field
        up = _TICK * (counts & 1)
        rows["time"], rows["volume"] = at_us, counts
        rows["bid"] += up
        rows["ask"] += up
        return Board(_moved(still.underlying, at_us), rows)

    def instants(self, until_us: int) -> list[int]:
        """The present one: nothing has gone before."""
        return [until_us]

    def analytics(self, at_us: int, places: Places, premiums: FloatArray) -> dict[str, FloatArray]:
        """Those of the first board, whatever has changed: a row is as long as the other's."""
        del premiums
        if not self._fields:
            rows = self._still_at(at_us).rows
            everywhere = np.arange(self.contracts.size)
            middles = 0.5 * (rows["bid"] + rows["ask"])
            found = self._day.analytics(at_us, everywhere, middles)
            self._fields, self._values = [*found], np.array([*found.values()])
        return dict(zip(self._fields, self._values[:, places], strict=True))

    def _still_at(self, at_us: int) -> Board:
        if self._still is None:
            self._still = self._day.board(at_us)
        return self._still


def change_order(size: int) -> Places:
    """The order in which so many contracts change: every place once, far apart in turn."""
    stride = max(round(_STRIDE * size), 1)
    while math.gcd(stride, size) != 1:
        stride += 1
    return np.arange(size) * stride % size


def _moved(underlying: Underlying, at_us: int) -> Underlying:
    up = _TICK * (at_us // SECOND & 1)
    return replace(
        underlying,
        time=at_us,
        last=round(underlying.last + up, 2),
        bid=round(underlying.bid + up, 2),
        ask=round(underlying.ask + up, 2),
    )
