"""One run of a session on its way to the streams: appended, checked, appended again.

Owns what stands between the batches of an ingestor and Redis, and the session's record; must
not know where updates come from nor when a level is due.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import msgspec

from common.batcher import Batcher
from common.bus.cache import Cache
from common.bus.codec import Batch
from common.bus.memory import Marks, Memory
from common.bus.producer import Producer, Repair
from common.errors import BusError, FeedError, MemoryFullError
from common.models import Session

log = logging.getLogger(__name__)
T = TypeVar("T")
_LOOK_SECONDS = 0.25
"""Between two looks at the memory [s]."""
_TOGETHER = 64
"""Batches that are appended in one step, at most; Redis does nothing else meanwhile."""
_SLACK = 0.05
"""Conflation ends this share of the bound below where it began."""
Sleep = Callable[[float], Awaitable[object]]


class Patience:
    """Doing something in a thread, waiting out an outage of Redis."""

    def __init__(self, is_stopped: Callable[[], bool], sleep: Sleep) -> None:
        self._is_stopped, self._sleep = is_stopped, sleep

    async def __call__(self, action: Callable[[], T], *, or_full: bool = False) -> T:
        """What the action returns; it is repeated until Redis answers, so it is idempotent.

        :param or_full: do not wait for a Redis that has no memory left.
        :raises MemoryFullError: when it has none.
        :raises BusError: when told to stop while Redis is away.
        """
        attempt = 0
        while True:
            try:
                return await asyncio.to_thread(action)
            except BusError as error:
                if or_full and isinstance(error, MemoryFullError):
                    raise
                attempt += 1
                log.warning("%s; trying again (attempt %d)", error, attempt)
                if self._is_stopped():
                    raise
                delay = random.uniform(0, min(5.0, 0.1 * 2 ** min(attempt, 10)))  # noqa: S311
                await self._sleep(delay)

    async def rest(self, seconds: float) -> bool:
        """Wait; false when told to stop."""
        if not self._is_stopped():
            await self._sleep(seconds)
        return not self._is_stopped()


@dataclass(frozen=True, slots=True)
class Restraint:
    """How appending gives way when Redis fills up."""

    marks: Marks = Marks()  # noqa: RUF009  immutable
    flush_seconds: float = 1.0
    """Above the second mark a contract's newest quote is appended this often [s]."""


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
        memory: Memory,
        restraint: Restraint,
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
        self.conflations = 0
        """How often it began to conflate."""
        self._cache, self._patience, self._check_seconds = cache, patience, check_seconds
        self._counters = counters
        self._counted: dict[str, int] = {}
        self._memory, self._restraint = memory, restraint
        self._looked_at = self._flushed_at = 0.0
        self._share = 0.0
        self._waiting: deque[tuple[str, Batch]] = deque()
        self._holds = False
        self._said = True

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

    async def flush(self, *, last: bool = False) -> bool:
        """Append what has been added, as far as Redis' memory allows; whether all of it was.

        :param last: wait for memory, as nobody asks again.
        """
        now = asyncio.get_running_loop().time()
        allowed = await self._may_append(now)
        if not (last or allowed):
            self.batcher.conflate()
            return False
        if self.session.conflated:
            self.batcher.conflate(now=True)
        self._flushed_at = now
        self._waiting += self.batcher.flush()
        while self._waiting:
            some = list(islice(self._waiting, _TOGETHER))
            try:
                if not self.producer.append_now(some):  # a thread is for what may take long
                    await self._patience(
                        lambda items=some: self.producer.append_all(items),  # type: ignore[misc]
                        or_full=not last,
                    )
            except MemoryFullError:
                self._looked_at, self._share = now, 1.0
                await self._note_share()
                return False
            for _ in some:
                self._waiting.popleft()
        await self.mend()
        if now >= self.check_at:
            await self.check()
        return True

    async def _may_append(self, now: float) -> bool:
        """Look at Redis' memory now and then; say what follows from it when that changes."""
        marks = self._restraint.marks
        if now - self._looked_at >= _LOOK_SECONDS:
            await self._look(now)
        while self.session.replay and self._share >= marks.conflate:  # it can wait as it is
            if not await self._patience.rest(_LOOK_SECONDS):
                return False
            await self._look(asyncio.get_running_loop().time())
        if self._share >= marks.hold:
            return False
        return not self.session.conflated or now >= self._flushed_at + self._restraint.flush_seconds

    async def _look(self, now: float) -> None:
        self._share, self._looked_at = await self._patience(self._memory.share), now
        await self._note_share()

    async def _note_share(self) -> None:
        """One line when restraint begins, grows or ends; the level's reader is told, too."""
        marks, symbol = self._restraint.marks, self.session.symbol
        holds = self._share >= marks.hold
        if holds != self._holds:
            self._holds = holds
            log.warning(
                "%s: Redis is at %.0f %% of its memory: %s",
                symbol,
                100 * self._share,
                "nothing is appended" if holds else "appending again",
            )
        was = self.session.conflated
        conflated = self._share >= marks.conflate - (_SLACK if was else 0.0)
        if conflated != was:
            self.session = msgspec.structs.replace(self.session, conflated=conflated)
            self._said = False
            self.conflations += conflated
            log.warning(
                "%s: Redis is at %.0f %% of its memory: %s",
                symbol,
                100 * self._share,
                "the newest quotes alone are appended" if conflated else "every quote again",
            )
        if not self._said:
            with suppress(MemoryFullError):  # else the next look will say it
                await self._patience(lambda: self._cache.save_session(self.session), or_full=True)
                self._said = True

    async def check(self) -> None:
        """Ask whether Redis has everything; count what is new at the source."""
        self.checked_at = asyncio.get_running_loop().time()
        with suppress(MemoryFullError):  # what it has lost comes back when there is room
            await self._patience(self.producer.verify, or_full=True)
        await self.mend()
        source = {**self._counters, "held_counts": self.batcher.held_counts}
        counts = {
            **{f"feed_{name}": n for name, n in source.items()},
            "quotes_conflated_ingest": self.batcher.conflated,
            "conflations": self.conflations,
        }
        news = {name: n - self._counted.get(name, 0) for name, n in counts.items()}
        with suppress(MemoryFullError):  # they are counted later
            await self._count(news)
            self._counted = counts

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
            symbol = self.session.symbol
            await self._patience(lambda: self._cache.add_counts(symbol, news), or_full=True)


def _with_gaps(session: Session, repair: Repair) -> Session:
    """The record with what was lost for good, in market time."""
    market = session.clock.market
    gaps = [(market(gap.since_us), market(gap.until_us)) for gap in repair.gaps]
    return msgspec.structs.replace(session, gaps=[*session.gaps, *gaps])
