"""Who may write the state of a shard.

Owns taking, keeping and giving back of leases with a fencing epoch, and the shares of N
workers; must not know what is written under a lease.
"""

from __future__ import annotations

import math
import time
from typing import Any

from common.bus import keys, scripts
from common.bus.client import Client, bus_errors, text


class Leases:
    """The leases of one worker of the Greeks group."""

    def __init__(self, client: Client, *, name: str, token: str, milliseconds: int) -> None:
        self._client = client
        self._name = name
        self._token = token
        self._milliseconds = milliseconds
        self._take = client.register_script(scripts.LEASE)
        self._release = client.register_script(scripts.RELEASE)
        self._enter = client.register_script(scripts.SIGN_IN)
        self.held: dict[str, int] = {}
        """Quotes stream → fencing epoch under which this worker may write its state."""

    def balance(self, streams: list[str]) -> None:
        """Keep what is held, take free shards up to a fair share, give back what is above it."""
        kept = [stream for stream in sorted(self.held) if stream in streams]
        self.held = {stream: epoch for stream, epoch in self._ask(kept).items() if epoch}
        share = math.ceil(len(streams) / max(1, self._sign_in()))
        for stream in sorted(self.held)[share:]:
            self.release(stream)
        for stream in streams:
            if len(self.held) >= share:
                break
            if stream not in self.held and (epoch := self._ask([stream])[stream]):
                self.held[stream] = epoch

    def release(self, stream: str) -> None:
        """Give a shard back, so that another worker may take it at once."""
        self.held.pop(stream, None)
        with bus_errors():
            self._release(keys=[_key(stream)], args=[self._token])

    def release_all(self) -> None:
        """Give everything back: the last act of a worker."""
        for stream in list(self.held):
            self.release(stream)
        with bus_errors():
            self._client.zrem(keys.actors(keys.GREEKS_GROUP), self._name)

    def _ask(self, streams: list[str]) -> dict[str, int]:
        """Take or keep leases in one round trip: the epoch of each, 0 of one that is refused."""
        args: list[Any] = [self._name, self._token, self._milliseconds]
        with bus_errors(), self._client.pipeline(transaction=False) as pipe:
            for stream in streams:
                self._take(keys=[_key(stream)], args=args, client=pipe)
            return dict(zip(streams, map(int, pipe.execute()), strict=True))

    def _sign_in(self) -> int:
        """Sign this worker in; how many of the group gave a sign of life within a lease."""
        now = time.time()
        with bus_errors():
            return int(
                self._enter(
                    keys=[keys.actors(keys.GREEKS_GROUP)],
                    args=[self._name, now, now - self._milliseconds / 1000.0],
                )
            )


def holder(client: Client, stream: str) -> str:
    """Name of the worker that holds a shard, or an empty text."""
    with bus_errors():
        row: Any = client.hget(_key(stream), "name")
    return text(row) if row else ""


def _key(stream: str) -> str:
    return keys.lease(keys.stream_symbol(stream), keys.stream_shard(stream))
