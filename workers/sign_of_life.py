"""What an actor says of itself, for `gex status` and for who watches it.

Owns writing it; must not judge what it means.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from common.bus import keys
from common.bus.client import Client, bus_errors
from common.errors import MemoryFullError

_SECONDS = 60
"""Who is silent for so long is gone."""


class SignOfLife:
    """The row of one actor, `actor:{group}:{consumer}`."""

    def __init__(
        self,
        client: Client,
        group: str,
        consumer: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._key = keys.actor(group, consumer)
        self._monotonic = monotonic
        self._host = socket.gethostname()
        self._said = (monotonic(), 0)

    def say(self, counters: Mapping[str, int]) -> None:
        """Replace the row; of `handled` entries it gives the rate since the last time, too.

        :raises BusError: when Redis is out of reach; where it has no memory for this, nothing is
            said, and the work goes on.
        """
        (before, handled), now = self._said, self._monotonic()
        self._said = (now, counters["handled"])
        rate = (counters["handled"] - handled) / (now - before) if now > before else 0.0
        row: dict[Any, Any] = {"pid": os.getpid(), "host": self._host, "at": time.time()}
        row |= {"rate": round(rate, 3), **counters}
        with (
            suppress(MemoryFullError),
            bus_errors(),
            self._client.pipeline(transaction=True) as pipe,
        ):
            pipe.hset(self._key, mapping=row)
            pipe.expire(self._key, _SECONDS)
            pipe.execute()

    def end(self) -> None:
        """The last word: who has ended is not shown as one that is.

        :raises BusError: when Redis is out of reach.
        """
        with bus_errors():
            self._client.delete(self._key)
