"""A backlog that is read ahead of its delivery: each entry once, whatever happens meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import fakeredis
import pytest
from fakes import (
    LAPSED,
    LONG,
    OTHER,
    OTHER_STREAM,
    PARAMETERS,
    SHARD,
    STREAM,
    Clock,
    Worker,
    append,
    everything,
    letters,
    lost_replies,
    make_batch,
    make_quotes,
    pending,
    set_back,
)

from common.bus import keys, scripts
from common.bus.cache import Cache
from common.bus.client import Posted
from common.bus.codec import Batch, StateBlob
from common.bus.entries import Entry
from common.bus.streams import Streams
from common.errors import BusError
from common.state import advance
from workers.actor import Actor
from workers.handling import Policy, Round
from workers.mailbox import Deliveries

GREEKS = keys.GREEKS_GROUP
POLICY = Policy(
    batch=2,
    small_bytes=1 << 30,
    look_ahead=True,
    block_ms=1,
    refresh_seconds=0.0,
    backoff_seconds=0.0,
    retry_seconds=0.0,
)
ROUND, AWHILE = 64, 128
"""Entries of a round, and of those that are delivered before it looks ahead."""
QUOTES = 2
"""Of each entry."""


class Killed(BaseException):
    """The process is gone, whatever it would have caught."""


def ahead(client: fakeredis.FakeRedis, name: str = "greeks-0", lease: int = LONG) -> Worker:
    """A worker that reads rounds of 64 entries, of which two are delivered."""
    worker = Worker(client, name, lease=lease)
    worker.actor = Actor(worker.streams, worker.handler, name, POLICY, monotonic=Clock())
    client.script_load(scripts.COMMIT)  # a Redis that does not know it refuses the first round
    return worker


def put(client: fakeredis.FakeRedis, first: int, count: int, shard: str = SHARD) -> list[str]:
    """Append so many batches of a call and a put; their ids."""
    quotes = [make_quotes([640.0], seq=100 * n) for n in range(first, first + count)]
    return append(
        client, *(make_batch(first + i, quotes=q) for i, q in enumerate(quotes)), shard=shard
    )


def settled(client: fakeredis.FakeRedis, number: int = AWHILE) -> Worker:
    """A worker that has worked off enough of the stream to look ahead."""
    worker = ahead(client)
    put(client, 1, number)
    worker.work()
    return worker


def check(client: fakeredis.FakeRedis, shard: str = SHARD) -> None:
    """All of a stream is in its state once, and the group has all of it behind it."""
    stream = keys.quotes("SPY", shard)
    batches = [
        (entry_id.decode(), Batch.decode(fields))
        for entry_id, fields in client.xrange(stream)
        if b"q" in fields
    ]
    expected = advance(StateBlob(), shard, batches, PARAMETERS).state
    found = Cache(client).state("SPY", shard)
    assert found is not None
    assert (found.last_id, found.encode()) == (expected.last_id, expected.encode())
    (group, *_) = [state for state in Streams(client).groups(stream) if state.name == GREEKS]
    assert (group.pending, group.lag) == (0, 0)


def processed(client: fakeredis.FakeRedis) -> int:
    """How many quotes were merged, by the counter."""
    return Cache(client).counters("SPY").get("quotes_processed", 0)


def deliveries_of(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> list[list[bool]]:
    """What is noted of each round: which of its entries were delivered."""
    seen: list[list[bool]] = []
    handle = worker.handler.handle_together

    def note(deliveries: Deliveries) -> Round:
        seen.extend([entry.delivered for entry in entries] for _, entries in deliveries)
        return handle(deliveries)

    monkeypatch.setattr(worker.handler, "handle_together", note)
    return seen


def test_a_backlog_is_merged_once_and_leaves_nothing_pending(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = ahead(client)
    seen = deliveries_of(worker, monkeypatch)
    ids = put(client, 1, AWHILE + ROUND + 10)
    for done in (ROUND, AWHILE, AWHILE + ROUND):
        worker.actor.step()
        (group,) = [state for state in Streams(client).groups(STREAM) if state.name == GREEKS]
        assert (group.last_delivered, group.pending) == (ids[done - 1], 0)
        assert group.lag == len(ids) - done
    worker.work()
    check(client)
    assert processed(client) == QUOTES * len(ids)
    assert worker.actor.handled == len(ids)
    whole, some = [True] * ROUND, [True] * 2 + [False] * (ROUND - 2)
    assert seen == [whole, whole, some, [True] * 2 + [False] * 8]


def test_what_is_not_delivered_does_not_wait_for_what_follows(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = settled(client)
    previews: list[int] = []

    def preview(deliveries: Deliveries) -> bool:
        previews.append(len(deliveries[0][1]))
        return True

    monkeypatch.setattr(worker.handler, "preview", preview)
    policy = replace(POLICY, defer_seconds=10.0, refresh_seconds=1000.0)
    worker.actor = Actor(worker.streams, worker.handler, worker.name, policy, monotonic=Clock())
    put(client, AWHILE + 1, AWHILE + ROUND + 10)
    worker.work()
    check(client)
    assert processed(client) == QUOTES * (2 * AWHILE + ROUND + 10)
    put(client, 1000, 1)
    worker.work()
    assert previews[-1] == 1
    assert len(pending(client, GREEKS)) == 1, "a single one waits"


def test_several_shards_are_looked_ahead_of_at_once(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = ahead(client)
    for shard in (SHARD, OTHER):
        put(client, 1, AWHILE, shard)
    worker.work()
    seen = deliveries_of(worker, monkeypatch)
    for shard in (SHARD, OTHER):
        put(client, AWHILE + 1, ROUND, shard)
    assert worker.actor.step() == 2 * ROUND
    assert seen == [[True] * 2 + [False] * (ROUND - 2)] * 2
    for shard in (SHARD, OTHER):
        check(client, shard)
    assert pending(client, GREEKS, OTHER_STREAM) == []


def test_a_worker_that_dies_leaves_what_it_looked_at_to_its_successor(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = settled(client)
    ids = put(client, AWHILE + 1, ROUND)

    def die(_: Deliveries) -> Round:
        raise Killed

    monkeypatch.setattr(worker.handler, "handle_together", die)
    with pytest.raises(Killed):
        worker.actor.step()
    assert pending(client, GREEKS) == ids[:2]
    ahead(client).work()
    check(client)
    assert processed(client) == QUOTES * (AWHILE + ROUND)


def test_what_kills_its_reader_among_those_is_buried_by_its_deliveries(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first death hides which entry it was: after it all are delivered for a while."""
    worker = settled(client)
    put(client, AWHILE + 1, ROUND - 5)
    (killer,) = put(client, 1000, 1)
    put(client, 1001, AWHILE + ROUND)
    deaths = 0
    for _ in range(2 * POLICY.crash_deliveries):
        mover = worker.handler._move

        def kill(stream: str, entries: list[Entry], *, bury: bool, mover: Any = mover) -> Any:
            if any(entry.id == killer for entry in entries):
                raise Killed
            return mover(stream, entries, bury=bury)

        with monkeypatch.context() as deadly:
            deadly.setattr(worker.handler, "_move", kill)
            try:
                worker.work()
            except Killed:
                deaths += 1
                worker = ahead(client)
            else:
                break
    assert deaths == POLICY.crash_deliveries + 1
    (letter,) = letters(client, GREEKS)
    assert letter[b"id"].decode() == killer
    assert pending(client, GREEKS) == []
    assert processed(client) == QUOTES * (2 * AWHILE + 2 * ROUND - 5)


def test_what_fails_of_one_shard_costs_the_others_nothing(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = ahead(client)
    for shard in (SHARD, OTHER):
        put(client, 1, AWHILE, shard)
    worker.work()
    for shard in (SHARD, OTHER):
        put(client, AWHILE + 1, ROUND, shard)
    read = worker.streams.look_ahead

    def with_a_change(after: Any, *, count: int) -> Any:
        client.xgroup_setid(STREAM, GREEKS, "$")  # somebody else moves the group of one of them
        return read(after, count=count)

    with monkeypatch.context() as meddling:
        meddling.setattr(worker.streams, "look_ahead", with_a_change)
        worker.actor.step()
    check(client, OTHER)
    state = Cache(client).state("SPY", SHARD)
    assert state is not None
    assert processed(client) == QUOTES * (2 * AWHILE + ROUND + 2), "the two that were delivered"


def test_what_redis_lost_after_it_was_looked_at_is_not_committed(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = settled(client)
    ids = put(client, AWHILE + 1, ROUND)
    post = Posted.send

    def lose_the_end(posted: Posted, commands: Any) -> None:
        client.xdel(STREAM, ids[-1])
        post(posted, commands)

    with monkeypatch.context() as losing:
        losing.setattr(Posted, "send", lose_the_end)
        worker.actor.step()
    assert processed(client) == QUOTES * (AWHILE + 2), "the two that were delivered, by themselves"
    put(client, 1000, 1)  # the lost one comes again
    worker.work()
    assert pending(client, GREEKS) == []
    assert processed(client) == QUOTES * (AWHILE + ROUND)


def test_a_redis_that_is_set_back_gets_it_all_again(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = settled(client)
    put(client, AWHILE + 1, ROUND)
    then = everything(client)
    handle = worker.handler.handle_together

    def set_redis_back(deliveries: Deliveries) -> Round:
        set_back(client, then)
        return handle(deliveries)

    with monkeypatch.context() as losing:
        losing.setattr(worker.handler, "handle_together", set_redis_back)
        worker.actor.step()
    worker.work()
    check(client)
    assert processed(client) == QUOTES * (AWHILE + ROUND)


def test_a_lost_answer_is_no_second_merge(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = settled(client)
    put(client, AWHILE + 1, ROUND)
    with lost_replies(), pytest.raises(BusError):
        worker.actor.step()
    seen = deliveries_of(worker, monkeypatch)
    put(client, 1000, ROUND)
    worker.work()
    check(client)
    assert processed(client) == QUOTES * (AWHILE + 2 * ROUND)
    assert seen == [[True] * ROUND], "after an outage all are delivered for a while"


def test_who_lost_the_lease_meanwhile_changes_nothing(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick = ahead(client, "slow", LAPSED), ahead(client, "quick")
    put(client, 1, AWHILE)
    slow.work()
    put(client, AWHILE + 1, ROUND)
    handle = slow.handler.handle_together

    def late(deliveries: Deliveries) -> Round:
        quick.work()
        put(client, 1000, 5)
        return handle(deliveries)

    monkeypatch.setattr(slow.handler, "handle_together", late)
    slow.actor.step()
    quick.work()
    check(client)
    assert processed(client) == QUOTES * (AWHILE + ROUND + 5)


def test_a_group_whose_reads_are_not_counted_is_moved_all_the_same(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = settled(client)
    ids = put(client, AWHILE + 1, ROUND)
    read = worker.streams.look_ahead

    def uncounted(after: Any, *, count: int) -> Any:
        client.xgroup_setid(STREAM, GREEKS, ids[1])  # where it stands
        return read(after, count=count)

    monkeypatch.setattr(worker.streams, "look_ahead", uncounted)
    seen = deliveries_of(worker, monkeypatch)
    worker.work()
    check(client)
    assert seen == [[True] * 2 + [False] * (ROUND - 2)]
    assert processed(client) == QUOTES * (AWHILE + ROUND)
