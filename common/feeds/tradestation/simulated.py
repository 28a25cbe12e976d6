"""The one thing a simulator says beyond TradeStation's protocol: what time its market has.

Owns the header that carries it. The real host never sends it, and a client honours it only
over plain HTTP, which the real host does not speak; then market time is wall time.
"""

from __future__ import annotations

import msgspec

from common.models import MarketClock

CLOCK_HEADER = "X-Market-Clock"


class Announcement(msgspec.Struct, frozen=True):
    """A simulator's clock and where its prices come from."""

    clock: MarketClock
    source: str
    """Stable name for session keys, e.g. ``20261123`` (a seed) or a recording's digest."""

    def header(self) -> str:
        """The header's value: one line of JSON."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def parse(cls, value: str | None) -> Announcement | None:
        """What a header says; None when it is absent or no such thing."""
        if not value:
            return None
        try:
            return msgspec.json.decode(value, type=cls)
        except msgspec.MsgspecError:
            return None
