"""The tick: which level is published when, under which label, and when none is."""

from __future__ import annotations

from typing import Any

import fakeredis
import orjson
import pytest
from fakes import (
    CLOSE,
    NOON,
    OTHER,
    PARAMETERS,
    SESSION,
    SHARD,
    TODAY,
    TOMORROW,
    everything,
    make_batch,
    make_quotes,
    make_session,
    make_spots,
)

from common.bus import keys
from common.bus.cache import Cache, Tick
from common.bus.codec import StateBlob
from common.clock import SECOND, iso_ms, parse_instant
from common.models import MarketClock
from common.state import advance
from common.tick import TickPolicy, flat_levels, publish_tick

POLICY = TickPolicy(PARAMETERS, SECOND, "gex-platform test")
FIELDS = (
    "state spot net_gex net_gex_0dte zero_gamma call_wall put_wall max_pain expected_move regime "
    "dex vex cex net_volume_gex atm_iv as_of published_at newest_quote_at oldest_quote_at "
    "coverage_oi coverage_gamma conflated oi_date sign symbol feed session schema vix vix_at"
).split()


class House:
    """A Redis with a session and the state that the Greeks worker keeps."""

    def __init__(self, client: fakeredis.FakeRedis, **session: Any) -> None:
        self.client, self.cache = client, Cache(client)
        self.session(**session)

    def session(self, **changes: Any) -> None:
        """Make a session the present one."""
        self.cache.save_session(make_session(**changes))

    def state(
        self,
        shard: str = SHARD,
        *,
        epoch: int = 1,
        session: str = SESSION,
        vix: tuple[float, int] = (0.0, 0),
        **quotes: Any,
    ) -> None:
        """Store a state of one batch."""
        rows = make_quotes(**quotes)
        spots = make_spots(640.0, time=int(rows["time"].max()))
        batch = make_batch(
            quotes=rows, spots=spots, epoch=epoch, session=session, vix=vix[0], vix_time=vix[1]
        )
        blob = advance(StateBlob(), shard, [("7-0", batch)], PARAMETERS).state
        self.client.set(keys.chain("SPY", shard), blob.encode())
        self.client.hset(keys.watermark("SPY"), shard, "7-0")
        self.client.sadd(keys.shards("SPY"), shard)

    def tick(self, wall: int = NOON, *, at: int | None = None) -> str:
        """Ask for a level."""
        return publish_tick(self.cache, "SPY", POLICY, wall_us=lambda: wall, at=at)

    @property
    def levels(self) -> dict[str, str]:
        """The published hash."""
        return self.cache.levels("SPY")


@pytest.fixture
def house(client: fakeredis.FakeRedis) -> House:
    """A live session at noon, with quotes."""
    house = House(client)
    house.state()
    return house


# --- the plain way ---------------------------------------------------------------------------


def test_a_level_is_computed_from_the_state_and_published(house: House) -> None:
    assert house.tick(NOON) == "published"
    latest = house.cache.latest("SPY")
    assert latest is not None
    assert latest["spot"] == 640.0
    assert latest["levels"]["net_gex"] is not None
    assert latest["quality"]["with_iv"] > 10
    assert latest["as_of"] == iso_ms(NOON)
    assert latest["watermark"] == {SHARD: "7-0"}
    assert (latest["feed"], latest["session"], latest["schema"]) == ("simulator", SESSION, 1)
    assert latest["software"] == "gex-platform test"
    assert latest["invariants"] == []


def test_the_profile_bears_the_same_labels(house: House) -> None:
    house.tick()
    profile = house.cache.profile("SPY")
    assert profile is not None
    assert (profile["state"], profile["session"], profile["as_of"]) == (
        "live",
        SESSION,
        iso_ms(NOON),
    )
    assert len(profile["curve"]["spots"]) >= PARAMETERS.grid_points


def test_a_level_is_a_function_of_state_and_instant(house: House) -> None:
    """Asked at different wall times, by different processes, it is the same to the byte."""
    other = House(fakeredis.FakeRedis())
    other.state()
    documents = []
    for asked, wall in ((house, NOON), (other, NOON + 3600 * SECOND)):
        asked.tick(wall, at=NOON)
        latest = asked.cache.latest("SPY")
        assert latest is not None
        del latest["published_at"]
        documents.append(orjson.dumps(latest))
    assert documents[0] == documents[1]


# --- the grid --------------------------------------------------------------------------------


def test_levels_stand_on_the_grid_and_come_once(house: House) -> None:
    assert house.tick(NOON + 999_999) == "published"
    assert house.levels["as_of"] == iso_ms(NOON)
    assert house.tick(NOON + 500_000) == "nothing new"
    assert house.tick(NOON + SECOND) == "published"
    assert house.levels["as_of"] == iso_ms(NOON + SECOND)


def test_market_time_is_wall_time_and_the_offset_of_the_session(house: House) -> None:
    house.session(clock=MarketClock(0, -7 * 3600 * SECOND))
    house.tick(NOON + 7 * 3600 * SECOND + 123)
    assert house.levels["as_of"] == iso_ms(NOON)


def test_a_faster_market_moves_on_by_more_than_a_period(house: House) -> None:
    house.session(clock=MarketClock(NOON, NOON, 60.0))
    for seconds in (0, 1, 2):
        house.tick(NOON + seconds * SECOND + 4)
        assert house.levels["as_of"] == iso_ms(NOON + 60 * seconds * SECOND)
    house.tick(CLOSE)
    assert house.levels["as_of"] == iso_ms(CLOSE - 60 * SECOND)


@pytest.mark.parametrize("rate", [1.0, 3.7])
def test_the_instant_of_a_level_is_the_one_that_is_shown(house: House, rate: float) -> None:
    """A simulator's market begins at any microsecond; who types as_of must get that level."""
    house.session(clock=MarketClock(NOON - 123_457, NOON, rate))
    for seconds in (1, 2, 3):
        assert house.tick(NOON + seconds * SECOND) == "published"
        tick = house.cache.tick("SPY")
        assert tick is not None
        assert parse_instant(house.levels["as_of"]) == tick.at
        assert tick.at >= NOON + rate * seconds * SECOND - 1000 * rate


@pytest.mark.parametrize("late", [-1, 0, 1, 3600])
def test_the_last_instant_is_a_period_before_the_close(house: House, late: int) -> None:
    """At the close the front expiration has settled and would leave the level empty."""
    house.tick(CLOSE + late * SECOND)
    assert house.levels["as_of"] == iso_ms(CLOSE - SECOND)
    assert float(house.levels["net_gex_0dte"]) == float(house.levels["net_gex"])


def test_a_tick_that_was_overtaken_publishes_nothing(house: House) -> None:
    house.tick(NOON + 5 * SECOND)
    before = everything(house.client)
    assert house.tick(NOON) == "nothing new"
    assert everything(house.client) == before


# --- labels ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "label"), [(0, "live"), (15, "live"), (16, "stale"), (3600, "stale")]
)
def test_silence_of_the_source_makes_levels_stale(house: House, age: int, label: str) -> None:
    house.tick(NOON + age * SECOND)
    assert house.levels["state"] == label
    latest = house.cache.latest("SPY")
    assert latest is not None
    assert latest["data_age_seconds"] == age
    assert latest["newest_quote_at"] == iso_ms(NOON)


def test_the_last_level_of_a_session_is_closed_and_stays(house: House) -> None:
    house.tick(CLOSE)
    assert house.client.pttl(keys.latest("SPY")) > 0
    house.session(ended=True)
    assert house.tick(CLOSE + SECOND) == "published"
    last = CLOSE - SECOND
    assert (house.levels["state"], house.levels["as_of"]) == ("closed", iso_ms(last))
    assert house.cache.tick("SPY") == Tick(1, last, final=True)
    names = (keys.latest("SPY"), keys.levels("SPY"), keys.profile("SPY"))
    assert {house.client.pttl(name) for name in names} == {-1}


def test_quotes_of_the_close_itself_do_not_empty_the_closing_level(house: House) -> None:
    """They have no time left to be priced with; the closing level is the last before them."""
    house.tick(CLOSE - SECOND)
    before = house.cache.latest("SPY")
    house.state(time=CLOSE + 1, seq=10_000)
    house.session(ended=True)
    assert house.tick(CLOSE + SECOND) == "published"
    after = house.cache.latest("SPY")
    assert before is not None
    assert after is not None
    assert {name for name in after if after[name] != before[name]} == {"state", "published_at"}
    profile = house.cache.profile("SPY")
    assert profile is not None
    assert (profile["state"], house.levels["state"]) == ("closed", "closed")


def test_the_last_level_is_published_once(house: House) -> None:
    house.session(ended=True)
    assert house.tick(CLOSE) == "published"
    assert house.tick(CLOSE + SECOND) == "nothing new"
    assert house.tick(CLOSE + 9000 * SECOND) == "nothing new"


def test_a_live_level_expires_after_three_ticks(house: House) -> None:
    house.tick()
    names = (keys.latest("SPY"), keys.levels("SPY"), keys.profile("SPY"))
    assert all(0 < house.client.pttl(name) <= 3000 for name in names)


# --- replays ---------------------------------------------------------------------------------


@pytest.fixture
def replay(house: House) -> House:
    """The same state in a replay."""
    house.session(feed="recording", replay=True, resume=False)
    return house


def test_beat_leaves_a_replay_alone(replay: House) -> None:
    assert replay.tick() == "replay"
    assert replay.levels == {}


def test_a_replay_asks_for_its_instants_and_nothing_expires(replay: House) -> None:
    assert replay.tick(at=NOON + 60 * SECOND) == "published"
    assert (replay.levels["as_of"], replay.levels["state"]) == (
        iso_ms(NOON + 60 * SECOND),
        "stale",
    )
    assert replay.client.pttl(keys.levels("SPY")) == -1


def test_the_last_instant_of_a_replay_is_published_again_as_ended(replay: House) -> None:
    replay.tick(at=NOON)
    assert replay.levels["state"] == "live"
    replay.session(feed="recording", replay=True, resume=False, ended=True)
    assert replay.tick(at=NOON) == "published"
    assert replay.levels["state"] == "ended"
    assert replay.tick(at=NOON) == "nothing new"
    assert replay.client.xlen(keys.level_stream("SPY")) == 1


def test_an_instant_without_a_price_is_answered_though_nothing_is_published(
    client: fakeredis.FakeRedis,
) -> None:
    """Or the replayer would wait for it for ever."""
    house = House(client)
    house.session(feed="recording", replay=True, resume=False)
    for key in client.keys("chain:*"):
        client.delete(key)
    assert house.tick(at=NOON) == "no data"
    assert house.cache.tick("SPY") == Tick(house.cache.session("SPY").epoch, NOON, final=False)
    assert house.levels == {}


@pytest.mark.parametrize(
    ("first_pass", "answer"),
    [(None, "starting"), ({SHARD: "7-1"}, "starting"), ({SHARD: "7-0"}, "published"),
     ({SHARD: "6-5"}, "published"), ({SHARD: "7-0", OTHER: "1-0"}, "starting")],
)  # fmt: skip
def test_part_of_a_chain_makes_no_level(
    house: House, first_pass: dict[str, str] | None, answer: str
) -> None:
    house.session(first_pass=first_pass)
    assert house.tick() == answer
    assert bool(house.levels) == (answer == "published")


# --- nothing to say --------------------------------------------------------------------------


def test_without_a_session_nothing_is_published(client: fakeredis.FakeRedis) -> None:
    assert publish_tick(Cache(client), "SPY", POLICY, wall_us=lambda: NOON) == "no session"
    assert everything(client) == {}


def test_without_data_nothing_is_published(client: fakeredis.FakeRedis) -> None:
    house = House(client)
    assert house.tick() == "no data"
    assert house.levels == {}


def test_without_a_price_of_the_underlying_nothing_is_published(
    client: fakeredis.FakeRedis,
) -> None:
    house = House(client)
    batch = make_batch(quotes=make_quotes())
    blob = advance(StateBlob(), SHARD, [("7-0", batch)], PARAMETERS).state
    client.set(keys.chain("SPY", SHARD), blob.encode())
    client.sadd(keys.shards("SPY"), SHARD)
    assert house.tick() == "no data"


def test_the_state_of_another_session_is_not_used(house: House) -> None:
    house.session(key="SPY:2026-08-20:simulator:1")
    assert house.tick() == "no data"


def test_a_shard_of_an_earlier_session_is_left_out(house: House) -> None:
    house.state(OTHER, session="SPY:2026-08-18:simulator:1")
    house.tick()
    latest = house.cache.latest("SPY")
    assert latest is not None
    assert [row["expiration"] for row in latest["expirations"]] == [TODAY.expiration.isoformat()]
    assert latest["watermark"] == {SHARD: "7-0"}


def test_a_run_from_the_beginning_uses_nothing_of_the_run_before(house: House) -> None:
    house.session(epoch=2, resume=False)
    assert house.tick() == "no data"
    house.state(epoch=2)
    assert house.tick() == "published"


def test_a_run_that_goes_on_uses_what_is_there(house: House) -> None:
    house.session(epoch=2, resume=True)
    assert house.tick() == "published"


def test_a_shard_that_the_session_does_not_have_is_left_out(house: House) -> None:
    house.state(OTHER)
    house.client.srem(keys.shards("SPY"), OTHER)
    house.tick()
    latest = house.cache.latest("SPY")
    assert latest is not None
    assert len(latest["expirations"]) == 1


# --- the hash --------------------------------------------------------------------------------


def test_every_field_is_there_every_time(house: House) -> None:
    house.tick()
    assert set(house.levels) == set(FIELDS)
    assert house.levels["spot"] == "640.0"
    assert (house.levels["symbol"], house.levels["feed"], house.levels["sign"]) == (
        "SPY",
        "simulator",
        "index",
    )
    assert float(house.levels["net_gex"]) == float(house.levels["net_gex_0dte"])


def test_what_is_not_known_is_an_empty_text(client: fakeredis.FakeRedis) -> None:
    house = House(client)
    house.state(bid=float("nan"), ask=float("nan"))
    assert house.tick() == "published"
    assert set(house.levels) == set(FIELDS)
    unknown = {name for name, value in house.levels.items() if value == ""}
    assert {"zero_gamma", "call_wall", "put_wall", "atm_iv", "oldest_quote_at"} <= unknown
    assert not {"state", "spot", "as_of", "session", "newest_quote_at"} & unknown
    assert "nan" not in "".join(house.levels.values()).lower()


def test_the_vix_is_told_with_its_time_and_moves_no_level(client: fakeredis.FakeRedis) -> None:
    house = House(client)
    house.state(vix=(17.31, NOON - 2 * SECOND))
    house.state(OTHER, vix=(17.42, NOON - SECOND))
    house.tick()
    latest = house.cache.latest("SPY")
    assert latest is not None
    assert latest["vix"] == 17.42
    assert parse_instant(latest["vix_at"]) == NOON - SECOND
    assert (house.levels["vix"], house.levels["vix_at"]) == ("17.42", latest["vix_at"])
    client.flushall()
    house.session()
    house.state()
    house.state(OTHER)
    house.tick()
    unknown = house.cache.latest("SPY")
    assert unknown is not None
    assert (unknown["vix"], unknown["vix_at"]) == (None, None)
    assert house.levels["vix"] == house.levels["vix_at"] == ""
    assert unknown["levels"] == latest["levels"]


def test_max_pain_is_that_of_the_front_expiration(house: House) -> None:
    house.state(OTHER, strikes=[600.0, 601.0, 602.0])
    house.tick()
    latest = house.cache.latest("SPY")
    assert latest is not None
    pains = latest["levels"]["max_pain"]
    assert list(pains) == [TODAY.expiration.isoformat(), TOMORROW.expiration.isoformat()]
    assert float(house.levels["max_pain"]) == pains[TODAY.expiration.isoformat()]


def test_max_pain_of_a_morning_settlement_is_not_the_afternoons(house: House) -> None:
    """On a day with both, the morning's is the front one."""
    house.tick()
    latest = house.cache.latest("SPY")
    assert latest is not None
    latest["levels"]["max_pain"] = {"2026-08-21-AM": 630.0, "2026-08-21": 650.0}
    latest["expirations"] = [{"expiration": "2026-08-21", "settlement": "AM"}]
    assert flat_levels(latest)["max_pain"] == "630.0"
    latest["levels"]["max_pain"], latest["expirations"] = {}, []
    assert flat_levels(latest)["max_pain"] == ""
