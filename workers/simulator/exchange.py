"""The market that runs: its clock, its date, and a desk for every underlying asked for.

Owns stepping from the open to the close and rolling to the next date; must not know HTTP.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from common.clock import SECOND, iso_ms, wall_us
from common.errors import UsageError
from common.feeds.roots import underlying_of
from common.feeds.tradestation.simulated import Announcement
from common.feeds.tradestation.symbols import (
    chain_symbols,
    parse_option_symbol,
    quote_symbol,
    root_of,
)
from common.models import MarketClock
from workers.simulator.desk import Desk
from workers.simulator.market import Market
from workers.simulator.quotes import Quoted
from workers.simulator.timeline import Running, Timeline

log = logging.getLogger(__name__)
Sleep = Callable[[float], Awaitable[object]]
"""Waits for a number of seconds of wall time, as ``asyncio.sleep`` does."""
DEFAULT_STEP_US = 250_000
_LONGEST_SLEEP = 0.5
"""Between a close and the next date: somebody may go to another one meanwhile [s]."""


class Exchange:
    """A market in motion."""

    def __init__(
        self,
        market: Market,
        timeline: Timeline,
        *,
        previous: Running | None = None,
        remember: Callable[[Running], None] = lambda _: None,
        step_us: int = DEFAULT_STEP_US,
        wall: Callable[[], int] = wall_us,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """Open the date that runs now.

        :param previous: what the last run remembered.
        :param remember: told each date that begins, before anybody hears of it.
        :param step_us: wall time between two steps [us].
        """
        self.market = market
        self._timeline, self._remember = timeline, remember
        self._step_us, self.wall, self._sleep = step_us, wall, sleep
        self.on_roll: Callable[[], None] = lambda: None
        """Called when a new date has begun."""
        self._skew_us = 0
        self._enter(timeline.begin(previous, wall()))

    # --- what time it is ---------------------------------------------------------------------

    def now(self) -> int:
        """Market time [us]."""
        return self.running.clock.market(self.wall())

    @property
    def closed(self) -> bool:
        """Whether the last step of the date has been taken."""
        return self.at_us >= self._close_us

    def told_now(self) -> int:
        """What the host says that market time is [us]."""
        return self.now() + self._skew_us

    def tell_time(self, skew_us: int) -> None:
        """Say a time that is ahead of the true one by so much [us] from now on."""
        self._skew_us = skew_us
        clock = self.running.clock
        told = MarketClock(clock.wall_us, clock.market_us + skew_us, clock.rate)
        self.header = Announcement(told, self.running.name).header()
        """Value of the clock header."""

    # --- who is there ------------------------------------------------------------------------

    def desk(self, symbol: str) -> Desk | None:
        """The desk of an underlying, up to date; None for one that is not known."""
        if symbol not in self.market.symbols:
            return None
        desk = self._desks.get(symbol)
        if desk is None:
            day = self.market.day(symbol, self.running.trading_date)
            desk = self._desks[symbol] = Desk(day, self.at_us)
        elif not desk.listeners and desk.at_us < self.at_us:
            desk.step(self.at_us, everything=True)
        return desk

    def chain(self, name: str) -> tuple[Desk, str] | None:
        """Desk and option root behind a chain's underlying such as SPY or ``$SPXW.X``."""
        root = root_of(name)
        symbol = underlying_of(root)
        if name.strip().upper() not in chain_symbols(symbol):
            return None
        desk = self.desk(symbol)
        return None if desk is None else (desk, root)

    def quoted(self, name: str) -> Quoted | None:
        """What a quote symbol names: an underlying or a contract."""
        name = name.strip().upper()
        contract = parse_option_symbol(name)
        if contract is None:
            root = root_of(name)
            desk = self.desk(root) if name == quote_symbol(root) else None
            return None if desk is None else Quoted(name, desk, None)
        desk = self.desk(underlying_of(contract.root))
        place = None if desk is None else desk.contracts.place(name)
        if desk is None or place is None or not desk.listed[place]:
            return None
        return Quoted(desk.contracts.names[place], desk, place)

    # --- motion ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Play date after date; returns at the end of the last one, if there is such a one."""
        while True:
            running = self.running
            await self._play()
            following = await self._pause(running)
            if self.running is not running:
                continue  # somebody has gone to another date meanwhile
            if following is None:
                log.info("%s is over", self.running.name)
                return
            self._enter(following)
            self.on_roll()

    def skip_to_early_close(self, before_us: int) -> None:
        """Go on at the next date that closes early.

        :param before_us: wall time from now to that close [us].
        :raises UsageError: when the market has no such date ahead.
        """
        found = self._timeline.next_early_close(self.running, before_us, self.wall())
        if found is None:
            raise UsageError("no date that closes early lies ahead of this market")
        self._enter(found)
        self.on_roll()

    def _enter(self, running: Running) -> None:
        self._remember(running)
        self.running = running
        self.tell_time(self._skew_us)
        self._open_us, self._close_us = self._timeline.hours(running)
        self._grid_us = max(round(self._step_us * running.clock.rate), 1)
        self._desks: dict[str, Desk] = {}
        self.at_us = self._latest_step()
        """The last step [us, market time]."""
        log.info(
            "%s %s runs from %s, x%g, to %s",
            running.name,
            running.trading_date,
            iso_ms(self.at_us),
            running.clock.rate,
            iso_ms(self._close_us),
        )

    async def _play(self) -> None:
        """Step until the close.

        Steps lie on a grid from the open; those missed by a busy process are left out.
        """
        while self.at_us < self._close_us:
            await self._sleep_until(min(self.at_us + self._grid_us, self._close_us))
            self.at_us = max(self.at_us, self._latest_step())
            for desk in self._desks.values():
                if desk.listeners:
                    desk.step(self.at_us, everything=self.closed)

    async def _pause(self, running: Running) -> Running | None:
        """Wait for the next date; None when there is none, or when it has come already."""
        ends_at = self._timeline.ends_at(running)
        while self.running is running and (left := ends_at - self.wall()) > 0:
            await self._sleep(min(left / SECOND, _LONGEST_SLEEP))
        return self._timeline.following(running, self.wall())

    def _latest_step(self) -> int:
        """The grid instant at or before now, within the session [us, market time]."""
        now = self.now()
        if now >= self._close_us:
            return self._close_us
        return self._open_us + max(now - self._open_us, 0) // self._grid_us * self._grid_us

    async def _sleep_until(self, at_us: int) -> None:
        running, clock = self.running, self.running.clock
        await self._sleep(max(clock.wall(at_us) - self.wall(), 0) / SECOND)
        while self.running is running and self.now() < at_us:  # timers may ring early
            await self._sleep(max(clock.wall(at_us) - self.wall(), 1) / SECOND)
