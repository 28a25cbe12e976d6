"""One run of a session on its way to the streams: appended, checked, appended again.

Owns what stands between the batches of an ingestor and Redis, and the session's record; must
not know where updates come from nor when a level is due.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import msgspec

from common.batcher import Batcher
from common.bus.cache import Cache
from common.bus.producer import Producer, Repair
from common.errors import BusError, FeedError
from common.models import Session

log = logging.getLogger(__name__)
T = TypeVar("T")
Sleep = Callable[[float], Awaitable[object]]


class Patience:
    """Doing something in a thread, waiting out an outage of Redis."""

    def __init__(self, is_stopped: Callable[[], bool], sleep: Sleep) -> None:
        self._is_stopped, self._sleep = is_stopped, sleep

    async def __call__(self, action: Callable[[], T]) -> T:
        """What the action returns; it is repeated until Redis answers, so it is idempotent.

        :raises BusError: when told to stop while Redis is away.
        """
        attempt = 0
        while True:
            try:
                return await asyncio.to_thread(action)
            except BusError as error:
                attempt += 1
                log.warning("%s; trying again (attempt %d)", error, attempt)
                if self._is_stopped():
                    raise
                delay = random.uniform(0, min(5.0, 0.1 * 2 ** min(attempt, 10)))  # noqa: S311
                await self._sleep(delay)


class Delivery:
    """Appends what a batcher holds, and keeps Redis to what was appended."""

    def __init__(
        self,
        *,
        cache: Cache,
        session: Session,
        producer: Producer,
        batcher: Batcher,
        counters: Mapping[str, int],
        patience: Patience,
        check_seconds: float,
    ) -> None:
        """Deliver nothing yet.

        :param counters: what has happened at the source.
        :param check_seconds: Redis is asked this often whether it has everything [s].
        """
        self.session = session
        """The record as it now is."""
        self.batcher = batcher
        self.producer = producer
        self.checked_at = 0.0
        self._cache, self._patience, self._check_seconds = cache, patience, check_seconds
        self._counters = counters
        self._counted: dict[str, int] = {}

    @property
    def check_at(self) -> float:
        """When Redis is to be asked again whether it has everything [s, of the loop]."""
        return self.checked_at + self._check_seconds

    async def save(self, **changes: object) -> None:
        """Change the session's record."""
        self.session = msgspec.structs.replace(self.session, **changes)
        await self._patience(lambda: self._cache.save_session(self.session))
        if self.session.ended:
            log.info("session %s ended", self.session.key)

    async def flush(self) -> None:
        """Append what has been added."""
        for shard, batch in self.batcher.flush():
            await self._patience(
                lambda s=shard, b=batch: self.producer.append(s, b)  # type: ignore[misc]
            )
        await self.mend()
        if asyncio.get_running_loop().time() >= self.check_at:
            await self.check()

    async def check(self) -> None:
        """Ask whether Redis has everything; count what is new at the source."""
        self.checked_at = asyncio.get_running_loop().time()
        await self._patience(self.producer.verify)
        await self.mend()
        counts = {**self._counters, "held_counts": self.batcher.held_counts}
        news = {f"feed_{name}": n - self._counted.get(name, 0) for name, n in counts.items()}
        self._counted = counts
        await self._count(news)

    async def mend(self) -> None:
        """After Redis was set back: the session's record, what was done about it, the gaps.

        :raises FeedError: when something is lost for good: only a whole chain makes it good.
        """
        repair = self.producer.take_repair()
        if repair is None:
            return
        lost = sum(gap.batches for gap in repair.gaps)
        if self.session.resume:  # what plays from its beginning fills the gap again
            self.session = _with_gaps(self.session, repair)
        await self._patience(self._record_again)
        await self._count(
            {
                "batches_reappended": repair.batches,
                "quotes_reappended": repair.quotes,
                "batches_lost": lost,
            }
        )
        if lost:
            raise FeedError(
                f"Redis has lost {lost} batches of {self.session.symbol} that are no longer in "
                "memory; the session goes on from a whole chain"
            )

    def _record_again(self) -> None:
        """The session's record may have been lost, too."""
        held = self._cache.session(self.session.symbol)
        if held is None or held.epoch <= self.session.epoch:
            self._cache.start_session(self.session, keep_shards=True)

    async def _count(self, counts: Mapping[str, int]) -> None:
        news = {name: n for name, n in counts.items() if n}
        if news:
            await self._patience(lambda: self._cache.add_counts(self.session.symbol, news))


def _with_gaps(session: Session, repair: Repair) -> Session:
    """The record with what was lost for good, in market time."""
    market = session.clock.market
    gaps = [(market(gap.since_us), market(gap.until_us)) for gap in repair.gaps]
    return msgspec.structs.replace(session, gaps=[*session.gaps, *gaps])
