"""What stood on the streams of a symbol at any moment, seen by somebody outside the platform.

Owns watching them through every outage; must not write to Redis. What Redis has shown once must
not be missing in the end, whatever Redis itself has gone through since.
"""

from __future__ import annotations

import threading
from typing import Any, Self

import redis

from common.bus import keys
from common.bus.codec import Batch
from common.bus.entries import id_order

Sent = tuple[str, int, int]
"""Shard, epoch and number of a batch: what its producer calls it."""
Level = tuple[str, int]
"""Session and instant of a level [us, market time]."""


class Witness:
    """Reads the streams of a symbol in a thread of its own, from their first entries on."""

    def __init__(self, url: str, symbol: str) -> None:
        self._client = redis.Redis.from_url(url, socket_timeout=5)
        self._symbol = symbol
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._cursors = {keys.level_stream(symbol): "0-0"}
        self.levels: set[Level] = set()
        """Every level."""
        self.seen: dict[Sent, int] = {}
        """Every batch and how many quotes it had."""
        self.outages = 0
        """How often Redis did not answer."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                self._read()
            except (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError):
                self.outages += 1
                self._stop.wait(0.05)

    def _read(self) -> None:
        names: Any = self._client.smembers(keys.shards(self._symbol))
        for name in names:
            self._cursors.setdefault(keys.quotes(self._symbol, name.decode()), "0-0")
        reply: Any = self._client.xread(dict(self._cursors), count=500, block=200)  # type: ignore[arg-type]
        for stream, entries in reply:
            name = stream.decode()
            for entry_id, fields in entries:
                if name.startswith(keys.LEVELS_PREFIX):
                    self.levels.add((fields[b"session"].decode(), int(fields[b"at"])))
                else:
                    header = Batch.decode(fields).header
                    self.seen[keys.stream_shard(name), header.epoch, header.batch] = header.quotes
                self._cursors[name] = max(self._cursors[name], entry_id.decode(), key=id_order)
