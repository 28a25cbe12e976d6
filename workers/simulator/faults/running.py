"""The faults that have hold of the simulator now, and those that had.

Owns their beginning, their end and the record of both; must not know any single fault.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from common.models import JsonDict
from workers.simulator.faults.fault import Cause, Fault, Happening, Silence

if TYPE_CHECKING:
    from workers.simulator.failures import ApiError
    from workers.simulator.site import OpenStream, Site

log = logging.getLogger(__name__)
_REMEMBERED = 10_000
Later = Callable[[float, Callable[[], None]], Any]
"""Calls something after some seconds of real time."""


def _on_the_loop(seconds: float, action: Callable[[], None]) -> asyncio.TimerHandle:
    return asyncio.get_running_loop().call_later(seconds, action)


class Faults:
    """What goes wrong now."""

    def __init__(
        self,
        seed: int = 0,
        *,
        clock: Callable[[], float] = time.monotonic,
        later: Later = _on_the_loop,
    ) -> None:
        """Nothing goes wrong yet.

        :param seed: of what a fault draws by lot. :param clock: seconds, of any origin.
        """
        self._seed, self._clock, self.later = seed, clock, later
        self._active: list[Happening] = []
        self._happened: deque[Happening] = deque(maxlen=_REMEMBERED)
        self._begun = 0
        self.impossible = 0
        """Scheduled faults that could not happen here."""

    def begin(self, fault: Fault, site: Site, cause: Cause) -> Happening:
        """Let one happen.

        :raises UsageError: when it cannot happen here; then nothing has.
        """
        number = self._begun + 1
        happening = Happening(
            fault,
            number,
            cause,
            site.exchange.now(),
            random.Random(f"{self._seed}:{number}"),  # noqa: S311  what is hit, no secret
            until=self._clock() + fault.lasts,
        )
        fault.begin(happening, site)
        self._begun = number
        self._happened.append(happening)
        log.warning("fault %d, %s, begins: %s", number, fault.name, fault)
        if fault.lasts > 0.0:
            self._active.append(happening)
            self.later(fault.lasts, lambda: self.end(happening, site))
        else:
            happening.ended_us = site.exchange.now()
        return happening

    def end(self, happening: Happening, site: Site) -> None:
        """It is over; nothing when it was before."""
        if happening.ended_us is not None:
            return
        self._active.remove(happening)
        happening.ended_us = site.exchange.now()
        happening.fault.end(happening, site)
        happening.lines.clear()
        log.warning("fault %d, %s, is over", happening.number, happening.fault.name)
        for stream in site.streams:
            stream.wake()

    def opened(self, stream: OpenStream, site: Site) -> None:
        """A stream has been opened."""
        for each in self._about(stream.target):
            each.fault.opened(each, site, stream)

    def refusal(self, target: str, site: Site) -> ApiError | None:
        """Why a request for a path is refused, if it is."""
        now = self._clock()
        for each in self._about(target):
            refused = each.fault.refusal(each, max(each.until - now, 0.0))
            if refused is not None:
                if each.fault.is_used_up(each):
                    self.end(each, site)
                return refused
        return None

    def silence(self, target: str) -> Silence:
        """What a stream keeps to itself."""
        kept = {each.fault.silence for each in self._about(target)}
        return "everything" if "everything" in kept else "data" if "data" in kept else ""

    def altered(self, stream: OpenStream, lines: list[bytes]) -> list[bytes]:
        """What a stream sends in place of some lines."""
        for each in self._about(stream.target):
            lines = each.fault.altered(each, stream, lines)
        return lines

    def as_json(self) -> JsonDict:
        """How many have begun, how many last, and the newest of them in order."""
        return {
            "faults_begun": self._begun,
            "faults_active": len(self._active),
            "faults_impossible": self.impossible,
            "faults": [each.as_json() for each in self._happened],
        }

    def _about(self, target: str) -> list[Happening]:
        return [each for each in self._active if each.fault.concerns(target)]
