"""What stands still is named, once; what need not move, or cannot be seen, is not."""

from __future__ import annotations

import time

import fakeredis
import msgspec
import pytest
from fakes import Clock, FakeMemory, LossyRedis, make_session

from common.bus import keys
from common.bus.cache import Cache
from common.models import JsonDict
from workers.watchdog import LEVELS, Watchdog

PATIENCE = 20.0


class House:
    """A platform of which only the signs of life are there."""

    def __init__(self, client: fakeredis.FakeRedis) -> None:
        self.client, self.clock = client, Clock()
        self.memory = FakeMemory()
        self.dog = Watchdog(
            Cache(client), ["SPY"], ["greeks-0"], PATIENCE, self.memory, monotonic=self.clock
        )
        self.session(first_pass={})
        self.level(1)
        self.worker(1)

    def session(self, **changes: object) -> None:
        session = msgspec.structs.replace(make_session(), **changes)
        Cache(self.client).save_session(session)

    def level(self, at: int, epoch: int = 1) -> None:
        fields: JsonDict = {"epoch": epoch, "at": at, "final": 0}
        self.client.hset(keys.tick("SPY"), mapping=fields)

    def worker(self, at: int) -> None:
        self.client.hset(keys.actor("greeks", "greeks-0"), "at", at)

    def look(self, *, after: float) -> list[str]:
        self.clock.at += after
        return self.dog.look()


@pytest.fixture
def house(client: fakeredis.FakeRedis) -> House:
    """Everything has moved just now."""
    house = House(client)
    assert house.dog.look() == []
    return house


def test_what_moves_is_left_alone(house: House) -> None:
    for second in range(2, 100):
        house.level(second)
        house.worker(second)
        assert house.look(after=1.0) == []


def test_levels_that_stand_still_wake_those_who_make_them(house: House) -> None:
    for second in range(2, 22):
        house.worker(second)
        assert house.look(after=1.0) == []
    house.worker(22)
    assert house.look(after=1.0) == [*LEVELS]
    house.worker(23)
    assert house.look(after=1.0) == []  # they have their patience again


def woken_after(house: House) -> int:
    """How many seconds levels stand still until those who make them are woken."""
    for second in range(1, 1000):
        house.worker(int(house.clock.at) + 2)
        if house.look(after=1.0):
            house.dog.forget()  # as `gex up` does once it has restarted them
            return second
    raise AssertionError("never")


def test_who_does_not_move_after_a_restart_is_given_more_time_each_time(house: House) -> None:
    waited = [woken_after(house) for _ in range(5)]
    assert [round(each / PATIENCE) for each in waited] == [1, 2, 4, 8, 8]
    house.level(2)
    assert round(woken_after(house) / PATIENCE) == 1  # it has moved, and stands again


def test_a_frozen_worker_is_woken_first_and_alone(house: House) -> None:
    """Levels go on from the states that are there, or stand still because of it."""
    assert house.look(after=PATIENCE + 1) == ["greeks-0"]
    house.worker(2)
    assert house.look(after=1.0) == []


@pytest.mark.parametrize("change", [{"ended": True}, {"replay": True}, {"first_pass": None}])
def test_where_no_level_is_due_none_is_missed(house: House, change: JsonDict) -> None:
    house.session(**{"first_pass": {}, **change})
    house.worker(2)
    assert house.look(after=1.0) == []
    house.worker(3)
    assert house.look(after=3 * PATIENCE) == []


def test_the_first_level_of_a_session_may_be_missing_too(house: House) -> None:
    house.session(epoch=2, first_pass={})
    house.worker(2)
    assert house.look(after=1.0) == []
    house.worker(3)
    assert house.look(after=PATIENCE + 1) == [*LEVELS]


def test_a_worker_that_never_spoke_is_supervisords_business(house: House) -> None:
    house.client.delete(keys.actor("greeks", "greeks-0"))
    house.level(2)
    assert house.look(after=2 * PATIENCE) == []


def test_while_redis_is_away_nobody_is_blamed() -> None:
    client = LossyRedis()
    house = House(client)
    assert house.dog.look() == []
    client.lose_answers("HGET", 100)
    assert house.look(after=2 * PATIENCE) == []
    client.lose_answers("HGET", 0)
    assert house.look(after=1.0) == []
    assert house.look(after=PATIENCE + 1) == ["greeks-0"]


# --- signs of life ---------------------------------------------------------------------------


def test_actors_are_found_with_their_groups(client: fakeredis.FakeRedis) -> None:
    client.hset(keys.actor("store", "store-0"), mapping={"at": time.time(), "handled": 4})
    client.hset(keys.actor("greeks", "a:b"), mapping={"handled": 1})
    assert {key: row["handled"] for key, row in Cache(client).actors().items()} == {
        ("greeks", "a:b"): "1",
        ("store", "store-0"): "4",
    }


def test_an_actor_of_the_users_is_watched_as_well_and_levels_beside_it(house: House) -> None:
    house.dog.others = {"mine": ("spreads", "spreads-0")}
    house.client.hset(keys.actor("spreads", "spreads-0"), "at", 1)
    assert house.look(after=1.0) == []
    house.worker(2)
    house.level(2)
    assert house.look(after=PATIENCE) == []
    house.worker(3)
    house.level(3)
    assert house.look(after=1.0) == ["mine"]
    house.worker(4)
    assert house.look(after=PATIENCE) == []
    house.worker(5)
    assert house.look(after=1.0) == [*LEVELS]  # whether or not the user's moves


def test_a_redis_without_memory_is_no_reason_to_restart_anything(house: House) -> None:
    house.memory.filled = 1.0
    assert house.look(after=10 * PATIENCE) == []
    house.memory.filled = 0.9
    assert house.look(after=1.0) == []
    assert house.look(after=PATIENCE + 1.0) == ["greeks-0"]
