"""Leases: one owner per shard, a new fencing epoch for each, fair shares among workers."""

from __future__ import annotations

import fakeredis
import pytest
from fakes import OTHER_STREAM, STREAM

from common.bus.leases import Leases, holder

LONG, LAPSED = 600_000, -1000
"""Lengths of leases [ms]; one of negative length has run out when it is taken."""


def worker(
    client: fakeredis.FakeRedis, name: str, *, token: str = "", milliseconds: int = LONG
) -> Leases:
    """The leases of a worker; an incarnation of it has a token of its own."""
    return Leases(client, name=name, token=token or f"{name}-1", milliseconds=milliseconds)


def test_a_free_shard_is_taken_and_another_is_refused(client: fakeredis.FakeRedis) -> None:
    one, two = worker(client, "one"), worker(client, "two")
    one.balance([STREAM])
    two.balance([STREAM])
    assert one.held == {STREAM: 1}
    assert two.held == {}
    assert holder(client, STREAM) == "one"


def test_keeping_a_lease_keeps_its_epoch(client: fakeredis.FakeRedis) -> None:
    one = worker(client, "one")
    for _ in range(3):
        one.balance([STREAM])
    assert one.held == {STREAM: 1}


def test_a_lapsed_lease_may_be_taken_under_a_higher_epoch(client: fakeredis.FakeRedis) -> None:
    slow, quick = worker(client, "slow", milliseconds=LAPSED), worker(client, "quick")
    slow.balance([STREAM])
    quick.balance([STREAM])
    assert (slow.held, quick.held) == ({STREAM: 1}, {STREAM: 2})
    slow.balance([STREAM])
    assert slow.held == {}
    assert holder(client, STREAM) == "quick"


def test_a_lapsed_lease_that_nobody_took_goes_on(client: fakeredis.FakeRedis) -> None:
    slow = worker(client, "slow", milliseconds=LAPSED)
    slow.balance([STREAM])
    slow.balance([STREAM])
    assert slow.held == {STREAM: 1}


def test_a_restarted_worker_takes_over_from_itself_at_once(client: fakeredis.FakeRedis) -> None:
    before, after = worker(client, "one"), worker(client, "one", token="one-2")
    before.balance([STREAM])
    after.balance([STREAM])
    assert after.held == {STREAM: 2}


def test_a_released_shard_is_free_at_once(client: fakeredis.FakeRedis) -> None:
    one, two = worker(client, "one"), worker(client, "two")
    one.balance([STREAM])
    one.release_all()
    assert holder(client, STREAM) == ""
    two.balance([STREAM])
    assert two.held == {STREAM: 2}


def test_only_the_holder_can_release(client: fakeredis.FakeRedis) -> None:
    one, two = worker(client, "one"), worker(client, "two")
    one.balance([STREAM])
    two.release(STREAM)
    assert holder(client, STREAM) == "one"
    one.balance([STREAM])
    assert one.held == {STREAM: 1}


def test_shards_are_shared_evenly_and_none_is_left(client: fakeredis.FakeRedis) -> None:
    shards = [f"quotes:SPY:2026-08-{day}" for day in range(10, 17)]
    one, two = worker(client, "one"), worker(client, "two")
    one.balance(shards)
    assert len(one.held) == 7
    two.balance(shards)  # the newcomer signs in ...
    one.balance(shards)  # ... so the other gives back
    two.balance(shards)
    assert (len(one.held), len(two.held)) == (4, 3)
    assert sorted([*one.held, *two.held]) == shards


def test_the_shards_of_a_worker_that_leaves_are_taken(client: fakeredis.FakeRedis) -> None:
    one, two = worker(client, "one"), worker(client, "two")
    for leases in (one, two, one, two):
        leases.balance([STREAM, OTHER_STREAM])
    one.release_all()
    two.balance([STREAM, OTHER_STREAM])
    assert set(two.held) == {STREAM, OTHER_STREAM}


def test_a_stream_that_is_gone_is_held_no_longer(client: fakeredis.FakeRedis) -> None:
    one = worker(client, "one")
    one.balance([STREAM, OTHER_STREAM])
    one.balance([STREAM])
    assert set(one.held) == {STREAM}


@pytest.mark.parametrize("workers", [1, 3])
def test_without_streams_nobody_holds_anything(client: fakeredis.FakeRedis, workers: int) -> None:
    for number in range(workers):
        leases = worker(client, f"w{number}")
        leases.balance([])
        assert leases.held == {}
