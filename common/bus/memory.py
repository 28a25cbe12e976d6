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

    def __init__(self, client: Client, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._client, self._monotonic = client, monotonic
        self._share = 0.0
        self._looked = float("-inf")

    def share(self) -> float:
        """What is used of ``maxmemory`` [1], a moment ago at most; 0 where there is no bound.

        :raises BusError: when Redis is out of reach.
        """
        now = self._monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            with bus_errors():
                info: Any = self._client.info("memory")
            bound = int(info.get("maxmemory", 0))
            self._share = int(info["used_memory"]) / bound if bound else 0.0
            self._looked = now
        return self._share
