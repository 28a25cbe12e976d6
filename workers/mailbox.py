"""What a consumer reads at once: some entries of each stream, more of those that are small.

Owns how many; must not know what an entry means.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from common.bus.streams import Entry, Streams

_MOST = 16
"""A delivery of small entries takes at most so many times the usual number."""
_AT_ONCE = 4
"""Times the usual number that one read takes of all streams: Redis does nothing else meanwhile."""
Deliveries = list[tuple[str, list[Entry]]]
"""Streams and entries of theirs."""


class Mailbox:
    """The streams of one consumer."""

    def __init__(
        self, streams: Streams, group: str, consumer: str, *, batch: int, small_bytes: int
    ) -> None:
        """:param batch: entries of a stream that are taken whatever their size.
        :param small_bytes: as far as more are taken, by the size of these [bytes].
        """
        self._streams, self._group, self._consumer = streams, group, consumer
        self._batch, self._small_bytes = batch, small_bytes
        self.holds_more = False
        """Whether there may be more than was read."""

    def read(self, streams: list[str], *, block_ms: int) -> Deliveries:
        """New entries, waiting for the first of them."""
        found = self._read(streams, self._batch, block_ms)
        full = [stream for stream, entries in found if len(entries) >= self._batch]
        if full:  # as many again of each as there is room for by the largest
            sizes = [size_of(entries) for stream, entries in found if stream in full]
            room = min(self._small_bytes // max(1, *sizes), _MOST)
            left = (room - 1) * self._batch
            while full and left > 0:
                count = min(left, self._batch * max(1, _AT_ONCE // len(full)))
                rest = dict(self._read(full, count, None))
                for stream, entries in found:
                    entries.extend(rest.get(stream, ()))
                full = [stream for stream in rest if len(rest[stream]) >= count]
                left -= count
        self.holds_more = bool(full)
        return found

    def _read(self, streams: list[str], count: int, block_ms: int | None) -> Deliveries:
        return self._streams.read(
            self._group, self._consumer, streams, count=count, block_ms=block_ms
        )


class Waiting:
    """Deliveries that wait to be handled together with what follows them."""

    def __init__(
        self, seconds: float, most: int, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """:param seconds: how long the first of them waits at most.
        :param most: entries of one stream that wait at most.
        """
        self._seconds, self._most, self._monotonic = seconds, most, monotonic
        self._entries: dict[str, list[Entry]] = {}
        self._until = 0.0

    def add(self, deliveries: Deliveries) -> None:
        """Put deliveries behind those that wait."""
        if deliveries and not self._entries:
            self._until = self._monotonic() + self._seconds
        for stream, entries in deliveries:
            self._entries.setdefault(stream, []).extend(entries)

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
