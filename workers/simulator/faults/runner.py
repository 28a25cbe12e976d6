"""A schedule of faults at work on a simulator.

Owns looking at the clocks and letting happen what is due; must not know what that is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from common.errors import UsageError
from workers.simulator.faults.schedule import Moment, Schedule
from workers.simulator.site import Site

log = logging.getLogger(__name__)
_LOOK_SECONDS = 0.05


class Runner:
    """Lets the faults of one schedule happen."""

    def __init__(
        self, schedule: Schedule, site: Site, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin to count real time now.

        :param clock: seconds, of any origin.
        """
        self._schedule, self._site, self._clock = schedule, site, clock
        self._began, self._since_us = clock(), site.exchange.now()
        self._running = site.exchange.running

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    def look(self) -> None:
        """Let happen what is due now; a fault that cannot happen here is counted."""
        exchange = self._site.exchange
        if exchange.running is not self._running:
            self._running, self._since_us = exchange.running, exchange.running.clock.market_us
        moment = Moment(self._clock() - self._began, exchange.now(), self._since_us)
        for fault in self._schedule.due(moment):
            try:
                self._site.faults.begin(fault, self._site, "schedule")
            except UsageError as error:
                self._site.faults.impossible += 1
                log.warning("%s cannot happen: %s", fault.name, error)
