"""When the sessions of a live source run: connect before the open, stop after the close.

Owns that waiting, on the exchange calendar; must not know any source.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date

from common.clock import SECOND, is_trading_day, new_york_date, next_trading_day, session_hours
from common.models import MarketClock

Sleep = Callable[[float], Awaitable[object]]
"""Waits for a number of seconds of wall time, as ``asyncio.sleep`` does."""
ClockReader = Callable[[], Awaitable[MarketClock]]
"""Asks what time the source's market has."""
LEAD_US = 900 * SECOND
"""A session is connected this long before the open [us, market time]."""


@dataclass(slots=True)
class Schedule:
    """The trading dates of one source, each once and in order."""

    clock: ClockReader
    wall: Callable[[], int]
    sleep: Sleep
    longest_sleep: Callable[[], float] = lambda: 30.0
    """Between two looks at the clock [s]; short where it may jump."""
    done: date | None = None
    """The last date that has closed."""

    async def next_day(self) -> tuple[date, MarketClock]:
        """The trading date that runs or begins next, once it is time to connect.

        The clock is asked again while waiting: a simulator may set it anew at any time.
        """
        while True:
            clock = await self.clock()
            now = clock.market(self.wall())
            day = new_york_date(now)
            while (self.done is not None and day <= self.done) or not _is_ahead(day, now):
                day = next_trading_day(day)
            left = (clock.wall(session_hours(day)[0] - LEAD_US) - self.wall()) / SECOND
            if left <= 0:
                return day, clock
            await self.sleep(min(left, self.longest_sleep()))

    def close(self, day: date, clock: MarketClock) -> None:
        """A session has ended: after its close the date is not offered again."""
        if clock.market(self.wall()) >= session_hours(day)[1]:
            self.done = day


def _is_ahead(day: date, now: int) -> bool:
    return is_trading_day(day) and now < session_hours(day)[1]
