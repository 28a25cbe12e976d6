"""The store worker: what the streams carry goes into the database, once each.

Owns the translation of stream entries into rows; must not compute anything.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import orjson

from common.bus import keys
from common.bus.cache import Cache
from common.bus.client import Client
from common.bus.codec import Batch, Result
from common.bus.streams import Entry, Streams, decoded
from common.db.store import Saved, Store
from common.errors import MalformedEntryError
from common.models import JsonDict, Session
from workers.actor import Outcome

log = logging.getLogger(__name__)
_TRIM_SECONDS = 5.0
"""Between two times that the streams are trimmed [s]."""
_DESCRIBE_SECONDS = 60.0
"""Between two looks at what has become of a session that goes on [s]."""


class StoreHandler:
    """Stores quotes, Greeks and levels; trims the streams behind every group."""

    group = keys.STORE_GROUP
    exclusive = False

    def __init__(
        self,
        client: Client,
        store: Store,
        *,
        strike_seconds: float,
        keep_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._streams = Streams(client)
        self._cache = Cache(client)
        self._store = store
        self._strike_seconds = strike_seconds
        self._keep_seconds = keep_seconds
        self._monotonic = monotonic
        self._trimmed = float("-inf")
        self._described: dict[str, tuple[Session, float]] = {}

    def streams(self) -> list[str]:
        """Every stream in use."""
        return self._streams.registered()

    def handle(self, stream: str, entries: list[Entry]) -> Outcome:
        """Store the entries in one transaction.

        :raises StorageError: the database is out of reach; the entries stay pending.
        :raises RejectedError: the database refuses a row.
        :raises MalformedEntriesError: entries cannot be decoded; nothing was stored.
        """
        symbol = keys.stream_symbol(stream)
        if stream.startswith(keys.QUOTES_PREFIX):
            contents = decoded(entries, Batch.decode)
            batches = [(entry.id, batch) for entry, batch in zip(entries, contents, strict=True)]
            saved = self._store.save_quotes(symbol, keys.stream_shard(stream), batches)
            self._bury(stream, entries, saved, lambda n, at: batches[n][1].part(at).encode())
            return Outcome(_counts("quotes", saved))
        if stream.startswith(keys.GREEKS_PREFIX):
            results = decoded(entries, Result.decode)
            saved = self._store.save_greeks(symbol, results)
            self._bury(stream, entries, saved, lambda n, at: results[n].part(at).encode())
            return Outcome(_counts("greeks", saved))
        levels = decoded(entries, _level)
        saved = self._store.save_levels(levels, strike_seconds=self._strike_seconds)
        return Outcome(_counts("levels", saved))

    def _bury(
        self,
        stream: str,
        entries: list[Entry],
        saved: Saved,
        fields: Callable[[int, list[int]], dict[str, bytes]],
    ) -> None:
        """To the dead letters with the rows that the database refused, and with them alone."""
        for number in sorted({row.entry for row in saved.refused}):
            rows = [row for row in saved.refused if row.entry == number]
            kept = fields(number, [row.place for row in rows])
            letter = Entry(entries[number].id, {name.encode(): kept[name] for name in kept})
            reason = f"{len(rows)} rows refused: {rows[0].reason}"
            log.error("dead letter: %s %s: %s", stream, letter.id, reason)
            self._streams.bury(
                self.group, stream, letter, reason=reason, trace="", deliveries=1, whole=False
            )

    def trim(self, *, keep_seconds: float) -> None:
        """Drop what everyone has acknowledged, except what is younger than this [s]; retire the
        streams of earlier sessions."""
        keep_after = int((time.time() - keep_seconds) * 1000)
        streams = self._streams.registered()
        for stream in streams:
            self._streams.trim(stream, keep_after_ms=keep_after)
        quotes = [stream for stream in streams if stream.startswith(keys.QUOTES_PREFIX)]
        symbols = {keys.stream_symbol(stream) for stream in quotes}
        present = {symbol: set(self._cache.shards(symbol)) for symbol in symbols}
        for stream in quotes:
            if keys.stream_shard(stream) not in present[keys.stream_symbol(stream)]:
                self._streams.retire(stream)

    def maintain(self) -> None:
        """Make what is due; trim now and then."""
        self._store.make_checkpoints()
        if self._monotonic() - self._trimmed >= _TRIM_SECONDS:
            self.trim(keep_seconds=self._keep_seconds)
            self._trimmed = self._monotonic()
        self._describe_all()

    def _describe_all(self, *, last: bool = False) -> None:
        for symbol in self._cache.symbols():
            session = self._cache.session(symbol)
            if session:
                self._describe(symbol, session, last=last)

    def _describe(self, symbol: str, session: Session, *, last: bool) -> None:
        """Once at first, once it has ended, and now and then and at last if there is news."""
        now = self._monotonic()
        before, at = self._described.get(symbol, (None, 0.0))
        if before and (before.key, before.ended) == (session.key, session.ended):
            if before == session and not self._store.has_news(session.key):
                return
            if now - at < _DESCRIBE_SECONDS and not last:
                return
        there = self._store.describe_session(session)
        self._described[symbol] = (session, now if there else float("-inf"))

    def rest(self) -> None:
        """Nothing: the database has it all."""

    def close(self) -> None:
        """Say what has become of the sessions, and close the connection to the database."""
        try:
            self._describe_all(last=True)
        finally:
            self._store.close()


def _counts(what: str, saved: Saved) -> dict[str, int]:
    """Names of counters; what did not happen has none."""
    counts = {f"{what}_stored": saved.rows - saved.conflated - len(saved.refused)}
    counts[f"{what}_known"] = saved.known
    if saved.conflated:
        counts[f"{what}_conflated"] = saved.conflated
    if saved.refused:
        counts[f"{what}_refused"] = len(saved.refused)
    return counts


def _level(fields: dict[bytes, bytes]) -> tuple[int, str, JsonDict]:
    try:
        at, session = int(fields[b"at"]), fields[b"session"].decode()
        result = orjson.loads(fields[b"json"])
    except (KeyError, ValueError) as error:
        raise MalformedEntryError(f"levels entry: {error}") from error
    if not isinstance(result, dict) or "levels" not in result:
        raise MalformedEntryError("levels entry without levels")
    return at, session, result
