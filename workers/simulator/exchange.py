"""The market that runs: its clock, its date, and a desk for every underlying asked for.

Owns stepping from the open to the close and rolling to the next date; must not know HTTP.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from common.clock import SECOND, iso_ms, wall_us
from common.feeds.roots import underlying_of
from common.feeds.tradestation.simulated import Announcement
from common.feeds.tradestation.symbols import (
    chain_symbols,
    parse_option_symbol,
    quote_symbol,
    root_of,
)
from workers.simulator.desk import Desk
from workers.simulator.market import Market
from workers.simulator.quotes import Quoted
from workers.simulator.timeline import Running, Timeline

log = logging.getLogger(__name__)
Sleep = Callable[[float], Awaitable[object]]
"""Waits for a number of seconds of wall time, as ``asyncio.sleep`` does."""
DEFAULT_STEP_US = 250_000


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
        self._step_us, self._wall, self._sleep = step_us, wall, sleep
        self.on_roll: Callable[[], None] = lambda: None
        """Called when a new date has begun."""
        self._enter(timeline.begin(previous, wall()))

    # --- what time it is ---------------------------------------------------------------------

    def now(self) -> int:
        """Market time [us]."""
        return self.running.clock.market(self._wall())

    @property
    def closed(self) -> bool:
        """Whether the last step of the date has been taken."""
        return self.at_us >= self._close_us

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
            await self._play()
            following = await self._pause()
            if following is None:
                log.info("%s is over", self.running.name)
                return
            self._enter(following)
            self.on_roll()

    def _enter(self, running: Running) -> None:
        self._remember(running)
        self.running = running
        self.header = Announcement(running.clock, running.name).header()
        """Value of the clock header."""
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

    async def _pause(self) -> Running | None:
        """Wait for the next date; None when there is none."""
        while (left := self._timeline.ends_at(self.running) - self._wall()) > 0:
            await self._sleep(left / SECOND)
        return self._timeline.following(self.running, self._wall())

    def _latest_step(self) -> int:
        """The grid instant at or before now, within the session [us, market time]."""
        now = self.now()
        if now >= self._close_us:
            return self._close_us
        return self._open_us + max(now - self._open_us, 0) // self._grid_us * self._grid_us

    async def _sleep_until(self, at_us: int) -> None:
        clock = self.running.clock
        await self._sleep(max(clock.wall(at_us) - self._wall(), 0) / SECOND)
        while self.now() < at_us:  # timers may ring early
            await self._sleep(max(clock.wall(at_us) - self._wall(), 1) / SECOND)
