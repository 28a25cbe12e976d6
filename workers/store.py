"""The store worker: what the streams carry goes into the database, once each.

Owns the translation of stream entries into rows; must not compute anything.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import orjson

from common.bus import keys
from common.bus.cache import Cache
from common.bus.client import Client
from common.bus.codec import Batch, Batches, Result, Results
from common.bus.entries import Burial, Entry, decoded
from common.bus.streams import Streams
from common.db.deliveries import Delivery, Greeks, Levels, Quotes
from common.db.store import Store
from common.db.writing import Saved, Writing
from common.errors import MalformedEntriesError, MalformedEntryError, ServiceError
from common.models import JsonDict, Session
from workers.handling import Outcome, Round
from workers.mailbox import Deliveries, size_of

log = logging.getLogger(__name__)
_TRIM_SECONDS = 5.0
"""Between two times that the streams are trimmed [s]."""
_DESCRIBE_SECONDS = 60.0
"""Between two looks at what has become of a session that goes on [s]."""
ROUND_BYTES = 5 * 2**20
"""A round takes so much of a stream, if its entries are there [bytes]."""
_MUCH_BYTES = 4 * 2**20
"""A round from here on is a backlog: two transactions at the same time store it sooner than one.
They take both processors of a small machine, so what is live, a quarter of a second of a hundred
thousand quotes a second, is one [bytes]."""


@dataclass(frozen=True, slots=True)
class _Readable:
    """What can be read of a delivery, and what cannot."""

    stream: str
    entries: list[Entry]
    delivery: Delivery
    """What those hold."""
    burials: list[Burial]


_Written = tuple[list[_Readable], Writing]


class StoreHandler:
    """Stores quotes, Greeks and levels; trims the streams behind every group."""

    group = keys.STORE_GROUP
    exclusive = False

    def __init__(
        self,
        client: Client,
        store: Store,
        *,
        beside: Store | None = None,
        strike_seconds: float,
        keep_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """:param beside: takes half of what is much, in a transaction of its own meanwhile.
        :param strike_seconds: cadence at which the strikes of levels are kept [s].
        :param keep_seconds: what everyone has acknowledged stays readable so long [s].
        """
        self._beside = beside
        self._thread = ThreadPoolExecutor(1, "beside") if beside else None
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
        delivery = _delivery(stream, entries)
        (saved,) = self._store.save([delivery], strike_seconds=self._strike_seconds)
        self._bury(stream, entries, delivery, saved)
        return Outcome(_counts(delivery, saved))

    def handle_together(self, deliveries: Deliveries) -> Round:
        """Store the deliveries of a round in one transaction, or in two where they are large;
        what cannot be read is buried once the rest is stored.

        :returns: left are those of a transaction that failed for what it holds, and of streams of
            which not everything is pending any more, or nothing can be read; nothing of the
            first was stored.
        :raises ServiceError: the database is out of reach; the entries stay pending.
        """
        parts = _halves(deliveries) if self._beside else [deliveries]
        if self._beside is None or self._thread is None or len(parts) == 1:
            return self._finish(deliveries, self._write(self._store, deliveries))
        meanwhile = self._thread.submit(self._write, self._beside, parts[1])
        try:
            one = self._finish(parts[0], self._write(self._store, parts[0]))
        finally:  # what is stored is acknowledged, whatever became of the other
            other = self._finish(parts[1], meanwhile.result())
        return Round(one.left + other.left, one.buried + other.buried)

    def _write(self, store: Store, deliveries: Deliveries) -> _Written | None:
        """Store deliveries in one transaction; None if that failed for what they hold, or nothing
        of them can be read."""
        try:
            found = [_readable(stream, entries) for stream, entries in deliveries]
            given = [each for each in found if each]
            if not given:
                return None
            contents = [each.delivery for each in given]
            return given, store.write(contents, strike_seconds=self._strike_seconds)
        except ServiceError:
            raise
        except Exception as error:  # noqa: BLE001  whose it is shows when each is handled alone
            log.warning("%d streams together failed, one by one: %s", len(deliveries), error)
            return None

    def _finish(self, deliveries: Deliveries, written: _Written | None) -> Round:
        """Acknowledge and count what is stored, bury what cannot be read."""
        if written is None:
            return Round(deliveries)
        given, writing = written
        self._store.note(writing)
        done = []
        for each, saved in zip(given, writing.saved, strict=True):
            self._bury(each.stream, each.entries, each.delivery, saved)
            ids = [entry.id for entry in each.entries]
            done.append((each.stream, ids, _counts(each.delivery, saved)))
        pending = self._streams.acknowledge_all(self.group, done)
        whole = {each.stream for each, is_whole in zip(given, pending, strict=True) if is_whole}
        dealt_with = [each for each in given if each.stream in whole]
        for each in dealt_with:
            self._streams.bury(self.group, each.stream, each.burials)
        left = [found for found in deliveries if found[0] not in whole]
        return Round(left, sum(len(each.burials) for each in dealt_with))

    def _bury(
        self, stream: str, entries: Sequence[Entry], delivery: Delivery, saved: Saved
    ) -> None:
        """To the dead letters with the rows that the database refused, and with them alone."""
        for number in sorted({row.entry for row in saved.refused}):
            rows = [row for row in saved.refused if row.entry == number]
            kept = _part(delivery, number, [row.place for row in rows])
            letter = Entry(entries[number].id, {name.encode(): kept[name] for name in kept})
            reason = f"{len(rows)} rows refused: {rows[0].reason}"
            self._streams.bury(self.group, stream, [Burial(letter, reason)], whole=False)

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
            if self._beside and self._thread:
                self._thread.shutdown()
                self._beside.close()


def _halves(deliveries: Deliveries) -> list[Deliveries]:
    """Two parts of what is much, by the entries of each stream, levels in the first; or one."""
    if sum(size_of(entries) for _, entries in deliveries) < _MUCH_BYTES:
        return [deliveries]
    first, second = [], []
    for stream, entries in deliveries:
        middle = len(entries) if stream.startswith(keys.LEVELS_PREFIX) else (len(entries) + 1) // 2
        first.append((stream, entries[:middle]))
        if entries[middle:]:
            second.append((stream, entries[middle:]))
    return [first, second] if second else [deliveries]


def _readable(stream: str, entries: list[Entry]) -> _Readable | None:
    """What can be read of a delivery; None where nothing can."""
    try:
        return _Readable(stream, entries, _delivery(stream, entries), [])
    except MalformedEntriesError as error:
        wrong = error.errors
    whole = [entry for entry in entries if entry.id not in wrong]
    if not whole:
        return None
    burials = Burial.of_damaged(entries, wrong)
    return _Readable(stream, whole, _delivery(stream, whole), burials)


def _delivery(stream: str, entries: Sequence[Entry]) -> Delivery:
    """What entries hold.

    :raises MalformedEntriesError: naming every one that cannot be decoded.
    """
    symbol, fields = keys.stream_symbol(stream), [entry.fields for entry in entries]
    try:
        if stream.startswith(keys.QUOTES_PREFIX):
            ids = [entry.id for entry in entries]
            return Quotes(symbol, keys.stream_shard(stream), ids, Batches.decode(fields))
        if stream.startswith(keys.GREEKS_PREFIX):
            return Greeks(symbol, Results.decode(fields))
    except MalformedEntryError:
        decoded(entries, Batch.decode if stream.startswith(keys.QUOTES_PREFIX) else Result.decode)
        raise
    return Levels(decoded(entries, _level))


def _part(delivery: Delivery, number: int, places: list[int]) -> dict[str, bytes]:
    """Fields of an entry with these rows of one."""
    if isinstance(delivery, Quotes):
        return delivery.batches.part(number, places).encode()
    if isinstance(delivery, Greeks):
        return delivery.results.part(number, places).encode()
    raise TypeError("levels are refused as a whole")


def _counts(delivery: Delivery, saved: Saved) -> dict[str, int]:
    """Names of counters; what did not happen has none."""
    what = type(delivery).__name__.lower()
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
