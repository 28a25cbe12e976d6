"""Entries that cannot be read: buried once, with their reason, in the step that does the rest."""

from __future__ import annotations

import logging

import fakeredis
import pytest
from fakes import (
    OTHER,
    OTHER_STREAM,
    SHARD,
    STREAM,
    append,
    letters,
    lost_replies,
    make_batch,
    make_quotes,
    pending,
)
from test_look_ahead import (
    AWHILE,
    GREEKS,
    QUOTES,
    ROUND,
    ahead,
    check,
    deliveries_of,
    processed,
    put,
    settled,
)
from test_previews import at_work, committed, heard, open_session, quotes
from test_store_handler import POLICY, FakeStore

from common.bus import keys
from common.bus.cache import Cache
from common.bus.streams import Streams
from common.errors import BusError
from workers.actor import Actor
from workers.handling import Round
from workers.store import StoreHandler

RUBBISH = {"h": b"rubbish", "more": b"\x00\xff"}
REASON = b"MalformedEntryError: entry header: "


def spoil(client: fakeredis.FakeRedis, stream: str = STREAM) -> str:
    """Append what nobody can read; its id."""
    return str(client.xadd(stream, RUBBISH).decode())  # type: ignore[arg-type, union-attr]


def buried(client: fakeredis.FakeRedis, group: str = GREEKS) -> list[str]:
    """Ids of the dead letters, each of which has to be what was appended, and why it is there."""
    found = letters(client, group)
    for letter in found:
        assert letter[b"reason"].startswith(REASON)
        assert letter[b"traceback"].startswith(b"Traceback")
        assert (letter[b"f:h"], letter[b"f:more"]) == (b"rubbish", b"\x00\xff")
        assert letter[b"deliveries"] == b"1"
    assert Cache(client).counters("SPY").get(f"dead_{group}", 0) == len(found)
    return [letter[b"id"].decode() for letter in found]


# --- a Greeks worker -----------------------------------------------------------------------------


def test_a_round_that_is_read_ahead_buries_what_is_damaged_in_its_one_commit(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = settled(client)
    wrong = [spoil(client)]  # delivered
    put(client, AWHILE + 1, ROUND - 8)
    wrong += [spoil(client), spoil(client)]
    put(client, 1000, 5)
    seen = deliveries_of(worker, monkeypatch)
    monkeypatch.setattr(worker.handler, "handle", None)  # nothing is left for it
    with caplog.at_level(logging.ERROR):
        assert worker.actor.step() == ROUND
    assert seen == [[True] * 2 + [False] * (ROUND - 2)]
    check(client)
    assert buried(client) == wrong
    assert [r.message.split()[3].rstrip(":") for r in caplog.records] == wrong
    assert (worker.actor.handled, worker.actor.buried) == (AWHILE + ROUND - 3, 3)
    assert processed(client) == QUOTES * (AWHILE + ROUND - 3)


def test_the_last_of_a_round_waits_for_the_next_which_is_read_ahead_as_before(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = settled(client)
    put(client, AWHILE + 1, ROUND - 2)
    wrong = [spoil(client), spoil(client)]
    put(client, 1000, ROUND - 2)
    seen = deliveries_of(worker, monkeypatch)
    worker.work()
    assert seen == [[True] * 2 + [False] * (ROUND - 2)] * 2
    check(client)
    assert buried(client) == wrong
    assert processed(client) == QUOTES * (AWHILE + 2 * ROUND - 4)


def test_the_last_of_a_delivery_is_buried_at_once(client: fakeredis.FakeRedis) -> None:
    worker = ahead(client)
    put(client, 1, 1)
    wrong = spoil(client)
    assert worker.actor.step() == 2
    assert (worker.actor.handled, worker.actor.buried) == (1, 1)
    check(client)
    assert buried(client) == [wrong]


def test_a_stream_of_which_nothing_can_be_read_costs_another_nothing(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = ahead(client)
    for shard in (SHARD, OTHER):
        put(client, 1, 2, shard)
    worker.work()
    put(client, 3, 2, OTHER)
    wrong = [spoil(client), spoil(client)]
    handled: list[str] = []
    handle = worker.handler.handle

    def note(stream: str, entries: list) -> object:  # type: ignore[type-arg]
        handled.append(stream)
        return handle(stream, entries)

    monkeypatch.setattr(worker.handler, "handle", note)
    worker.work()
    assert set(handled) == {STREAM}
    check(client, OTHER)
    assert buried(client) == wrong
    assert pending(client, GREEKS) == pending(client, GREEKS, OTHER_STREAM) == []


def test_a_lost_answer_buries_nothing_a_second_time(client: fakeredis.FakeRedis) -> None:
    worker = settled(client)
    wrong = spoil(client)
    put(client, AWHILE + 1, ROUND)
    with lost_replies(), pytest.raises(BusError):
        worker.actor.step()
    worker.work()
    check(client)
    assert buried(client) == [wrong]
    assert processed(client) == QUOTES * (AWHILE + ROUND)


def test_who_has_lost_the_lease_buries_nothing(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = settled(client)
    wrong = spoil(client)
    put(client, AWHILE + 1, 5)
    handle = worker.handler.handle_together

    def late(deliveries: list) -> object:  # type: ignore[type-arg]
        client.hincrby(keys.lease("SPY", SHARD), "epoch", 1)  # a peer has it now
        return handle(deliveries)

    with monkeypatch.context() as losing:
        losing.setattr(worker.handler, "handle_together", late)
        losing.setattr(worker.actor, "_process", lambda stream, entries: False)
        worker.actor.step()
    assert buried(client) == []
    assert wrong in pending(client, GREEKS)


def test_a_level_that_goes_ahead_of_its_commit_leaves_what_is_damaged_to_that(
    client: fakeredis.FakeRedis,
) -> None:
    open_session(client)
    worker, _ = at_work(client)
    wrong = spoil(client)
    second = quotes(client, 2)
    worker.work()
    assert heard(client)["watermark"] == {SHARD: second}
    assert (letters(client, GREEKS), pending(client, GREEKS)) == ([], [wrong, second])
    worker.clock.at += 0.05
    worker.work()
    assert buried(client) == [wrong]
    assert (committed(client), pending(client, GREEKS)) == ({SHARD: second}, [])


def test_an_entry_of_thousands_of_fields_is_buried_whole(client: fakeredis.FakeRedis) -> None:
    """More than a script can pass on at a time."""
    worker = ahead(client)
    put(client, 1, 1)
    huge = {b"%d" % n: b"x" for n in range(5000)}
    client.xadd(STREAM, huge)  # type: ignore[arg-type]
    put(client, 2, 3)
    worker.work()
    check(client)
    (letter,) = letters(client, GREEKS)
    assert {name[2:]: letter[name] for name in letter if name.startswith(b"f:")} == huge
    assert processed(client) == QUOTES * 4


# --- a store worker ------------------------------------------------------------------------------


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def actor(client: fakeredis.FakeRedis, store: FakeStore) -> Actor:
    handler = StoreHandler(
        client,
        store,  # type: ignore[arg-type]  # the part of a Store it uses
        strike_seconds=60.0,
        keep_seconds=3600.0,
    )
    return Actor(Streams(client), handler, "store-0", POLICY, monotonic=lambda: 0.0)


def test_a_round_of_the_store_is_one_transaction_whatever_cannot_be_read(
    client: fakeredis.FakeRedis, actor: Actor, store: FakeStore
) -> None:
    append(client, make_batch(1, quotes=make_quotes()))
    wrong = [spoil(client)]
    append(client, make_batch(2, quotes=make_quotes(seq=500)))
    append(client, make_batch(1, quotes=make_quotes()), shard=OTHER)
    wrong.append(spoil(client, OTHER_STREAM))
    actor.step()
    rows = len(make_quotes())
    assert store.transactions == 1
    assert store.quotes == [("SPY", SHARD, 2 * rows), ("SPY", OTHER, rows)]
    assert sorted(buried(client, keys.STORE_GROUP)) == sorted(wrong)
    assert (actor.handled, actor.buried) == (3, 2)
    assert pending(client, keys.STORE_GROUP) == []
    assert pending(client, keys.STORE_GROUP, OTHER_STREAM) == []


def test_a_round_of_which_nothing_can_be_read_is_no_transaction(
    client: fakeredis.FakeRedis, actor: Actor, store: FakeStore
) -> None:
    append(client)
    Streams(client).register(STREAM)
    wrong = spoil(client)
    actor.step()
    assert store.transactions == 0
    assert buried(client, keys.STORE_GROUP) == [wrong]
    assert (actor.handled, actor.buried) == (0, 1)


def test_what_redis_no_longer_owes_buries_nothing_of_its_stream(
    client: fakeredis.FakeRedis, actor: Actor
) -> None:
    """It was set back, or somebody else has dealt with it, while the database wrote."""
    (whole,) = append(client, make_batch(1, quotes=make_quotes()))
    spoil(client)
    found = Streams(client).read(keys.STORE_GROUP, "store-0", [STREAM], count=9, block_ms=1)
    client.xack(STREAM, keys.STORE_GROUP, whole)
    handler = actor._handler
    assert isinstance(handler, StoreHandler)
    assert handler.handle_together(found) == Round(found)
    assert buried(client, keys.STORE_GROUP) == []
