"""Cboe's public delayed quotes as a feed: a whole chain at each poll, fifteen minutes old.

Owns the polling: conditional requests, backoff, and the delay, which is the session's clock;
the layout stands in :mod:`common.feeds.cboe`. Market time is that of the quotes, wherever they
go: a level says what it is of, not when it came.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import date

import httpx
import numpy as np
import orjson
from msgspec import structs

from common.clock import SECOND, session_hours, wall_us
from common.errors import FeedError, InputError
from common.feeds.backoff import Backoff
from common.feeds.cboe import FEED_DELAY_US, is_cboe, parse_chain
from common.feeds.roots import INDEXES
from common.feeds.schedule import Schedule, Sleep
from common.feeds.snapshot import FileSnapshot
from common.feeds.snapshot_updates import Contract, snapshot_updates
from common.models import MarketClock, Session, SnapshotEnd, Update
from common.selection import ExpirationRule, Listed, is_third_friday

log = logging.getLogger(__name__)
CLOCK = MarketClock(0, -FEED_DELAY_US)
"""Market time of what is delivered now."""
STALE_AFTER_POLLS = 8
"""Polls without a new chain after which levels are stale; the host renews about once a minute."""


@dataclass(slots=True)
class CboeFeed:
    """One underlying."""

    http: httpx.AsyncClient
    symbol: str
    url: str
    """Folder of the files, e.g. ``https://cdn.cboe.com/api/global/delayed_quotes/options``."""
    poll_seconds: float = 15.0
    expirations: ExpirationRule = field(default_factory=lambda: ExpirationRule.parse("5"))
    """Which ones are followed."""
    wall: Callable[[], int] = wall_us
    sleep: Sleep = asyncio.sleep

    async def sessions(self) -> AsyncIterator[CboeSession]:
        """Trading dates without end; between them it waits."""
        schedule = Schedule(self._clock, self.wall, self.sleep)
        while True:
            day, clock = await schedule.next_day()
            yield CboeSession(self, self._session(day))
            schedule.close(day, clock)

    async def _clock(self) -> MarketClock:
        return CLOCK

    def _session(self, day: date) -> Session:
        open_us, close_us = session_hours(day)
        return Session(
            key=f"{self.symbol}:{day.isoformat()}:cboe",
            symbol=self.symbol,
            feed="cboe",
            trading_date=day,
            open_us=open_us,
            close_us=close_us,
            stale_after_us=round(STALE_AFTER_POLLS * self.poll_seconds * SECOND),
            clock=CLOCK,
            source=self.address,
        )

    @property
    def address(self) -> str:
        """Of this underlying's chain; an index has an underscore before its name."""
        name = f"_{self.symbol}" if self.symbol in INDEXES else self.symbol
        return f"{self.url.rstrip('/')}/{name}.json"


@dataclass(slots=True)
class CboeSession:
    """One trading date of one underlying."""

    feed: CboeFeed
    session: Session
    counters: Counter[str] = field(default_factory=Counter)
    """What happened at the host."""
    _tags: dict[str, str] = field(default_factory=dict)
    _newest: int = 0

    async def frames(self) -> AsyncIterator[list[Update]]:
        """A frame for each new chain, ended by a ``SnapshotEnd``."""
        held: dict[Contract, None] = {}
        backoff = Backoff()
        while CLOCK.market(self.feed.wall()) < self.session.close_us:
            pause = self.feed.poll_seconds
            try:
                snapshot = await self._poll()
                backoff.reset()
            except FeedError as error:
                self.counters["failures"] += 1
                snapshot, pause = None, max(pause, backoff.next())
                log.warning("%s; again in %.0f s", error, pause)
            if snapshot is not None:
                updates, held = snapshot_updates(self._chosen(snapshot), held, -1)
                yield [*updates, SnapshotEnd(snapshot.as_of)]
            await self.feed.sleep(pause)

    async def _poll(self) -> FileSnapshot | None:
        """The chain as it is now, None where it is not new.

        :raises FeedError: when it cannot be had or read.
        """
        self.counters["polls"] += 1
        try:
            reply = await self.feed.http.get(self.feed.address, headers=self._tags)
        except httpx.HTTPError as error:
            raise FeedError(f"{self.feed.address}: {type(error).__name__}") from error
        if reply.status_code == 304:
            self.counters["not_modified"] += 1
            return None
        if reply.status_code != 200:
            raise FeedError(f"{self.feed.address}: {reply.status_code}")
        snapshot = self._parse(reply.content)
        self._tags = {
            asks: reply.headers[tells]
            for asks, tells in (("If-None-Match", "ETag"), ("If-Modified-Since", "Last-Modified"))
            if tells in reply.headers
        }
        if snapshot.as_of <= self._newest:
            self.counters["repeated"] += 1
            return None
        self._newest = snapshot.as_of
        self.counters["refused_rows"] += snapshot.unnamed
        return snapshot

    def _parse(self, body: bytes) -> FileSnapshot:
        try:
            document = orjson.loads(body)
            if not is_cboe(document):
                raise FeedError(f"{self.feed.address}: holds no option chain")
            return parse_chain(document, at_us=None, symbol=self.feed.symbol)
        except (orjson.JSONDecodeError, InputError) as error:
            raise FeedError(f"{self.feed.address}: {error}") from error

    def _chosen(self, snapshot: FileSnapshot) -> FileSnapshot:
        """The part of a chain that is followed: the expirations of the rule."""
        listed = [Listed(each, is_third_friday(each.expiration)) for each in snapshot.expiries]
        chosen = self.feed.expirations.choose(listed, self.session.trading_date)
        wanted = {each.expiry for each in chosen}
        numbers = [at for at, each in enumerate(snapshot.expiries) if each in wanted]
        rows = np.isin(snapshot.expiry_index, numbers)
        return structs.replace(
            snapshot, quotes=snapshot.quotes[rows], expiry_index=snapshot.expiry_index[rows]
        )
