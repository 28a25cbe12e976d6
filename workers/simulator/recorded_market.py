"""A recorded 0DTE series as a market to simulate: one symbol, the file's own dates.

Owns turning snapshots into boards; must not change what was recorded. A contract that the
recorder's window has left keeps its last quote, as an exchange lists it until it settles.
"""

from __future__ import annotations

from datetime import date
from itertools import groupby

import numpy as np

from common.clock import new_york_date, session_hours
from common.errors import InputError
from common.feeds.recording import Recording
from common.feeds.snapshot import FileSnapshot
from common.feeds.source import SourceFile
from common.models import FLAG_WITHDRAWN, QUOTE, Expiry, FloatArray
from workers.simulator.contracts import Contracts, Keys
from workers.simulator.market import Board, Places, Underlying

_PRICES = ("bid", "ask", "last")
_FIELDS = {"iv": "ImpliedVolatility", "delta": "Delta", "gamma": "Gamma"}


class RecordedDates:
    """The dates of a recording; each runs from its first snapshot to the close."""

    def __init__(self, source: str, hours: dict[date, tuple[int, int]]) -> None:
        self.source, self._hours = source, hours

    def first(self, wall: int) -> tuple[date, int]:
        """The first snapshot, whatever the wall time."""
        day = min(self._hours)
        return day, self._hours[day][0]

    def after(self, day: date) -> date | None:
        """The next date of the file."""
        return min((each for each in self._hours if each > day), default=None)

    def hours(self, day: date) -> tuple[int, int] | None:
        """First snapshot and close of the cash session."""
        return self._hours.get(day)


class RecordedMarket:
    """The market of one file."""

    def __init__(self, source: SourceFile, recording: Recording) -> None:
        """Lay the snapshots out.

        :raises InputError: when a snapshot lies on a day without trading, or none holds both a
            price of the underlying and a contract.
        """
        usable = [each for each in recording.snapshots() if each.spot > 0.0 and each.quotes.size]
        if not usable:
            raise InputError(f"{source.path}: no snapshot holds a spot and a contract")
        self.symbols = frozenset({recording.symbol})
        self._days: dict[date, RecordedDay] = {}
        hours: dict[date, tuple[int, int]] = {}
        for day, group in groupby(usable, key=lambda each: new_york_date(each.as_of)):
            snapshots = list(group)
            try:
                _, close_us = session_hours(day)
            except ValueError as error:
                raise InputError(f"{source.path}: {error}") from error
            self._days[day] = RecordedDay(recording.symbol, snapshots)
            hours[day] = (snapshots[0].as_of, max(close_us, snapshots[-1].as_of))
        self.dates = RecordedDates(f"recording-{source.digest[:12]}", hours)

    def day(self, symbol: str, trading_date: date) -> RecordedDay:
        """One date of the file's symbol."""
        del symbol  # there is one
        return self._days[trading_date]


class RecordedDay:
    """One date of a recording: shape (snapshots, contracts), each row carried forward."""

    def __init__(self, symbol: str, snapshots: list[FileSnapshot]) -> None:
        self.contracts = Contracts.of(symbol, _listed(snapshots))
        self.previous_closes = np.full(self.contracts.size, np.nan)
        self._times = np.array([each.as_of for each in snapshots])
        self._spots = np.array([each.spot for each in snapshots])
        shape = (len(snapshots), self.contracts.size)
        self._rows = np.zeros(shape, QUOTE)
        self._vendor = {name: np.full(shape, np.nan) for name in _FIELDS}
        now = np.zeros(self.contracts.size, QUOTE)
        now["key"], now["flags"] = self.contracts.keys, FLAG_WITHDRAWN
        for at, snapshot in enumerate(snapshots):
            places = self._places(snapshot)
            now[places] = snapshot.quotes
            self._rows[at] = now
            for name, column in snapshot.vendor.items():
                self._vendor[name][at, places] = column
        for name in _PRICES:
            prices = self._rows[name]
            prices[~np.isfinite(prices)] = np.nan
        self._rows["seq"] = -1

    def board(self, at_us: int) -> Board:
        """The last snapshot at or before an instant."""
        at = self._at(at_us)
        spots = self._spots[: at + 1]
        underlying = Underlying(
            time=int(self._times[at]),
            last=float(spots[-1]),
            bid=np.nan,
            ask=np.nan,
            open=float(spots[0]),
            high=float(spots.max()),
            low=float(spots.min()),
            previous_close=np.nan,
            vwap=np.nan,
            volume=-1,
        )
        return Board(underlying, self._rows[at])

    def instants(self, until_us: int) -> list[int]:
        """The snapshots' times."""
        return [int(each) for each in self._times[: self._at(until_us) + 1]]

    def analytics(self, at_us: int, places: Places, premiums: FloatArray) -> dict[str, FloatArray]:
        """The vendor's delta, gamma and volatility, where its volatility is not 0."""
        del premiums
        at = self._at(at_us)
        known = self._vendor["iv"][at, places] > 0.0
        return {
            field: np.where(known, self._vendor[name][at, places], np.nan)
            for name, field in _FIELDS.items()
        }

    def _at(self, at_us: int) -> int:
        return max(int(np.searchsorted(self._times, at_us, side="right")) - 1, 0)

    def _places(self, snapshot: FileSnapshot) -> Places:
        """Where a snapshot's contracts stand."""
        found = np.empty(snapshot.quotes.size, np.intp)
        for number, expiry in enumerate(snapshot.expiries):
            own = np.flatnonzero(self.contracts.of_expiry(expiry))
            rows = snapshot.expiry_index == number
            keys = snapshot.quotes["key"][rows]
            found[rows] = own[np.searchsorted(self.contracts.keys[own], keys)]
        return found


def _listed(snapshots: list[FileSnapshot]) -> dict[Expiry, Keys]:
    """The contracts of every snapshot together."""
    listed: dict[Expiry, list[Keys]] = {}
    for snapshot in snapshots:
        for number, expiry in enumerate(snapshot.expiries):
            keys = snapshot.quotes["key"][snapshot.expiry_index == number]
            listed.setdefault(expiry, []).append(keys)
    return {expiry: np.unique(np.concatenate(keys)) for expiry, keys in listed.items()}
