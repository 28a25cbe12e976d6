"""What must be true of a platform once all that was sent has come to rest.

Owns the judgement, by the log of the quotes streams and by nothing that the workers say of
themselves; must not change anything. Every function returns what is wrong, a line each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
import redis
from witness import Level, Sent

from common.as_of import as_of
from common.bus import keys
from common.bus.cache import Cache
from common.bus.codec import Batch, Result, StateBlob
from common.bus.streams import Streams
from common.clock import from_datetime
from common.db.connection import Connection
from common.errors import UsageError
from common.models import FLAG_WITHDRAWN, QUOTE, Rows, join_rows, key_puts, key_strikes
from common.settings import QuantParameters
from common.state import advance

Entries = list[tuple[str, Batch]]
_COLUMNS = "bid ask last bid_size ask_size volume open_interest spot bought sold".split()
_QUOTES = (
    'SELECT (extract(epoch FROM "time") * 1000000)::bigint, seq, strike, "right" = \'P\', '
    "withdrawn, bid::float8, ask::float8, last::float8, bid_size, ask_size, volume, "
    "open_interest, spot::float8, bought, sold "
    "FROM gex.quotes WHERE symbol = %s AND expiration = %s AND settlement = %s ORDER BY seq"
)


@dataclass(frozen=True, slots=True)
class Log:
    """Every entry of the quotes streams of a symbol, none trimmed."""

    symbol: str
    shards: Mapping[str, Entries]

    @classmethod
    def read(cls, client: redis.Redis, symbol: str) -> Log:
        """The log as it stands in Redis."""
        found: dict[str, Entries] = {}
        for shard in Cache(client).shards(symbol):
            reply: Any = client.xrange(keys.quotes(symbol, shard))
            found[shard] = [(entry_id.decode(), Batch.decode(fields)) for entry_id, fields in reply]
        return cls(symbol, found)

    @property
    def batches(self) -> list[Sent]:
        """What its producers call each entry."""
        return [
            (shard, batch.header.epoch, batch.header.batch)
            for shard, entries in self.shards.items()
            for _, batch in entries
        ]

    @property
    def quotes(self) -> int:
        """How many quotes there are."""
        return sum(len(b.quotes) for entries in self.shards.values() for _, b in entries)


def not_sent_once(log: Log, seen: Iterable[Sent]) -> Iterator[str]:
    """Batches that are not in the log once, by the numbers that their producers gave them.

    A run of a producer numbers the batches of a shard from 1, and all its quotes and prices in
    one row. (Prices before its first quote belong to no shard; of them the last goes with it.)
    """
    batches = Counter(log.batches)
    yield from (f"{batch} is in the log {n} times" for batch, n in batches.items() if n > 1)
    yield from (f"{batch} was seen and is not in the log" for batch in set(seen) - set(batches))
    runs: dict[tuple[str, int], set[int]] = {}
    for shard, epoch, number in batches:
        runs.setdefault((shard, epoch), set()).add(number)
    for run, numbers in runs.items():
        gaps = set(range(1, max(numbers) + 1)) - numbers
        if gaps:
            yield f"batches {_some(gaps)} of {run} are not in the log"
    yield from _events_not_sent(log)


def _events_not_sent(log: Log) -> Iterator[str]:
    """Numbers that a run gave to quotes or prices and that are not in the log.

    A run that was killed may have appended a part of what it flushed last.
    """
    runs: dict[int, list[Batch]] = {}
    for entries in log.shards.values():
        for _, batch in entries:
            runs.setdefault(batch.header.epoch, []).append(batch)
    for epoch, batches in runs.items():
        flushed = max(batch.header.received_us for batch in batches)
        known, whole = set[int](), 0
        for batch in batches:
            numbers = [*batch.quotes["seq"].tolist(), *batch.spots["seq"].tolist()]
            known.update(numbers)
            if batch.header.received_us < flushed or epoch == max(runs):
                whole = max([whole, *numbers])
        gaps = set(range(min(known), whole + 1)) - known
        if gaps:
            yield f"events {_some(gaps)} of run {epoch} are not in the log"


def not_stored_once(log: Log, connection: psycopg.Connection[Any]) -> Iterator[str]:
    """Entries, quotes and prices of the log that are not in the database once, as they were."""
    rows = connection.execute(
        "SELECT expiration::text || CASE settlement WHEN 'AM' THEN '-AM' ELSE '' END,"
        " entry_ms || '-' || entry_n, epoch, batch FROM gex.entries WHERE symbol = %s",
        [log.symbol],
    ).fetchall()
    sent = {
        (shard, entry_id, batch.header.epoch, batch.header.batch)
        for shard, entries in log.shards.items()
        for entry_id, batch in entries
    }
    again = {(shard, epoch, number) for shard, _, epoch, number in sent}
    # what Redis lost and was sent again is stored under both ids that it had
    kept = {row for row in rows if row in sent or (row[0], *row[2:]) not in again}
    yield from _differences("entries", Counter(sent), Counter(kept))
    for shard, entries in log.shards.items():
        where = [log.symbol, shard[:10], shard[11:] or "PM"]
        with connection.cursor(binary=True) as cursor:
            found = Counter(cursor.execute(_QUOTES, where).fetchall())
        yield from _differences(f"quotes of {shard}", Counter(_as_stored(entries)), found)
    spots = {
        (int(row["seq"]), float(row["price"]))
        for entries in log.shards.values()
        for _, batch in entries
        for row in batch.spots
    }
    prices = connection.execute(
        "SELECT seq, price::float8 FROM gex.spots WHERE symbol = %s", [log.symbol]
    )
    yield from _differences("prices", Counter(spots), Counter(prices.fetchall()))


def greeks_not_stored(client: redis.Redis, symbol: str, connection: Any) -> Iterator[str]:
    """Results of the workers that are not in the database once."""
    reply: Any = client.xrange(keys.greeks(symbol))
    made = {
        (row["seq"].item(), row["status"].item(), repr(row["gamma"].item()))
        for _, fields in reply
        for row in Result.decode(fields).rows
    }
    sent = {seq for seq, _, _ in made}
    if len(sent) != len(made):
        yield f"{len(made) - len(sent)} results of one quote differ from each other"
    kept = connection.execute("SELECT seq FROM gex.greeks WHERE symbol = %s", [symbol]).fetchall()
    yield from _differences("results", Counter(sent), Counter(seq for (seq,) in kept))


def states_that_differ(log: Log, client: redis.Redis, parameters: QuantParameters) -> Iterator[str]:
    """Shards whose state is not, bit for bit, what one thread makes of the log."""
    for shard, entries in log.shards.items():
        state = StateBlob()
        for at in range(0, len(entries), 50):
            state = advance(state, shard, entries[at : at + 50], parameters).state
        held: Any = client.get(keys.chain(log.symbol, shard))
        if held != state.encode():
            stored = StateBlob.decode(held) if held else StateBlob()
            fields = [n for n in state.__struct_fields__ if getattr(state, n) != getattr(stored, n)]
            yield f"the state of {shard} differs in {', '.join(fields)}"


def left_over(client: redis.Redis) -> Iterator[str]:
    """What is pending, not read yet, or among the dead letters."""
    streams = Streams(client)
    for stream in streams.registered():
        for group in streams.groups(stream):
            if group.pending or group.lag:
                yield f"{stream}, {group.name}: {group.pending} pending, {group.lag} not read"
    for name in (keys.GREEKS_GROUP, keys.STORE_GROUP):
        if client.xlen(keys.dead(name)):
            yield f"{client.xlen(keys.dead(name))} dead letters of {name}"


def levels_not_once(
    client: redis.Redis,
    symbol: str,
    connection: Connection,
    parameters: QuantParameters,
    seen: Collection[Level],
) -> Iterator[str]:
    """Levels that were published twice, are not stored, or are not what the quotes give.

    :param seen: those that stood on the stream at some moment.
    """
    reply: Any = client.xrange(keys.level_stream(symbol))
    published = Counter((f[b"session"].decode(), int(f[b"at"])) for _, f in reply)
    yield from (
        f"the level of {at} was published {n} times" for at, n in published.items() if n > 1
    )
    rows = connection.execute(
        'SELECT key, "time" FROM gex.levels JOIN gex.sessions USING (session_id)'
        " WHERE sessions.symbol = %s",
        [symbol],
    ).fetchall()
    stored = {(key, from_datetime(time)) for key, time in rows}
    # what Redis has lost since may be stored all the same
    lost = {level for level in stored if level in seen}
    yield from _differences("levels", Counter({*published, *lost}), Counter(stored))
    for _, at in sorted(published)[:: max(1, len(published) // 8)]:
        try:
            wrong = as_of(connection, symbol, at, parameters).differences()
        except UsageError as error:
            yield f"the level of {at} cannot be built of what is stored: {error}"
            continue
        if wrong:
            yield f"the level of {at} differs from its quotes in {', '.join(wrong)}"


def counters_that_differ(log: Log, client: redis.Redis) -> Iterator[str]:
    """Counters that say something else than the log."""
    counters = Cache(client).counters(log.symbol)
    for name in ("quotes_appended", "quotes_processed", "quotes_stored"):
        if counters.get(name, 0) != log.quotes:
            yield f"{name} says {counters.get(name, 0)}, the log has {log.quotes}"
    if counters.get("batches_appended") != len(log.batches):
        yield f"batches_appended says {counters.get('batches_appended')}, not {len(log.batches)}"
    for name in ("live_differed", "invariant_breaches"):
        if counters.get(name, 0):
            yield f"{name} says {counters[name]}"


def _as_stored(entries: Entries) -> Iterator[tuple[Any, ...]]:
    """The quotes of a shard as the database should hold them."""
    rows: Rows = join_rows([batch.quotes for _, batch in entries], QUOTE)
    columns = [
        rows["time"].tolist(),
        rows["seq"].tolist(),
        key_strikes(rows["key"]).tolist(),
        key_puts(rows["key"]).tolist(),
        ((rows["flags"] & FLAG_WITHDRAWN) != 0).tolist(),
        *(_or_null(rows[name]) for name in _COLUMNS),
    ]
    return zip(*columns, strict=True)


def _or_null(column: np.ndarray[Any, Any]) -> list[Any]:
    """What is not known is null."""
    return [None if value != value or value < 0 else value for value in column.tolist()]  # noqa: PLR0124


def _differences(what: str, sent: Counter[Any], stored: Counter[Any]) -> Iterator[str]:
    twice = [row for row, n in stored.items() if n > 1]
    for said, rows in (
        ("not stored", list(sent - stored)),
        ("stored and never sent", list(stored - sent)),
        ("stored more than once", twice),
    ):
        if rows:
            yield f"{len(rows)} {what} {said}, e.g. {min(rows)}"


def _some(numbers: set[int]) -> str:
    shown = ", ".join(str(number) for number in sorted(numbers)[:5])
    return f"{shown}{', …' if len(numbers) > 5 else ''} ({len(numbers)})"
