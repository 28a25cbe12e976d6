"""TradeStation as a feed: one session a trading date, quotes stamped on receipt.

Owns when a session runs, which streams it follows, and the order of its updates; the host may
be the real one or a simulator that speaks the same protocol.
"""

from __future__ import annotations

import asyncio
import logging
import time
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
from common.feeds.tradestation.beside import Beside
from common.feeds.tradestation.book import Book
from common.feeds.tradestation.client import TradeStationClient
from common.feeds.tradestation.first_pass import FirstPass
from common.feeds.tradestation.following import Following
from common.feeds.tradestation.listing import Chain, Choice, Listing
from common.feeds.tradestation.open_streams import Allowance, OpenStreams
from common.feeds.tradestation.streams import Arrival, Patience
from common.feeds.tradestation.symbols import Contract, parse_option_symbol
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
    allowance: Allowance = field(default_factory=Allowance)
    stale_after_seconds: float = 15.0
    first_row_seconds: float = 20.0
    data_seconds: float = 60.0
    """See :class:`~common.feeds.tradestation.streams.Patience`."""
    tap: Callable[[Session], Tap] | None = None
    """Makes what a session's raw frames are written to."""
    wall: Callable[[], int] = wall_us
    sleep: Sleep = asyncio.sleep
    now: Callable[[], float] = time.monotonic

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
    beside: Beside = field(init=False)
    """What quotes tell beside prices: the level of VIX, delays."""

    def __post_init__(self) -> None:
        others = self.listing.choice.quote_symbols
        self.beside = Beside(self.session.symbol, others, self.counters)

    async def frames(self) -> AsyncIterator[list[Update]]:
        """Updates as they arrive; the first pass over the chain ends with a ``SnapshotEnd``.

        :raises CredentialsError: when the login or its rights do not suffice.
        :raises UsageError: when the host refuses a stream as such.
        """
        now, clock = self.feed.now, self.session.clock
        book = Book(self.session.symbol)
        expected = {chain.source.name: chain.contracts for chain in self.chains}
        first: FirstPass | None = FirstPass(expected, began=now())
        async with (
            self._tapping() as tap,
            self._streaming() as streams,
            self._following(streams) as following,
        ):
            while self._goes_on():
                arrival = await streams.next(_LOOK_SECONDS)
                at = clock.market(self.feed.wall())
                updates: list[Update] = []
                if arrival is not None:
                    if self.feed.tap:  # they are cut apart for it alone
                        tap.lines(arrival.source, at, arrival.lines)
                    updates = self._merge(book, arrival, at)
                    if first:
                        _watch(first, arrival, now(), following.names)
                if first and first.is_complete(now(), has_spot=book.spot > 0.0):
                    self._report(first, len(book))
                    first = None
                    updates.append(SnapshotEnd(at))
                    tap.snapshot_end(at)
                if first is None:
                    following.look(book.spot, book.contracts)
                if updates:
                    yield updates

    def _merge(self, book: Book, arrival: Arrival, at: int) -> list[Update]:
        aside = self.beside.take if arrival.source.startswith("quotes ") else None
        updates = book.apply_all(arrival.rows, at, aside=aside)
        self.counters["refused_rows"] = sum(book.refused.values())
        return [*self.beside.news(at), *updates]

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
    async def _streaming(self) -> AsyncIterator[OpenStreams]:
        """Where the streams are read, closed at the end."""
        feed, session = self.feed, self.session

        def is_open() -> bool:
            return session.open_us <= session.clock.market(feed.wall()) < session.close_us

        patience = Patience(feed.first_row_seconds, feed.data_seconds, is_open, feed.now)
        streams = OpenStreams(
            feed.client, self.counters, patience, feed.allowance, sleep=feed.sleep
        )
        try:
            yield streams
        finally:
            await streams.close()

    @asynccontextmanager
    async def _following(self, streams: OpenStreams) -> AsyncIterator[Following]:
        """What is followed, centred anew as spot moves, until the end."""
        following = Following(self.listing, streams, self.chains, self.counters, now=self.feed.now)
        await following.begin()
        try:
            yield following
        finally:
            await following.close()


def _watch(first: FirstPass, arrival: Arrival, now: float, names: dict[Contract, str]) -> None:
    for name in arrival.rows.names():
        contract = parse_option_symbol(name)
        if contract is not None:
            names[contract] = name
            first.saw(arrival.source, contract, now)
    if arrival.end_of_snapshot:
        first.ended(arrival.source)
