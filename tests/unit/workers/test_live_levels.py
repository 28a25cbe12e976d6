"""Provisional levels: after a batch, from the worker that may, and what the record says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import fakeredis
import msgspec
import orjson
import pytest
from fakes import (
    LAPSED,
    NOON,
    OTHER,
    OTHER_STREAM,
    PARAMETERS,
    SHARD,
    STREAM,
    Clock,
    Worker,
    append,
    make_batch,
    make_quotes,
    make_session,
    make_spots,
)

from common.bus import keys
from common.bus.cache import Cache
from common.bus.client import Command, Posted
from common.clock import SECOND, iso_ms
from common.live import LiveLevels, LivePace, differences
from common.models import JsonDict
from common.tick import TickPolicy, publish_tick
from workers.greeks import Live

POLICY = TickPolicy(PARAMETERS, SECOND, "gex-platform test")


def live(*, wall: int = NOON, share: float = 1.0, clock: Clock | None = None) -> Live:
    """Live levels of a wall clock that stands."""
    return Live(
        LiveLevels(PARAMETERS, "gex-platform test", wall_us=lambda: wall),
        LivePace(share, monotonic=clock or Clock()),
        ttl_ms=3000,
    )


def quotes(client: fakeredis.FakeRedis, number: int = 1, *, shard: str = SHARD, **q: Any) -> str:
    """Append a batch; the id of its entry."""
    rows = make_quotes(seq=100 * number, **q)
    batch = make_batch(number, quotes=rows, spots=make_spots(640.0, seq=100 * number + 99))
    (entry_id,) = append(client, batch, shard=shard)
    return entry_id


def open_session(client: fakeredis.FakeRedis, **changes: Any) -> None:
    """Make a session the present one, its first pass complete."""
    first_pass = changes.pop("first_pass", {})
    session = msgspec.structs.replace(make_session(**changes), first_pass=first_pass)
    Cache(client).save_session(session)


def at_work(client: fakeredis.FakeRedis) -> Worker:
    """A worker that has published its first level."""
    open_session(client)
    quotes(client)
    worker = Worker(client, live=live())
    worker.work()
    return worker


def published(client: fakeredis.FakeRedis) -> JsonDict | None:
    return Cache(client).live("SPY")


def test_a_batch_is_followed_by_its_level(client: fakeredis.FakeRedis) -> None:
    open_session(client)
    entry_id = quotes(client)
    subscriber = client.pubsub(ignore_subscribe_messages=True)
    subscriber.subscribe(keys.live("SPY"))
    Worker(client, live=live()).work()
    level = published(client)
    assert level is not None
    assert (level["provisional"], level["state"], level["spot"]) == (True, "live", 640.0)
    assert level["as_of"] == iso_ms(NOON)
    assert level["watermark"] == {SHARD: entry_id}
    assert level["levels"]["dex"] != 0.0
    assert 0 < client.pttl(keys.live("SPY")) <= 3000
    told = [message for _ in range(3) if (message := subscriber.get_message())]
    assert [orjson.loads(message["data"]) for message in told] == [level]


def test_it_has_every_field_of_the_record_and_touches_nothing_of_it(
    client: fakeredis.FakeRedis,
) -> None:
    open_session(client)
    quotes(client)
    Worker(client, live=live()).work()
    assert Cache(client).latest("SPY") is None
    publish_tick(Cache(client), "SPY", POLICY, wall_us=lambda: NOON)
    level, record = published(client), Cache(client).latest("SPY")
    assert level is not None
    assert record is not None
    assert set(record) - set(level) == {"invariants"}
    assert differences(level, record) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"replay": True},
        {"ended": True},
        {"first_pass": None},
        {"first_pass": {SHARD: "99999999999999-0"}},
        {"close_us": NOON},
    ],
)
def test_when_there_is_no_record_there_is_no_live_level(
    client: fakeredis.FakeRedis, changes: dict[str, Any]
) -> None:
    open_session(client, **changes)
    quotes(client)
    Worker(client, live=live()).work()
    assert published(client) is None


def test_without_a_price_or_a_session_there_is_none(client: fakeredis.FakeRedis) -> None:
    append(client, make_batch(quotes=make_quotes()))
    Worker(client, live=live()).work()
    assert published(client) is None
    open_session(client)
    append(client, make_batch(2, quotes=make_quotes(seq=900)))
    Worker(client, live=live()).work()
    assert published(client) is None


def test_a_worker_without_the_first_shard_leaves_it_to_the_one_that_has_it(
    client: fakeredis.FakeRedis,
) -> None:
    open_session(client)
    quotes(client)
    quotes(client, shard=OTHER)
    worker = Worker(client, live=live())
    worker.leases.held.clear()
    worker.leases.balance([OTHER_STREAM])
    assert set(worker.leases.held) == {OTHER_STREAM}
    for entry in worker.streams.read("greeks", worker.name, [OTHER_STREAM], count=9, block_ms=1):
        worker.handler.handle(*entry)
    worker.handler.rest()
    assert published(client) is None


def test_the_shards_of_a_peer_come_from_redis(client: fakeredis.FakeRedis) -> None:
    open_session(client)
    quotes(client)
    second = quotes(client, shard=OTHER)
    Worker(client, "greeks-1", lease=LAPSED).work()
    worker = Worker(client, live=live())
    worker.leases.balance([STREAM])
    third = quotes(client, 2)
    for entry in worker.streams.read("greeks", worker.name, [STREAM], count=9, block_ms=1):
        worker.handler.handle(*entry)
    worker.handler.rest()
    level = published(client)
    assert level is not None
    assert level["watermark"] == {SHARD: third, OTHER: second}


def test_a_worker_whose_lease_has_moved_on_publishes_nothing(client: fakeredis.FakeRedis) -> None:
    open_session(client)
    quotes(client)
    late = Worker(client, live=live(), lease=LAPSED)
    for entry in [*late.take()]:
        late.handler.handle(STREAM, [entry])
    Worker(client, "greeks-1").handler.streams()  # takes the shard over
    late.handler.rest()
    assert published(client) is None


# --- with the commit ---------------------------------------------------------------------------


def test_a_level_goes_behind_the_states_it_rests_on(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one round trip: what the worker does afterwards has nothing left to publish."""
    worker = at_work(client)
    monkeypatch.setattr(worker.handler, "rest", lambda: None)
    sent: list[list[str]] = []
    send = Posted.send

    def note(post: Posted, commands: Sequence[Command]) -> None:
        sent.append([scripts[command[1]] for command in commands])
        send(post, commands)

    scripts = {
        worker.handler._commit.sha: "commit",
        worker.handler._cache._publish_live.sha: "publish",
    }
    monkeypatch.setattr(Posted, "send", note)
    ids = {SHARD: quotes(client, 2), OTHER: quotes(client, shard=OTHER)}
    worker.work()
    level = published(client)
    assert level is not None
    assert level["watermark"] == ids
    assert sent == [["commit", "commit"], ["publish"]]


def test_a_level_of_a_state_that_was_not_committed_is_not_published(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_session(client)
    first = {SHARD: quotes(client), OTHER: quotes(client, shard=OTHER)}
    worker = Worker(client, live=live())
    worker.work()
    before = published(client)
    assert before is not None
    assert before["watermark"] == first
    third = quotes(client, 2)
    quotes(client, 2, shard=OTHER)
    worker.handler.streams()
    client.hincrby(keys.lease("SPY", OTHER), "epoch", 1)  # a peer has taken it over
    monkeypatch.setattr(worker.actor, "_refresh", lambda: [STREAM, OTHER_STREAM])
    monkeypatch.setattr(worker.handler, "rest", lambda: None)
    worker.actor.step()
    assert published(client) == before
    monkeypatch.undo()
    worker.handler.rest()
    after = published(client)
    assert after is not None
    assert after["watermark"] == {SHARD: third, OTHER: first[OTHER]}


def test_levels_that_cannot_be_made_cost_no_quote(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = at_work(client)
    last = quotes(client, 2)

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(LiveLevels, "document", fail)
        worker.work()
    assert worker.actor.failures
    assert Cache(client).watermark("SPY") == {SHARD: last}
    assert Cache(client).counters("SPY")["entries_redelivered"] == 0


# --- pace --------------------------------------------------------------------------------------


def test_live_levels_take_their_share_and_no_more() -> None:
    clock = Clock()
    pace = LivePace(0.25, monotonic=clock)
    assert pace.wait() == 0.0
    began = clock.at
    clock.at += 0.010
    pace.ran(began)
    assert pace.wait() == pytest.approx(0.030)
    clock.at += 0.030
    assert pace.wait() == pytest.approx(0.0)


def test_what_came_meanwhile_is_published_when_its_time_comes(client: fakeredis.FakeRedis) -> None:
    clock = Clock()
    open_session(client)
    quotes(client)
    worker = Worker(client, live=live(share=0.5, clock=clock))
    worker.work()
    worker.handler._live.pace._not_before = clock.at + 0.02  # type: ignore[union-attr]
    last = quotes(client, 2)
    worker.work()
    before = published(client)
    assert before is not None
    assert before["watermark"] != {SHARD: last}
    assert worker.handler.rest() == pytest.approx(0.02)
    clock.at += 0.021
    assert worker.handler.rest() is None
    after = published(client)
    assert after is not None
    assert after["watermark"] == {SHARD: last}


def test_a_share_of_nothing_is_none_at_all(client: fakeredis.FakeRedis) -> None:
    open_session(client)
    quotes(client)
    worker = Worker(client, live=live(share=0.0))
    worker.work()
    assert worker.handler.rest() is None
    assert published(client) is None


# --- the record looks back -----------------------------------------------------------------------


def counters(client: fakeredis.FakeRedis) -> dict[str, int]:
    return {n: v for n, v in Cache(client).counters("SPY").items() if n.startswith("live_")}


def test_the_record_counts_agreement_of_levels_of_the_same_states(
    client: fakeredis.FakeRedis,
) -> None:
    open_session(client)
    quotes(client)
    Worker(client, live=live(wall=NOON + 123_456)).work()
    publish_tick(Cache(client), "SPY", POLICY, wall_us=lambda: NOON + SECOND)
    assert counters(client) == {"live_agreed": 1}
    quotes(client, 2)  # the record is ahead of the live level now: nothing to compare
    Worker(client).work()
    publish_tick(Cache(client), "SPY", POLICY, wall_us=lambda: NOON + 2 * SECOND)
    assert counters(client) == {"live_agreed": 1}


def test_a_live_level_that_is_wrong_is_counted_and_told(
    client: fakeredis.FakeRedis, caplog: pytest.LogCaptureFixture
) -> None:
    open_session(client)
    quotes(client)
    Worker(client, live=live()).work()
    level = published(client)
    assert level is not None
    level["levels"]["net_gex"] += 1e-3
    client.set(keys.committed("SPY"), orjson.dumps(level))
    publish_tick(Cache(client), "SPY", POLICY, wall_us=lambda: NOON + SECOND)
    assert counters(client) == {"live_differed": 1}
    assert "differs in ['levels']" in caplog.text
