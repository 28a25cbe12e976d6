"""What a consumer reads at once: some entries of each stream, more of those that are small.

Owns how many; must not know what an entry means.
"""

from __future__ import annotations

from common.bus.streams import Entry, Streams

_MOST = 16
"""A delivery of small entries takes at most so many times the usual number."""
Deliveries = list[tuple[str, list[Entry]]]


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
            sizes = [_size(entries) for stream, entries in found if stream in full]
            room = self._small_bytes // max(1, *sizes)
            for _ in range(min(room, _MOST) - 1):
                if not full:
                    break
                rest = dict(self._read(full, self._batch, None))
                for stream, entries in found:
                    entries.extend(rest.get(stream, ()))
                full = [stream for stream in rest if len(rest[stream]) >= self._batch]
        self.holds_more = bool(full)
        return found

    def _read(self, streams: list[str], count: int, block_ms: int | None) -> Deliveries:
        return self._streams.read(
            self._group, self._consumer, streams, count=count, block_ms=block_ms
        )


def _size(entries: list[Entry]) -> int:
    return sum(len(value) for entry in entries for value in entry.fields.values())
