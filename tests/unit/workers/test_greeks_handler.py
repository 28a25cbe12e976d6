"""The Greeks worker: every quote is in the state once, whoever merged it and however it came."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import fakeredis
import msgspec
import numpy as np
import pytest
from fakes import (
    LAPSED,
    NOON,
    OTHER,
    OTHER_STREAM,
    PARAMETERS,
    SESSION,
    SHARD,
    STREAM,
    LossyRedis,
    Worker,
    append,
    everything,
    letters,
    lost_replies,
    make_batch,
    make_quotes,
    make_spots,
    pending,
    set_back,
)

from common.bus import keys
from common.bus.cache import Cache
from common.bus.codec import Batch, Result, StateBlob
from common.bus.entries import Entry
from common.bus.streams import Streams
from common.errors import BusError, FencedError
from common.settings import load_settings
from common.state import advance
from workers.actor import Actor
from workers.commands.processes import greeks_policy
from workers.handling import Outcome

GREEKS = keys.GREEKS_GROUP


def state_of(client: fakeredis.FakeRedis, shard: str = SHARD) -> StateBlob:
    """The stored state."""
    state = Cache(client).state("SPY", shard)
    assert state is not None
    return state


def processed(client: fakeredis.FakeRedis) -> int:
    """How many quotes were merged, by the counter."""
    return Cache(client).counters("SPY").get("quotes_processed", 0)


def contracts(client: fakeredis.FakeRedis) -> int:
    """How many contracts the state holds."""
    return len(state_of(client).quote_rows())


# --- the plain way ---------------------------------------------------------------------------


def test_quotes_become_state_results_watermark_and_counters(client: fakeredis.FakeRedis) -> None:
    batch = make_batch(quotes=make_quotes(), spots=make_spots(640.0))
    (entry_id,) = append(client, batch)
    Worker(client).work()
    expected = advance(StateBlob(), SHARD, [(entry_id, batch)], PARAMETERS)
    assert client.get(keys.chain("SPY", SHARD)) == expected.state.encode()
    assert Cache(client).watermark("SPY") == {SHARD: entry_id}
    assert pending(client, GREEKS) == []
    counters = Cache(client).counters("SPY")
    assert (counters["quotes_processed"], counters["quotes_late"]) == (22, 0)


def test_a_backlog_of_small_entries_is_one_round_and_one_commit(
    client: fakeredis.FakeRedis, tmp_path: Path
) -> None:
    batches = [make_batch(number, quotes=make_quotes(seq=22 * number)) for number in range(1, 301)]
    ids = append(client, *batches)
    worker = Worker(client)
    policy = greeks_policy(load_settings(state_dir=tmp_path))
    assert Actor(worker.streams, worker.handler, worker.name, policy).step() == len(ids)
    assert pending(client, GREEKS) == []
    assert processed(client) == 300 * 22
    ((_, fields),) = client.xrange(keys.greeks("SPY"))
    assert Result.decode(fields).header.last_id == ids[-1]


def test_results_are_on_their_stream_for_the_store(client: fakeredis.FakeRedis) -> None:
    (entry_id,) = append(client, make_batch(quotes=make_quotes()))
    Worker(client).work()
    ((_, fields),) = client.xrange(keys.greeks("SPY"))
    result = Result.decode(fields)
    assert (result.header.session, result.header.epoch) == (SESSION, 1)
    assert (result.header.shard, result.header.last_id) == (SHARD, entry_id)
    assert result.rows.tobytes() == state_of(client).greeks
    assert keys.greeks("SPY") in Streams(client).registered()
    assert [group.name for group in Streams(client).groups(keys.greeks("SPY"))] == ["store"]


def test_a_price_alone_has_no_results(client: fakeredis.FakeRedis) -> None:
    append(client, make_batch(spots=make_spots(641.0)))
    Worker(client).work()
    assert state_of(client).spot == 641.0
    assert client.xlen(keys.greeks("SPY")) == 0


def test_one_batch_at_a_time_or_all_at_once_is_the_same_state(server: fakeredis.FakeServer) -> None:
    batches = [
        make_batch(n, quotes=make_quotes(seq=100 * n, time=NOON + n, spot=640.0 + n))
        for n in range(1, 5)
    ]
    one, other = fakeredis.FakeRedis(), fakeredis.FakeRedis()
    append(one, *batches)
    Worker(one).work()
    patient = Worker(other)
    for batch in batches:
        append(other, batch)
        patient.work()
    alike = [msgspec.structs.replace(state_of(c), last_id="0-0") for c in (one, other)]
    assert alike[0].encode() == alike[1].encode()


def test_shards_do_not_mix(client: fakeredis.FakeRedis) -> None:
    append(client, make_batch(quotes=make_quotes([640.0])))
    append(client, make_batch(quotes=make_quotes([650.0])), shard=OTHER)
    Worker(client).work()
    assert state_of(client, SHARD).quotes != state_of(client, OTHER).quotes
    assert set(Cache(client).watermark("SPY")) == {SHARD, OTHER}


# --- redelivery ------------------------------------------------------------------------------


def test_a_redelivered_entry_changes_nothing_and_is_acknowledged(
    client: fakeredis.FakeRedis,
) -> None:
    append(client, make_batch(quotes=make_quotes(), spots=make_spots(640.0)))
    worker = Worker(client)
    entries = worker.take()
    worker.handler.handle(STREAM, entries)
    before = everything(client)
    again = worker.handler.handle(STREAM, entries)
    assert (again.acknowledged, again.counts) == (False, {"entries_redelivered": 1})
    assert everything(client) == before


def test_what_was_delivered_in_part_before_is_merged_from_there(
    client: fakeredis.FakeRedis,
) -> None:
    append(client, make_batch(1, quotes=make_quotes([640.0])))
    worker = Worker(client)
    old = worker.take()
    worker.handler.handle(STREAM, old)
    append(client, make_batch(2, quotes=make_quotes([650.0], seq=50)))
    client.xclaim(STREAM, GREEKS, "greeks-0", 0, [old[0].id], force=True)  # somebody's hand
    outcome = worker.handler.handle(STREAM, old + worker.take())
    assert outcome.acknowledged
    assert pending(client, GREEKS) == []
    counters = Cache(client).counters("SPY")
    assert (counters["quotes_processed"], counters["entries_redelivered"]) == (4, 1)
    assert contracts(client) == 4


def test_a_lost_answer_to_a_commit_loses_no_quotes(server: fakeredis.FakeServer) -> None:
    """The commit was done; what is in memory is older, and must not be gone on from."""
    client = LossyRedis(server=server)
    worker = Worker(client)
    append(client, make_batch(1, quotes=make_quotes([640.0])))
    worker.work()
    append(client, make_batch(2, quotes=make_quotes([650.0], seq=50)))
    entries = worker.take()
    client.lose_answers("EVALSHA")
    with pytest.raises(BusError):
        worker.handler.handle(STREAM, entries)
    append(client, make_batch(3, quotes=make_quotes([660.0], seq=100)))
    worker.work()
    assert contracts(client) == 6
    assert processed(client) == 6


def test_a_commit_that_the_client_tries_twice_counts_once(client: fakeredis.FakeRedis) -> None:
    append(client, make_batch(quotes=make_quotes()))
    worker = Worker(client)
    entries = worker.take()
    commit = worker.handler._commit

    def twice(**arguments: Any) -> Any:
        commit(**arguments)
        return commit(**arguments)

    worker.handler._commit = twice  # type: ignore[assignment]
    worker.handler.handle(STREAM, entries)
    assert processed(client) == 22
    assert client.xlen(keys.greeks("SPY")) == 1


# --- a Redis that was set back ---------------------------------------------------------------


def test_entries_that_redis_forgot_having_merged_are_merged_again(
    client: fakeredis.FakeRedis,
) -> None:
    """What is in memory includes them; what counts is what Redis holds."""
    worker = Worker(client)
    append(client, make_batch(1, quotes=make_quotes([640.0])))
    worker.work()
    (last,) = append(client, make_batch(2, quotes=make_quotes([650.0], seq=50)))
    then = everything(client)
    worker.work()
    set_back(client, then)
    worker.work()
    assert (contracts(client), processed(client)) == (4, 4)
    assert Cache(client).watermark("SPY") == {SHARD: last}
    assert pending(client, GREEKS) == []


def test_a_state_that_was_set_back_is_gone_on_from(client: fakeredis.FakeRedis) -> None:
    """The entry in memory is lost, and comes again under another id, behind a newer one."""
    worker = Worker(client)
    append(client, make_batch(1, quotes=make_quotes([640.0])))
    worker.work()
    then = everything(client)
    append(client, make_batch(2, quotes=make_quotes([650.0], seq=50)))
    worker.work()
    set_back(client, then)
    append(client, make_batch(2, quotes=make_quotes([650.0], seq=50)))
    append(client, make_batch(3, quotes=make_quotes([660.0], seq=100)))
    worker.work()
    assert (contracts(client), processed(client)) == (6, 6)
    assert state_of(client).last_id == Cache(client).watermark("SPY")[SHARD]
    assert Cache(client).counters("SPY")["quotes_late"] == 0


def test_a_redis_that_lost_everything_starts_from_an_empty_state(
    client: fakeredis.FakeRedis,
) -> None:
    worker = Worker(client)
    append(client, make_batch(1, quotes=make_quotes([640.0])))
    worker.work()
    client.flushall()
    append(client, make_batch(2, quotes=make_quotes([650.0], seq=50)))
    worker.work()
    assert (contracts(client), processed(client)) == (2, 2)
    assert pending(client, GREEKS) == []


# --- fencing ---------------------------------------------------------------------------------


def test_a_fenced_worker_changes_nothing(client: fakeredis.FakeRedis) -> None:
    append(client, *(make_batch(n, quotes=make_quotes(seq=100 * n)) for n in range(1, 4)))
    slow, quick = Worker(client, "slow", lease=LAPSED), Worker(client, "quick")
    entries = slow.take()
    quick.handler.streams()  # the lease has lapsed, and another takes it
    client.xgroup_create(keys.greeks("SPY"), keys.STORE_GROUP, id="0", mkstream=True)
    before = everything(client)
    with pytest.raises(FencedError, match="the lease has moved on"):
        slow.handler.handle(STREAM, entries)
    assert everything(client) == before
    assert len(pending(client, GREEKS)) == 3


def test_what_a_set_back_redis_has_not_delivered_is_not_committed(
    client: fakeredis.FakeRedis,
) -> None:
    """It was read, then lost with Redis' last second; it is appended again, and counts once."""
    worker = Worker(client)
    append(client, make_batch(1, quotes=make_quotes([640.0])))
    worker.work()
    (lost,) = append(client, make_batch(2, quotes=make_quotes([650.0], seq=50)))
    entries = worker.take()
    client.xack(STREAM, GREEKS, lost)
    client.xdel(STREAM, lost)
    before = everything(client)
    with pytest.raises(FencedError, match="not pending"):
        worker.handler.handle(STREAM, entries)
    assert everything(client) == before
    client.xadd(STREAM, entries[0].fields)  # type: ignore[arg-type]
    worker.work()
    assert (contracts(client), processed(client)) == (4, 4)


def test_a_fenced_commit_of_many_entries_changes_nothing(client: fakeredis.FakeRedis) -> None:
    """More ids than one XACK takes."""
    Streams(client).register(STREAM)
    fields = make_batch(quotes=make_quotes([640.0])).encode()
    for _ in range(1203):
        client.xadd(STREAM, fields)  # type: ignore[arg-type]
    slow, quick = Worker(client, "slow", lease=LAPSED), Worker(client, "quick")
    slow.handler.streams()
    ((_, entries),) = slow.streams.read(GREEKS, "slow", [STREAM], count=2000, block_ms=1)
    quick.handler.streams()
    with pytest.raises(FencedError):
        slow.handler.handle(STREAM, entries)
    assert len(pending(client, GREEKS)) == 1203
    assert not client.exists(keys.chain("SPY", SHARD), keys.counters("SPY"))
    assert client.xlen(keys.greeks("SPY")) == 0


def test_a_commit_of_many_entries_acknowledges_them_all(client: fakeredis.FakeRedis) -> None:
    Streams(client).register(STREAM)
    fields = make_batch(quotes=make_quotes([640.0])).encode()
    for _ in range(1203):
        client.xadd(STREAM, fields)  # type: ignore[arg-type]
    worker = Worker(client)
    worker.handler.streams()
    ((_, entries),) = worker.streams.read(GREEKS, "greeks-0", [STREAM], count=2000, block_ms=1)
    worker.handler.handle(STREAM, entries)
    assert pending(client, GREEKS) == []
    assert processed(client) == 2406


def test_without_a_lease_nothing_is_written(client: fakeredis.FakeRedis) -> None:
    append(client, make_batch(quotes=make_quotes()))
    worker = Worker(client)
    entries = worker.take()
    worker.leases.release_all()
    with pytest.raises(FencedError):
        worker.handler.handle(STREAM, entries)
    assert not client.exists(keys.chain("SPY", SHARD))


# --- several shards at once ------------------------------------------------------------------


SHARDS = {SHARD: STREAM, OTHER: OTHER_STREAM}


def a_round(client: fakeredis.FakeRedis, number: int) -> None:
    """A batch of each of two shards."""
    for shard in SHARDS:
        append(client, make_batch(number, quotes=make_quotes(seq=100 * number)), shard=shard)


def one_by_one(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The streams that are handled alone from now on."""
    seen: list[str] = []
    handle = worker.handler.handle

    def note(stream: str, entries: list[Entry]) -> Outcome:
        seen.append(stream)
        return handle(stream, entries)

    monkeypatch.setattr(worker.handler, "handle", note)
    return seen


def check_all(client: fakeredis.FakeRedis, rounds: int) -> None:
    """Every batch is in its state, and counted, once."""
    assert processed(client) == 22 * len(SHARDS) * rounds
    assert pending(client, GREEKS) == pending(client, GREEKS, OTHER_STREAM) == []
    for shard, stream in SHARDS.items():
        batches = [(i.decode(), Batch.decode(fields)) for i, fields in client.xrange(stream)]
        expected = advance(StateBlob(), shard, batches, PARAMETERS).state
        assert state_of(client, shard).encode() == expected.encode()


def test_a_round_of_several_shards_is_one_step(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(client)
    a_round(client, 1)
    worker.work()  # what the server has no script for yet is done one by one
    alone = one_by_one(worker, monkeypatch)
    for number in (2, 3):
        a_round(client, number)
        worker.work()
    assert alone == []
    check_all(client, 3)
    client.script_flush()
    a_round(client, 4)
    worker.work()
    assert sorted(alone) == sorted(SHARDS.values())
    check_all(client, 4)


def test_a_shard_that_was_lost_costs_the_others_of_its_round_nothing(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(client)
    a_round(client, 1)
    worker.work()
    a_round(client, 2)
    worker.handler.streams()
    client.hincrby(keys.lease("SPY", OTHER), "epoch", 1)
    alone = one_by_one(worker, monkeypatch)
    before = state_of(client, OTHER).encode()
    monkeypatch.setattr(worker.actor, "_refresh", lambda: sorted(SHARDS.values()))
    worker.actor.step()
    assert alone == [OTHER_STREAM]
    assert state_of(client, OTHER).encode() == before
    assert len(pending(client, GREEKS, OTHER_STREAM)) == 1
    assert pending(client, GREEKS) == []
    assert processed(client) == 22 * 3


def test_poison_costs_the_others_of_its_round_nothing(client: fakeredis.FakeRedis) -> None:
    worker = Worker(client)
    a_round(client, 1)
    worker.work()
    client.xadd(STREAM, {"h": b"rubbish"})
    a_round(client, 2)
    worker.work()
    assert processed(client) == 22 * 4
    assert len(letters(client, GREEKS)) == 1


def test_the_lost_answer_of_a_round_is_no_second_merge(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(client)
    a_round(client, 1)
    worker.work()
    a_round(client, 2)
    with lost_replies(), pytest.raises(BusError):
        worker.actor.step()
    a_round(client, 3)
    worker.work()
    check_all(client, 3)


# --- several workers -------------------------------------------------------------------------


def test_workers_share_the_shards_and_together_merge_everything(
    server: fakeredis.FakeServer,
) -> None:
    clients = [fakeredis.FakeRedis(server=server) for _ in range(2)]
    one, two = Worker(clients[0], "one"), Worker(clients[1], "two")
    append(clients[0], make_batch(quotes=make_quotes()))
    append(clients[0], make_batch(quotes=make_quotes()), shard=OTHER)
    one.handler.streams()  # the first takes both, until the second has signed in
    for worker in (two, one, two, one):
        worker.actor.step()
    assert {*one.leases.held, *two.leases.held} == {STREAM, OTHER_STREAM}
    assert len(one.leases.held) == len(two.leases.held) == 1
    assert processed(clients[0]) == 44


def test_a_successor_goes_on_exactly_where_the_first_stopped(
    server: fakeredis.FakeServer,
) -> None:
    batches = [make_batch(n, quotes=make_quotes(seq=100 * n, time=NOON + n)) for n in range(1, 7)]
    client, whole = fakeredis.FakeRedis(server=server), fakeredis.FakeRedis()
    first, second = Worker(client, "one", lease=LAPSED), Worker(client, "two")
    append(client, *batches[:2])
    first.work()
    append(client, *batches[2:4])
    first.take()  # ... and dies with two entries in hand
    append(client, *batches[4:])
    second.work()
    append(whole, *batches)
    Worker(whole).work()
    alike = [msgspec.structs.replace(state_of(c), last_id="0-0") for c in (client, whole)]
    assert alike[0].encode() == alike[1].encode()
    assert processed(client) == processed(whole) == 132
    assert (pending(client, GREEKS), letters(client, GREEKS)) == ([], [])


def test_the_state_is_read_anew_after_the_lease_was_away(server: fakeredis.FakeServer) -> None:
    client = fakeredis.FakeRedis(server=server)
    slow, quick = Worker(client, "slow", lease=LAPSED), Worker(client, "quick", lease=LAPSED)
    for number, worker in enumerate((slow, quick, slow, quick, slow), start=1):
        strikes = [630.0 + 2 * number]
        append(client, make_batch(number, quotes=make_quotes(strikes, seq=100 * number)))
        worker.work()
    assert contracts(client) == 10


def test_an_entry_taken_after_the_lease_had_lapsed_is_not_lost(
    server: fakeredis.FakeServer,
) -> None:
    """The old owner wakes, reads one entry more, and is fenced with it in hand."""
    client = fakeredis.FakeRedis(server=server)
    slow, quick = Worker(client, "slow", lease=LAPSED), Worker(client, "quick")
    append(client, make_batch(1, quotes=make_quotes([640.0])))
    slow.work()
    quick.work()  # takes the shard over
    append(client, make_batch(2, quotes=make_quotes([650.0], seq=50)))
    astray = slow.streams.read(GREEKS, "slow", [STREAM], count=100, block_ms=1)[0][1]
    with pytest.raises(FencedError):
        slow.handler.handle(STREAM, astray)
    append(client, make_batch(3, quotes=make_quotes([660.0], seq=100)))
    for _ in range(3):
        quick.actor.step()
    assert contracts(client) == 6
    assert processed(client) == 6
    assert pending(client, GREEKS) == []


def test_the_last_act_gives_the_shards_to_a_peer_at_once(server: fakeredis.FakeServer) -> None:
    client = fakeredis.FakeRedis(server=server)
    one, two = Worker(client, "one"), Worker(client, "two")
    append(client, make_batch(1, quotes=make_quotes([640.0])))
    one.work()
    one.actor.stop()
    one.actor.run()
    append(client, make_batch(2, quotes=make_quotes([650.0], seq=50)))
    two.work()
    assert contracts(client) == 4


# --- damage ----------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"\x00", b"", StateBlob(quotes=b"x" * 71).encode()])
def test_a_damaged_state_is_started_anew_and_said(
    client: fakeredis.FakeRedis, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    client.set(keys.chain("SPY", SHARD), damage)
    append(client, make_batch(quotes=make_quotes([640.0])))
    with caplog.at_level(logging.ERROR, logger="workers.greeks"):
        Worker(client).work()
    assert f"{STREAM}: " in caplog.text
    assert "starting from an empty state" in caplog.text
    assert contracts(client) == 2
    assert letters(client, GREEKS) == []


def test_a_damaged_entry_is_buried_and_its_neighbours_are_merged(
    client: fakeredis.FakeRedis,
) -> None:
    append(client, make_batch(1, quotes=make_quotes([640.0])))
    bad = client.xadd(STREAM, {"h": b"\xc1", "q": b"", "s": b""}).decode()
    append(client, make_batch(2, quotes=make_quotes([650.0], seq=50)))
    Worker(client).work()
    assert contracts(client) == 4
    (letter,) = letters(client, GREEKS)
    assert letter[b"id"].decode() == bad
    assert processed(client) == 4
    assert np.isnan(state_of(client).spot)
