"""Deliveries that wait: levels go ahead of the commit, and nothing is lost or done twice by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import fakeredis
import msgspec
import pytest
import redis
from fakes import (
    LAPSED,
    LONG,
    NOON,
    OTHER,
    OTHER_STREAM,
    PARAMETERS,
    SHARD,
    STREAM,
    Clock,
    Recorder,
    Worker,
    append,
    letters,
    make_batch,
    make_quotes,
    make_session,
    make_spots,
    pending,
)

from common.bus import keys
from common.bus.cache import Cache
from common.bus.client import Posted
from common.bus.entries import Entry
from common.bus.leases import Leases
from common.bus.streams import Streams
from common.clock import SECOND
from common.errors import BusError
from common.live import LiveLevels, LivePace
from common.models import JsonDict
from common.settings import load_settings
from common.tick import TickPolicy, publish_tick
from workers.actor import Actor
from workers.commands.processes import greeks_policy
from workers.greeks import GreeksHandler, Live
from workers.handling import Policy, Round
from workers.mailbox import Deliveries, Waiting

POLICY = Policy(batch=4, block_ms=1, defer_seconds=0.04, refresh_seconds=1.0, backoff_seconds=0.0)
GREEKS = keys.GREEKS_GROUP


@dataclass
class Glancer(Recorder):
    """A recorder that is shown deliveries before it handles them."""

    seen: list[list[bytes]] = field(default_factory=list)
    answers: list[bool | Exception] = field(default_factory=list)
    """What it says of each look; yes where there is no more."""

    def handle_together(self, deliveries: Deliveries) -> Round:
        """Nothing: each is handled by itself."""
        return Round(deliveries)

    def preview(self, deliveries: Deliveries) -> bool:
        """Note what it was shown."""
        self.seen += [[entry.fields[b"n"] for entry in entries] for _, entries in deliveries]
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        return answer


def put(client: fakeredis.FakeRedis, *payloads: bytes) -> None:
    Streams(client).register(STREAM)
    for payload in payloads:
        client.xadd(STREAM, {"n": payload})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def glancer() -> Glancer:
    return Glancer([STREAM])


@pytest.fixture
def actor(client: fakeredis.FakeRedis, glancer: Glancer, clock: Clock) -> Actor:
    return Actor(Streams(client), glancer, "one", POLICY, monotonic=clock)


# --- the actor -----------------------------------------------------------------------------------


def test_what_has_been_seen_is_handled_with_what_follows(
    client: fakeredis.FakeRedis, actor: Actor, glancer: Glancer, clock: Clock
) -> None:
    put(client, b"a")
    assert actor.step() == 1
    clock.at += 0.03
    put(client, b"b")
    assert actor.step() == 1
    assert (glancer.seen, glancer.calls) == ([[b"a"], [b"b"]], [])
    assert len(pending(client, glancer.group)) == 2
    actor._policy = replace(POLICY, block_ms=200)
    assert 9 <= actor._patience() <= 11, "a read waits no longer than they may"
    clock.at += 0.02  # the first has waited long enough
    assert actor.step() == 0
    assert glancer.calls == [[b"a", b"b"]]
    assert (pending(client, glancer.group), actor.handled) == ([], 2)


def test_what_follows_a_round_is_done_before_what_waits(
    client: fakeredis.FakeRedis, actor: Actor, glancer: Glancer, clock: Clock
) -> None:
    for payload, seconds in ((b"a", 0.03), (b"b", 0.03)):
        put(client, payload)
        actor.step()
        clock.at += seconds
    put(client, b"c")
    rested: list[int] = []
    glancer.before = lambda: rested.append(glancer.rested)
    actor.step()
    assert (glancer.seen[-1], glancer.calls, rested) == ([b"c"], [[b"a", b"b", b"c"]], [3])


@pytest.mark.parametrize(
    ("wall", "expected"),
    [
        pytest.param(1000.0, 0.09, id="right after a tick"),
        pytest.param(1000.05, 0.04, id="on the way"),
        pytest.param(1000.0899, 0.0001, id="almost over"),
        pytest.param(1000.995, 0.095, id="too late for the tick"),
    ],
)
def test_waiting_ends_before_instants_of_the_wall_clock(wall: float, expected: float) -> None:
    clock = Clock()
    waiting = Waiting(0.1, 64, before=0.01, monotonic=clock, wall=lambda: wall)
    waiting.add([(STREAM, [Entry("1-0", {})])])
    assert waiting.left() == pytest.approx(expected, abs=1e-6)
    waiting.add([(STREAM, [Entry("2-0", {})])])
    clock.at += expected - 1e-5
    assert waiting.left() == pytest.approx(1e-5, abs=1e-6)
    clock.at += 2e-5
    assert waiting.left() == 0.0
    assert [entry.id for _, entries in waiting.take() for entry in entries] == ["1-0", "2-0"]


def test_greeks_workers_commit_before_each_tick() -> None:
    policy = greeks_policy(load_settings())
    assert policy.defer_before == 0.01
    assert 1.0 / policy.defer_seconds == pytest.approx(round(1.0 / policy.defer_seconds))


@pytest.mark.parametrize(("silence", "seen"), [(0.039, [[b"a"], [b"b"]]), (0.04, [[b"a"]])])
def test_what_comes_after_a_silence_does_not_wait(
    silence: float,
    seen: list[list[bytes]],
    client: fakeredis.FakeRedis,
    glancer: Glancer,
) -> None:
    clock = Clock()
    actor = Actor(Streams(client), glancer, "one", POLICY, monotonic=clock)
    put(client, b"a")
    actor.step()
    clock.at += silence
    actor.step()  # nothing has come
    put(client, b"b")
    actor.step()
    assert glancer.seen == seen
    assert (pending(client, glancer.group) == []) == (seen == [[b"a"]])


@pytest.mark.parametrize("answer", [False, ValueError("what is this?"), BusError("away")])
def test_what_may_not_wait_is_handled_at_once_with_what_waits(
    answer: bool | Exception, client: fakeredis.FakeRedis, actor: Actor, glancer: Glancer
) -> None:
    glancer.answers = [True, answer]
    put(client, b"a")
    actor.step()
    put(client, b"b")
    actor.step()
    assert glancer.calls == [[b"a", b"b"]]
    assert pending(client, glancer.group) == []


def test_only_so_much_waits(client: fakeredis.FakeRedis, actor: Actor, glancer: Glancer) -> None:
    for payload in (b"a", b"b", b"c"):
        put(client, payload)
        actor.step()
    assert glancer.calls == []
    put(client, b"d")
    actor.step()
    assert glancer.calls == [[b"a", b"b", b"c", b"d"]]


def test_a_full_delivery_does_not_wait(
    client: fakeredis.FakeRedis, actor: Actor, glancer: Glancer
) -> None:
    put(client, b"a", b"b", b"c", b"d")
    actor.step()
    assert (glancer.seen, glancer.calls) == ([], [[b"a", b"b", b"c", b"d"]])


def test_nothing_waits_while_the_streams_are_looked_up(
    client: fakeredis.FakeRedis, actor: Actor, glancer: Glancer, clock: Clock
) -> None:
    clock.at = 0.99
    actor._refreshed = 0.0
    actor._known = {STREAM}
    Streams(client).ensure_group(STREAM, glancer.group)
    put(client, b"a")
    actor.step()
    waiting: list[Any] = []
    look = glancer.streams

    def streams() -> list[str]:
        waiting.append(pending(client, glancer.group))
        return look()

    glancer.streams = streams  # type: ignore[method-assign]
    clock.at = 1.01
    actor.step()
    assert (waiting, glancer.calls) == ([[]], [[b"a"]])


@pytest.mark.parametrize("outage", [False, True])
def test_a_stop_leaves_nothing_pending_but_in_an_outage(
    outage: bool, client: fakeredis.FakeRedis, actor: Actor, glancer: Glancer
) -> None:
    put(client, b"a")
    glancer.faults = {b"a": [BusError("away")] if outage else []}
    rest: Callable[[], float | None] = glancer.rest

    def last() -> float | None:
        actor.stop()
        return rest()

    glancer.rest = last  # type: ignore[method-assign]
    actor.run()
    assert (glancer.seen, glancer.calls) == ([[b"a"]], [[b"a"]])
    assert (len(pending(client, glancer.group)), glancer.closed) == (int(outage), True)


def test_poison_among_what_waits_costs_the_others_nothing(
    client: fakeredis.FakeRedis, actor: Actor, glancer: Glancer, clock: Clock
) -> None:
    glancer.faults = {b"b": [ValueError("poison")] * 9}
    for payload in (b"a", b"b", b"c"):
        put(client, payload)
        actor.step()
    clock.at += 0.05
    actor.step()
    assert sorted(glancer.effects) == [b"a", b"c"]
    assert [letter[b"f:n"] for letter in letters(client, glancer.group)] == [b"b"]
    assert pending(client, glancer.group) == []


def test_after_an_outage_what_waited_comes_again_once(
    client: fakeredis.FakeRedis, actor: Actor, glancer: Glancer, clock: Clock
) -> None:
    glancer.faults = {b"a": [BusError("away")]}
    put(client, b"a")
    actor.step()
    put(client, b"b")
    actor.step()
    clock.at += 0.05
    with pytest.raises(BusError):
        actor.step()
    assert glancer.effects == []
    actor.step()
    assert glancer.effects == [b"a", b"b"]
    assert pending(client, glancer.group) == []


# --- the Greeks worker -----------------------------------------------------------------------


def live(share: float = 1.0) -> Live:
    levels = LiveLevels(PARAMETERS, "gex-platform test", wall_us=lambda: NOON)
    return Live(levels, LivePace(share, monotonic=Clock()), ttl_ms=3000)


class Deferring(Worker):
    """A Greeks worker whose commits wait."""

    def __init__(
        self,
        client: fakeredis.FakeRedis,
        name: str = "greeks-0",
        *,
        lease: int = LONG,
        share: float = 1.0,
    ) -> None:
        self.name, self.streams, self.clock = name, Streams(client), Clock()
        self.leases = Leases(client, name=name, token=f"{name}-1", milliseconds=lease)
        self.handler = GreeksHandler(client, self.leases, PARAMETERS, live(share))
        self.actor = Actor(self.streams, self.handler, name, POLICY, monotonic=self.clock)

    def take_more(self) -> list[Entry]:
        """What is new, without handling it nor looking at the streams."""
        found = self.streams.read(GREEKS, self.name, [STREAM], count=100, block_ms=1)
        return [entry for _, entries in found for entry in entries]


def quotes(client: fakeredis.FakeRedis, number: int, shard: str = SHARD) -> str:
    rows = make_quotes(seq=100 * number, sigma=0.18 + 0.01 * number)
    batch = make_batch(number, quotes=rows, spots=make_spots(640.0, seq=100 * number + 99))
    (entry_id,) = append(client, batch, shard=shard)
    return entry_id


def open_session(client: fakeredis.FakeRedis, **changes: Any) -> None:
    Cache(client).save_session(make_session(**changes))


def committed(client: fakeredis.FakeRedis) -> dict[str, str]:
    return Cache(client).watermark("SPY")


def heard(client: fakeredis.FakeRedis) -> JsonDict:
    level = Cache(client).live("SPY")
    assert level is not None
    return level


def at_work(client: fakeredis.FakeRedis, **options: Any) -> tuple[Deferring, str]:
    """A worker that has committed its first batch, as it does without a state to go on from."""
    first = quotes(client, 1)
    worker = Deferring(client, **options)
    worker.work()
    assert committed(client) == {SHARD: first}
    return worker, first


def test_a_level_goes_ahead_of_its_commit(client: fakeredis.FakeRedis) -> None:
    open_session(client)
    worker, first = at_work(client)
    second = quotes(client, 2)
    worker.work()
    assert heard(client)["watermark"] == {SHARD: second}
    assert committed(client) == {SHARD: first}
    assert pending(client, GREEKS) == [second]
    third = quotes(client, 3)
    worker.clock.at += 0.05
    worker.work()
    assert heard(client)["watermark"] == committed(client) == {SHARD: third}
    assert pending(client, GREEKS) == []


def test_a_level_whose_answer_is_lost_is_published_again(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_session(client)
    worker, _ = at_work(client)
    second = quotes(client, 2)
    assert worker.actor.step() == 1

    def lose(_: Posted) -> list[Any]:
        raise redis.ConnectionError("gone")

    with monkeypatch.context() as broken:
        broken.setattr(Posted, "replies", lose)
        with pytest.raises(BusError):
            worker.actor.step()
    client.delete(keys.live("SPY"))
    worker.work()
    worker.actor.step()
    assert heard(client)["watermark"] == {SHARD: second}
    client.delete(keys.live("SPY"))
    worker.work()
    assert Cache(client).live("SPY") is None, "it has been answered now"


def test_a_level_that_is_refused_costs_no_quote_that_was_read_with_it(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_session(client)
    worker, _ = at_work(client)
    second = quotes(client, 2)
    with monkeypatch.context() as broken:
        broken.setattr(Cache, "live_command", lambda *_: ("SET", "too", "many", "words"))
        assert worker.actor.step() == 1
    third = quotes(client, 3)
    with pytest.raises(BusError, match="syntax"):
        worker.actor.step()
    assert pending(client, GREEKS) == [second, third]
    assert worker.actor._waiting.left(), "it is in hand, and is not delivered again"
    worker.actor.step()
    assert worker.actor.step() == 0
    assert heard(client)["watermark"] == {SHARD: third}


def test_a_committed_level_that_is_refused_is_published_again(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though what keeps it for the record is accepted."""
    open_session(client)
    worker, _ = at_work(client)
    second = quotes(client, 2)
    worker.handler.handle(STREAM, worker.take())
    with monkeypatch.context() as broken:
        broken.setattr(Cache, "live_command", lambda *_: ("SET", "too", "many", "words"))
        with pytest.raises(BusError, match="syntax"):
            worker.handler.rest()
    worker.handler.rest()
    assert heard(client)["watermark"] == {SHARD: second}


def test_redis_that_has_begun_anew_gets_a_level_at_once(client: fakeredis.FakeRedis) -> None:
    open_session(client)
    worker, _ = at_work(client)
    client.script_flush()
    second = quotes(client, 2)
    worker.work()
    assert heard(client)["watermark"] == {SHARD: second}


def test_after_a_silence_level_and_commit_go_together(client: fakeredis.FakeRedis) -> None:
    open_session(client)
    worker, _ = at_work(client)
    worker.clock.at += 0.2
    second = quotes(client, 2)
    worker.work()
    assert heard(client)["watermark"] == committed(client) == {SHARD: second}
    assert pending(client, GREEKS) == []
    third = quotes(client, 3)
    worker.work()  # something has just come
    assert heard(client)["watermark"] == {SHARD: third}
    assert committed(client) == {SHARD: second}


def test_it_is_the_level_that_the_record_says(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the quotes were cut: the reconciliation finds the same states and no difference."""
    open_session(client)
    worker, _ = at_work(client)
    made: list[JsonDict | None] = []
    document = LiveLevels.document

    def make(levels: LiveLevels, *given: Any) -> JsonDict | None:
        made.append(document(levels, *given))
        return made[-1]

    monkeypatch.setattr(LiveLevels, "document", make)
    for number in (2, 3, 4):
        quotes(client, number)
        worker.work()
    worker.clock.at += 0.05
    worker.actor.step()
    worker.actor.step()
    assert len(made) == 3, "a commit of what has been published needs no level"
    quotes(client, 5)
    worker.work()  # after a silence, so that it is committed at once
    quotes(client, 6)
    worker.work()  # the level that all can read is ahead of what the record finds
    assert len(made) == 5
    policy = TickPolicy(PARAMETERS, SECOND, "gex-platform test")
    publish_tick(Cache(client), "SPY", policy, wall_us=lambda: NOON)
    counters = Cache(client).counters("SPY")
    assert (counters.get("live_agreed"), counters.get("live_differed")) == (1, None)
    assert counters["quotes_processed"] == 5 * len(make_quotes())


def test_state_and_counters_do_not_depend_on_the_previews() -> None:
    ends = []
    for kind in (Worker, Deferring):
        client = fakeredis.FakeRedis(server=fakeredis.FakeServer())
        open_session(client)
        worker = kind(client, live=live()) if kind is Worker else kind(client)
        for number in (1, 2, 3):
            quotes(client, number)
            quotes(client, number, OTHER)
            worker.work()
        if isinstance(worker, Deferring):
            worker.clock.at += 0.05
        worker.work()
        states = [Cache(client).state("SPY", shard) for shard in (SHARD, OTHER)]
        assert None not in states
        bare = [msgspec.structs.replace(state, last_id="").encode() for state in states if state]
        processed = Cache(client).counters("SPY")["quotes_processed"]
        ends.append((bare, processed, pending(client, GREEKS)))
    assert ends[0] == ends[1]
    assert ends[0][2] == []


def test_a_level_never_goes_back_behind_a_commit(client: fakeredis.FakeRedis) -> None:
    open_session(client)
    worker, _ = at_work(client)
    quotes(client, 2)
    (second,) = worker.take()
    assert worker.handler.preview([(STREAM, [second])])
    third = quotes(client, 3)
    entries = [second, *worker.take_more()]
    worker.handler.handle(STREAM, entries)
    worker.handler.rest()
    assert heard(client)["watermark"] == {SHARD: third}


def test_a_stream_that_is_given_away_is_read_where_it_is_kept(client: fakeredis.FakeRedis) -> None:
    """However far this worker had gone on with it."""
    open_session(client)
    worker, first = at_work(client)
    quotes(client, 2)
    (second,) = worker.take()
    assert worker.handler.preview([(STREAM, [second])])
    worker.handler.streams()
    worker.handler.rest()
    assert heard(client)["watermark"] == {SHARD: first}


@pytest.mark.parametrize(
    ("session", "options"),
    [({"replay": True}, {}), ({"ended": True}, {}), ({}, {"share": 0.0})],
    ids=["replay", "ended", "no live levels"],
)
def test_who_has_no_live_level_commits_at_once(
    session: dict[str, Any], options: dict[str, Any], client: fakeredis.FakeRedis
) -> None:
    open_session(client, **session)
    worker, _ = at_work(client, **options)
    second = quotes(client, 2)
    worker.work()
    assert committed(client) == {SHARD: second}


def test_who_does_not_publish_the_levels_commits_at_once(client: fakeredis.FakeRedis) -> None:
    """The peer that does reads these states from Redis."""
    open_session(client)
    quotes(client, 1)
    peer = Deferring(client)
    peer.work()
    peer.leases.balance([STREAM])
    quotes(client, 1, OTHER)
    worker = Deferring(client, "greeks-1")
    worker.work()
    assert sorted(worker.leases.held) == [OTHER_STREAM]
    second = quotes(client, 2, OTHER)
    client.delete(keys.committed("SPY"))
    worker.work()
    assert committed(client)[OTHER] == second
    assert Cache(client).committed("SPY") is None, "whose it is keeps it"


def test_what_a_killed_worker_had_seen_is_merged_by_its_successor(
    client: fakeredis.FakeRedis,
) -> None:
    open_session(client)
    killed, _ = at_work(client, lease=LAPSED)
    second = quotes(client, 2)
    killed.work()
    assert heard(client)["watermark"] == {SHARD: second}
    successor = Deferring(client, "greeks-1")
    successor.work()
    assert committed(client) == {SHARD: second}
    assert pending(client, GREEKS) == []
    killed.clock.at += 0.05
    killed.work()  # it wakes up and would commit what it had seen: nothing changes
    third = quotes(client, 3)
    successor.clock.at += 0.05
    successor.work()
    successor.clock.at += 0.05
    successor.work()
    assert committed(client) == {SHARD: third}
    assert Cache(client).counters("SPY")["quotes_processed"] == 3 * len(make_quotes())
    assert pending(client, GREEKS) == []
