"""Sessions, states and levels: replaced as a whole, and never by something older."""

from __future__ import annotations

from typing import Any

import fakeredis
import orjson
import pytest
from fakes import NOON, OTHER, SESSION, SHARD, everything, make_session

from common.bus import keys
from common.bus.cache import Cache, Published, Tick
from common.bus.codec import StateBlob
from common.clock import SECOND
from common.errors import BusError, MalformedEntryError

LATEST, LEVELS, PROFILE = keys.latest("SPY"), keys.levels("SPY"), keys.profile("SPY")
STREAM = keys.level_stream("SPY")


@pytest.fixture
def cache(client: fakeredis.FakeRedis) -> Cache:
    """The cache of the Redis in memory."""
    return Cache(client)


def publish(
    cache: Cache,
    *,
    at: int = NOON,
    epoch: int = 1,
    final: bool = False,
    ttl_ms: int = 3000,
    spot: float = 640.0,
    breaches: tuple[str, ...] = (),
) -> bool:
    """Publish a level that is known by its spot."""
    return cache.publish_levels(
        session=make_session(epoch=epoch),
        at=at,
        final=final,
        ttl_ms=ttl_ms,
        latest={"spot": spot, "invariants": list(breaches)},
        levels={"spot": str(spot), "zero_gamma": ""},
        profile={"spot": spot},
    )


def shown(cache: Cache) -> Any:
    """The spot of the published level."""
    latest = cache.latest("SPY")
    return latest and latest["spot"]


# --- levels ----------------------------------------------------------------------------------


def test_a_level_is_written_whole(client: fakeredis.FakeRedis, cache: Cache) -> None:
    assert publish(cache)
    assert cache.latest("SPY") == {"spot": 640.0, "invariants": []}
    assert cache.profile("SPY") == {"spot": 640.0}
    assert cache.levels("SPY") == {"spot": "640.0", "zero_gamma": ""}
    assert cache.tick("SPY") == Tick(epoch=1, at=NOON, final=False)


def test_a_later_level_replaces_every_field(client: fakeredis.FakeRedis, cache: Cache) -> None:
    client.hset(LEVELS, "left_over", "1")
    publish(cache)
    assert "left_over" not in cache.levels("SPY")
    assert publish(cache, at=NOON + SECOND, spot=641.0)
    assert shown(cache) == 641.0


@pytest.mark.parametrize("at", [NOON, NOON - 1, NOON - 3600 * SECOND])
def test_a_level_as_new_or_newer_stays(client: fakeredis.FakeRedis, cache: Cache, at: int) -> None:
    publish(cache)
    before = everything(client)
    assert not publish(cache, at=at, spot=1.0)
    assert everything(client) == before


def test_an_earlier_run_publishes_no_more(client: fakeredis.FakeRedis, cache: Cache) -> None:
    publish(cache, epoch=2)
    before = everything(client)
    assert not publish(cache, epoch=1, at=NOON + SECOND, final=True, spot=1.0)
    assert everything(client) == before


def test_a_later_run_may_start_at_an_earlier_instant(cache: Cache) -> None:
    publish(cache)
    assert publish(cache, epoch=2, at=NOON - 3600 * SECOND, spot=600.0)
    assert shown(cache) == 600.0


def test_the_final_level_replaces_the_live_one_of_its_instant_once(cache: Cache) -> None:
    publish(cache)
    assert publish(cache, final=True, ttl_ms=0, spot=641.0)
    assert not publish(cache, final=True, ttl_ms=0, spot=642.0)
    assert not publish(cache, final=False, spot=643.0)
    assert shown(cache) == 641.0
    assert cache.tick("SPY") == Tick(epoch=1, at=NOON, final=True)


def test_a_live_level_expires_and_the_final_one_stays(
    client: fakeredis.FakeRedis, cache: Cache
) -> None:
    publish(cache, ttl_ms=3000)
    assert all(0 < client.pttl(key) <= 3000 for key in (LATEST, LEVELS, PROFILE))
    publish(cache, final=True, ttl_ms=0)
    assert all(client.pttl(key) == -1 for key in (LATEST, LEVELS, PROFILE))


def test_the_instant_never_expires(client: fakeredis.FakeRedis, cache: Cache) -> None:
    publish(cache, ttl_ms=3000)
    assert client.pttl(keys.tick("SPY")) == -1


def test_the_levels_stream_has_one_entry_an_instant(
    client: fakeredis.FakeRedis, cache: Cache
) -> None:
    publish(cache)
    publish(cache, final=True, ttl_ms=0)
    publish(cache, at=NOON + SECOND, spot=641.0, breaches=("a", "b"))
    entries = [fields for _, fields in client.xrange(STREAM)]
    assert [int(entry[b"at"]) for entry in entries] == [NOON, NOON + SECOND]
    assert {entry[b"session"].decode() for entry in entries} == {SESSION}
    assert orjson.loads(entries[1][b"json"]) == cache.latest("SPY")
    assert client.smembers(keys.STREAMS) == {STREAM.encode()}
    assert cache.counters("SPY") == {"levels_published": 2, "invariant_breaches": 2}


def test_subscribers_get_what_is_published_and_nothing_else(
    client: fakeredis.FakeRedis, cache: Cache
) -> None:
    with client.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(keys.channel("SPY"))
        assert listener.get_message() is None
        publish(cache)
        publish(cache, at=NOON - SECOND, spot=1.0)  # too old
        message = listener.get_message()
        assert orjson.loads(message["data"]) == cache.latest("SPY")
        assert listener.get_message() is None


def test_what_is_published_can_be_had_unread(client: fakeredis.FakeRedis, cache: Cache) -> None:
    assert cache.published("SPY") == Published(None, None, None)
    cache.save_session(make_session())
    publish(cache)
    found = cache.published("SPY")
    assert found == Published(
        client.get(keys.session("SPY")), client.get(LATEST), client.get(PROFILE)
    )
    assert found.latest is not None
    assert orjson.loads(found.latest) == cache.latest("SPY")


def test_before_the_first_level_there_is_none(cache: Cache) -> None:
    assert cache.tick("SPY") is None
    assert cache.latest("SPY") is None
    assert cache.levels("SPY") == {}


# --- sessions --------------------------------------------------------------------------------


def test_a_session_is_read_as_it_was_saved(cache: Cache) -> None:
    session = make_session(epoch=7, resume=False)
    cache.start_session(session, keep_shards=False)
    assert cache.session("SPY") == session
    assert cache.symbols() == ["SPY"]
    assert cache.session("QQQ") is None


def test_a_record_of_another_build_is_an_error_that_names_it(
    client: fakeredis.FakeRedis, cache: Cache
) -> None:
    client.set(keys.session("SPY"), b'{"key": "SPY"}')
    with pytest.raises(BusError, match="session:SPY is not readable"):
        cache.session("SPY")


@pytest.mark.parametrize("keep", [True, False])
def test_a_session_that_goes_on_keeps_its_shards(
    client: fakeredis.FakeRedis, cache: Cache, *, keep: bool
) -> None:
    client.sadd(keys.shards("SPY"), SHARD)
    cache.start_session(make_session(), keep_shards=keep)
    assert cache.shards("SPY") == ([SHARD] if keep else [])


# --- states ----------------------------------------------------------------------------------


def test_states_and_watermark_are_read_together(client: fakeredis.FakeRedis, cache: Cache) -> None:
    client.set(keys.chain("SPY", SHARD), StateBlob(session=SESSION, last_id="5-0").encode())
    client.hset(keys.watermark("SPY"), mapping={SHARD: "5-0", OTHER: "6-0"})
    view = cache.chain("SPY", [SHARD, OTHER])
    assert [blob.last_id for blob in view.states.values()] == ["5-0"]
    assert view.watermark == {SHARD: "5-0"}


def test_a_damaged_state_is_malformed(client: fakeredis.FakeRedis, cache: Cache) -> None:
    client.set(keys.chain("SPY", SHARD), b"\x00")
    with pytest.raises(MalformedEntryError):
        cache.state("SPY", SHARD)
    assert cache.state("SPY", OTHER) is None
