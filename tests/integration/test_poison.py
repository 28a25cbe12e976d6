"""One entry in a hundred is poison: it ends in the dead letters, and the rest takes no notice."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec
import pytest
import redis
from harness import Servers
from history import KEY, SHARD, batch, quotes

from common.bus import keys, scripts
from common.bus.cache import Cache
from common.bus.codec import Batch, StateBlob
from common.bus.dead_letters import DeadLetters
from common.bus.entries import Entry, decoded
from common.bus.leases import Leases
from common.bus.producer import Producer
from common.bus.streams import Streams
from common.db.connection import Connection, connect
from common.db.store import Store
from common.settings import QuantParameters
from common.state import advance
from workers.actor import Actor
from workers.greeks import GreeksHandler
from workers.handling import Handler, Outcome, Policy, Round, TogetherHandler
from workers.mailbox import Deliveries
from workers.store import StoreHandler

ENTRIES, ROWS, EVERY = 2000, 8, 100
DELIVERY = 64
POLICY = Policy(batch=DELIVERY, block_ms=1)
STREAM = keys.quotes("SPY", SHARD)
Fields = dict[str, bytes]


def without_header(fields: Fields) -> Fields:
    return {"q": fields["q"], "s": fields["s"]}


def another_schema(fields: Fields) -> Fields:
    header = msgspec.msgpack.decode(fields["h"])
    return {**fields, "h": msgspec.msgpack.encode([header[0] + 1, *header[1:]])}


def no_message(fields: Fields) -> Fields:
    return {**fields, "h": b"\xc1" + fields["h"]}


def cut_short(fields: Fields) -> Fields:
    return {**fields, "q": fields["q"][:-1]}


def a_price_too_many(fields: Fields) -> Fields:
    return {**fields, "s": fields["s"] * 2}


POISONS: dict[Callable[[Fields], Fields], str] = {
    without_header: "entry without a header field 'h'",
    another_schema: "entry of schema 3, this build reads 2",
    no_message: "entry header: ",
    cut_short: "field 'q' holds 607 bytes, 8 rows need 608",
    a_price_too_many: "field 's' holds 64 bytes, 1 rows need 32",
}


@dataclass
class Stream:
    """What was appended, in order."""

    whole: list[tuple[str, Batch]] = field(default_factory=list)
    poison: dict[str, str] = field(default_factory=dict)
    """Entry id → how the reason for its burial begins."""


@dataclass
class Counted:
    """A handler, and how often it was called."""

    handler: Handler
    calls: int = 0

    def __post_init__(self) -> None:
        self.group, self.exclusive = self.handler.group, self.handler.exclusive
        self.streams, self.maintain = self.handler.streams, self.handler.maintain
        self.rest, self.close = self.handler.rest, self.handler.close

    def handle(self, stream: str, entries: list[Entry]) -> Outcome:
        """Hand on."""
        self.calls += 1
        return self.handler.handle(stream, entries)


@dataclass
class Rounds(Counted):
    """One that handles rounds together, and how many there were."""

    rounds: int = 0

    def handle_together(self, deliveries: Deliveries) -> Round:
        """Hand on."""
        assert isinstance(self.handler, TogetherHandler)
        self.rounds += 1
        return self.handler.handle_together(deliveries)


@dataclass
class Raiser:
    """A handler that fails at some entries, as a bug would; its effect is a list."""

    group: str = "raiser"
    exclusive: bool = False
    effects: list[int] = field(default_factory=list)

    def streams(self) -> list[str]:
        """The one stream."""
        return [STREAM]

    def handle(self, stream: str, entries: list[Entry]) -> Outcome:
        """All of them, or none."""
        numbers = [each.header.batch for each in decoded(entries, Batch.decode)]
        for number in numbers:
            if number % EVERY == 1:
                raise ZeroDivisionError(f"batch {number} of {stream}")
        self.effects += numbers
        return Outcome()

    def maintain(self) -> None:
        """Nothing."""

    def rest(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


@pytest.fixture
def client(own_servers: Servers) -> Iterator[redis.Redis]:
    """A Redis of its own on the shared server."""
    with redis.Redis.from_url(own_servers.redis_url, db=7) as made:
        made.flushdb()
        yield made
        made.flushdb()


@pytest.fixture
def stream(client: redis.Redis) -> Stream:
    """Two thousand entries, one in a hundred of which nobody can read."""
    appended, producer = Stream(), Producer(client, "SPY", 1)
    kinds = list(POISONS)
    for n in range(ENTRIES):
        made = batch(quotes(ROWS, seq=ROWS * n), number=len(appended.whole) + 1)
        if n % EVERY == EVERY // 2:
            kind = kinds[len(appended.poison) % len(kinds)]
            entry_id = client.xadd(STREAM, kind(made.encode())).decode()  # type: ignore[union-attr, arg-type]
            appended.poison[entry_id] = f"MalformedEntryError: {POISONS[kind]}"
        else:
            appended.whole.append((producer.append(SHARD, made), made))
    return appended


def work(client: redis.Redis, counted: Counted, name: str) -> None:
    """Let an actor read all there is."""
    actor = Actor(Streams(client), counted, name, POLICY)
    while actor.step():
        pass
    counted.close()


def buried(client: redis.Redis, group: str) -> dict[str, str]:
    """Entry id → reason, of the dead letters of a group."""
    letters = list(DeadLetters(client).all(group))
    assert all(letter.stream == STREAM and letter.fields for letter in letters)
    assert all(letter.traceback.startswith("Traceback") for letter in letters)
    return {letter.entry_id: letter.reason for letter in letters}


def check_buried(client: redis.Redis, group: str, stream: Stream) -> None:
    found = buried(client, group)
    assert list(found) == list(stream.poison)
    for entry_id, reason in stream.poison.items():
        assert found[entry_id].startswith(reason)
    (state,) = (each for each in Streams(client).groups(STREAM) if each.name == group)
    assert (state.pending, state.lag) == (0, 0)
    assert Cache(client).counters("SPY")[f"dead_{group}"] == len(stream.poison) == 20


def test_a_greeks_worker_merges_all_the_rest(client: redis.Redis, stream: Stream) -> None:
    parameters = QuantParameters()
    client.script_load(scripts.COMMIT)  # a Redis that does not know it refuses the first round
    leases = Leases(client, name="greeks-0", token="greeks-0-1", milliseconds=60_000)
    counted = Rounds(GreeksHandler(client, leases, parameters))
    work(client, counted, "greeks-0")
    check_buried(client, keys.GREEKS_GROUP, stream)
    merged = advance(StateBlob(), SHARD, stream.whole, parameters)
    assert Cache(client).state("SPY", SHARD) == merged.state
    assert Cache(client).counters("SPY")["quotes_processed"] == ROWS * len(stream.whole)
    deliveries = math.ceil(ENTRIES / DELIVERY)
    assert client.xlen(keys.greeks("SPY")) == deliveries  # as many merges as without poison
    assert (counted.rounds, counted.calls) == (deliveries, 0)


def test_a_store_worker_stores_all_the_rest(
    client: redis.Redis, stream: Stream, plain: Connection, database_url: str
) -> None:
    store = Store(lambda: connect(database_url, name="store"), software="test")
    handler = StoreHandler(client, store, strike_seconds=60.0, keep_seconds=3600.0)
    counted = Rounds(handler)
    work(client, counted, "store-0")
    check_buried(client, keys.STORE_GROUP, stream)
    found = plain.execute("SELECT seq FROM gex.quotes ORDER BY seq").fetchall()
    assert [seq for (seq,) in found] == sorted(
        seq for _, each in stream.whole for seq in each.quotes["seq"].tolist()
    )
    rows = plain.execute(
        "SELECT entry_ms || '-' || entry_n FROM gex.entries JOIN gex.sessions USING (session_id)"
        " WHERE key = %s ORDER BY entry_ms, entry_n",
        [KEY],
    ).fetchall()
    assert [entry_id for (entry_id,) in rows] == [entry_id for entry_id, _ in stream.whole]
    assert Cache(client).counters("SPY")["quotes_stored"] == ROWS * len(stream.whole)
    assert (counted.rounds, counted.calls) == (math.ceil(ENTRIES / DELIVERY), 0)


def test_a_handler_that_raises_is_asked_for_the_rest(client: redis.Redis, stream: Stream) -> None:
    handler = Raiser()
    counted = Counted(handler)
    work(client, counted, "raiser-0")
    raised = {i: b.header.batch for i, b in stream.whole if b.header.batch % EVERY == 1}
    wanted = {i: f"ZeroDivisionError: batch {n} of {STREAM}" for i, n in raised.items()}
    found = buried(client, "raiser")
    assert len(wanted) == 20
    assert {i: reason for i, reason in found.items() if i not in stream.poison} == wanted
    assert set(found) == set(wanted) | set(stream.poison)
    assert handler.effects == [
        b.header.batch for _, b in stream.whole if b.header.batch not in raised.values()
    ]
    tries = {each.entry_id: each.deliveries for each in DeadLetters(client).all("raiser")}
    assert {tries[i] for i in wanted} == {POLICY.max_deliveries}
    by_halves = 2 * math.ceil(math.log2(DELIVERY)) + POLICY.max_deliveries - 1
    assert counted.calls <= 2 * math.ceil(ENTRIES / DELIVERY) + by_halves * len(wanted)
