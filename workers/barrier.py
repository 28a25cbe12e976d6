"""Waiting for the workers: until what was appended is merged, until a level is published.

Owns the two questions an ingestor asks of the stages behind it; must not append anything nor
know where data comes from. Both wait on the news of a stream, never for a time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from common.bus import keys
from common.bus.cache import Cache
from common.bus.client import Client, bus_errors
from common.bus.entries import id_order
from common.bus.streams import Streams
from common.errors import FeedError

log = logging.getLogger(__name__)
TickRequest = Callable[[str, int], None]
"""Ask for the level of (symbol, market time [us])."""


class Barrier:
    """What one symbol's ingestor waits for."""

    def __init__(
        self,
        client: Client,
        symbol: str,
        request_tick: TickRequest,
        *,
        patience_seconds: float,
        is_stopped: Callable[[], bool],
    ) -> None:
        """Ask nothing yet.

        :param patience_seconds: it gives up when nothing moves for this long [s].
        :param is_stopped: once true, every wait returns.
        """
        self._client, self._cache = client, Cache(client)
        self._symbol, self._request_tick = symbol, request_tick
        self._patience, self._is_stopped = patience_seconds, is_stopped

    def merged(self, last_ids: Mapping[str, str], verify: Callable[[], object]) -> None:
        """Return once every shard's state includes the last entry appended to it.

        :param last_ids: shard → entry id; looked at anew each time.
        :param verify: has what Redis lost appended again; called at first and when it is quiet.
        :raises FeedError: when the Greeks workers do not answer.
        """

        def passed() -> bool:
            marks = self._cache.watermark(self._symbol)
            return all(
                id_order(marks.get(shard, "0-0")) >= id_order(entry_id)
                or self._acknowledged(shard, entry_id)
                for shard, entry_id in last_ids.items()
            )

        self._await(passed, keys.greeks(self._symbol), "the Greeks workers", verify)

    def level(self, at: int) -> None:
        """Ask for the level of an instant [us] and return once it is published.

        :raises FeedError: when the Celery worker does not answer.
        """
        session = self._cache.session(self._symbol)

        def published() -> bool:
            tick = self._cache.tick(self._symbol)
            if tick is None or session is None or tick.epoch != session.epoch:
                return False
            return tick.at > at or (tick.at == at and (tick.final or not session.ended))

        if published():
            return
        self._await(
            published,
            keys.level_stream(self._symbol),
            "the Celery worker",
            lambda: self._request_tick(self._symbol, at),
        )

    def _acknowledged(self, shard: str, entry_id: str) -> bool:
        """Whether the Greeks workers are done with an entry: one that was buried never enters
        a state."""
        states = Streams(self._client).groups(keys.quotes(self._symbol, shard))
        return any(
            state.name == keys.GREEKS_GROUP
            and not state.pending
            and id_order(state.last_delivered) >= id_order(entry_id)
            for state in states
        )

    def _await(
        self, done: Callable[[], bool], stream: str, who: str, ask: Callable[[], object]
    ) -> None:
        """Wait for ``done`` on the news of a stream; ask at first and whenever it is quiet."""
        with bus_errors():
            newest: Any = self._client.xrevrange(stream, count=1)
        cursor: Any = newest[0][0] if newest else "0-0"
        quiet = 0.0
        ask()
        while not done():
            if self._is_stopped():
                return
            with bus_errors():
                reply: Any = self._client.xread({stream: cursor}, count=100, block=100)
            if reply:
                cursor = reply[0][1][-1][0]
            quiet = 0.0 if reply else quiet + 0.1
            if quiet and round(quiet * 10) % 50 == 0:
                log.warning("waiting for %s (%.0f s)", who, quiet)
                ask()
            if quiet > self._patience:
                raise FeedError(f"{who} did not answer for {quiet:.0f} s; see `gex status`")
