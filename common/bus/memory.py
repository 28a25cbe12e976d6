"""How full Redis is, and what is done about it.

Owns the measure and the marks; must not know what fills it. Each mark is a share of the bound:
from the first on the store worker spools, from the second on the ingestor conflates, from the
third on it holds what it has. What lies above is room for the states, for the levels and for
the Celery broker.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common.bus.client import Client, bus_errors

_LOOK_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Marks:
    """Shares of the memory bound at which something is done."""

    spool: float = 0.6
    conflate: float = 0.8
    hold: float = 0.9


class Memory:
    """The memory of one Redis."""

    def __init__(
        self, client: Client, *, bound: int, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Look at nothing yet.

        :param bound: of a server that has none of its own [bytes].
        """
        self._client, self._bound, self._monotonic = client, bound, monotonic
        self._share = 0.0
        self._looked = float("-inf")

    def share(self) -> float:
        """What is used of the bound [1], as it was a moment ago at most.

        :raises BusError: when Redis is out of reach.
        """
        now = self._monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            with bus_errors():
                info: Any = self._client.info("memory")
            self._share = info["used_memory"] / (info.get("maxmemory") or self._bound)
            self._looked = now
        return self._share
