"""The streams of one session, read into one queue; each can be replaced while it is read.

Owns which readers run and the order of a replacement: where the budget has room, the new
connection shows its rows before the old one is closed. Must not know what the streams say.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field

from common.errors import FeedError, UsageError
from common.feeds.schedule import Sleep
from common.feeds.tradestation.budget import Slot, StreamBudget
from common.feeds.tradestation.client import TradeStationClient
from common.feeds.tradestation.sources import Source
from common.feeds.tradestation.streams import Arrival, Patience, StreamReader

log = logging.getLogger(__name__)
OVERLAP_SECONDS = 5.0
"""A replaced stream is read for so long after the first row of the new one [s]."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What streams are opened with."""

    budget: StreamBudget | None = None
    """None: as many as wanted."""
    counts_quotes: bool = True
    """Whether streams of quotes need a slot, as chain streams do."""

    def of(self, source: Source) -> StreamBudget | None:
        """Where a stream takes its slot from."""
        return self.budget if self.counts_quotes or not source.symbols else None


@dataclass(slots=True)
class _Followed:
    source: Source
    reader: StreamReader
    task: asyncio.Task[None] = field(init=False)
    before: _Followed | None = None
    """What it replaces, as long as both are read."""
    first_row: float = 0.0
    """When the first row came [s, monotonic]; 0 before."""


class OpenStreams:
    """Whatever one session reads."""

    def __init__(
        self,
        client: TradeStationClient,
        counters: Counter[str],
        patience: Patience,
        allowance: Allowance,
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """Nothing is opened before :meth:`follow`."""
        self._client, self._counters = client, counters
        self._patience, self._allowance, self._sleep = patience, allowance, sleep
        self._arrivals: asyncio.Queue[Arrival] = asyncio.Queue(maxsize=256)
        self._followed: dict[str, _Followed] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def follow(self, source: Source) -> None:
        """Read a source from now on, in place of the one of the same name."""
        held, budget = self._followed.get(source.name), self._allowance.of(source)
        if held is None:
            self._start(source, budget, None, None)
        elif held.source != source:
            slot = budget.take() if budget else None
            if budget and slot is None:  # no room for both at a time
                self._counters["gaps_for_want_of_streams"] += 1
                slot = held.reader.hand_over()
                self._end(self._followed.pop(source.name))
                await asyncio.gather(*self._ending, return_exceptions=True)
                held = None
            self._start(source, budget, slot, held)

    async def next(self, seconds: float) -> Arrival | None:
        """What arrives within some time; None when nothing does.

        Whatever ended a reader, expected or not, ends the session: none falls silent unseen.
        A replacement that the host refuses is given up where the one before it is still read.
        """
        self._settle()
        if not self._arrivals.empty():
            return self._arrivals.get_nowait()
        try:
            async with asyncio.timeout(seconds):  # wait_for can swallow a cancellation
                return await self._arrivals.get()
        except TimeoutError:
            return None

    async def close(self) -> None:
        """Read nothing any more."""
        for followed in self._followed.values():
            self._end(followed)
        self._followed.clear()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _start(
        self,
        source: Source,
        budget: StreamBudget | None,
        slot: Slot | None,
        before: _Followed | None,
    ) -> None:
        async def deliver(arrival: Arrival) -> None:
            if arrival.rows and not followed.first_row:
                followed.first_row = self._patience.now()
            await self._arrivals.put(arrival)

        reader = StreamReader(
            self._client, source, deliver, self._counters,
            sleep=self._sleep, patience=self._patience, budget=budget, slot=slot,
        )  # fmt: skip
        followed = self._followed[source.name] = _Followed(source, reader, before=before)
        followed.task = asyncio.create_task(reader.run())

    def _settle(self) -> None:
        """Let replaced streams end, and failures be heard."""
        now = self._patience.now()
        for name, followed in self._followed.items():
            if followed.task.done():
                self._followed[name] = self._fallen_back(followed)
            elif (
                followed.before
                and followed.first_row
                and now - followed.first_row >= OVERLAP_SECONDS
            ):
                self._end(followed.before)
                followed.before = None

    def _fallen_back(self, followed: _Followed) -> _Followed:
        """What is read instead of a stream that has failed.

        :raises Exception: whatever ended it, when nothing is.
        """
        before = followed.before
        error = followed.task.exception()
        if before is not None and isinstance(error, FeedError | UsageError):
            self._counters["refused_replacements"] += 1
            log.warning("%s: not replaced: %s", followed.source.name, error)
            return before
        followed.task.result()  # a reader ends by an error alone
        return followed

    def _end(self, followed: _Followed) -> None:
        """Close a stream and those that it replaces."""
        followed.task.cancel()
        self._ending.add(followed.task)
        followed.task.add_done_callback(self._ending.discard)
        if followed.before is not None:
            self._end(followed.before)
            followed.before = None
