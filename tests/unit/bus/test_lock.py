"""Locks: of one owner, who may take them again, and for no longer than they live."""

from __future__ import annotations

import fakeredis

from common.bus.lock import Lock, name_of_process

KEY = "lock:levels:SPY"


def locks(client: fakeredis.FakeRedis, *, milliseconds: int = 60_000) -> tuple[Lock, Lock]:
    """The same lock for two owners."""
    first, second = (
        Lock(client, KEY, name=name, milliseconds=milliseconds) for name in ("first", "second")
    )
    return first, second


def test_only_its_holder_lets_go(client: fakeredis.FakeRedis) -> None:
    first, second = locks(client)
    assert (first.holder(), second.holder()) == ("", "first")
    assert not second.release()
    assert second.holder() == "first"
    assert first.release()
    assert (second.holder(), first.holder()) == ("", "second")


def test_an_owner_whose_release_was_lost_takes_it_again(client: fakeredis.FakeRedis) -> None:
    first, _ = locks(client)
    assert [first.holder(), first.holder()] == ["", ""]
    assert first.release()
    assert not client.exists(KEY)


def test_it_lives_no_longer_than_it_was_taken_for(client: fakeredis.FakeRedis) -> None:
    first, second = locks(client, milliseconds=5_000)
    first.holder()
    assert 4_000 < client.pttl(KEY) <= 5_000
    client.pexpire(KEY, 0)  # five seconds later
    assert second.holder() == ""
    assert not first.release()
    assert first.holder() == "second"


def test_every_process_has_a_name_of_its_own() -> None:
    assert name_of_process() != name_of_process()
