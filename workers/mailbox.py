"""What a consumer reads at once: some entries of each stream, more of those that are small.

Owns how many; must not know what an entry means.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from common.bus.client import Errand
from common.bus.entries import Entry
from common.bus.streams import Streams

_MOST = 32
"""A delivery of small entries takes at most so many times the usual number."""
_AT_ONCE, _AHEAD_AT_ONCE = 4, 8
"""Times the usual number that one read takes of all streams: Redis does nothing else meanwhile.
Looking ahead takes it a quarter of the time that delivering does."""
Deliveries = list[tuple[str, list[Entry]]]
"""Streams and entries of theirs."""


class Mailbox:
    """The streams of one consumer."""

    def __init__(
        self,
        streams: Streams,
        group: str,
        consumer: str,
        *,
        batch: int,
        small_bytes: int,
        look_ahead: bool = False,
    ) -> None:
        """:param batch: entries of a stream that are taken whatever their size.
        :param small_bytes: as far as more are taken, by the size of these [bytes].
        :param look_ahead: whether more may be taken without being delivered. What kills its
            reader is found by its deliveries, so of a stream that is new, or of which something
            has failed, as many as two rounds hold are delivered first.
        """
        self._streams, self._group, self._consumer = streams, group, consumer
        self._batch, self._small_bytes, self._look_ahead = batch, small_bytes, look_ahead
        self._delivered: dict[str, int] = {}
        self.holds_more = False
        """Whether there may be more than was read."""

    def be_careful(self, stream: str) -> None:
        """Have what comes next of a stream delivered."""
        self._delivered[stream] = 0

    def read(
        self, streams: list[str], *, block_ms: int, errands: Sequence[Errand] = ()
    ) -> Deliveries:
        """New entries, waiting for the first of them; those that are not delivered stand last.

        :param errands: go with it.
        """
        found = dict(self._read(streams, self._batch, block_ms, errands))
        full = [stream for stream, entries in found.items() if len(entries) >= self._batch]
        ahead = {stream for stream in full if self._may_look_ahead(stream)}
        if full:  # as many again of each as there is room for by the largest
            sizes = [size_of(found[stream]) for stream in full]
            room = min(self._small_bytes // max(1, *sizes), _MOST)
            left = (room - 1) * self._batch
            while full and left > 0:
                at_once = _AHEAD_AT_ONCE if ahead.issuperset(full) else _AT_ONCE
                count = min(left, self._batch * max(1, at_once // len(full)))
                rest = self._further(found, [s for s in full if s in ahead], count)
                rest += self._read([s for s in full if s not in ahead], count, None)
                for stream, entries in rest:
                    found[stream].extend(entries)
                full = [stream for stream, entries in rest if len(entries) >= count]
                left -= count
        self.holds_more = bool(full)
        for stream, entries in found.items():
            self._delivered[stream] = self._delivered.get(stream, 0) + len(entries)
        return list(found.items())

    def _may_look_ahead(self, stream: str) -> bool:
        enough = 2 * _MOST * self._batch
        return self._look_ahead and self._delivered.get(stream, 0) >= enough

    def _further(self, found: dict[str, list[Entry]], streams: list[str], count: int) -> Deliveries:
        after = {stream: found[stream][-1].id for stream in streams}
        return self._streams.look_ahead(after, count=count) if after else []

    def _read(
        self,
        streams: list[str],
        count: int,
        block_ms: int | None,
        errands: Sequence[Errand] = (),
    ) -> Deliveries:
        if not streams:
            return []
        return self._streams.read(
            *(self._group, self._consumer, streams),
            count=count,
            block_ms=block_ms,
            errands=errands,
        )


class Waiting:
    """Deliveries that wait to be handled together with what follows them."""

    def __init__(
        self,
        seconds: float,
        most: int,
        *,
        before: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """:param seconds: how long the first of them waits at most.
        :param before: where given, waiting ends so long before a multiple of those seconds of
            the wall clock [s].
        :param most: entries of one stream that wait at most; not more than a mailbox has
            delivered before it looks ahead, for what is not delivered must not wait: the next
            read finds it again.
        """
        self._seconds, self._most, self._before = seconds, most, before
        self._monotonic, self._wall = monotonic, wall
        self._entries: dict[str, list[Entry]] = {}
        self._until = self._added = monotonic()
        self.after_silence = False
        """Whether nothing came for as long as one waits before what was added last."""

    def add(self, deliveries: Deliveries) -> None:
        """Put deliveries behind those that wait."""
        if not deliveries:
            return
        now = self._monotonic()
        self.after_silence, self._added = now - self._added >= self._seconds, now
        if not self._entries:
            self._until = now + self._room()
        for stream, entries in deliveries:
            self._entries.setdefault(stream, []).extend(entries)

    def _room(self) -> float:
        if self._before is None:
            return self._seconds
        return self._seconds - (self._wall() + self._before) % self._seconds

    def left(self) -> float | None:
        """How long they may wait yet [s], 0 when they have to be handled; None when there are
        none."""
        if not self._entries:
            return None
        if any(len(entries) >= self._most for entries in self._entries.values()):
            return 0.0
        return max(0.0, self._until - self._monotonic())

    def take(self) -> Deliveries:
        """All of them; none waits any more."""
        taken, self._entries = list(self._entries.items()), {}
        return taken


def size_of(entries: list[Entry]) -> int:
    """What entries hold [bytes]."""
    return sum(len(value) for entry in entries for value in entry.fields.values())
