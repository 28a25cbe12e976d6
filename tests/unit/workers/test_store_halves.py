"""A large round of the store worker: two transactions at the same time, each on its own."""

from __future__ import annotations

import fakeredis
import pytest
from fakes import SHARD, STREAM, append, letters, make_batch, make_quotes, pending
from test_store_handler import POLICY, FakeStore, level_entry

from common.bus import keys
from common.bus.cache import Cache
from common.bus.streams import Streams
from common.errors import StorageError
from workers import store as store_module
from workers.actor import Actor
from workers.store import StoreHandler

ROWS = len(make_quotes())


@pytest.fixture
def stores() -> tuple[FakeStore, FakeStore]:
    """Of the same database, the one that is written to beside the other second."""
    return FakeStore(), FakeStore()


@pytest.fixture
def actor(
    client: fakeredis.FakeRedis,
    stores: tuple[FakeStore, FakeStore],
    monkeypatch: pytest.MonkeyPatch,
) -> Actor:
    """A store worker to which ten entries are much."""
    one = make_batch(1, quotes=make_quotes())
    size = sum(len(value) for value in one.encode().values())
    monkeypatch.setattr(store_module, "_MUCH_BYTES", 10 * size)
    handler = StoreHandler(
        client,
        stores[0],  # type: ignore[arg-type]  # the part of a Store it uses
        beside=stores[1],  # type: ignore[arg-type]
        strike_seconds=60.0,
        keep_seconds=-3600.0,
    )
    return Actor(Streams(client), handler, "store-0", POLICY, monotonic=lambda: 0.0)


def put(client: fakeredis.FakeRedis, count: int) -> None:
    """So many entries of quotes."""
    append(client, *(make_batch(n + 1, quotes=make_quotes(seq=1 + n * ROWS)) for n in range(count)))


def publish_level(client: fakeredis.FakeRedis) -> None:
    """An entry of the stream of levels."""
    Streams(client).register(keys.level_stream("SPY"))
    client.xadd(keys.level_stream("SPY"), dict(level_entry().fields))


def stored(client: fakeredis.FakeRedis) -> tuple[int, int]:
    """Quotes that were counted as stored, and those that were known before."""
    counters = Cache(client).counters("SPY")
    return counters.get("quotes_stored", 0), counters.get("quotes_known", 0)


def test_much_is_stored_by_two_transactions_at_the_same_time(
    client: fakeredis.FakeRedis, actor: Actor, stores: tuple[FakeStore, FakeStore]
) -> None:
    put(client, 11)
    publish_level(client)
    first, second = stores
    first.waits_for, second.waits_for = second.began, first.began
    assert (actor.step(), actor.handled) == (12, 12)
    assert (first.quotes, second.quotes) == ([("SPY", SHARD, 6 * ROWS)], [("SPY", SHARD, 5 * ROWS)])
    assert (len(first.levels), second.levels) == (1, []), "one store keeps the cadence of strikes"
    assert (len(first.noted), second.noted) == (2, []), "and knows of everything that came"
    assert stored(client) == (11 * ROWS, 0)
    assert pending(client, keys.STORE_GROUP) == []


def test_little_is_stored_by_one(
    client: fakeredis.FakeRedis, actor: Actor, stores: tuple[FakeStore, FakeStore]
) -> None:
    put(client, 9)
    actor.step()
    assert [each.transactions for each in stores] == [1, 0]
    assert stored(client) == (9 * ROWS, 0)


def test_what_cannot_be_read_of_a_half_is_buried_and_the_rest_is_stored_once(
    client: fakeredis.FakeRedis, actor: Actor, stores: tuple[FakeStore, FakeStore]
) -> None:
    put(client, 11)
    client.xadd(STREAM, {"h": b"?"})
    actor.step()
    assert [each.transactions for each in stores] == [1, 1]
    assert [each.quotes[0][2] for each in stores] == [6 * ROWS, 5 * ROWS]
    assert [letter[b"f:h"] for letter in letters(client, keys.STORE_GROUP)] == [b"?"]
    assert stored(client) == (11 * ROWS, 0)
    assert pending(client, keys.STORE_GROUP) == []


def test_a_half_that_fails_for_what_it_holds_leaves_the_other_as_it_is(
    client: fakeredis.FakeRedis, actor: Actor, stores: tuple[FakeStore, FakeStore]
) -> None:
    """It alone is looked through one by one; nothing of the other is stored a second time."""
    put(client, 12)
    first, second = stores
    second.fails = 1
    actor.step()
    assert (first.quotes[0], second.transactions) == (("SPY", SHARD, 6 * ROWS), 1)
    assert sum(rows for _, _, rows in first.quotes) == 12 * ROWS
    assert letters(client, keys.STORE_GROUP) == []
    assert stored(client) == (12 * ROWS, 0)
    assert pending(client, keys.STORE_GROUP) == []


@pytest.mark.parametrize("lost", [0, 1])
def test_a_half_whose_connection_is_lost_comes_again_and_the_other_does_not(
    client: fakeredis.FakeRedis, actor: Actor, stores: tuple[FakeStore, FakeStore], lost: int
) -> None:
    put(client, 12)
    stores[lost].away = True
    with pytest.raises(StorageError):
        actor.step()
    assert len(pending(client, keys.STORE_GROUP)) == 6
    assert stored(client) == (6 * ROWS, 0)
    stores[lost].away = False
    actor.step()
    assert stored(client) == (12 * ROWS, 0)
    assert sum(rows for each in stores for _, _, rows in each.quotes) == 12 * ROWS
    assert pending(client, keys.STORE_GROUP) == []


def test_both_connections_are_closed(
    client: fakeredis.FakeRedis, actor: Actor, stores: tuple[FakeStore, FakeStore]
) -> None:
    put(client, 12)
    actor.step()
    actor.stop()
    actor.run()
    assert [each.closed for each in stores] == [True, True]
