"""The ingestor: one feed in, micro-batches of one symbol on the streams out.

Owns numbering, latching and batching of updates and the session record; must not compute
anything. Live data is appended as it arrives and beat asks for levels; a replay is paced here
and asks for each level itself, once every shard has passed the instant (a barrier).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from common.batcher import Batcher
from common.bus.cache import Cache
from common.bus.client import Client
from common.bus.streams import Producer
from common.clock import SECOND, iso_ms, wall_us, whole_ms
from common.errors import BusError, FeedError
from common.feeds.base import Feed, FeedSession
from common.models import Session, SnapshotEnd, Update
from workers.barrier import Barrier, TickRequest

log = logging.getLogger(__name__)
T = TypeVar("T")
_COUNT_SECONDS = 1.0
Sleep = Callable[[float], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Pace:
    """How an ingestor batches and how a replay runs."""

    flush_seconds: float = 0.005
    flush_rows: int = 500
    speed: float = float("inf")
    grid_us: int = 60 * SECOND
    """Market-time grid of a replay's levels [us]."""
    patience_seconds: float = 120.0
    """A replay gives up when nothing moves for this long."""


@dataclass(slots=True)
class _Run:
    """One run of a session: its record as it now is, and where its updates go."""

    session: Session
    producer: Producer
    batcher: Batcher
    counters: Mapping[str, int]
    """What has happened at the source."""
    counted: dict[str, int] = field(default_factory=dict)
    """The part of it that the symbol's counters hold."""
    counted_at: float = 0.0


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
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._client = client
        self._cache = Cache(client)
        self._symbol = symbol
        self._feed = feed
        self._pace = pace
        self._sleep = sleep
        self._stop = asyncio.Event()
        self._barrier = Barrier(
            client,
            symbol,
            request_tick,
            patience_seconds=pace.patience_seconds,
            is_stopped=self._stop.is_set,
        )
        self._last_ids: dict[str, str] = {}
        self.batches = 0

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
        run = _Run(
            session,
            Producer(self._client, session.symbol, session.epoch),
            Batcher(session, self._pace.flush_rows, clock=wall_us),
            feed_session.counters,
        )
        if session.resume:
            await self._patiently(lambda: self._restore(run.batcher))
        self._last_ids.clear()
        if session.replay:
            await self._replay(run, feed_session.frames())
        else:
            await self._live(run, feed_session.frames())
            await self._count(run)
            if not self._stop.is_set():
                await self._settle()
                await self._save(run, ended=True)

    async def _settle(self) -> None:
        """Let the last quotes of a live session become part of its last level."""
        try:
            await self._merged()
        except FeedError as error:
            log.error("the last level may lack quotes: %s", error)

    async def _begin(self, found: Session) -> Session:
        def begin() -> Session:
            previous = self._cache.session(self._symbol)
            goes_on = found.resume and previous is not None and previous.key == found.key
            epoch = self._cache.next_epoch(self._symbol)
            session = msgspec.structs.replace(found, epoch=epoch, first_pass=None)
            self._cache.start_session(session, keep_shards=goes_on)
            return session

        session = await self._patiently(begin)
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

    async def _save(self, run: _Run, **changes: Any) -> None:
        run.session = msgspec.structs.replace(run.session, **changes)
        await self._patiently(lambda: self._cache.save_session(run.session))
        if run.session.ended:
            log.info("session %s ended", run.session.key)

    # --- live -------------------------------------------------------------------------------

    async def _live(self, run: _Run, frames: AsyncIterator[list[Update]]) -> None:
        queue: asyncio.Queue[list[Update] | None] = asyncio.Queue(maxsize=1000)

        async def pump() -> None:
            async for frame in frames:
                await queue.put(frame)
            await queue.put(None)

        reader = asyncio.create_task(pump())
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await self._consume(run, queue, reader, stopped)
        finally:
            stopped.cancel()
            reader.cancel()
            await asyncio.gather(reader, stopped, return_exceptions=True)

    async def _consume(
        self,
        run: _Run,
        queue: asyncio.Queue[list[Update] | None],
        reader: asyncio.Task[None],
        stopped: asyncio.Task[bool],
    ) -> None:
        loop = asyncio.get_running_loop()
        deadline: float | None = None
        getter = asyncio.create_task(queue.get())
        try:
            while True:
                timeout = None if deadline is None else max(0.0, deadline - loop.time())
                await asyncio.wait(
                    {getter, reader, stopped}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
                )
                if reader.done() and reader.exception():
                    run.batcher.add(_in_hand(getter, queue))
                    await self._flush(run)
                    reader.result()
                if stopped.done():
                    run.batcher.add(_in_hand(getter, queue))
                    break
                if getter.done():
                    frame = getter.result()
                    if frame is None:
                        break
                    getter = asyncio.create_task(queue.get())
                    run.batcher.add(frame)
                    if deadline is None:
                        deadline = loop.time() + self._pace.flush_seconds
                    if run.session.first_pass is None and isinstance(frame[-1], SnapshotEnd):
                        await self._flush(run)
                        await self._save(run, first_pass=dict(self._last_ids))
                if run.batcher.full or (deadline is not None and loop.time() >= deadline):
                    await self._flush(run)
                    deadline = None
        finally:
            getter.cancel()
        await self._flush(run)

    # --- replay -----------------------------------------------------------------------------

    async def _replay(self, run: _Run, frames: AsyncIterator[list[Update]]) -> None:
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
                    await self._level(instant)
            due = max(due, -(-at // grid) * grid)
            if not await self._wait_until(began, first, at):
                return
            run.batcher.add(frame)
            await self._flush(run)
            if self._stop.is_set():
                return
            if is_last:
                await self._merged()
                await self._save(run, ended=True)
            whole = whole or isinstance(frame[-1], SnapshotEnd)
            if is_last or isinstance(frame[-1], SnapshotEnd):
                await self._level(at)
                due = max(due, at // grid * grid + grid)

    async def _wait_until(self, began: float, first: int, at: int) -> bool:
        """Wait for a market instant at the replay's speed; false when stopped."""
        target = began + (at - first) / SECOND / self._pace.speed
        delay = target - asyncio.get_running_loop().time()
        if delay > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), delay)
        return not self._stop.is_set()

    async def _level(self, at: int) -> None:
        """The level of an instant, once all that was appended before it is merged; within a
        millisecond, that of its end."""
        at = whole_ms(at + 999)
        await self._merged()
        await self._patiently(lambda: self._barrier.level(at))

    async def _merged(self) -> None:
        await self._patiently(lambda: self._barrier.merged(self._last_ids))

    # --- appending --------------------------------------------------------------------------

    async def _flush(self, run: _Run) -> None:
        """Append what has been added."""
        for shard, batch in run.batcher.flush():
            entry_id = await self._patiently(
                lambda s=shard, b=batch: run.producer.append(s, b)  # type: ignore[misc]
            )
            self._last_ids[shard] = entry_id
            self.batches += 1
        now = asyncio.get_running_loop().time()
        if now - run.counted_at >= _COUNT_SECONDS:
            run.counted_at = now
            await self._count(run)

    async def _count(self, run: _Run) -> None:
        """Add what is new at the source to the symbol's counters."""
        counts = {**run.counters, "held_counts": run.batcher.held_counts}
        news = {f"feed_{name}": n - run.counted.get(name, 0) for name, n in counts.items()}
        news = {name: n for name, n in news.items() if n}
        if news:
            run.counted = counts
            await self._patiently(lambda: self._cache.add_counts(self._symbol, news))

    async def _patiently(self, action: Callable[[], T]) -> T:
        """Do it in a thread; wait out an outage of Redis. What is repeated is idempotent."""
        attempt = 0
        while True:
            try:
                return await asyncio.to_thread(action)
            except BusError as error:
                attempt += 1
                log.warning("%s; trying again (attempt %d)", error, attempt)
                if self._stop.is_set():
                    raise
                delay = random.uniform(0, min(5.0, 0.1 * 2 ** min(attempt, 10)))  # noqa: S311
                await self._sleep(delay)


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


def _in_hand(
    getter: asyncio.Task[list[Update] | None], queue: asyncio.Queue[list[Update] | None]
) -> list[Update]:
    """What the feed has yielded and nobody has batched yet."""
    frames = [getter.result()] if getter.done() else []
    while not queue.empty():
        frames.append(queue.get_nowait())
    return [update for frame in frames if frame for update in frame]


def _frame_time(frame: list[Update]) -> int:
    return max(update.time for update in frame)
