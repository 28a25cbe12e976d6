"""The JSON that the page lives on: what is published, and the day so far.

Owns the two documents; must not read a level, only hand it on as it was published.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from common.bus.cache import Cache
from common.errors import BusError, GexError
from workers.dashboard.history import History

OK, BAD_REQUEST, NOT_FOUND, AWAY = 200, 400, 404, 503
"""Statuses of an answer; AWAY: Redis or the database is out of reach."""
Answer = tuple[int, bytes]
_MILLISECONDS = re.compile(r"[0-9]{1,15}")
_LAST_MS = 4_102_444_800_000
"""2100-01-01, beyond every level."""


@dataclass(frozen=True, slots=True)
class Documents:
    """What a browser may ask for."""

    cache: Cache
    history: History
    symbols: tuple[str, ...]
    """Those followed, in the order they are offered; the first one is shown unasked."""
    period_ms: float
    """Wall time between the levels of a live session; after three without one it is stale."""
    replay_period_ms: float
    """The same of a recording that is played."""
    wall_us: Callable[[], int]

    def symbol(self, wanted: str | None) -> str:
        """The symbol to show for the one that was asked for."""
        return wanted if wanted in self.symbols else self.symbols[0]

    def published(self, symbol: str) -> Answer:
        """Time of the server, session, ``latest`` and ``profile`` of a symbol."""
        if symbol not in self.symbols:
            names = ", ".join(self.symbols)
            return NOT_FOUND, self._document(error=f"{symbol} is not followed (followed: {names})")
        try:
            found = self.cache.published(symbol)
        except BusError as error:
            return AWAY, self._document(symbol=symbol, error=str(error))
        return OK, self._document(
            symbol=symbol, session=found.session, latest=found.latest, profile=found.profile
        )

    def day(self, session: str, since: str) -> Answer:
        """The day so far of a session.

        :param since: market time [ms since the epoch] after which levels are wanted.
        """
        if not _MILLISECONDS.fullmatch(since):
            return BAD_REQUEST, self._document(error="since is a time in ms since the epoch")
        try:
            points = self.history.points(session, min(int(since), _LAST_MS) * 1000)
        except GexError as error:
            return AWAY, self._document(error=str(error))
        return OK, self._document(points=orjson.dumps(points))

    def _document(
        self, *, symbol: str | None = None, error: str | None = None, **parts: bytes | None
    ) -> bytes:
        """One JSON object; ``parts`` are JSON already."""
        head = {
            "now": self.wall_us() / 1000,
            "symbol": symbol,
            "symbols": self.symbols,
            "period_ms": self.period_ms,
            "replay_period_ms": self.replay_period_ms,
            "error": error,
        }
        body = b"".join(
            b',"%b":%b' % (name.encode(), b"null" if text is None else text)
            for name, text in parts.items()
        )
        return orjson.dumps(head)[:-1] + body + b"}"
