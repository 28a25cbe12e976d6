"""What every handler of the simulator's HTTP server needs.

Owns putting it together; must not answer anything itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from workers.simulator.chunking import Chunking
from workers.simulator.counters import Counters
from workers.simulator.exchange import Exchange
from workers.simulator.faults.connections import STATUS_GO_AWAY
from workers.simulator.faults.running import Faults
from workers.simulator.paced_market import PacedMarket
from workers.simulator.quotas import RateLimits, StreamLimits
from workers.simulator.tokens import Tokens
from workers.simulator.wire_log import WireLog

DEFAULT_HEARTBEAT_SECONDS = 5.0


class OpenStream(Protocol):
    """A stream that somebody reads now."""

    @property
    def route(self) -> str:
        """Its path without the symbols."""

    @property
    def target(self) -> str:
        """What is asked for: path and query."""

    @property
    def conflated(self) -> int:
        """Rows replaced by newer ones before its reader took them."""

    def end_with(self, line: bytes) -> None:
        """Tell what is pending, then a last line, then end."""

    def say(self, lines: list[bytes]) -> None:
        """Send some lines between the others."""

    def tell_again(self) -> None:
        """Tell everything once more, as at the beginning."""

    def wake(self) -> None:
        """Look again at what there is to tell."""

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
    streams: dict[OpenStream, None] = field(default_factory=dict)
    """Oldest first."""
    faults: Faults = field(default_factory=Faults)
    wire: WireLog | None = field(init=False)
    """Of a market at a pace."""

    def __post_init__(self) -> None:
        """Only a market at a pace knows when each quote was due."""
        self.wire = WireLog() if isinstance(self.exchange.market, PacedMarket) else None

    def send_all_away(self) -> None:
        """End every open stream in order."""
        for stream in list(self.streams):
            stream.end_with(STATUS_GO_AWAY)
