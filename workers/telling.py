"""Provisional levels on their way to Redis: sent with whatever is sent next, told again if lost.

Owns which of them Redis has not answered; must not compute a level, nor choose when one is due.
"""

from __future__ import annotations

import logging
from typing import Any

from redis.exceptions import NoScriptError

from common.bus.cache import Cache, LiveLevel
from common.bus.client import Errand, bus_errors, run_errands
from common.errors import FencedError, ServiceError

log = logging.getLogger(__name__)


class Telling:
    """The levels of one worker that are to be told."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._unanswered: set[str] = set()
        self._refused: ServiceError | None = None

    def unanswered(self) -> set[str]:
        """Symbols whose level Redis has not answered, which have to be told again.

        :raises BusError: it has refused one. That is raised here, and not by the read that the
            level went with: what was read is not lost by it.
        """
        refused, self._refused = self._refused, None
        if refused is not None:
            raise refused
        symbols, self._unanswered = self._unanswered, set()
        return symbols

    def errands(self, level: LiveLevel, *, keep: bool) -> list[Errand]:
        """What publishes a level.

        :param keep: whether all it rests on is committed, so that the record can be compared.
        """
        symbol, kept = level.symbol, []
        if keep:
            command = self._cache.keep_live_command(symbol)
            kept.append(Errand(command, lambda reply: self._settled(symbol, reply)))

        def told(reply: Any) -> None:
            if isinstance(reply, NoScriptError):  # Redis has begun anew
                try:
                    self._cache.publish_live(level)
                    run_errands(self._cache.client, kept)
                    reply = None
                except (FencedError, ServiceError) as error:
                    reply = error
            if self._settled(symbol, reply):
                self._unanswered.discard(symbol)

        self._unanswered.add(symbol)
        return [Errand(self._cache.live_command(level), told), *kept]

    def _settled(self, symbol: str, reply: Any) -> bool:
        """Whether Redis has dealt with it; a writer that was replaced has nothing to tell."""
        try:
            with bus_errors():
                if isinstance(reply, Exception):
                    raise reply
        except FencedError as error:
            log.info("%s: no live level: %s", symbol, error)
        except ServiceError as error:
            self._refused = error
            return False
        return True
