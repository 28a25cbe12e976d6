"""The store worker: which rows an entry becomes, and which duties come with the post."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import fakeredis
import msgspec
import numpy as np
import orjson
import pytest
from fakes import (
    SESSION,
    SHARD,
    STREAM,
    append,
    letters,
    make_batch,
    make_quotes,
    make_session,
    pending,
)

from common.bus import keys
from common.bus.cache import Cache
from common.bus.codec import Batch, Result, ResultHeader
from common.bus.entries import Entry
from common.bus.streams import Streams
from common.db.deliveries import Delivery, Greeks, Quotes
from common.db.load import Refused
from common.db.writing import Saved
from common.errors import MalformedEntryError, RejectedError, StorageError
from common.models import GREEKS, JsonDict, Session
from workers.actor import Actor
from workers.handling import Policy
from workers.store import StoreHandler

POLICY = Policy(block_ms=1, refresh_seconds=0.0, backoff_seconds=0.0, retry_seconds=0.0)
LEVEL = {"symbol": "SPY", "levels": {"net_gex": 1.0}}


@dataclass
class FakeWriting:
    """What became of each delivery."""

    saved: list[Saved]


class FakeStore:
    """A database that remembers what it was given."""

    def __init__(self) -> None:
        self.quotes: list[tuple[str, str, int]] = []
        self.greeks: list[tuple[str, int]] = []
        self.levels: list[tuple[int, str, JsonDict]] = []
        self.cadences: list[float] = []
        self.described: list[Session] = []
        self.news = False
        self.known = self.conflated = 0
        self.refused: tuple[Refused, ...] = ()
        self.transactions = 0
        self.noted: list[FakeWriting] = []
        self.began = threading.Event()
        self.waits_for: threading.Event | None = None
        self.away = False
        self.fails = 0
        """So many transactions, for what they hold."""
        self.closed = False

    def save(self, deliveries: Sequence[Delivery], *, strike_seconds: float) -> list[Saved]:
        """Every quote and level is new, but for those it is told to refuse; one row of Greeks
        was there before."""
        written = self.write(deliveries, strike_seconds=strike_seconds)
        self.note(written)
        return written.saved

    def write(self, deliveries: Sequence[Delivery], *, strike_seconds: float) -> FakeWriting:
        """The same, for somebody to note."""
        self.began.set()
        if self.waits_for is not None:
            assert self.waits_for.wait(10.0)
        if self.away:
            raise StorageError("PostgreSQL: away")
        self.transactions += 1
        if self.fails:
            self.fails -= 1
            raise RejectedError("no row of this kind")
        return FakeWriting([self._saved(delivery, strike_seconds) for delivery in deliveries])

    def note(self, written: FakeWriting) -> None:
        """Remember it."""
        self.noted.append(written)

    def _saved(self, delivery: Delivery, strike_seconds: float) -> Saved:
        if isinstance(delivery, Quotes):
            rows = len(delivery.batches.quotes)
            self.quotes.append((delivery.symbol, delivery.shard, rows))
            self.news = True
            return Saved(rows, self.known, self.conflated, self.refused)
        if isinstance(delivery, Greeks):
            rows = len(delivery.results.rows)
            self.greeks.append((delivery.symbol, rows))
            return Saved(rows, 1, refused=self.refused)
        self.levels += delivery.levels
        self.cadences.append(strike_seconds)
        return Saved(len(delivery.levels))

    def make_checkpoints(self) -> int:
        """None is due."""
        return 0

    def has_news(self, _session: str) -> bool:
        """Since it was last described."""
        return self.news

    def describe_session(self, session: Session) -> bool:
        """What would be an UPDATE of the session's row, which the first quotes make."""
        self.news = False
        if self.quotes:
            self.described.append(session)
        return bool(self.quotes)

    def close(self) -> None:
        """The last act."""
        self.closed = True


@pytest.fixture
def store() -> FakeStore:
    """An empty database."""
    return FakeStore()


@pytest.fixture
def clock() -> list[float]:
    """What the handler's clock shows [s]."""
    return [0.0]


@pytest.fixture
def handler(client: fakeredis.FakeRedis, store: FakeStore, clock: list[float]) -> StoreHandler:
    """The handler in front of it, which keeps nothing that all have read."""
    return StoreHandler(
        client,
        store,  # type: ignore[arg-type]  # the part of a Store it uses
        strike_seconds=60.0,
        keep_seconds=-3600.0,
        monotonic=lambda: clock[0],
    )


def level_entry(**changes: bytes) -> Entry:
    """An entry of the levels stream."""
    fields = {"at": b"17", "session": SESSION.encode(), "json": orjson.dumps(LEVEL), **changes}
    return Entry("1-0", {name.encode(): value for name, value in fields.items()})


def greeks_entry(rows: int) -> Entry:
    """An entry of the Greeks stream."""
    header = ResultHeader(
        session=SESSION,
        epoch=1,
        shard=SHARD,
        rows=rows,
        basis=1.0,
        forward_source="parity",
        last_id="1-0",
    )
    data = np.zeros(rows, GREEKS).tobytes()
    return Entry("1-0", {b"h": msgspec.msgpack.encode(header), b"r": data})


def quotes_entry() -> Entry:
    """An entry of a quotes stream."""
    fields = make_batch(quotes=make_quotes([640.0])).encode()
    return Entry("1-0", {name.encode(): value for name, value in fields.items()})


# --- what entries become ---------------------------------------------------------------------


def test_quotes_go_to_their_expiry(handler: StoreHandler, store: FakeStore) -> None:
    outcome = handler.handle(STREAM, [quotes_entry(), quotes_entry()])
    assert store.quotes == [("SPY", SHARD, 4)]
    assert outcome.counts == {"quotes_stored": 4, "quotes_known": 0}
    assert not outcome.acknowledged


def test_greeks_are_counted_new_and_known(handler: StoreHandler, store: FakeStore) -> None:
    outcome = handler.handle(keys.greeks("SPY"), [greeks_entry(3)])
    assert store.greeks == [("SPY", 3)]
    assert outcome.counts == {"greeks_stored": 3, "greeks_known": 1}


def test_levels_come_with_their_instant_and_session(
    handler: StoreHandler, store: FakeStore
) -> None:
    outcome = handler.handle(keys.level_stream("SPY"), [level_entry()])
    assert store.levels == [(17, SESSION, LEVEL)]
    assert store.cadences == [60.0]
    assert outcome.counts == {"levels_stored": 1, "levels_known": 0}


@pytest.mark.parametrize(
    "damage",
    [
        {"at": b"noon"},
        {"at": b"\xff"},
        {"session": b"\xff\xfe"},
        {"json": b"{"},
        {"json": b""},
        {"json": b"[]"},
        {"json": b'{"symbol": "SPY"}'},
    ],
)
def test_a_level_that_cannot_be_read_is_malformed(
    handler: StoreHandler, store: FakeStore, damage: dict[str, bytes]
) -> None:
    with pytest.raises(MalformedEntryError, match="levels entry"):
        handler.handle(keys.level_stream("SPY"), [level_entry(**damage)])
    assert store.levels == []


@pytest.mark.parametrize("missing", [b"at", b"session", b"json"])
def test_a_level_that_lacks_a_field_is_malformed(handler: StoreHandler, missing: bytes) -> None:
    entry = level_entry()
    del entry.fields[missing]
    with pytest.raises(MalformedEntryError, match="levels entry"):
        handler.handle(keys.level_stream("SPY"), [entry])


def test_one_bad_entry_stores_nothing_of_its_batch(handler: StoreHandler, store: FakeStore) -> None:
    with pytest.raises(MalformedEntryError):
        handler.handle(STREAM, [quotes_entry(), Entry("2-0", {b"h": b"?"})])
    assert store.quotes == []


def test_every_registered_stream_is_read(
    client: fakeredis.FakeRedis, handler: StoreHandler
) -> None:
    append(client, make_batch())
    Streams(client).register(keys.level_stream("SPY"))
    assert handler.streams() == [keys.level_stream("SPY"), STREAM]


def test_rows_that_are_refused_are_buried_alone(
    client: fakeredis.FakeRedis, handler: StoreHandler, store: FakeStore
) -> None:
    store.refused = (Refused(1, 0, "CheckViolation: no"),)
    outcome = handler.handle(STREAM, [quotes_entry(), quotes_entry()])
    assert outcome.counts == {"quotes_stored": 3, "quotes_known": 0, "quotes_refused": 1}
    (letter,) = letters(client, keys.STORE_GROUP)
    assert letter[b"reason"] == b"1 rows refused: CheckViolation: no"
    kept = Batch.decode({b"h": letter[b"f:h"], b"q": letter[b"f:q"], b"s": letter[b"f:s"]})
    assert (kept.header.quotes, len(kept.spots)) == (1, 0)
    assert kept.quotes.tobytes() == Batch.decode(quotes_entry().fields).quotes[:1].tobytes()


def test_greeks_that_are_refused_are_buried_alone(
    client: fakeredis.FakeRedis, handler: StoreHandler, store: FakeStore
) -> None:
    store.refused = (Refused(0, 2, "DataError: no"), Refused(0, 1, "DataError: no"))
    handler.handle(keys.greeks("SPY"), [greeks_entry(3)])
    (letter,) = letters(client, keys.STORE_GROUP)
    kept = Result.decode({b"h": letter[b"f:h"], b"r": letter[b"f:r"]})
    assert len(kept.rows) == kept.header.rows == 2


def test_what_is_conflated_is_counted_by_itself(handler: StoreHandler, store: FakeStore) -> None:
    store.known, store.conflated = 2, 3
    assert handler.handle(STREAM, [quotes_entry()] * 5).counts == {
        "quotes_stored": 7,
        "quotes_known": 2,
        "quotes_conflated": 3,
    }


# --- under an actor --------------------------------------------------------------------------


def test_the_database_away_costs_nothing_and_counters_agree_in_the_end(
    client: fakeredis.FakeRedis, handler: StoreHandler, store: FakeStore
) -> None:
    append(client, make_batch(1, quotes=make_quotes()), make_batch(2, quotes=make_quotes()))
    actor = Actor(
        Streams(client),
        handler,
        "store-0",
        POLICY,
        monotonic=lambda: 0.0,
    )
    store.away = True
    for _ in range(20):
        with pytest.raises(StorageError):
            actor.step()
    store.away = False
    actor.step()
    counters = Cache(client).counters("SPY")
    assert counters["quotes_stored"] == counters["quotes_appended"] == 44
    assert letters(client, keys.STORE_GROUP) == []
    actor.stop()
    actor.run()
    assert store.closed


def everything_at_once(client: fakeredis.FakeRedis) -> None:
    """An entry of every kind, in its stream."""
    append(client, make_batch(1, quotes=make_quotes()), make_batch(2, quotes=make_quotes()))
    greeks, level = greeks_entry(3), level_entry()
    for stream, entry in ((keys.greeks("SPY"), greeks), (keys.level_stream("SPY"), level)):
        Streams(client).register(stream)
        client.xadd(stream, dict(entry.fields))


def test_a_round_is_one_transaction(
    client: fakeredis.FakeRedis, handler: StoreHandler, store: FakeStore
) -> None:
    everything_at_once(client)
    actor = Actor(Streams(client), handler, "store-0", POLICY, monotonic=lambda: 0.0)
    assert (actor.step(), actor.handled, store.transactions) == (4, 4, 1)
    assert (store.quotes, store.greeks) == ([("SPY", SHARD, 44)], [("SPY", 3)])
    assert store.levels == [(17, SESSION, LEVEL)]
    counters = Cache(client).counters("SPY")
    stored = [counters[f"{what}_stored"] for what in ("quotes", "greeks", "levels")]
    assert stored == [44, 3, 1]
    assert pending(client, keys.STORE_GROUP) == []


def test_what_cannot_be_read_costs_the_others_of_its_round_nothing(
    client: fakeredis.FakeRedis, handler: StoreHandler, store: FakeStore
) -> None:
    everything_at_once(client)
    client.xadd(keys.greeks("SPY"), {"h": b"?"})
    actor = Actor(Streams(client), handler, "store-0", POLICY, monotonic=lambda: 0.0)
    actor.step()
    assert (store.quotes, store.greeks) == ([("SPY", SHARD, 44)], [("SPY", 3)])
    assert store.levels == [(17, SESSION, LEVEL)]
    (letter,) = letters(client, keys.STORE_GROUP)
    assert letter[b"f:h"] == b"?"
    assert Cache(client).counters("SPY")["quotes_stored"] == 44


def test_what_redis_no_longer_owes_is_not_counted(
    client: fakeredis.FakeRedis, handler: StoreHandler
) -> None:
    """It was set back, or somebody else has acknowledged it, while the database wrote."""
    everything_at_once(client)
    streams = handler.streams()
    found = Streams(client).read(keys.STORE_GROUP, "store-0", streams, count=9, block_ms=1)
    (entry_id,) = [entries[0].id for stream, entries in found if stream == keys.greeks("SPY")]
    client.xack(keys.greeks("SPY"), keys.STORE_GROUP, entry_id)
    left = handler.handle_together(found).left
    assert [(stream, [entry.id for entry in entries]) for stream, entries in left] == [
        (keys.greeks("SPY"), [entry_id])
    ]
    counters = Cache(client).counters("SPY")
    assert (counters["quotes_stored"], counters.get("greeks_stored")) == (44, None)


# --- duties ----------------------------------------------------------------------------------


def acknowledge_everything(client: fakeredis.FakeRedis) -> None:
    """Every group reads its streams to the end."""
    streams = Streams(client)
    for stream in streams.registered():
        for group in keys.groups_of(stream):
            streams.ensure_group(stream, group)
            for _, entries in streams.read(group, "c", [stream], count=1000, block_ms=1):
                streams.acknowledge(group, stream, [entry.id for entry in entries], {})


def test_what_everyone_has_read_is_trimmed_now_and_then(
    client: fakeredis.FakeRedis, handler: StoreHandler, clock: list[float]
) -> None:
    stream = keys.level_stream("SPY")
    Streams(client).register(stream)
    for n in range(500):
        client.xadd(stream, {"n": n})
    handler.maintain()
    acknowledge_everything(client)
    clock[0] += 4.0
    handler.maintain()
    assert client.xlen(stream) == 500
    clock[0] += 2.0
    handler.maintain()
    assert client.xlen(stream) <= 100


def test_what_is_to_be_kept_is_kept(client: fakeredis.FakeRedis, store: FakeStore) -> None:
    stream = keys.level_stream("SPY")
    Streams(client).register(stream)
    for n in range(500):
        client.xadd(stream, {"n": n})
    acknowledge_everything(client)
    StoreHandler(client, store, strike_seconds=60.0, keep_seconds=3600.0).maintain()  # type: ignore[arg-type]
    assert client.xlen(stream) == 500


def test_the_streams_of_an_earlier_session_are_retired(
    client: fakeredis.FakeRedis, handler: StoreHandler, clock: list[float]
) -> None:
    append(client, make_batch())
    acknowledge_everything(client)
    handler.maintain()
    assert client.exists(STREAM)
    Cache(client).start_session(make_session(key="SPY:2026-08-20:simulator:1"), keep_shards=False)
    clock[0] += 6.0
    handler.maintain()
    assert not client.exists(STREAM)


def test_a_session_is_described_once_its_row_is_there(
    client: fakeredis.FakeRedis, handler: StoreHandler, store: FakeStore, clock: list[float]
) -> None:
    session = make_session()
    Cache(client).start_session(session, keep_shards=False)
    handler.maintain()
    assert store.described == []  # no quote of it was stored, so there is no row to describe
    handler.handle(STREAM, [quotes_entry()])
    handler.maintain()
    handler.maintain()
    assert store.described == [session]
    clock[0] = 61.0
    handler.maintain()
    assert store.described == [session], "nothing has come since"
    handler.handle(STREAM, [quotes_entry()])
    handler.maintain()
    assert store.described == [session, session], "it has grown since"
    handler.handle(STREAM, [quotes_entry()])
    handler.maintain()
    assert store.described == [session, session], "not again within a minute"
    ended = msgspec.structs.replace(session, ended=True)
    Cache(client).save_session(ended)
    handler.maintain()
    handler.maintain()
    assert store.described == [session, session, ended]


def test_a_session_that_ended_while_no_store_worker_ran_is_described(
    client: fakeredis.FakeRedis, handler: StoreHandler, store: FakeStore
) -> None:
    ended = make_session(ended=True)
    Cache(client).start_session(ended, keep_shards=False)
    store.quotes.append(("SPY", SHARD, 4))  # by the one before
    handler.maintain()
    assert store.described == [ended]


def test_closing_describes_what_came_last_and_closes_the_database(
    client: fakeredis.FakeRedis, handler: StoreHandler, store: FakeStore
) -> None:
    ended = make_session(ended=True)
    Cache(client).start_session(ended, keep_shards=False)
    handler.handle(STREAM, [quotes_entry()])
    handler.maintain()
    handler.handle(STREAM, [quotes_entry()])
    handler.close()
    assert store.described == [ended, ended]
    assert store.closed
