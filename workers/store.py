"""The store worker: what the streams carry goes into the database, once each.

Owns the translation of stream entries into rows; must not compute anything.
"""

from __future__ import annotations

import time

import orjson

from common.bus import keys
from common.bus.cache import Cache
from common.bus.client import Client
from common.bus.codec import Batch, Result
from common.bus.streams import Entry, Streams
from common.db.store import Store
from common.errors import MalformedEntryError
from common.models import JsonDict
from workers.actor import Outcome


class StoreHandler:
    """Stores quotes, Greeks and levels; trims the streams behind every group."""

    group = keys.STORE_GROUP
    exclusive = False

    def __init__(
        self, client: Client, store: Store, *, strike_seconds: float, keep_seconds: float
    ) -> None:
        self._streams = Streams(client)
        self._cache = Cache(client)
        self._store = store
        self._strike_seconds = strike_seconds
        self._keep_seconds = keep_seconds
        self._stored: set[str] = set()
        self._described: dict[str, str] = {}

    def streams(self) -> list[str]:
        """Every stream in use."""
        return self._streams.registered()

    def handle(self, stream: str, entries: list[Entry]) -> Outcome:
        """Store the entries in one transaction.

        :raises StorageError: the database is out of reach; the entries stay pending.
        :raises RejectedError: the database refuses a row.
        :raises MalformedEntryError: an entry cannot be decoded.
        """
        symbol = keys.stream_symbol(stream)
        if stream.startswith(keys.QUOTES_PREFIX):
            batches = [Batch.decode(entry.fields) for entry in entries]
            rows, known = self._store.save_quotes(symbol, keys.stream_shard(stream), batches)
            self._stored.update(batch.header.session for batch in batches)
            return Outcome({"quotes_stored": rows, "quotes_known": known})
        if stream.startswith(keys.GREEKS_PREFIX):
            results = [Result.decode(entry.fields) for entry in entries]
            rows, known = self._store.save_greeks(symbol, results)
            return Outcome({"greeks_stored": rows, "greeks_known": known})
        levels = [_level(entry) for entry in entries]
        rows, known = self._store.save_levels(levels, strike_seconds=self._strike_seconds)
        return Outcome({"levels_stored": rows, "levels_known": known})

    def maintain(self) -> None:
        """Trim what everyone has acknowledged; retire the streams of earlier sessions."""
        keep_after = int((time.time() - self._keep_seconds) * 1000)
        for stream in self._streams.registered():
            self._streams.trim(stream, keep_after_ms=keep_after)
            if stream.startswith(keys.QUOTES_PREFIX):
                self._streams.retire(stream)
        for symbol in self._cache.symbols():
            session = self._cache.session(symbol)
            if (
                session
                and session.key in self._stored
                and self._described.get(symbol) != session.key
            ):
                self._store.describe_session(session)
                self._described[symbol] = session.key

    def rest(self) -> None:
        """Nothing: the database has it all."""

    def close(self) -> None:
        """Close the connection to the database."""
        self._store.close()


def _level(entry: Entry) -> tuple[int, str, JsonDict]:
    try:
        at, session = int(entry.fields[b"at"]), entry.fields[b"session"].decode()
        result = orjson.loads(entry.fields[b"json"])
    except (KeyError, ValueError) as error:
        raise MalformedEntryError(f"levels entry: {error}") from error
    if not isinstance(result, dict) or "levels" not in result:
        raise MalformedEntryError("levels entry without levels")
    return at, session, result
