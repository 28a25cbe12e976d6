"""Appending the batches of one symbol: once each, and again where Redis has forgotten them.

Owns the order and the memory of what was appended; must not know what a batch means. Redis may
come back without the last seconds: killed while its log was on the way to the disk, after a
power cut, or as a server without a log. Each append names the batch that should be there
before it, so a stream that was set back is noticed by the first append behind it, and by
:meth:`Producer.verify` where none follows. What is missing is appended again, in order.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from common.bus import keys, scripts
from common.bus.client import Client, bus_errors, posting, text
from common.bus.codec import Batch
from common.bus.streams import Streams
from common.errors import BusError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Keep:
    """How much of what was appended is remembered."""

    seconds: float = 10.0
    size: int = 64 * 2**20
    """Of all shards together [bytes]; the oldest go first."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Batches that Redis has lost and nobody remembers."""

    shard: str
    batches: int
    since_us: int
    """Wall time of the last batch before them, or of the first among them [us]."""
    until_us: int
    """Wall time of the first batch after them, or of the moment it was noticed [us]."""


@dataclass(slots=True)
class Repair:
    """What was done about a Redis that had lost something."""

    batches: int = 0
    """Appended again."""
    quotes: int = 0
    gaps: list[Gap] = field(default_factory=list)


@dataclass(slots=True)
class _Trail:
    """What a shard's stream should hold of this run."""

    first_us: int
    last: int = 0
    """Number of the last batch that was appended; 0 before the first."""
    kept: deque[tuple[float, Batch]] = field(default_factory=deque)
    """(when it was appended, the batch), consecutive through the last."""


class Producer:
    """Appends batches of one symbol under one epoch; a retry never appends twice."""

    def __init__(
        self,
        client: Client,
        symbol: str,
        epoch: int,
        keep: Keep = Keep(),
        *,
        quick: Client | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """:param quick: a client that gives up soon, for :meth:`append_now`."""
        self.symbol = symbol
        self.epoch = epoch
        self.last_ids: dict[str, str] = {}
        """Shard → id of its last entry, as it is now."""
        self._streams = Streams(client)
        self._append = client.register_script(scripts.APPEND)
        self._keep, self._monotonic, self._quick = keep, monotonic, quick
        self._known: set[str] = set()
        self._trails: dict[str, _Trail] = {}
        self._size = 0
        self._repair: Repair | None = None

    def append(self, shard: str, batch: Batch) -> str:
        """Append a batch; see :meth:`append_all`. The id of its entry, or of a later one."""
        self.append_all([(shard, batch)])
        return self.last_ids[shard]

    def append_all(self, items: Sequence[tuple[str, Batch]]) -> None:
        """Append batches in one step, each unless it had been.

        :raises FencedError: when a newer producer of the symbol has appended.
        :raises BusError: when Redis is out of reach; appending the same batches again is safe.
        """
        for shard, batch in items:
            self._trails.setdefault(shard, _Trail(batch.header.received_us))
        left = list(items)
        while left:
            after = {shard: self._trails[shard].last for shard, _ in left}
            done = self._send(left, after)
            for shard, batch in left[:done]:
                self._remember(self._trails[shard], batch)
            left = left[done:]
            if left:
                self._restore()

    def append_now(self, items: Sequence[tuple[str, Batch]]) -> bool:
        """Append batches if that is a matter of one short round trip; whether all of them are.

        Where it is not, :meth:`append_all` says why, and appends nothing twice.
        """
        if self._quick is None or any(shard not in self._known for shard, _ in items):
            return False
        after = {shard: self._trails[shard].last for shard, _ in items}
        names, values = self._arguments(items, after)
        try:
            with bus_errors(), posting(self._quick) as post:
                post.send([("EVALSHA", self._append.sha, len(names), *names, *values)])
                (replies,) = post.replies()
        except BusError:
            return False
        if isinstance(replies, Exception) or self._note(items, replies) < len(items):
            return False
        for shard, batch in items:
            self._remember(self._trails[shard], batch)
        return True

    def _remember(self, trail: _Trail, batch: Batch) -> None:
        """That a batch was appended, should Redis forget it."""
        if batch.header.batch > trail.last:
            trail.last = batch.header.batch
            trail.kept.append((self._monotonic(), batch))
            self._size += _size(batch)
            if self._size > self._keep.size:
                self._forget_oldest()

    def verify(self) -> bool:
        """Whether Redis holds what was appended; what it has lost is appended again.

        :raises FencedError: when a newer producer of the symbol has appended.
        :raises BusError: when Redis is out of reach.
        """
        held = self._held()
        whole = all(held.get(shard, (0, ""))[0] >= t.last for shard, t in self._trails.items())
        if not whole:
            self._restore()
        now = self._monotonic()
        for trail in self._trails.values():
            while trail.kept and now - trail.kept[0][0] > self._keep.seconds:
                self._size -= _size(trail.kept.popleft()[1])
        return whole

    def take_repair(self) -> Repair | None:
        """What has been repaired since this was last asked; None where nothing was amiss."""
        repair, self._repair = self._repair, None
        return repair

    def _restore(self) -> None:
        """Append again what is missing, shard by shard."""
        repair = self._repair = self._repair or Repair()
        self._known.clear()  # streams, groups and lists may be gone, too
        held = self._held()
        for shard, trail in sorted(self._trails.items()):
            number, entry_id = held.get(shard, (0, ""))
            missing = [batch for _, batch in trail.kept if batch.header.batch > number]
            first = missing[0].header.batch if missing else trail.last + 1
            gap = None
            if number < trail.last and first > number + 1:
                gap = _gap(shard, trail, first - 1 - number, entry_id, missing)
            for batch in missing:
                if not self._send([(shard, batch)], {shard: number}):
                    return  # set back once more; the caller looks again
                number = batch.header.batch
                repair.batches += 1
                repair.quotes += batch.header.quotes
                if gap:
                    repair.gaps.append(gap)
                    gap = None
            if gap:
                repair.gaps.append(gap)
                trail.last = number
        log.warning(
            "%s: Redis had lost entries; %d batches appended again, %d lost",
            self.symbol,
            repair.batches,
            sum(gap.batches for gap in repair.gaps),
        )

    def _held(self) -> dict[str, tuple[int, str]]:
        """Shard → (last batch of this run that Redis holds, the id of its entry)."""
        with bus_errors():
            rows: Any = self._streams.client.hgetall(keys.appended(self.symbol))
        found = {}
        for shard, row in rows.items():
            epoch, batch, entry_id = text(row).split(":")
            if int(epoch) == self.epoch:
                found[text(shard)] = (int(batch), entry_id)
        return found

    def _send(self, items: Sequence[tuple[str, Batch]], after: dict[str, int]) -> int:
        """How many have their entry; fewer than all when a stream does not reach what is to be
        there before the next of them.

        :param after: shard → the last batch before these.
        """
        for shard in {shard for shard, _ in items} - self._known:
            with bus_errors():
                self._streams.client.sadd(keys.shards(self.symbol), shard)
            self._streams.register(keys.quotes(self.symbol, shard))
            self._known.add(shard)
        names, values = self._arguments(items, after)
        with bus_errors():
            replies: Any = self._append(keys=names, args=values)
        return self._note(items, replies)

    def _arguments(
        self, items: Sequence[tuple[str, Batch]], after: dict[str, int]
    ) -> tuple[list[str], list[Any]]:
        """Keys and arguments of the script that appends."""
        reach, values = dict(after), list[Any]()
        for shard, batch in items:
            fields, header = batch.encode(), batch.header
            values += [shard, header.batch, fields["h"], fields["q"], fields["s"]]
            values += [header.quotes, header.spots, reach[shard]]
            reach[shard] = max(reach[shard], header.batch)
        streams = [keys.quotes(self.symbol, shard) for shard, _ in items]
        own = [keys.appended(self.symbol), keys.counters(self.symbol), keys.epoch(self.symbol)]
        return [*own, *streams], [self.epoch, *values]

    def _note(self, items: Sequence[tuple[str, Batch]], replies: Sequence[Any]) -> int:
        """How many have their entry, and which."""
        ids = [text(reply) for reply in replies if not isinstance(reply, int)]
        for (shard, _), entry_id in zip(items, ids, strict=False):
            self.last_ids[shard] = entry_id
        return len(ids)

    def _forget_oldest(self) -> None:
        while self._size > self._keep.size:
            trails = [trail for trail in self._trails.values() if trail.kept]
            oldest = min(trails, key=lambda trail: trail.kept[0][0])
            self._size -= _size(oldest.kept.popleft()[1])


def _gap(shard: str, trail: _Trail, batches: int, entry_id: str, missing: list[Batch]) -> Gap:
    since = int(entry_id.partition("-")[0]) * 1000 if entry_id else trail.first_us
    until = missing[0].header.received_us if missing else time.time_ns() // 1000
    return Gap(shard, batches, min(since, until), until)


def _size(batch: Batch) -> int:
    return batch.quotes.nbytes + batch.spots.nbytes
