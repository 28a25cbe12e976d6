"""The store worker above its memory mark: nothing waits in Redis, and nothing is lost."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

import fakeredis
import pytest
from fakes import STREAM, Clock, FakeMemory, Recorder, letters, pending

from common.bus import keys
from common.bus.cache import Cache
from common.bus.spools import Spools
from common.bus.streams import Streams
from common.errors import MalformedEntryError, SpoolError, StorageError
from common.spool import Spool
from workers.actor import Actor
from workers.handling import Policy, Round
from workers.mailbox import Deliveries
from workers.spooling import SpoolingHandler

OTHER = keys.level_stream("SPY")
FULL, ROOM = 0.7, 0.5


class Stored(Recorder):
    """A database that may be away; what it has is ``effects``."""

    away = False
    trimmed: list[float]
    bus: Streams
    together = 0

    def handle(self, stream: str, entries: list) -> object:  # type: ignore[type-arg,override]
        """Store them."""
        if self.away:
            raise StorageError("PostgreSQL: away")
        return super().handle(stream, entries)

    def handle_together(self, deliveries: Deliveries) -> Round:
        """Store them in one step; what is left to do is to acknowledge them."""
        if self.away:
            raise StorageError("PostgreSQL: away")
        self.together += 1
        for stream, entries in deliveries:
            outcome = super().handle(stream, entries)
            self.bus.acknowledge(
                self.group, stream, [entry.id for entry in entries], dict(outcome.counts)
            )
        return Round([])

    def trim(self, *, keep_seconds: float) -> None:
        """Note it."""
        self.trimmed.append(keep_seconds)

    def maintain(self) -> None:
        """It takes the database, too."""
        if self.away:
            raise StorageError("PostgreSQL: away")
        super().maintain()


class House:
    """A store worker with its spool, in front of a database that may be away."""

    def __init__(self, client: fakeredis.FakeRedis, folder: Path) -> None:
        self.client, self.folder = client, folder
        self.streams = Streams(client)
        self.memory, self.clock, self.wall = FakeMemory(), Clock(), Clock()
        self.stored = Stored([STREAM, OTHER])
        self.stored.trimmed, self.stored.bus = [], self.streams
        self.sent = 0
        self.start()

    def start(self, *, max_bytes: int = 1 << 20) -> None:
        """The worker's process."""
        self.spool = Spool(self.folder, max_bytes=max_bytes)
        self.handler = SpoolingHandler(
            self.stored,  # type: ignore[arg-type]  # it stores anything
            self.spool,
            spools=Spools(self.client),
            streams=self.streams,
            memory=self.memory,
            consumer="store-0",
            mark=0.6,
            max_bytes=max_bytes,
            wall=self.wall,
            monotonic=self.clock,
        )
        self.handler.open()
        policy = Policy(block_ms=1, refresh_seconds=0.0, backoff_seconds=0.0)
        self.actor = Actor(
            self.streams, self.handler, "store-0", policy, monotonic=lambda: self.clock.at
        )

    def put(self, count: int = 3, *, stream: str = STREAM, waited: float = 0.0) -> None:
        """Append entries, some time ago."""
        self.streams.register(stream)
        for _ in range(count):
            self.sent += 1
            entry_id = self.client.xadd(stream, {"n": b"%d" % self.sent})
            self.wall.at = int(entry_id.split(b"-")[0]) / 1000.0 + waited

    def step(self, times: int = 1) -> None:
        """Let the worker work."""
        for _ in range(times):
            self.actor.step()

    def counters(self) -> dict[str, int]:
        return Cache(self.client).counters("SPY")

    def stored_numbers(self) -> list[int]:
        return [int(payload) for payload in self.stored.effects]


@pytest.fixture
def house(client: fakeredis.FakeRedis, tmp_path: Path) -> House:
    """A house without entries."""
    return House(client, tmp_path / "spool")


def test_with_room_nothing_is_spooled(house: House) -> None:
    house.memory.filled, house.stored.away = ROOM, True
    house.put(waited=60.0)
    for _ in range(3):
        with pytest.raises(StorageError):
            house.step()
    assert house.client.xlen(STREAM) == 3
    assert house.spool.entries == 0
    house.stored.away = False
    house.step()
    assert house.stored_numbers() == [1, 2, 3]
    assert house.counters() == {"seen": 3}


def test_a_round_is_stored_in_one_step_unless_something_is_or_may_be_spooled(
    house: House,
) -> None:
    house.memory.filled = ROOM
    house.put()
    house.put(stream=OTHER)
    house.step()
    assert (house.stored.together, house.stored_numbers()) == (1, [4, 5, 6, 1, 2, 3])
    house.memory.filled, house.stored.away = FULL, True
    house.put()
    house.step()
    assert (house.stored.together, house.spool.entries) == (1, 3)
    house.memory.filled = ROOM
    house.put()
    house.step()
    assert (house.stored.together, house.spool.entries) == (1, 6), "it goes behind what waits"


def test_an_absent_database_is_spooled_for(house: House) -> None:
    house.memory.filled, house.stored.away = FULL, True
    house.put()
    house.step()
    assert pending(house.client, keys.STORE_GROUP) == []
    assert house.counters() == {"entries_spooled": 3}
    (said,) = Spools(house.client).all().values()
    house.step()
    (said,) = Spools(house.client).all().values()
    assert (said.entries, said.size, said.error) == (3, house.spool.size, "")


def test_what_has_waited_is_spooled_though_the_database_is_there(house: House) -> None:
    """It is behind: with what is young it keeps up, and something else fills Redis."""
    house.memory.filled = FULL
    house.put(waited=0.5)
    house.step()
    assert house.spool.entries == 0
    house.put(waited=5.0)
    house.stored.rests = []
    house.actor._handler.rest = lambda: None  # type: ignore[method-assign]
    house.step()
    assert house.spool.entries == 3


def test_it_is_loaded_in_order_and_what_follows_goes_behind_it(house: House) -> None:
    house.memory.filled, house.stored.away = FULL, True
    house.put()
    house.step()
    house.memory.filled = ROOM
    house.put(stream=OTHER)
    house.step()
    assert house.spool.entries == 6
    house.stored.away = False
    house.clock.at += 60.0
    house.put()
    house.step()
    assert house.stored_numbers() == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert house.spool.entries == 0
    counters = house.counters()
    assert counters["seen"] == counters["entries_spooled"] == counters["entries_unspooled"] == 9
    house.put()
    house.step()
    assert house.counters()["entries_spooled"] == 9


def test_an_absent_database_is_not_asked_all_the_time(house: House) -> None:
    house.memory.filled, house.stored.away = FULL, True
    house.put()
    house.step()
    asked = len(house.stored.calls)
    house.put()
    house.step(5)
    assert len(house.stored.calls) == asked
    assert house.spool.entries == 6


def test_redis_is_trimmed_though_the_database_is_away(house: House) -> None:
    house.memory.filled, house.stored.away = FULL, True
    house.put()
    house.step(2)
    assert house.stored.trimmed == [0.0, 0.0]
    assert house.stored.maintained == 0


def test_a_killed_worker_leaves_everything_to_the_next(house: House) -> None:
    house.memory.filled, house.stored.away = FULL, True
    for _ in range(4):
        house.put()
        house.step()
    house.spool.close()
    house.stored.away = False
    house.start()
    house.step(3)
    assert house.stored_numbers() == list(range(1, 13))
    assert house.counters()["seen"] == 12


def test_what_was_spooled_and_not_acknowledged_is_spooled_once(
    house: House, client: fakeredis.FakeRedis
) -> None:
    """Killed between the two: Redis delivers it again."""
    house.memory.filled, house.stored.away = FULL, True
    house.put()
    (delivered,) = house.streams.read(keys.STORE_GROUP, "store-0", [STREAM], count=10, block_ms=1)
    house.handler.handle(*delivered)
    house.spool.close()
    assert len(pending(client, keys.STORE_GROUP)) == 3
    house.start()
    house.put(1)
    house.step()
    assert pending(client, keys.STORE_GROUP) == []
    house.stored.away = False
    house.clock.at += 60.0
    house.step(2)
    assert house.stored_numbers() == [1, 2, 3, 4]
    counters = house.counters()
    assert counters["seen"] == counters["entries_spooled"] == 4


def test_killed_while_loading_nothing_is_counted_twice(house: House) -> None:
    house.memory.filled, house.stored.away = FULL, True
    for _ in range(3):
        house.put()
        house.step()
    house.stored.away = False
    house.clock.at += 60.0
    record = house.spool.first()
    assert record is not None
    counts = house.handler._load(record)
    Spools(house.client).loaded("store-0", record.after, "SPY", counts)
    house.spool.close()
    house.start()
    house.step(3)
    assert house.stored_numbers() == list(range(1, 10))
    assert house.counters()["seen"] == 9


def test_a_poison_entry_is_buried_and_its_neighbours_are_loaded(house: House) -> None:
    house.memory.filled, house.stored.away = FULL, True
    house.put()
    house.step()
    house.stored.away = False
    house.clock.at += 60.0
    house.stored.faults[b"2"] = [MalformedEntryError("no such layout")] * 2
    house.step()
    assert house.stored_numbers() == [1, 3]
    (letter,) = letters(house.client, keys.STORE_GROUP)
    assert letter[b"f:n"] == b"2"
    assert letter[b"reason"] == b"MalformedEntryError: no such layout"
    assert house.counters()["entries_unspooled"] == 3


def test_a_full_spool_is_an_alarm_and_the_entries_wait(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.spool.close()
    house.start(max_bytes=10)
    house.memory.filled, house.stored.away = FULL, True
    house.put()
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            with pytest.raises(SpoolError, match="is full"):
                house.step()
    assert caplog.text.count("the spool is full") == 1
    assert len(pending(house.client, keys.STORE_GROUP)) == 3
    house.handler.maintain()
    (said,) = Spools(house.client).all().values()
    assert "is full" in said.error
    house.memory.filled, house.stored.away = ROOM, False
    house.step()
    assert house.stored_numbers() == [1, 2, 3]


def test_a_spool_that_is_full_empties_when_the_database_is_back(house: House) -> None:
    house.spool.close()
    house.start(max_bytes=200)
    house.memory.filled, house.stored.away = FULL, True
    for _ in range(5):
        house.put(1)
        with suppress(SpoolError):
            house.step()
    assert 0 < house.spool.entries < 5
    house.stored.away = False
    house.clock.at += 60.0
    for _ in range(3):
        with suppress(SpoolError):
            house.step()
    assert house.stored_numbers() == [1, 2, 3, 4, 5]
    assert (house.spool.entries, house.counters()["seen"]) == (0, 5)


def test_the_last_act_leaves_the_spool_where_it_is(house: House) -> None:
    house.memory.filled, house.stored.away = FULL, True
    house.put()
    house.step()
    house.handler.close()
    assert house.stored.closed
    house.start()
    assert house.spool.entries == 3
