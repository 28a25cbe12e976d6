"""What a simulator has done, in numbers.

Owns the counters; must not decide anything by them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from common.models import JsonDict


@dataclass(slots=True)
class Counters:
    """Counted since the start of the process."""

    requests: Counter[str] = field(default_factory=Counter)
    """``GET /path 200`` → how many; a stream counts when it is opened."""
    streams_opened: int = 0
    streams_cut: int = 0
    lines_sent: int = 0
    """Rows and quotes, control objects left out."""
    heartbeats_sent: int = 0
    bytes_sent: int = 0
    conflated: int = 0
    """Rows replaced by newer ones before a slow reader took them, of streams that have ended."""

    def as_json(self) -> JsonDict:
        """The counters by name."""
        return {
            "requests": dict(sorted(self.requests.items())),
            "streams_opened": self.streams_opened,
            "streams_cut": self.streams_cut,
            "lines_sent": self.lines_sent,
            "heartbeats_sent": self.heartbeats_sent,
            "bytes_sent": self.bytes_sent,
            "conflated": self.conflated,
        }
