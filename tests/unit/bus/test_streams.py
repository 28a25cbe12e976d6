"""Streams and groups: nothing is lost before everyone has it, and then it goes."""

from __future__ import annotations

import fakeredis
import pytest
from fakes import (
    OTHER,
    OTHER_STREAM,
    SHARD,
    STREAM,
    append,
    everything,
    letters,
    make_batch,
    make_session,
    pending,
    set_back,
)

from common.bus import keys
from common.bus.cache import Cache
from common.bus.entries import Burial, Entry, id_order
from common.bus.streams import Streams
from common.errors import BusError

FAR_FUTURE = 10**15
GREEKS, STORE = keys.GREEKS_GROUP, keys.STORE_GROUP


@pytest.fixture
def streams(client: fakeredis.FakeRedis) -> Streams:
    """The streams of the Redis in memory."""
    return Streams(client)


def read(streams: Streams, group: str, count: int = 100, consumer: str = "c") -> list[str]:
    """Deliver entries; their ids."""
    found = streams.read(group, consumer, [STREAM], count=count, block_ms=1)
    return [entry.id for _, entries in found for entry in entries]


def read_and_acknowledge(streams: Streams, group: str, count: int = 100) -> None:
    """Deliver entries and have done with them."""
    ids = read(streams, group, count)
    streams.acknowledge(group, STREAM, ids, {})


def fill(client: fakeredis.FakeRedis, streams: Streams, count: int) -> list[str]:
    """A registered stream with many entries, as trimming drops whole blocks of them."""
    streams.register(STREAM)
    return [client.xadd(STREAM, {"n": n}).decode() for n in range(count)]


def kept(client: fakeredis.FakeRedis) -> list[str]:
    """Ids that are still in the stream."""
    return [entry_id.decode() for entry_id, _ in client.xrange(STREAM)]


# --- groups ----------------------------------------------------------------------------------


def test_a_group_sees_what_was_appended_before_it_was_made(
    client: fakeredis.FakeRedis, streams: Streams
) -> None:
    early = client.xadd(STREAM, {"n": 1}).decode()
    streams.ensure_group(STREAM, GREEKS)
    assert read(streams, GREEKS) == [early]


def test_registering_again_moves_no_group(client: fakeredis.FakeRedis, streams: Streams) -> None:
    streams.register(STREAM)
    client.xadd(STREAM, {"n": 1})
    read_and_acknowledge(streams, GREEKS)
    streams.register(STREAM)
    assert read(streams, GREEKS) == []
    assert len(read(streams, STORE)) == 1


def test_only_an_existing_group_is_no_error(client: fakeredis.FakeRedis, streams: Streams) -> None:
    client.set(STREAM, "no stream")
    with pytest.raises(BusError, match="WRONGTYPE"):
        streams.ensure_group(STREAM, GREEKS)


def test_a_quotes_stream_has_two_groups_and_any_other_one(
    client: fakeredis.FakeRedis, streams: Streams
) -> None:
    for stream in (STREAM, keys.greeks("SPY"), keys.level_stream("SPY")):
        streams.register(stream)
    names = {
        stream: {group.name for group in streams.groups(stream)} for stream in streams.registered()
    }
    assert names == {
        STREAM: {GREEKS, STORE},
        keys.greeks("SPY"): {STORE},
        keys.level_stream("SPY"): {STORE},
    }


def test_a_missing_stream_has_no_groups(streams: Streams) -> None:
    assert streams.groups(STREAM) == []


def test_acknowledging_counts_in_the_same_step(
    client: fakeredis.FakeRedis, streams: Streams
) -> None:
    append(client, make_batch(1), make_batch(2))
    streams.acknowledge(STORE, STREAM, read(streams, STORE), {"quotes_stored": 44})
    assert pending(client, STORE) == []
    assert Cache(client).counters("SPY")["quotes_stored"] == 44


def test_what_is_not_pending_is_neither_acknowledged_nor_counted(
    client: fakeredis.FakeRedis, streams: Streams
) -> None:
    """Redis was set back to before the delivery: the entry comes again, and counts then."""
    append(client, make_batch(1))
    then = everything(client)
    (entry_id,) = read(streams, STORE)
    set_back(client, then)
    (second,) = append(client, make_batch(2))
    assert read(streams, STORE, count=1) == [entry_id]
    assert not streams.acknowledge(STORE, STREAM, [entry_id, second], {"quotes_stored": 2})
    assert pending(client, STORE) == [entry_id]
    assert "quotes_stored" not in Cache(client).counters("SPY")
    assert streams.acknowledge(STORE, STREAM, [entry_id], {"quotes_stored": 1})
    assert not streams.acknowledge(STORE, STREAM, [entry_id], {"quotes_stored": 1})
    assert Cache(client).counters("SPY")["quotes_stored"] == 1


# --- taking over -----------------------------------------------------------------------------


def test_everything_pending_is_taken_over_however_much_it_is(
    client: fakeredis.FakeRedis, streams: Streams
) -> None:
    streams.ensure_group(STREAM, GREEKS)
    for n in range(1201):
        client.xadd(STREAM, {"n": n})
    assert len(read(streams, GREEKS, 2000, consumer="dead")) == 1201
    found = streams.claim(GREEKS, "heir", STREAM, min_idle_ms=0)
    assert (found.taken, found.lost) == (1201, [])
    assert len(streams.own_pending(GREEKS, "heir", STREAM, count=2000)) == 1201


def test_what_is_in_hand_elsewhere_is_left_there(
    client: fakeredis.FakeRedis, streams: Streams
) -> None:
    append(client, make_batch())
    read(streams, GREEKS, consumer="busy")
    assert streams.claim(GREEKS, "heir", STREAM, min_idle_ms=60_000).taken == 0
    assert streams.own_pending(GREEKS, "heir", STREAM, count=10) == []


def test_what_was_trimmed_while_pending_is_named(
    client: fakeredis.FakeRedis, streams: Streams
) -> None:
    gone, kept = append(client, make_batch(1), make_batch(2))
    read(streams, GREEKS, consumer="dead")
    client.xdel(STREAM, gone)
    found = streams.claim(GREEKS, "heir", STREAM, min_idle_ms=0)
    assert (found.taken, found.lost) == (1, [gone])
    assert pending(client, GREEKS) == [kept]


def test_a_forgiven_entry_counts_as_never_delivered(
    client: fakeredis.FakeRedis, streams: Streams
) -> None:
    (entry_id,) = append(client, make_batch())
    read(streams, GREEKS)
    for _ in range(5):
        streams.own_pending(GREEKS, "c", STREAM, count=10)
    assert streams.deliveries(GREEKS, STREAM, entry_id) == 6
    streams.forgive(GREEKS, "c", STREAM, [entry_id])
    assert streams.deliveries(GREEKS, STREAM, entry_id) == 0
    assert pending(client, GREEKS) == [entry_id]


# --- dead letters ----------------------------------------------------------------------------


def test_a_dead_letter_keeps_the_original_with_reason_and_traceback(
    client: fakeredis.FakeRedis, streams: Streams
) -> None:
    streams.register(STREAM)
    client.xadd(STREAM, {b"h": b"\xff\x00", b"reason": b"my own field"})
    ((_, (entry,)),) = streams.read(GREEKS, "c", [STREAM], count=1, block_ms=1)
    streams.bury(GREEKS, STREAM, [Burial(entry, "ValueError: no", "Traceback …", 3)])
    assert letters(client, GREEKS) == [
        {
            b"stream": STREAM.encode(),
            b"id": entry.id.encode(),
            b"reason": b"ValueError: no",
            b"traceback": "Traceback …".encode(),
            b"deliveries": b"3",
            b"f:h": b"\xff\x00",
            b"f:reason": b"my own field",
        }
    ]
    assert pending(client, GREEKS) == []
    assert Cache(client).counters("SPY") == {"dead_greeks": 1}


# --- trimming --------------------------------------------------------------------------------


def test_nothing_is_trimmed_that_the_slowest_group_has_not_read(
    client: fakeredis.FakeRedis, streams: Streams
) -> None:
    ids = fill(client, streams, 500)
    read_and_acknowledge(streams, GREEKS, 500)
    read_and_acknowledge(streams, STORE, 250)
    assert 0 < streams.trim(STREAM, keep_after_ms=FAR_FUTURE) < 250
    assert kept(client)[-251:] == ids[249:]


def test_nothing_is_trimmed_that_is_pending(client: fakeredis.FakeRedis, streams: Streams) -> None:
    ids = fill(client, streams, 500)
    read_and_acknowledge(streams, GREEKS, 500)
    delivered = read(streams, STORE, 500)
    streams.acknowledge(STORE, STREAM, [i for i in delivered if i != ids[250]], {})
    assert 0 < streams.trim(STREAM, keep_after_ms=FAR_FUTURE) <= 250
    assert kept(client)[-250:] == ids[250:]


def test_nothing_is_trimmed_before_every_group_has_begun(
    client: fakeredis.FakeRedis, streams: Streams
) -> None:
    append(client, make_batch(1), make_batch(2))
    read_and_acknowledge(streams, GREEKS)
    assert streams.trim(STREAM, keep_after_ms=FAR_FUTURE) == 0


def test_nothing_is_trimmed_while_a_group_is_missing(
    client: fakeredis.FakeRedis, streams: Streams
) -> None:
    append(client, make_batch(1), make_batch(2))
    read_and_acknowledge(streams, GREEKS)
    read_and_acknowledge(streams, STORE)
    client.xgroup_destroy(STREAM, STORE)
    assert streams.trim(STREAM, keep_after_ms=FAR_FUTURE) == 0


def test_an_unknown_group_holds_trimming_up_too(
    client: fakeredis.FakeRedis, streams: Streams
) -> None:
    append(client, make_batch(1), make_batch(2))
    read_and_acknowledge(streams, GREEKS)
    read_and_acknowledge(streams, STORE)
    streams.ensure_group(STREAM, "somebody")
    assert streams.trim(STREAM, keep_after_ms=FAR_FUTURE) == 0


def test_what_is_young_stays_readable(client: fakeredis.FakeRedis, streams: Streams) -> None:
    ids = append(client, make_batch(1), make_batch(2))
    read_and_acknowledge(streams, GREEKS)
    read_and_acknowledge(streams, STORE)
    streams.trim(STREAM, keep_after_ms=id_order(ids[0])[0] - 1)
    assert client.xlen(STREAM) == 2


# --- retiring --------------------------------------------------------------------------------


@pytest.fixture
def finished(client: fakeredis.FakeRedis, streams: Streams) -> Cache:
    """A quotes stream that everyone has read, with its state, and the next session begun."""
    append(client, make_batch())
    for group in (GREEKS, STORE):
        read_and_acknowledge(streams, group)
    client.set(keys.chain("SPY", SHARD), "state")
    client.hset(keys.watermark("SPY"), mapping={SHARD: "1-1", OTHER: "2-2"})
    cache = Cache(client)
    cache.start_session(make_session(key="SPY:2026-08-20:simulator:1"), keep_shards=False)
    return cache


def test_the_stream_of_an_earlier_session_goes_with_all_that_belongs_to_it(
    client: fakeredis.FakeRedis, streams: Streams, finished: Cache
) -> None:
    assert streams.retire(STREAM)
    assert streams.registered() == []
    assert not client.exists(STREAM, keys.chain("SPY", SHARD))
    assert finished.watermark("SPY") == {OTHER: "2-2"}


def test_a_stream_of_the_present_session_stays(
    client: fakeredis.FakeRedis, streams: Streams, finished: Cache
) -> None:
    client.sadd(keys.shards("SPY"), SHARD)
    assert not streams.retire(STREAM)
    assert client.exists(STREAM)


def test_a_stream_with_unread_entries_stays(
    client: fakeredis.FakeRedis, streams: Streams, finished: Cache
) -> None:
    client.xadd(STREAM, {"n": 1})
    read_and_acknowledge(streams, GREEKS)
    assert not streams.retire(STREAM)  # store lags
    read_and_acknowledge(streams, STORE)
    assert streams.retire(STREAM)


def test_a_stream_with_pending_entries_stays(
    client: fakeredis.FakeRedis, streams: Streams, finished: Cache
) -> None:
    client.xadd(STREAM, {"n": 1})
    read_and_acknowledge(streams, GREEKS)
    ids = read(streams, STORE)
    assert not streams.retire(STREAM)
    streams.acknowledge(STORE, STREAM, ids, {})
    assert streams.retire(STREAM)


def test_a_stream_that_lacks_a_group_stays(
    client: fakeredis.FakeRedis, streams: Streams, finished: Cache
) -> None:
    client.xadd(STREAM, {"n": 1})
    for group in (GREEKS, STORE):
        client.xgroup_destroy(STREAM, group)
    assert not streams.retire(STREAM)


def test_a_registered_stream_that_is_not_there_is_forgotten(
    client: fakeredis.FakeRedis, streams: Streams
) -> None:
    client.sadd(keys.STREAMS, OTHER_STREAM)
    assert streams.retire(OTHER_STREAM)
    assert streams.registered() == []


def test_a_shard_that_comes_back_meanwhile_stays(
    client: fakeredis.FakeRedis,
    streams: Streams,
    finished: Cache,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look = streams.groups

    def look_while_the_producer_appends(stream: str) -> object:
        client.sadd(keys.shards("SPY"), SHARD)
        return look(stream)

    monkeypatch.setattr(streams, "groups", look_while_the_producer_appends)
    assert not streams.retire(STREAM)
    assert client.exists(STREAM, keys.chain("SPY", SHARD)) == 2


def test_ids_are_ordered_as_numbers() -> None:
    assert id_order("9-1") < id_order("10-0") < id_order("10-2") < id_order("10-10")
    assert id_order("10") == (10, 0)


def test_a_trimmed_entry_is_delivered_without_fields(
    client: fakeredis.FakeRedis, streams: Streams
) -> None:
    (gone,) = append(client, make_batch())
    read(streams, STORE)
    client.xdel(STREAM, gone)
    assert streams.own_pending(STORE, "c", STREAM, count=10) == [Entry(gone, {})]


# --- several streams at once -----------------------------------------------------------------


def test_each_stream_is_acknowledged_whole_or_not_at_all(
    client: fakeredis.FakeRedis, streams: Streams
) -> None:
    mine = fill(client, streams, 6)
    streams.register(OTHER_STREAM)
    theirs = [client.xadd(OTHER_STREAM, {"n": 1}).decode()]
    assert read(streams, STORE) == mine
    streams.read(STORE, "c", [OTHER_STREAM], count=9, block_ms=1)
    client.xack(STREAM, STORE, mine[3])
    done = [(STREAM, mine, {"seen": 6}), (OTHER_STREAM, theirs, {"seen": 1})]
    assert streams.acknowledge_all(STORE, done) == [False, True]
    assert pending(client, STORE) == [entry_id for entry_id in mine if entry_id != mine[3]]
    assert Cache(client).counters("SPY")["seen"] == 1


def test_entries_between_those_of_others_are_acknowledged(
    client: fakeredis.FakeRedis, streams: Streams
) -> None:
    ids = fill(client, streams, 9)
    for n in range(9):
        read(streams, STORE, 1, consumer="me" if n % 3 == 0 else "other")
    assert streams.acknowledge(STORE, STREAM, ids[::3], {"seen": 3})
    assert pending(client, STORE) == [entry_id for n, entry_id in enumerate(ids) if n % 3]
    assert streams.acknowledge(STORE, STREAM, [], {})


def test_what_its_reader_has_not_found_yet_is_not_dealt_with(
    client: fakeredis.FakeRedis, streams: Streams
) -> None:
    """The levels of a replay of seconds are there before the store worker looks."""
    levels = keys.level_stream("SPY")
    client.xadd(levels, {"n": 1})
    assert not streams.is_dealt_with(levels)
    streams.ensure_group(levels, STORE)
    assert not streams.is_dealt_with(levels)
    ((_, entries),) = streams.read(STORE, "store-0", [levels], count=9, block_ms=1)
    streams.acknowledge(STORE, levels, [entry.id for entry in entries], {})
    assert streams.is_dealt_with(levels)
