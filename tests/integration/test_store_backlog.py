"""A backlog on a real server: two transactions at the same time, everything in it once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import fakeredis
import pytest
from history import DAY, NOON_US, SHARD, all_rows, batch, count, empty, quotes

from common.bus import keys
from common.bus.codec import Batch
from common.bus.producer import Producer
from common.bus.streams import Streams
from common.clock import SECOND
from common.db.connection import Connection, connect
from common.db.store import Store
from workers import store as store_module
from workers.actor import Actor
from workers.handling import Policy
from workers.store import ROUND_BYTES, StoreHandler

WEEK_US = 7 * 86_400 * SECOND
SERIES = ("quotes", "entries", "spots")


@pytest.fixture
def redis() -> fakeredis.FakeRedis:
    """A Redis in memory."""
    return fakeredis.FakeRedis()


@pytest.fixture
def stores(database_url: str, plain: Connection) -> Iterator[list[Store]]:
    """Two of the migrated database."""
    made = [Store(lambda: connect(database_url, name="store"), software="test") for _ in range(2)]
    yield made
    for store in made:
        store.close()


@pytest.fixture
def worker(
    redis: fakeredis.FakeRedis, stores: list[Store], monkeypatch: pytest.MonkeyPatch
) -> Actor:
    """A store worker to which ten kilobytes are much."""
    monkeypatch.setattr(store_module, "_MUCH_BYTES", 10_000)
    return make_worker(redis, *stores)


def make_worker(redis: fakeredis.FakeRedis, store: Store, beside: Store | None = None) -> Actor:
    """On a Redis in memory."""
    handler = StoreHandler(redis, store, beside=beside, strike_seconds=60.0, keep_seconds=60.0)
    policy = Policy(block_ms=1, refresh_seconds=0.0, backoff_seconds=0.0, small_bytes=ROUND_BYTES)
    return Actor(Streams(redis), handler, "store-0", policy)


def backlog(week: int = 0, *, repeats: int = 0) -> list[Batch]:
    """Forty entries of a week's session, a hundred quotes each; the first of them again."""
    key, at = f"SPY:{DAY + timedelta(weeks=week)}:test", NOON_US + week * WEEK_US
    firsts = [100 * n for n in [*range(40), *range(repeats)]]
    return [
        batch(quotes(100, seq=first, time=at), number=40 * week + n + 1, key=key)
        for n, first in enumerate(firsts)
    ]


def append(redis: fakeredis.FakeRedis, batches: list[Batch]) -> None:
    """As one producer would."""
    producer = Producer(redis, "SPY", 1)
    for one in batches:
        producer.append(SHARD, one)


def test_a_backlog_is_stored_as_by_one_transaction(
    redis: fakeredis.FakeRedis, worker: Actor, stores: list[Store], plain: Connection
) -> None:
    append(redis, backlog())
    assert worker.step() == 40
    assert [store._connection is not None for store in stores] == [True, True]
    found = {name: all_rows(plain, name) for name in SERIES}
    assert count(plain, *SERIES) == [4000, 40, 40]
    empty(plain)
    plain.execute("ALTER SEQUENCE gex.sessions_session_id_seq RESTART")
    plain.commit()
    redis.xgroup_setid(keys.quotes("SPY", SHARD), keys.STORE_GROUP, "0")
    stores[0].close()
    assert make_worker(redis, stores[0]).step() == 40
    assert {name: all_rows(plain, name) for name in SERIES} == found


def test_what_both_halves_hold_is_stored_once(
    redis: fakeredis.FakeRedis, worker: Actor, plain: Connection
) -> None:
    """One transaction waits for the other's rows, and goes on once they are committed."""
    append(redis, backlog(repeats=40))
    while worker.handled < 80:
        worker.step()
    assert count(plain, "quotes", "entries") == [4000, 80]
    counters: Any = redis.hgetall(keys.counters("SPY"))
    assert (counters[b"quotes_stored"], counters[b"quotes_known"]) == (b"8000", b"4000")
    assert redis.xlen(keys.dead(keys.STORE_GROUP)) == 0


def test_both_halves_may_be_the_first_of_their_session_and_week(
    redis: fakeredis.FakeRedis, worker: Actor, plain: Connection
) -> None:
    """Its row and its partitions are made twice at the same time; every backlog is one step."""
    for week in range(12):
        append(redis, backlog(week))
        assert worker.step() == 40
        assert count(plain, "quotes", "sessions") == [4000 * (week + 1), week + 1]
    assert redis.xlen(keys.dead(keys.STORE_GROUP)) == 0
