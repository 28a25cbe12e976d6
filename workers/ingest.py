"""The ingestor: one feed in, micro-batches of one symbol on the streams out.

Owns sessions, their pace and when their updates are flushed; must not compute anything. Live
data is appended as it arrives and beat asks for levels; a replay is paced here and asks for
each level itself, once every shard has passed the instant (a barrier).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from common.batcher import Batcher
from common.bus.cache import Cache
from common.bus.client import Client
from common.bus.memory import Memory
from common.bus.producer import Keep, Producer
from common.clock import SECOND, iso_ms, wall_us, whole_ms
from common.errors import FeedError
from common.feeds.base import Feed, FeedSession
from common.models import Session, SnapshotEnd, Update
from workers.barrier import Barrier, TickRequest
from workers.delivery import Delivery, Patience, Restraint, Sleep
from workers.inbox import Inbox

log = logging.getLogger(__name__)
T = TypeVar("T")
_GATHER_SECONDS = 0.001
"""What comes after a silence waits for what comes with it, on other streams, so long [s]."""
_HELD_SECONDS = 0.25
"""What could not be appended for want of memory is tried again after this [s]."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How an ingestor batches and how a replay runs."""

    flush_seconds: float = 0.002
    """From one flush to the next, at least [s]; what comes after a silence does not wait for it."""
    flush_rows: int = 500
    speed: float = float("inf")
    grid_us: int = 60 * SECOND
    """Market-time grid of a replay's levels [us]."""
    patience_seconds: float = 120.0
    """A replay gives up when nothing moves for this long."""
    check_seconds: float = 1.0
    """Redis is asked this often whether it has everything, and told what the source counts."""
    restraint: Restraint = Restraint()  # noqa: RUF009  immutable
    keep: Keep = Keep()  # noqa: RUF009  immutable
    """What is remembered, should Redis forget it."""


class Ingestor:
    """Produces one symbol from one feed."""

    def __init__(
        self,
        client: Client,
        symbol: str,
        feed: Feed,
        pace: Pace,
        request_tick: TickRequest,
        *,
        memory: Memory,
        quick: Client | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """:param quick: a client that gives up soon; batches are appended with it first."""
        self._client, self._memory, self._quick = client, memory, quick
        self._cache = Cache(client)
        self._symbol = symbol
        self._feed = feed
        self._pace = pace
        self._stop = asyncio.Event()
        self._patience = Patience(self._stop.is_set, sleep)
        self._barrier = Barrier(
            client,
            symbol,
            request_tick,
            patience_seconds=pace.patience_seconds,
            is_stopped=self._stop.is_set,
        )

    def stop(self) -> None:
        """Append what is in hand and leave :meth:`run`."""
        self._stop.set()

    async def run(self) -> None:
        """Produce session after session until the feed has no more, or until stopped.

        :raises FencedError: another ingestor of this symbol has started.
        :raises FeedError: the source broke off, or a replay found nobody to work for it.
        """
        sessions = self._feed.sessions()
        while not self._stop.is_set():
            feed_session = await self._or_stopped(anext(sessions, None))
            if feed_session is None:
                return
            await self._run_session(feed_session)

    async def _or_stopped(self, coming: Awaitable[T]) -> T | None:
        """What is waited for, or None when the ingestor is stopped first."""
        waiting = asyncio.ensure_future(coming)
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({waiting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return waiting.result() if waiting.done() else None
        finally:
            waiting.cancel()
            stopped.cancel()
            await asyncio.gather(waiting, stopped, return_exceptions=True)

    async def _run_session(self, feed_session: FeedSession) -> None:
        session = await self._begin(feed_session.session)
        run = Delivery(
            cache=self._cache,
            session=session,
            producer=Producer(
                *(self._client, session.symbol, session.epoch, self._pace.keep),
                quick=self._quick,
            ),
            batcher=Batcher(session, self._pace.flush_rows, clock=wall_us),
            counters=feed_session.counters,
            patience=self._patience,
            check_seconds=self._pace.check_seconds,
            memory=self._memory,
            restraint=self._pace.restraint,
        )
        if session.resume:
            await self._patience(lambda: self._restore(run.batcher))
        if session.replay:
            await self._replay(run, feed_session.frames())
        else:
            await self._live(run, feed_session.frames())
            await run.check()
            if not self._stop.is_set():
                await self._settle(run)
                await run.save(ended=True)

    async def _settle(self, run: Delivery) -> None:
        """Let the last quotes of a live session become part of its last level."""
        try:
            await self._merged(run)
        except FeedError as error:
            log.error("the last level may lack quotes: %s", error)

    async def _begin(self, found: Session) -> Session:
        def begin() -> Session:
            previous = self._cache.session(self._symbol)
            goes_on = found.resume and previous is not None and previous.key == found.key
            epoch = self._cache.next_epoch(self._symbol)
            gaps = previous.gaps if previous and previous.key == found.key else []
            session = msgspec.structs.replace(found, epoch=epoch, first_pass=None, gaps=gaps)
            self._cache.start_session(session, keep_shards=goes_on)
            return session

        session = await self._patience(begin)
        log.info(
            "session %s, epoch %d, close %s", session.key, session.epoch, iso_ms(session.close_us)
        )
        return session

    def _restore(self, batcher: Batcher) -> None:
        """What the session has latched so far, from the states of its shards."""
        for shard, state in self._cache.chain(
            self._symbol, self._cache.shards(self._symbol)
        ).states.items():
            batcher.restore(shard, state.quote_rows())

    # --- live -------------------------------------------------------------------------------

    async def _live(self, run: Delivery, frames: AsyncIterator[list[Update]]) -> None:
        inbox = Inbox(self._stop)

        async def pump() -> None:
            async for frame in frames:
                await inbox.put(frame)

        reader = asyncio.create_task(pump())
        reader.add_done_callback(lambda _: inbox.wake())
        stopped = asyncio.create_task(self._stop.wait())
        stopped.add_done_callback(lambda _: inbox.wake())
        try:
            await self._consume(run, inbox, reader)
        finally:
            stopped.cancel()
            reader.cancel()
            await asyncio.gather(reader, stopped, return_exceptions=True)

    async def _consume(self, run: Delivery, inbox: Inbox, reader: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        deadline: float | None = None
        flushed = loop.time()
        whole = held = False
        while True:
            await inbox.wait(min(run.check_at, deadline or run.check_at) - loop.time())
            over = reader.done() or self._stop.is_set()  # before what it came with is taken
            news = 0
            while (held or not run.batcher.full) and (frame := inbox.take()):
                run.batcher.add(frame)
                whole = whole or isinstance(frame[-1], SnapshotEnd)
                news += 1
            first = whole and run.session.first_pass is None
            if over and not inbox.frames:
                break
            if news and deadline is None:
                spacing = self._pace.flush_seconds
                gather = min(_GATHER_SECONDS, spacing)
                deadline = max(loop.time() + gather, flushed + spacing)
            full = run.batcher.full and not held
            if first or full or (deadline and loop.time() >= deadline):
                flushed = loop.time()
                held = not await run.flush()
                deadline = loop.time() + _HELD_SECONDS if held else None
                if first and not held:
                    await run.save(first_pass=dict(run.producer.last_ids))
            if loop.time() >= run.check_at:
                await run.check()
        await run.flush(last=True)
        if first:
            await run.save(first_pass=dict(run.producer.last_ids))
        if reader.done():
            reader.result()

    # --- replay -----------------------------------------------------------------------------

    async def _replay(self, run: Delivery, frames: AsyncIterator[list[Update]]) -> None:
        loop = asyncio.get_running_loop()
        began, first, grid = loop.time(), 0, self._pace.grid_us
        due = 0  # the next instant of the grid
        whole = False  # before the first whole chain there is no level
        async for frame, is_last in _with_last(frames):
            at = _frame_time(frame)
            if not first:
                first, due = at, -(-at // grid) * grid
            for instant in range(due, at, grid):
                if await self._wait_until(began, first, instant) and whole:
                    await self._level(run, instant)
            due = max(due, -(-at // grid) * grid)
            if not await self._wait_until(began, first, at):
                return
            run.batcher.add(frame)
            await run.flush()
            if self._stop.is_set():
                return
            if is_last:
                await self._merged(run)
                await run.save(ended=True)
            whole = whole or isinstance(frame[-1], SnapshotEnd)
            if is_last or isinstance(frame[-1], SnapshotEnd):
                await self._level(run, at)
                due = max(due, at // grid * grid + grid)

    async def _wait_until(self, began: float, first: int, at: int) -> bool:
        """Wait for a market instant at the replay's speed; false when stopped."""
        target = began + (at - first) / SECOND / self._pace.speed
        delay = target - asyncio.get_running_loop().time()
        if delay > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), delay)
        return not self._stop.is_set()

    async def _level(self, run: Delivery, at: int) -> None:
        """The level of an instant, once all that was appended before it is merged; within a
        millisecond, that of its end."""
        at = whole_ms(at + 999)
        await self._merged(run)
        await self._patience(lambda: self._barrier.level(at))

    async def _merged(self, run: Delivery) -> None:
        producer = run.producer
        await self._patience(lambda: self._barrier.merged(producer.last_ids, producer.verify))
        await run.mend()


async def _with_last(
    frames: AsyncIterator[list[Update]],
) -> AsyncIterator[tuple[list[Update], bool]]:
    """Each non-empty frame and whether it is the last."""
    held: list[Update] | None = None
    async for frame in frames:
        if not frame:
            continue
        if held:
            yield held, False
        held = frame
    if held:
        yield held, True


def _frame_time(frame: list[Update]) -> int:
    return max(update.time for update in frame)
