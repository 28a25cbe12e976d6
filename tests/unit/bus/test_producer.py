"""Appending: once however often it is tried, by the newest producer only, every row counted."""

from __future__ import annotations

import fakeredis
import pytest
from fakes import (
    NOON,
    OTHER,
    SHARD,
    STREAM,
    Clock,
    LossyRedis,
    append,
    everything,
    make_batch,
    make_quotes,
    make_spots,
    set_back,
)

from common.bus import keys
from common.bus.cache import Cache
from common.bus.codec import Batch
from common.bus.producer import Gap, Keep, Producer
from common.errors import BusError, FencedError


def test_an_appended_batch_can_be_read_and_its_shard_is_known(client: fakeredis.FakeRedis) -> None:
    batch = make_batch(quotes=make_quotes(), spots=make_spots(640.0))
    (entry_id,) = append(client, batch)
    ((found, fields),) = client.xrange(STREAM)
    assert found.decode() == entry_id
    assert Batch.decode(fields).header == batch.header
    assert Cache(client).shards("SPY") == [SHARD]
    assert client.smembers(keys.STREAMS) == {STREAM.encode()}


def test_the_same_batch_again_changes_nothing_and_has_the_same_id(
    client: fakeredis.FakeRedis,
) -> None:
    batch = make_batch(quotes=make_quotes())
    first = append(client, batch)
    before = everything(client)
    assert append(client, batch) == first
    assert everything(client) == before


def test_a_batch_older_than_the_last_has_an_id_no_older_than_its_own(
    client: fakeredis.FakeRedis,
) -> None:
    one, two = append(client, make_batch(1), make_batch(2))
    assert append(client, make_batch(1)) == [two]
    assert one < two
    assert client.xlen(STREAM) == 2


def test_a_lost_answer_is_no_second_entry(server: fakeredis.FakeServer) -> None:
    client = LossyRedis(server=server)
    producer = Producer(client, "SPY", 1)
    producer.append(SHARD, make_batch(1))
    client.lose_answers("EVALSHA")
    with pytest.raises(BusError, match="out of reach"):
        producer.append(SHARD, make_batch(2, quotes=make_quotes()))
    producer.append(SHARD, make_batch(2, quotes=make_quotes()))
    assert client.xlen(STREAM) == 2
    assert Cache(client).counters("SPY")["quotes_appended"] == 22


def test_counters_are_exact(client: fakeredis.FakeRedis) -> None:
    append(client, make_batch(1, quotes=make_quotes(), spots=make_spots(640.0, 641.0)))
    append(client, make_batch(2, quotes=make_quotes([640.0])))
    append(client, make_batch(1, spots=make_spots(642.0)), shard=OTHER)
    assert Cache(client).counters("SPY") == {
        "batches_appended": 3,
        "quotes_appended": 24,
        "spots_appended": 3,
    }


def test_batches_of_each_shard_are_numbered_on_their_own(client: fakeredis.FakeRedis) -> None:
    append(client, make_batch(1))
    append(client, make_batch(1), shard=OTHER)
    assert client.xlen(STREAM) == client.xlen(keys.quotes("SPY", OTHER)) == 1


def test_batches_of_several_shards_go_in_one_step(client: fakeredis.FakeRedis) -> None:
    producer = Producer(client, "SPY", 1)
    some = [(SHARD, quoted(1)), (OTHER, quoted(1)), (SHARD, quoted(2))]
    producer.append_all(some)
    producer.append_all([*some[1:], (OTHER, quoted(2))])
    assert held(client) == held(client, keys.quotes("SPY", OTHER)) == [1, 2]
    assert Cache(client).counters("SPY") == {
        "batches_appended": 4,
        "quotes_appended": 8,
        "spots_appended": 0,
    }
    for shard in (SHARD, OTHER):
        newest = client.xrevrange(keys.quotes("SPY", shard), count=1)[0][0]
        assert producer.last_ids[shard] == newest.decode()


def test_a_loss_in_the_middle_of_a_step_is_mended_and_the_step_goes_on(
    client: fakeredis.FakeRedis,
) -> None:
    producer = Producer(client, "SPY", 1)
    producer.append_all([(SHARD, quoted(1)), (OTHER, quoted(1))])
    then = everything(client)
    producer.append_all([(OTHER, quoted(2))])
    set_back(client, then)
    producer.append_all([(SHARD, quoted(2)), (OTHER, quoted(3)), (SHARD, quoted(3))])
    assert held(client) == held(client, keys.quotes("SPY", OTHER)) == [1, 2, 3]
    repair = producer.take_repair()
    assert repair is not None
    assert (repair.batches, repair.gaps) == (1, [])
    assert Cache(client).counters("SPY")["batches_appended"] == 6


def test_what_is_appended_at_once_is_what_would_have_been(client: fakeredis.FakeRedis) -> None:
    producer = Producer(client, "SPY", 1, quick=client)
    assert not producer.append_now([(SHARD, quoted(1))])  # nobody knows the shard
    producer.append_all([(SHARD, quoted(1)), (OTHER, quoted(1))])
    assert producer.append_now([(SHARD, quoted(2)), (OTHER, quoted(2)), (SHARD, quoted(3))])
    assert held(client) == [1, 2, 3]
    assert Cache(client).counters("SPY")["batches_appended"] == 5
    newest = client.xrevrange(STREAM, count=1)[0][0].decode()
    assert producer.last_ids[SHARD] == newest
    then = everything(client)
    producer.append_all([(SHARD, quoted(4))])
    set_back(client, then)
    client.delete(STREAM, keys.appended("SPY"))  # and further back than that
    producer.append_all([(SHARD, quoted(5))])
    assert held(client) == [1, 2, 3, 4, 5]  # it was remembered


def test_what_cannot_be_appended_at_once_is_left(server: fakeredis.FakeServer) -> None:
    client, quick = fakeredis.FakeRedis(server=server), fakeredis.FakeRedis(server=server)
    assert not Producer(client, "SPY", 1).append_now([])  # without a client for it
    producer = Producer(client, "SPY", 1, quick=quick)
    producer.append_all([(SHARD, quoted(1)), (OTHER, quoted(1))])
    then = everything(client)
    producer.append_all([(SHARD, quoted(2))])
    set_back(client, then)
    some = [(OTHER, quoted(2)), (SHARD, quoted(3))]
    assert not producer.append_now(some)  # one is there, before the other something is missing
    server.connected = False
    assert not producer.append_now(some)
    server.connected = True
    producer.append_all(some)
    assert held(client) == [1, 2, 3]
    assert held(client, keys.quotes("SPY", OTHER)) == [1, 2]
    newer = Producer(client, "SPY", 2)
    newer.append(SHARD, make_batch(1, epoch=2))
    assert not producer.append_now([(SHARD, quoted(4))])
    with pytest.raises(FencedError):
        producer.append_all([(SHARD, quoted(4))])


def test_a_new_run_starts_counting_anew(client: fakeredis.FakeRedis) -> None:
    append(client, make_batch(1), make_batch(2), make_batch(1, epoch=2))
    assert client.xlen(STREAM) == 3


def test_a_replaced_producer_is_refused(client: fakeredis.FakeRedis) -> None:
    append(client, make_batch(7), make_batch(1, epoch=2))
    before = everything(client)
    with pytest.raises(FencedError, match="newer producer"):
        append(client, make_batch(8))
    assert everything(client) == before


def test_a_replaced_producer_is_refused_before_its_successor_has_appended(
    client: fakeredis.FakeRedis,
) -> None:
    """The successor takes a number before its first batch, and that is enough."""
    cache = Cache(client)
    old = Producer(client, "SPY", cache.next_epoch("SPY"))
    old.append(SHARD, make_batch(1, epoch=old.epoch))
    cache.next_epoch("SPY")
    with pytest.raises(FencedError, match="newer producer"):
        old.append(SHARD, make_batch(2, epoch=old.epoch))


def test_epochs_only_ever_grow(client: fakeredis.FakeRedis) -> None:
    cache = Cache(client)
    first, second = cache.next_epoch("SPY"), cache.next_epoch("SPY")
    assert second > first > 0
    client.delete(keys.epoch("SPY"))  # the data of Redis is lost, that of the database is not
    assert cache.next_epoch("SPY") >= first


# --- a Redis that was set back ---------------------------------------------------------------


def held(client: fakeredis.FakeRedis, stream: str = STREAM) -> list[int]:
    """Numbers of the batches that a stream holds, in its order."""
    return [Batch.decode(fields).header.batch for _, fields in client.xrange(stream)]


def quoted(number: int) -> Batch:
    return make_batch(number, quotes=make_quotes([640.0], seq=10 * number))


def test_the_append_behind_a_loss_brings_back_what_is_missing(
    client: fakeredis.FakeRedis,
) -> None:
    producer = Producer(client, "SPY", 1)
    producer.append(SHARD, quoted(1))
    then = everything(client)
    for number in (2, 3):
        producer.append(SHARD, quoted(number))
    set_back(client, then)
    last = producer.append(SHARD, quoted(4))
    assert held(client) == [1, 2, 3, 4]
    assert producer.last_ids == {SHARD: last}
    counters = Cache(client).counters("SPY")
    assert (counters["batches_appended"], counters["quotes_appended"]) == (4, 8)
    repair = producer.take_repair()
    assert repair is not None
    assert (repair.batches, repair.quotes, repair.gaps) == (2, 4, [])
    assert producer.take_repair() is None


def test_a_loss_is_noticed_though_nothing_follows(client: fakeredis.FakeRedis) -> None:
    producer = Producer(client, "SPY", 1)
    for shard in (SHARD, OTHER):
        producer.append(shard, quoted(1))
    assert producer.verify()
    then = everything(client)
    producer.append(OTHER, quoted(2))
    set_back(client, then)
    assert not producer.verify()
    assert held(client, keys.quotes("SPY", OTHER)) == [1, 2]
    assert held(client) == [1]
    assert producer.verify()


def test_a_redis_that_lost_everything_is_furnished_again(client: fakeredis.FakeRedis) -> None:
    producer = Producer(client, "SPY", 1)
    for shard in (SHARD, OTHER):
        producer.append(shard, quoted(1))
        producer.append(shard, quoted(2))
    client.flushall()
    producer.append(SHARD, quoted(3))
    assert held(client) == [1, 2, 3]
    assert held(client, keys.quotes("SPY", OTHER)) == [1, 2]
    assert Cache(client).shards("SPY") == [SHARD, OTHER]
    groups = {row["name"].decode() for row in client.xinfo_groups(STREAM)}
    assert groups == {keys.GREEKS_GROUP, keys.STORE_GROUP}
    assert len(client.smembers(keys.STREAMS)) == 2


def test_what_nobody_remembers_is_a_gap(client: fakeredis.FakeRedis) -> None:
    clock = Clock()
    producer = Producer(client, "SPY", 1, Keep(seconds=10.0), monotonic=clock)
    first = producer.append(SHARD, quoted(1))
    then = everything(client)
    producer.append(SHARD, quoted(2))
    producer.append(SHARD, quoted(3))
    clock.at = 10.5
    producer.verify()
    producer.append(SHARD, quoted(4))
    set_back(client, then)
    producer.append(SHARD, quoted(5))
    assert held(client) == [1, 4, 5]
    repair = producer.take_repair()
    assert repair is not None
    assert repair.batches == 1
    since = int(first.partition("-")[0]) * 1000
    assert repair.gaps == [Gap(SHARD, 2, min(since, NOON), NOON)]


def test_what_is_forgotten_altogether_is_a_gap_once(client: fakeredis.FakeRedis) -> None:
    clock = Clock()
    producer = Producer(client, "SPY", 1, monotonic=clock)
    producer.append(SHARD, quoted(1))
    clock.at = 10.5
    assert producer.verify()
    client.flushall()
    assert not producer.verify()
    assert producer.verify()
    producer.append(SHARD, quoted(2))
    assert held(client) == [2]
    repair = producer.take_repair()
    assert repair is not None
    assert [(gap.shard, gap.batches) for gap in repair.gaps] == [(SHARD, 1)]


def test_an_outage_lets_nothing_be_forgotten(server: fakeredis.FakeServer) -> None:
    """Only a Redis that answers says that it has a batch."""
    clock, client = Clock(), fakeredis.FakeRedis(server=server)
    producer = Producer(client, "SPY", 1, monotonic=clock)
    producer.append(SHARD, quoted(1))
    server.connected = False
    clock.at = 3600.0
    with pytest.raises(BusError):
        producer.verify()
    server.connected = True
    client.flushall()
    assert not producer.verify()
    assert held(client) == [1]


def test_memory_has_a_bound(client: fakeredis.FakeRedis) -> None:
    size = quoted(1).quotes.nbytes
    producer = Producer(client, "SPY", 1, Keep(size=2 * size))
    producer.append(OTHER, quoted(1))
    for number in (1, 2, 3):
        producer.append(SHARD, quoted(number))
    client.flushall()
    producer.verify()
    assert held(client) == [2, 3]
    repair = producer.take_repair()
    assert repair is not None
    assert sorted((gap.shard, gap.batches) for gap in repair.gaps) == [(SHARD, 1), (OTHER, 1)]


def test_a_loss_while_one_is_made_good_is_made_good_too(server: fakeredis.FakeServer) -> None:
    client = LossyRedis(server=server)
    producer = Producer(client, "SPY", 1)
    for number in (1, 2, 3):
        producer.append(SHARD, quoted(number))
    client.flushall()
    client.lose_answers("EVALSHA", 2)
    with pytest.raises(BusError):
        producer.append(SHARD, quoted(4))
    client.flushall()
    with pytest.raises(BusError):
        producer.append(SHARD, quoted(4))
    producer.append(SHARD, quoted(4))
    assert held(client) == [1, 2, 3, 4]


def test_a_replaced_producer_brings_nothing_back(client: fakeredis.FakeRedis) -> None:
    cache = Cache(client)
    producer = Producer(client, "SPY", cache.next_epoch("SPY"))
    then = everything(client)
    producer.append(SHARD, make_batch(1, epoch=producer.epoch))
    set_back(client, then)
    cache.next_epoch("SPY")
    with pytest.raises(FencedError, match="newer producer"):
        producer.verify()
    assert not client.exists(STREAM) or held(client) == []
