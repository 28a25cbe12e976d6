"""Appending: once however often it is tried, by the newest producer only, every row counted."""

from __future__ import annotations

import fakeredis
import pytest
from fakes import (
    OTHER,
    SHARD,
    STREAM,
    LossyRedis,
    append,
    everything,
    make_batch,
    make_quotes,
    make_spots,
)

from common.bus import keys
from common.bus.cache import Cache
from common.bus.codec import Batch
from common.bus.streams import Producer
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
