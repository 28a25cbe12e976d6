"""TradeStation as a feed: one session a trading date, quotes stamped on receipt.

Owns when a session runs, which streams it follows, and the order of its updates; the host may
be the real one or a simulator that speaks the same protocol.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

from common.clock import SECOND, session_hours, wall_us
from common.errors import FeedError
from common.feeds.backoff import Backoff
from common.feeds.schedule import Schedule, Sleep
from common.feeds.tradestation.book import Book
from common.feeds.tradestation.client import TradeStationClient
from common.feeds.tradestation.first_pass import FirstPass
from common.feeds.tradestation.listing import Chain, Choice, Listing
from common.feeds.tradestation.streams import Arrival, StreamReader
from common.feeds.tradestation.symbols import parse_option_symbol
from common.models import MarketClock, Session, SnapshotEnd, Update

log = logging.getLogger(__name__)
_LOOK_AGAIN_SECONDS, _PROBE_SECONDS = 30.0, 0.5
"""Between two looks at the clock before a session; a simulator may set it anew [s]."""
GRACE_SECONDS = 2.0
"""After the close the last quotes are waited for this long [s, wall time]."""
_LOOK_SECONDS = 0.25


class Tap(Protocol):
    """Takes what the wire sends, as it sends it."""

    def lines(self, source: str, time: int, lines: list[bytes]) -> None:
        """Lines of one stream, received together at ``time`` [us, market time]."""

    def snapshot_end(self, time: int) -> None:
        """The first pass over the chain was complete."""

    def close(self) -> None:
        """The session is over."""


class _NoTap:
    """Keeps nothing."""

    def lines(self, source: str, time: int, lines: list[bytes]) -> None:
        """Nothing."""

    def snapshot_end(self, time: int) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


@dataclass(slots=True)
class TradeStationFeed:
    """One underlying at one host."""

    client: TradeStationClient
    symbol: str
    choice: Choice = field(default_factory=Choice)
    stale_after_seconds: float = 15.0
    tap: Callable[[Session], Tap] | None = None
    """Makes what a session's raw frames are written to."""
    wall: Callable[[], int] = wall_us
    sleep: Sleep = asyncio.sleep

    async def sessions(self) -> AsyncIterator[TradeStationSession]:
        """Trading dates without end; between them it waits.

        A host that is out of reach, or lists nothing yet, is asked again and again.

        :raises CredentialsError: when the login or its rights do not suffice.
        :raises UsageError: when the host refuses what is asked as such.
        """
        schedule = Schedule(self._clock, self.wall, self.sleep, self._longest_sleep)
        listing = Listing(self.client, self.symbol, self.choice)
        backoff = Backoff()
        while True:
            try:
                day, clock = await schedule.next_day()
                chains = await listing.chains(day)
            except FeedError as error:
                pause = backoff.next()
                log.warning("%s; trying again in %.1f s", error, pause)
                await self.sleep(pause)
                continue
            backoff.reset()
            session = self._session(day, clock)
            yield TradeStationSession(self, session, listing, chains)
            schedule.close(day, clock)

    def _longest_sleep(self) -> float:
        return _LOOK_AGAIN_SECONDS if self.client.announcement is None else _PROBE_SECONDS

    async def _clock(self) -> MarketClock:
        await self.client.probe()
        said = self.client.announcement
        return said.clock if said else MarketClock()

    def _session(self, day: date, clock: MarketClock) -> Session:
        said = self.client.announcement
        open_us, close_us = session_hours(day)
        kind = f"simulator:{said.source}" if said else "tradestation"
        return Session(
            key=f"{self.symbol}:{day.isoformat()}:{kind}",
            symbol=self.symbol,
            feed="simulator" if said else "tradestation",
            trading_date=day,
            open_us=open_us,
            close_us=close_us,
            stale_after_us=round(self.stale_after_seconds * SECOND * clock.rate),
            clock=clock,
            source=self.client.url,
        )


@dataclass(slots=True)
class TradeStationSession:
    """One trading date of one underlying."""

    feed: TradeStationFeed
    session: Session
    listing: Listing
    chains: list[Chain]
    counters: Counter[str] = field(default_factory=Counter)
    """What happened on the wire."""

    async def frames(self) -> AsyncIterator[list[Update]]:
        """Updates as they arrive; the first pass over the chain ends with a ``SnapshotEnd``.

        :raises CredentialsError: when the login or its rights do not suffice.
        :raises UsageError: when the host refuses a stream as such.
        """
        loop, clock = asyncio.get_running_loop(), self.session.clock
        book = Book(self.session.symbol)
        expected = {chain.source.name: chain.contracts for chain in self.chains}
        first: FirstPass | None = FirstPass(expected, began=loop.time())
        async with self._reading() as reading, self._tapping() as tap:
            while self._goes_on():
                arrival = await reading.next(_LOOK_SECONDS)
                time = clock.market(self.feed.wall())
                updates: list[Update] = []
                if arrival is not None:
                    tap.lines(arrival.source, time, arrival.lines)
                    updates = self._merge(book, arrival, time)
                    if first:
                        _watch(first, arrival, loop.time())
                if first and first.is_complete(loop.time(), has_spot=book.spot > 0.0):
                    self._report(first, len(book))
                    first = None
                    updates.append(SnapshotEnd(time))
                    tap.snapshot_end(time)
                if updates:
                    yield updates

    def _merge(self, book: Book, arrival: Arrival, time: int) -> list[Update]:
        made = (book.apply(row, time) for row in arrival.rows)
        updates: list[Update] = [update for update in made if update is not None]
        self.counters["refused_rows"] = sum(book.refused.values())
        return updates

    def _goes_on(self) -> bool:
        """Until a moment after the close, or until a simulator has set another clock."""
        said = self.feed.client.announcement
        if said is not None and said.clock != self.session.clock:
            log.info("the simulator has set its clock anew")
            return False
        over = self.feed.wall() - self.session.clock.wall(self.session.close_us)
        return over < GRACE_SECONDS * SECOND

    def _report(self, first: FirstPass, contracts: int) -> None:
        gaps = first.missing()
        log.info("first pass of %s: %d contracts", self.session.symbol, contracts)
        if gaps:
            log.warning("listed and not shown: %s", gaps)

    @asynccontextmanager
    async def _tapping(self) -> AsyncIterator[Tap]:
        """What the raw frames go to, closed at the end."""
        tap = self.feed.tap(self.session) if self.feed.tap else _NoTap()
        try:
            yield tap
        finally:
            tap.close()

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[_Reading]:
        """All streams, read into one queue."""
        arrivals: asyncio.Queue[Arrival] = asyncio.Queue(maxsize=256)
        client, sleep = self.feed.client, self.feed.sleep
        sources = [self.listing.quotes(), *(chain.source for chain in self.chains)]
        readers = [
            StreamReader(client, source, arrivals.put, self.counters, sleep=sleep)
            for source in sources
        ]
        tasks = [asyncio.create_task(reader.run()) for reader in readers]
        try:
            yield _Reading(arrivals, tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class _Reading:
    """The streams of a session while they are read."""

    arrivals: asyncio.Queue[Arrival]
    tasks: list[asyncio.Task[None]]

    async def next(self, seconds: float) -> Arrival | None:
        """What arrives within some time; None when nothing does.

        Whatever ended a reader, expected or not, ends the session: none falls silent unseen.
        """
        for task in self.tasks:
            if task.done():
                task.result()
        try:
            return await asyncio.wait_for(self.arrivals.get(), seconds)
        except TimeoutError:
            return None


def _watch(first: FirstPass, arrival: Arrival, now: float) -> None:
    for row in arrival.rows:
        contract = parse_option_symbol(row.name)
        if contract is not None:
            first.saw(arrival.source, contract, now)
    if arrival.end_of_snapshot:
        first.ended(arrival.source)
