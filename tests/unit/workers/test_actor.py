"""The actor runtime: what becomes of entries when handlers fail, outages last, processes die."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from itertools import count, repeat
from typing import Any

import fakeredis
import pytest
from fakes import (
    STREAM,
    Clock,
    LossyRedis,
    Recorder,
    everything,
    letters,
    pending,
    set_back,
)

from common.bus import keys
from common.bus.cache import Cache
from common.bus.entries import Entry, decoded
from common.bus.streams import Streams
from common.errors import (
    BusError,
    FencedError,
    MalformedEntriesError,
    MalformedEntryError,
    RejectedError,
    ServiceError,
    StorageError,
)
from workers.actor import Actor
from workers.handling import Handler, Outcome, Policy

SECOND_STREAM = keys.greeks("SPY")
POLICY = Policy(block_ms=1, refresh_seconds=0.0, backoff_seconds=0.0, retry_seconds=0.0)
STORE = keys.STORE_GROUP


def actor_of(
    client: fakeredis.FakeRedis,
    handler: Handler,
    *,
    name: str = "store-0",
    policy: Policy = POLICY,
    clock: Callable[[], float] | None = None,
) -> Actor:
    """An actor that never sleeps and whose clock stands."""
    return Actor(Streams(client), handler, name, policy, monotonic=clock or Clock())


def put(client: fakeredis.FakeRedis, *payloads: bytes, stream: str = STREAM) -> list[str]:
    """Append entries; their ids."""
    Streams(client).register(stream)
    return [client.xadd(stream, {"n": payload}).decode() for payload in payloads]


def deliver(client: fakeredis.FakeRedis, consumer: str, count: int = 100) -> None:
    """Let a consumer take entries, and die."""
    Streams(client).read(STORE, consumer, [STREAM], count=count, block_ms=1)


def run_to_the_end(actor: Actor, handler: Recorder, *, calls: int) -> None:
    """Run until the handler has been called so often, and stop."""
    seen = count(1)

    def look() -> None:
        if next(seen) >= calls:
            actor.stop()

    handler.before = look
    actor.run()


# --- the plain way ---------------------------------------------------------------------------


def test_entries_are_handled_in_order_and_acknowledged(client: fakeredis.FakeRedis) -> None:
    put(client, b"a", b"b", b"c")
    handler = Recorder([STREAM])
    actor = actor_of(client, handler)
    assert actor.step() == 3
    assert handler.effects == [b"a", b"b", b"c"]
    assert pending(client, STORE) == []
    assert Cache(client).counters("SPY") == {"seen": 3}
    assert actor.step() == 0


def test_an_entry_is_acknowledged_after_its_effect(client: fakeredis.FakeRedis) -> None:
    (entry_id,) = put(client, b"a")
    during: list[list[str]] = []
    handler = Recorder([STREAM], before=lambda: during.append(pending(client, STORE)))
    actor_of(client, handler).step()
    assert during == [[entry_id]]


def test_a_delivery_is_bounded(client: fakeredis.FakeRedis) -> None:
    put(client, *(b"%d" % n for n in range(10)))
    handler = Recorder([STREAM])
    actor_of(client, handler, policy=Policy(batch=4, block_ms=1)).step()
    assert handler.calls == [[b"0", b"1", b"2", b"3"]]


def test_several_streams_are_read_at_once(client: fakeredis.FakeRedis) -> None:
    put(client, b"a")
    put(client, b"b", stream=SECOND_STREAM)
    handler = Recorder([STREAM, SECOND_STREAM])
    assert actor_of(client, handler).step() == 2
    assert sorted(handler.calls) == [[b"a"], [b"b"]]


def test_without_streams_it_waits(client: fakeredis.FakeRedis) -> None:
    handler = Recorder([])
    assert actor_of(client, handler).step() == 0
    assert handler.maintained == 1


def test_streams_are_looked_up_about_once_a_second(client: fakeredis.FakeRedis) -> None:
    clock, handler = Clock(), Recorder([])
    actor = actor_of(client, handler, policy=Policy(block_ms=1), clock=clock)
    put(client, b"a")
    actor.step()
    handler.reads = [STREAM]
    clock.at += 0.9
    assert actor.step() == 0
    clock.at += 0.2
    assert actor.step() == 1


def test_after_every_round_the_handler_may_do_what_follows(client: fakeredis.FakeRedis) -> None:
    put(client, b"a", b"b")
    handler = Recorder([STREAM])
    actor = actor_of(client, handler, policy=Policy(batch=1, block_ms=1))
    for _ in range(3):
        actor.step()
    assert (len(handler.calls), handler.rested) == (2, 3)


def test_a_round_with_room_left_is_followed_by_a_pause(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(client, b"a", b"b", b"c")
    pauses: list[float] = []
    policy = Policy(batch=2, block_ms=1, gather_seconds=0.25, few=0)
    actor = actor_of(client, Recorder([STREAM]), policy=policy)
    monkeypatch.setattr(actor._stop, "wait", pauses.append)
    assert (actor.step(), pauses) == (2, [])  # there is more to read at once
    assert (actor.step(), pauses) == (1, [0.25])
    assert (actor.step(), pauses) == (0, [0.25])  # the read itself has waited


def test_a_quiet_stream_is_gathered_from_for_four_times_as_long(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    policy = Policy(block_ms=1, gather_seconds=0.25, few=2)
    actor = actor_of(client, Recorder([STREAM]), policy=policy)
    monkeypatch.setattr(actor._stop, "wait", pauses.append)
    for entries in (2, 3):
        put(client, *[b"a"] * entries)
        assert actor.step() == entries
    assert pauses == [1.0, 0.25]


def test_what_fails_after_a_round_stops_nothing(client: fakeredis.FakeRedis) -> None:
    put(client, b"a", b"b")
    handler = Recorder([STREAM], rests=[ValueError("no level"), BusError("away")])
    actor = actor_of(client, handler, policy=Policy(batch=1, block_ms=1))
    actor.step()
    assert (handler.effects, actor.failures) == ([b"a"], 1)
    with pytest.raises(ServiceError):  # an outage is waited out, as everywhere
        actor.step()
    assert (handler.effects, pending(client, STORE)) == ([b"a", b"b"], [])


def test_a_read_waits_no_longer_than_what_is_to_follow(client: fakeredis.FakeRedis) -> None:
    handler = Recorder([STREAM], rests=[0.004, 0.0, 9.0])
    actor = actor_of(client, handler, policy=Policy(block_ms=50))
    assert actor._patience() == 50
    waits = []
    for _ in range(4):
        actor.step()
        waits.append(actor._patience())
    assert waits == [4, 1, 50, 50]


def test_it_says_how_it_is(client: fakeredis.FakeRedis) -> None:
    put(client, b"a")
    actor = actor_of(client, Recorder([STREAM]))
    actor.step()
    actor.step()
    said = client.hgetall(keys.actor(STORE, "store-0"))
    assert (said[b"handled"], said[b"failures"], said[b"buried"]) == (b"1", b"0", b"0")
    assert 0 < client.ttl(keys.actor(STORE, "store-0")) <= 60


# --- outages ---------------------------------------------------------------------------------


def test_an_outage_costs_no_entry_anything(client: fakeredis.FakeRedis) -> None:
    ids = put(client, b"a", b"b", b"c")
    handler = Recorder([STREAM], faults={b"b": [StorageError("away")]})
    actor = actor_of(client, handler)
    with pytest.raises(StorageError):
        actor.step()
    assert (handler.effects, pending(client, STORE)) == ([], ids)
    put(client, b"d")
    actor.step()
    assert handler.effects == [b"a", b"b", b"c", b"d"]
    assert (pending(client, STORE), letters(client, STORE)) == ([], [])
    assert (actor.handled, actor.failures) == (4, 0)


def test_an_outage_may_last(client: fakeredis.FakeRedis) -> None:
    """However often an entry is tried in vain, it is no dead letter."""
    put(client, b"a", b"b")
    away = [StorageError("away")] * 40
    handler = Recorder([STREAM], faults={b"a": away})
    run_to_the_end(actor_of(client, handler), handler, calls=41)
    assert handler.effects == [b"a", b"b"]
    assert letters(client, STORE) == []


def test_what_other_streams_had_delivered_is_not_forgotten(client: fakeredis.FakeRedis) -> None:
    put(client, b"a")
    put(client, b"b", stream=SECOND_STREAM)
    away = [StorageError("away")]
    handler = Recorder([STREAM, SECOND_STREAM], faults={b"a": away, b"b": away[:]})
    actor = actor_of(client, handler)
    for _ in range(2):
        with pytest.raises(StorageError):
            actor.step()
    actor.step()
    assert sorted(handler.effects) == [b"a", b"b"]


def test_an_outage_while_an_entry_is_tried_alone_is_an_outage(
    client: fakeredis.FakeRedis,
) -> None:
    put(client, b"bad", b"good")
    faults: list[Exception | None] = [ValueError("bad"), ValueError("bad"), StorageError("away")]
    handler = Recorder([STREAM], faults={b"bad": faults})
    actor = actor_of(client, handler)
    with pytest.raises(StorageError):
        actor.step()
    actor.step()
    assert handler.effects == [b"bad", b"good"]
    assert letters(client, STORE) == []


def test_a_lost_acknowledgement_delivers_again(server: fakeredis.FakeServer) -> None:
    client = LossyRedis(server=server)
    put(client, b"a")
    handler = Recorder([STREAM])
    actor = actor_of(client, handler)
    original, broken = actor._streams.acknowledge, iter([True])

    def acknowledge(*args: Any) -> bool:
        if next(broken, False):
            raise BusError("Redis is out of reach")
        return original(*args)

    actor._streams.acknowledge = acknowledge  # type: ignore[method-assign]
    with pytest.raises(BusError):
        actor.step()
    actor.step()
    assert handler.effects == [b"a", b"a"]  # delivered again: handlers are idempotent
    assert pending(client, STORE) == []


def test_what_redis_forgot_having_delivered_comes_again(client: fakeredis.FakeRedis) -> None:
    put(client, b"a")
    handler = Recorder([STREAM])
    actor = actor_of(client, handler)
    then = everything(client)
    handler.before = lambda: set_back(client, then) if not handler.effects else None
    for _ in range(3):
        actor.step()
    assert handler.effects == [b"a", b"a"]
    assert pending(client, STORE) == []
    assert Cache(client).counters("SPY") == {"seen": 1}


def test_it_waits_out_a_redis_that_is_away(server: fakeredis.FakeServer) -> None:
    client = fakeredis.FakeRedis(server=server)
    put(client, b"a")
    handler = Recorder([STREAM])
    actor = actor_of(client, handler)
    steps, lookups = handler.streams, count(1)

    def streams() -> list[str]:
        server.connected = next(lookups) > 3
        return steps()

    handler.streams = streams  # type: ignore[method-assign]
    handler.before = actor.stop
    actor.run()
    assert handler.effects == [b"a"]


# --- poison ----------------------------------------------------------------------------------


def test_a_poison_entry_is_buried_and_its_neighbours_are_handled_once(
    client: fakeredis.FakeRedis,
) -> None:
    _, poison, _ = put(client, b"a", b"poison", b"c")
    handler = Recorder([STREAM], faults={b"poison": repeat(RejectedError("no such right 'X'"))})
    actor = actor_of(client, handler)
    actor.step()
    assert handler.effects == [b"a", b"c"]
    assert handler.calls.count([b"poison"]) == POLICY.max_deliveries
    assert pending(client, STORE) == []
    (letter,) = letters(client, STORE)
    assert letter[b"id"].decode() == poison
    assert letter[b"f:n"] == b"poison"
    assert letter[b"reason"] == b"RejectedError: no such right 'X'"
    assert letter[b"traceback"].startswith(b"Traceback (most recent call last)")
    assert letter[b"deliveries"] == b"3"
    assert (actor.handled, actor.buried) == (2, 1)
    assert Cache(client).counters("SPY") == {"seen": 2, "dead_store": 1}


class Reader(Recorder):
    """A handler that decodes a delivery as a whole, and says which entries it cannot."""

    def handle(self, stream: str, entries: list[Entry]) -> Outcome:
        """Numbers alone are understood."""

        def number(fields: dict[bytes, bytes]) -> int:
            try:
                return int(fields[b"n"])
            except ValueError as error:
                raise MalformedEntryError(f"{fields[b'n']!r} is no number") from error

        self.calls.append([entry.fields[b"n"] for entry in entries])
        self.effects += [b"%d" % n for n in decoded(entries, number)]
        return Outcome({"seen": len(entries)})


def test_entries_that_are_named_as_malformed_cost_the_others_one_more_call(
    client: fakeredis.FakeRedis,
) -> None:
    payloads = [b"x" if n in (7, 8, 40) else b"%d" % n for n in range(64)]
    ids = put(client, *payloads)
    handler = Reader([STREAM])
    actor = actor_of(client, handler)
    actor.step()
    whole = [payload for payload in payloads if payload != b"x"]
    assert handler.calls == [payloads, whole]
    assert handler.effects == whole
    found = letters(client, STORE)
    assert [letter[b"id"].decode() for letter in found] == [ids[7], ids[8], ids[40]]
    assert {letter[b"reason"] for letter in found} == {b"MalformedEntryError: b'x' is no number"}
    assert all(b"invalid literal for int()" in letter[b"traceback"] for letter in found)
    assert pending(client, STORE) == []
    assert (actor.handled, actor.buried, actor.failures) == (61, 3, 1)


def test_a_delivery_of_malformed_entries_alone_is_one_call(client: fakeredis.FakeRedis) -> None:
    put(client, b"x", b"y")
    handler = Reader([STREAM])
    actor_of(client, handler).step()
    assert handler.calls == [[b"x", b"y"]]
    assert len(letters(client, STORE)) == 2
    assert pending(client, STORE) == []


def test_whoever_names_entries_of_another_delivery_buries_none_of_them(
    client: fakeredis.FakeRedis,
) -> None:
    put(client, b"a", b"b")
    wrong = MalformedEntriesError({"9-9": MalformedEntryError("elsewhere")})
    handler = Recorder([STREAM], faults={b"a": [wrong]})
    actor_of(client, handler).step()
    assert handler.effects == [b"a", b"b"]
    assert letters(client, STORE) == []


def test_an_entry_that_fails_is_found_by_halves(client: fakeredis.FakeRedis) -> None:
    payloads = [b"%d" % n for n in range(64)]
    put(client, *payloads)
    handler = Recorder([STREAM], faults={b"21": repeat(ValueError("?"))})
    actor_of(client, handler).step()
    assert handler.effects == [payload for payload in payloads if payload != b"21"]
    assert [len(call) for call in handler.calls if b"21" not in call] == [16, 4, 1, 2, 8, 32]
    assert handler.calls.count([b"21"]) == POLICY.max_deliveries
    assert [len(call) for call in handler.calls if b"21" in call] == [64, 32, 16, 8, 4, 2, 1, 1, 1]
    assert len(letters(client, STORE)) == 1


def test_the_rest_goes_on_after_a_dead_letter(client: fakeredis.FakeRedis) -> None:
    put(client, b"poison")
    handler = Recorder([STREAM], faults={b"poison": repeat(ValueError("?"))})
    actor = actor_of(client, handler)
    actor.step()
    put(client, b"next")
    actor.step()
    assert handler.effects == [b"next"]


def test_an_entry_that_succeeds_at_last_is_no_dead_letter(client: fakeredis.FakeRedis) -> None:
    put(client, b"shy")
    handler = Recorder([STREAM], faults={b"shy": [ValueError("?"), KeyError("?")]})
    actor_of(client, handler).step()
    assert (handler.effects, letters(client, STORE)) == ([b"shy"], [])


def test_an_entry_that_cannot_be_understood_is_buried_at_once(
    client: fakeredis.FakeRedis,
) -> None:
    put(client, b"a", b"garbage")
    faults = repeat(MalformedEntryError("entry without a header field 'h'"))
    handler = Recorder([STREAM], faults={b"garbage": faults})
    actor_of(client, handler).step()
    assert handler.calls.count([b"garbage"]) == 1
    (letter,) = letters(client, STORE)
    assert letter[b"reason"].startswith(b"MalformedEntryError: entry without")
    assert letter[b"deliveries"] == b"1"
    assert handler.effects == [b"a"]


def test_an_entry_that_kills_its_reader_is_buried_by_its_deliveries(
    client: fakeredis.FakeRedis,
) -> None:
    """Each new process drains what the last one left, and is killed by it."""
    put(client, b"killer", b"good")

    class Killed(BaseException):
        """The process is gone, whatever it would have caught."""

    deaths = 0
    for _ in range(2 * POLICY.crash_deliveries):
        handler = Recorder([STREAM], faults={b"killer": repeat(Killed())})  # type: ignore[arg-type]
        try:
            actor_of(client, handler).step()
        except Killed:
            deaths += 1
        else:
            break
    assert deaths == POLICY.crash_deliveries
    (letter,) = letters(client, STORE)
    assert letter[b"f:n"] == b"killer"
    assert letter[b"reason"] == b"delivered 10 times, never answered"
    assert handler.effects == [b"good"]
    assert pending(client, STORE) == []


# --- fenced ----------------------------------------------------------------------------------


def test_a_fenced_batch_is_left_to_its_new_owner(client: fakeredis.FakeRedis) -> None:
    ids = put(client, b"a", b"b")
    handler = Recorder([STREAM], faults={b"a": repeat(FencedError("the lease has moved on"))})
    actor = actor_of(client, handler)
    actor.step()
    handler.reads = []  # the lease is gone
    put(client, b"c")
    actor.step()
    assert handler.effects == []
    assert pending(client, STORE) == ids  # and 'c' was never taken


def test_fenced_while_draining_reads_nothing_new(client: fakeredis.FakeRedis) -> None:
    (old,) = put(client, b"old")
    deliver(client, "store-0")
    put(client, b"new")
    clock = Clock()
    handler = Recorder([STREAM], faults={b"old": repeat(FencedError("moved on"))})
    actor = actor_of(client, handler, policy=Policy(block_ms=1), clock=clock)
    for _ in range(2):
        actor.step()
    assert handler.calls == [[b"old"], [b"old"]]
    assert pending(client, STORE) == [old]


def test_fenced_while_an_entry_is_tried_alone_stops_there(client: fakeredis.FakeRedis) -> None:
    ids = put(client, b"a", b"bad", b"c")
    faults: list[Exception | None] = [ValueError("?"), ValueError("?"), FencedError("moved on")]
    handler = Recorder([STREAM], faults={b"bad": faults})
    actor_of(client, handler).step()
    assert handler.effects == [b"a"]
    assert pending(client, STORE) == ids[1:]


# --- what was left behind --------------------------------------------------------------------


def test_what_it_had_not_acknowledged_comes_first_after_a_restart(
    client: fakeredis.FakeRedis,
) -> None:
    put(client, b"a", b"b")
    deliver(client, "store-0")
    put(client, b"c")
    handler = Recorder([STREAM])
    actor_of(client, handler).step()
    assert handler.calls == [[b"a", b"b"], [b"c"]]
    assert pending(client, STORE) == []


def test_a_shared_stream_leaves_to_others_what_they_have_in_hand(
    client: fakeredis.FakeRedis,
) -> None:
    taken = put(client, b"theirs")
    deliver(client, "store-1")
    put(client, b"mine")
    handler = Recorder([STREAM])
    actor_of(client, handler).step()
    assert handler.effects == [b"mine"]
    assert pending(client, STORE) == taken


def test_the_sole_reader_of_a_stream_takes_over_everything_in_order(
    client: fakeredis.FakeRedis,
) -> None:
    payloads = [b"%03d" % n for n in range(150)]
    put(client, *payloads[:100])
    deliver(client, "dead-0", 50)
    deliver(client, "dead-1", 50)
    put(client, *payloads[100:])
    handler = Recorder([STREAM], exclusive=True)
    actor = actor_of(client, handler)
    actor.step()
    assert handler.effects == payloads
    assert pending(client, STORE) == []


def test_entries_of_a_dead_consumer_are_reclaimed_in_time(client: fakeredis.FakeRedis) -> None:
    ids = put(client, b"a", b"b")
    deliver(client, "dead")
    clock, handler = Clock(), Recorder([STREAM])
    actor = actor_of(client, handler, clock=clock)
    actor.step()
    clock.at += POLICY.reclaim_ms / 1000.0
    actor.step()
    assert handler.effects == []  # they have not been idle for long
    client.xclaim(STREAM, STORE, "dead", 0, ids, idle=POLICY.reclaim_ms)
    clock.at += POLICY.reclaim_ms / 1000.0
    actor.step()
    assert handler.effects == [b"a", b"b"]
    assert pending(client, STORE) == []


def test_a_new_stream_without_its_group_holds_no_reclaim_up(client: fakeredis.FakeRedis) -> None:
    """Scripts register streams; their groups are made by whoever reads them."""
    client.xadd(STREAM, {"n": "a"})
    clock, handler = Clock(), Recorder([])
    actor = actor_of(client, handler, clock=clock)
    actor.step()
    handler.reads = [STREAM]
    clock.at += 60.0
    assert actor.step() == 1
    assert handler.effects == [b"a"]


@pytest.mark.parametrize("exclusive", [False, True])
def test_an_entry_trimmed_while_pending_is_a_dead_letter(
    client: fakeredis.FakeRedis, *, exclusive: bool
) -> None:
    gone, _ = put(client, b"gone", b"kept")
    deliver(client, "store-0")
    client.xdel(STREAM, gone)
    handler = Recorder([STREAM], exclusive=exclusive)
    actor_of(client, handler).step()
    assert handler.effects == [b"kept"]
    (letter,) = letters(client, STORE)
    assert letter[b"id"].decode() == gone
    assert letter[b"reason"] == b"trimmed before it was acknowledged"
    assert pending(client, STORE) == []


def test_a_stream_that_lost_its_group_is_read_again_from_its_beginning(
    client: fakeredis.FakeRedis,
) -> None:
    put(client, b"a")
    clock, handler = Clock(), Recorder([STREAM])
    actor = actor_of(client, handler, policy=Policy(block_ms=1), clock=clock)
    actor.step()
    client.xgroup_destroy(STREAM, STORE)
    put_without_group = client.xadd(STREAM, {"n": "b"})
    assert put_without_group
    assert actor.step() == 0
    actor.step()
    assert handler.effects == [b"a", b"a", b"b"]


def test_a_retired_stream_is_not_made_anew(client: fakeredis.FakeRedis) -> None:
    put(client, b"a")
    clock, handler = Clock(), Recorder([STREAM])
    actor = actor_of(client, handler, policy=Policy(block_ms=1), clock=clock)
    actor.step()
    client.delete(STREAM)
    handler.reads = []
    with suppress(BusError):  # in the words of a real server this is NOGROUP, as above
        actor.step()
    actor._look_again()
    actor.step()
    assert not client.exists(STREAM)


# --- the end ---------------------------------------------------------------------------------


def test_told_to_stop_it_finishes_the_batch_and_leaves_nothing_pending(
    client: fakeredis.FakeRedis,
) -> None:
    put(client, b"a", b"b")
    handler = Recorder([STREAM])
    actor = actor_of(client, handler)
    handler.before = actor.stop
    actor.run()
    assert handler.effects == [b"a", b"b"]
    assert pending(client, STORE) == []
    assert handler.closed


def test_told_to_stop_while_draining_it_takes_nothing_new(client: fakeredis.FakeRedis) -> None:
    old = put(client, *(b"%d" % n for n in range(8)))
    deliver(client, "store-0")
    put(client, b"new")
    handler = Recorder([STREAM])
    actor = actor_of(client, handler, policy=Policy(batch=4, block_ms=1))
    handler.before = actor.stop
    actor.run()
    assert handler.calls == [[b"0", b"1", b"2", b"3"]]
    assert pending(client, STORE) == old[4:]


def test_told_to_stop_in_an_outage_it_stops(client: fakeredis.FakeRedis) -> None:
    ids = put(client, b"a")
    handler = Recorder([STREAM], faults={b"a": repeat(StorageError("away"))})
    run_to_the_end(actor_of(client, handler), handler, calls=2)
    assert pending(client, STORE) == ids
    assert handler.closed


def test_a_failing_farewell_is_no_crash(
    client: fakeredis.FakeRedis, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Recorder([STREAM])
    actor = actor_of(client, handler)

    def close() -> None:
        raise ServiceError("out of reach")

    handler.close = close  # type: ignore[method-assign]
    actor.stop()
    with caplog.at_level(logging.WARNING, logger="workers.actor"):
        actor.run()
    assert "closing: out of reach" in caplog.text


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Failures are the subject here; their log is kept out of the report."""
    caplog.set_level(logging.CRITICAL, logger="workers.actor")
