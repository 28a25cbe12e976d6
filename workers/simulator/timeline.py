"""Which trading date runs when, and what follows it.

Owns that question for the market model and for recorded days, restarts included; must not
know prices, read a clock or keep a file.
"""

from __future__ import annotations

from datetime import date
from typing import Protocol

import msgspec

from common.clock import (
    SECOND,
    is_trading_day,
    iso_ms,
    new_york_date,
    next_trading_day,
    previous_trading_day,
    session_hours,
)
from common.errors import UsageError
from common.models import MarketClock

_LATE_START_US = 1800 * SECOND  # 10:00 New York, where a session out of hours starts
_WHOLE_SESSION_US = 6 * 3600 * SECOND
"""The session of a date that closes early is shorter than this [us]."""
_DATES_AHEAD = 600
"""How far ahead such a date is looked for."""


class Running(msgspec.Struct, frozen=True):
    """A trading date that runs, and its clock; written down so that a restart goes on."""

    source: str
    """The market's name; see :attr:`Dates.source`."""
    trading_date: date
    clock: MarketClock
    round: int = 1
    """How often the source has been played from its beginning."""

    @property
    def name(self) -> str:
        """Where the prices come from, another name for each round: no date comes twice."""
        return self.source if self.round == 1 else f"{self.source}-{self.round}"


class Dates(Protocol):
    """The trading dates that a market has to offer."""

    @property
    def source(self) -> str:
        """Stable name of the market, e.g. a seed."""

    def first(self, wall: int) -> tuple[date, int]:
        """Date and market time [us] at which a first run begins at a wall time [us]."""

    def after(self, day: date) -> date | None:
        """The date that follows another, None after the last."""

    def hours(self, day: date) -> tuple[int, int] | None:
        """First and last instant of a date [us, market time]; None for one not offered."""


class TradingDays:
    """Every trading day of the NYSE, without end, for a market made with a seed."""

    def __init__(self, seed: int) -> None:
        self.source = str(seed)

    def first(self, wall: int) -> tuple[date, int]:
        """Real time while the NYSE is open; otherwise the latest trading day, today included,
        as if it were 10:00 in New York.
        """
        day = new_york_date(wall)
        if not is_trading_day(day):
            day = previous_trading_day(day)
        open_us, close_us = session_hours(day)
        return day, wall if open_us <= wall < close_us else open_us + _LATE_START_US

    def after(self, day: date) -> date:
        """The next trading day."""
        return next_trading_day(day)

    def hours(self, day: date) -> tuple[int, int] | None:
        """Open and close of the cash session."""
        return session_hours(day) if is_trading_day(day) else None


class Timeline:
    """One trading date after the other."""

    def __init__(
        self,
        dates: Dates,
        *,
        rate: float = 1.0,
        pause_us: int = 0,
        start_us: int | None = None,
        once: bool = False,
    ) -> None:
        """Plan the dates.

        :param rate: market seconds in a second of wall time.
        :param pause_us: wall time between a close and the next date [us].
        :param start_us: market time to begin at instead of going on [us].
        :param once: stay at the end of the last date instead of beginning again.
        :raises UsageError: when ``start_us`` lies in no session on offer.
        """
        self._dates, self._rate, self._pause_us, self._once = dates, rate, pause_us, once
        self._start_us = start_us
        if start_us is not None:
            hours = dates.hours(new_york_date(start_us))
            if hours is None or not hours[0] <= start_us < hours[1]:
                raise UsageError(f"--start {iso_ms(start_us)} lies in no session of this market")

    def begin(self, previous: Running | None, wall: int) -> Running:
        """What runs from now on: ``previous`` while it lasts, else a later date.

        One of another source is ignored; a run that follows an older one starts where a first
        one would, if that is later.

        :param previous: what the last run wrote down.
        :param wall: wall time [us].
        """
        if self._start_us is not None:
            return self._at(new_york_date(self._start_us), self._start_us, wall)
        day, at_us = self._dates.first(wall)
        if previous is None or previous.source != self._dates.source:
            return self._at(day, at_us, wall)
        hours = self._dates.hours(previous.trading_date)
        if hours is None:
            return self._at(day, at_us, wall)
        if hours[0] <= previous.clock.market(wall) and not self.is_over(previous, wall):
            return self._at_this_rate(previous, wall)
        if day > previous.trading_date:
            return self._at(day, at_us, wall, previous.round)
        return self._following(previous, wall)

    def is_over(self, running: Running, wall: int) -> bool:
        """Whether a date and the pause behind it have passed."""
        if self._once and self._dates.after(running.trading_date) is None:
            return False
        return wall >= self.ends_at(running)

    def ends_at(self, running: Running) -> int:
        """The wall time [us] from which the next date may begin."""
        return running.clock.wall(self.hours(running)[1]) + self._pause_us

    def hours(self, running: Running) -> tuple[int, int]:
        """First and last instant of a date that runs [us, market time].

        :raises ValueError: when this market does not offer it.
        """
        hours = self._dates.hours(running.trading_date)
        if hours is None:
            raise ValueError(f"{running.trading_date} is no date of {self._dates.source}")
        return hours

    def following(self, running: Running, wall: int) -> Running | None:
        """What comes after a date; None when it is the last and is not played again."""
        if self._once and self._dates.after(running.trading_date) is None:
            return None
        return self._following(running, wall)

    def next_early_close(self, running: Running, before_us: int, wall: int) -> Running | None:
        """The next date that closes early, so much wall time before its close [us].

        :returns: None when none of the dates ahead is.
        """
        day: date | None = running.trading_date
        for _ in range(_DATES_AHEAD):
            day = self._dates.after(day) if day else None
            hours = self._dates.hours(day) if day else None
            if day is None or hours is None:
                return None
            if _closes_early(day):
                at_us = max(hours[1] - round(before_us * self._rate), hours[0])
                return self._at(day, at_us, wall, running.round)
        return None

    def _following(self, running: Running, wall: int) -> Running:
        day = self._dates.after(running.trading_date)
        played = running.round
        if day is None:
            day, played = self._dates.first(wall)[0], played + 1
        hours = self._dates.hours(day)
        return self._at(day, hours[0] if hours else wall, wall, played)

    def _at(self, day: date, at_us: int, wall: int, played: int = 1) -> Running:
        clock = MarketClock(wall, at_us, self._rate)
        return Running(self._dates.source, day, clock, played)

    def _at_this_rate(self, running: Running, wall: int) -> Running:
        if running.clock.rate == self._rate:
            return running
        clock = MarketClock(wall, running.clock.market(wall), self._rate)
        return msgspec.structs.replace(running, clock=clock)


def _closes_early(day: date) -> bool:
    opened, closed = session_hours(day)
    return closed - opened < _WHOLE_SESSION_US
