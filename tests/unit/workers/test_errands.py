"""Commands that nobody waits for: they go with the next read, and none of them is forgotten."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import fakeredis
import pytest
import redis
from fakes import STREAM, Recorder

from common.bus.client import Command, Errand
from common.bus.streams import Streams
from workers.actor import Actor
from workers.handling import Policy

POLICY = Policy(batch=4, block_ms=1, refresh_seconds=1000.0)


@dataclass
class Leaver(Recorder):
    """A recorder that leaves a command behind each round."""

    command: Command = ("INCR", "rounds")
    replies: list[Any] = field(default_factory=list)

    def rest_leaving(self) -> tuple[float | None, list[Errand]]:
        """The command, to be sent with whatever is sent next."""
        return self.rest(), [Errand(self.command, self.replies.append)]


@pytest.fixture
def leaver() -> Leaver:
    return Leaver([STREAM])


@pytest.fixture
def actor(client: fakeredis.FakeRedis, leaver: Leaver) -> Actor:
    Streams(client).register(STREAM)
    return Actor(Streams(client), leaver, "one", POLICY)


def put(client: fakeredis.FakeRedis, payload: bytes) -> None:
    client.xadd(STREAM, {"n": payload})


def test_it_goes_with_the_next_read(
    client: fakeredis.FakeRedis, actor: Actor, leaver: Leaver
) -> None:
    put(client, b"a")
    assert actor.step() == 1
    assert (client.get("rounds"), leaver.replies) == (None, [])
    put(client, b"b")
    assert actor.step() == 1
    assert (client.get("rounds"), leaver.replies) == (b"1", [1])
    assert leaver.effects == [b"a", b"b"]


def test_it_goes_with_a_read_that_finds_nothing(actor: Actor, leaver: Leaver) -> None:
    actor.step()
    assert actor.step() == 0
    assert leaver.replies == [1]


def test_one_that_is_refused_costs_the_read_nothing(
    client: fakeredis.FakeRedis, actor: Actor, leaver: Leaver
) -> None:
    leaver.command = ("XADD", "rounds")
    actor.step()
    put(client, b"a")
    assert actor.step() == 1
    assert [type(reply) for reply in leaver.replies] == [redis.ResponseError]
    assert leaver.effects == [b"a"]


def test_it_goes_before_what_is_done_next(
    client: fakeredis.FakeRedis, actor: Actor, leaver: Leaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as to look the streams up anew."""
    actor.step()
    seen: list[Any] = []
    monkeypatch.setattr(leaver, "streams", lambda: seen.append(client.get("rounds")) or [STREAM])
    actor._look_again()
    actor.step()
    assert seen == [b"1"]


def test_a_stop_leaves_none_unsent(actor: Actor, leaver: Leaver) -> None:
    actor.step()
    actor.stop()
    actor.run()
    assert leaver.replies == [1]
