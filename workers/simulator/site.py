"""What every handler of the simulator's HTTP server needs.

Owns putting it together; must not answer anything itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from workers.simulator.chunking import Chunking
from workers.simulator.counters import Counters
from workers.simulator.exchange import Exchange
from workers.simulator.quotas import RateLimits, StreamLimits
from workers.simulator.tokens import Tokens

DEFAULT_HEARTBEAT_SECONDS = 5.0


class OpenStream(Protocol):
    """A stream that somebody reads now."""

    @property
    def route(self) -> str:
        """Its path without the symbols."""

    @property
    def conflated(self) -> int:
        """Rows replaced by newer ones before its reader took them."""

    def go_away(self) -> None:
        """Tell what is pending, then ``GoAway``, then end."""

    def cut(self) -> None:
        """Close the socket in the middle of a line."""


@dataclass(slots=True)
class Site:
    """The simulator behind the server."""

    exchange: Exchange
    tokens: Tokens
    rate_limits: RateLimits
    chunking: Chunking = "merged"
    heartbeat_seconds: float = DEFAULT_HEARTBEAT_SECONDS
    """Silence after which a stream sends a heartbeat [s of wall time]."""
    stream_limits: StreamLimits = field(default_factory=StreamLimits)
    counters: Counters = field(default_factory=Counters)
    streams: set[OpenStream] = field(default_factory=set)

    def send_all_away(self) -> None:
        """End every open stream in order."""
        for stream in list(self.streams):
            stream.go_away()
