"""What `gex status` tells of actors: the work before each of them is its own."""

from __future__ import annotations

import io
import socket
import time
from typing import Any

import fakeredis
import pytest
from rich.console import Console

from common.bus import keys
from common.bus.cache import Cache
from common.bus.leases import Leases
from common.bus.streams import Streams
from workers.commands.actors import Row, actor_rows, actors_table, with_work

NEAR, FAR = keys.quotes("SPY", "2026-11-27"), keys.quotes("SPY", "2026-11-30")


@pytest.fixture
def bus(client: fakeredis.FakeRedis) -> Streams:
    """Two expirations, each of its own Greeks worker, one of them of another host."""
    bus = Streams(client)
    for stream, name, host, pid in (
        (NEAR, "greeks-0", socket.gethostname(), 7),
        (FAR, "desk", "x", 7),
    ):
        bus.register(stream)
        leases = Leases(client, name=name, token=name, milliseconds=60_000)
        leases.balance([stream])
        say(client, "greeks", name, host=host, pid=pid)
    say(client, "store", "store-0", host=socket.gethostname(), pid=9)
    return bus


def say(client: fakeredis.FakeRedis, group: str, name: str, *, host: str, pid: int) -> None:
    """What an actor says of itself."""
    fields: dict[Any, Any] = {"pid": pid, "host": host, "at": time.time(), "streams": 1}
    fields |= {"handled": 0, "rate": 1.5, "failures": 0, "buried": 0}
    client.hset(keys.actor(group, name), mapping=fields)


def rows(bus: Streams) -> dict[str, Row]:
    """Actor → its row."""
    streams = [
        {
            "stream": stream,
            "groups": [
                {"group": each.name, "lag": each.lag, "pending": each.pending}
                for each in bus.groups(stream)
            ],
        }
        for stream in (NEAR, FAR)
    ]
    programs = [{"pid": 7, "restarts": 2}, {"pid": 9, "restarts": 0}, {"pid": None, "restarts": 4}]
    found = with_work(actor_rows(Cache(bus.client)), streams, bus, programs)
    return {row["name"]: row for row in found}


def test_each_has_the_work_of_its_own_streams(bus: Streams) -> None:
    for second in (1, 2, 3):
        bus.client.xadd(NEAR, {"n": 0}, id=f"{second}000-0")
    bus.client.xadd(FAR, {"n": 0})
    bus.read("greeks", "greeks-0", [NEAR], count=2, block_ms=1)
    bus.read("store", "store-0", [FAR], count=1, block_ms=1)
    found = rows(bus)
    assert {n: (row["lag"], row["pending"]) for n, row in found.items()} == {
        "greeks-0": (1, 2),
        "desk": (1, 0),
        "store-0": (3, 1),
    }
    assert found["greeks-0"]["oldest_pending_seconds"] == pytest.approx(time.time() - 1.0, abs=5)
    assert found["desk"]["oldest_pending_seconds"] is None
    assert found["store-0"]["oldest_pending_seconds"] < 60


def test_a_lag_that_redis_cannot_tell_is_not_called_none(bus: Streams) -> None:
    streams = [{"stream": NEAR, "groups": [{"group": "store", "lag": -1, "pending": 0}]}]
    found = with_work(actor_rows(Cache(bus.client)), streams, bus, [])
    assert {row["name"]: row["lag"] for row in found}["store-0"] is None
    output = io.StringIO()
    Console(file=output, width=80).print(actors_table(found))
    assert "?" in output.getvalue()


def test_a_process_of_another_host_is_no_program_of_this_one(bus: Streams) -> None:
    found = rows(bus)
    assert {name: row["restarts"] for name, row in found.items()} == {
        "greeks-0": 2,
        "desk": None,
        "store-0": 0,
    }


def test_the_table_fits_a_terminal_and_names_everyone(bus: Streams) -> None:
    output = io.StringIO()
    Console(file=output, width=80).print(actors_table(list(rows(bus).values())))
    text = output.getvalue()
    for name in ("greeks-0 ", "greeks/desk@x ", "store-0 ", "entries/s", "restarts"):
        assert name in text
    assert "…" not in text


def test_a_group_that_is_forgotten_keeps_nothing_back(bus: Streams) -> None:
    bus.ensure_group(NEAR, "mine")
    bus.client.xadd(NEAR, {"n": 0})
    for group, name in (("greeks", "greeks-0"), ("store", "store-0")):
        ((_, entries),) = bus.read(group, name, [NEAR], count=9, block_ms=1)
        bus.acknowledge(group, NEAR, [entry.id for entry in entries], {})
    assert not bus.is_dealt_with(NEAR)
    assert bus.forget("mine") == [NEAR]
    assert bus.is_dealt_with(NEAR)
    assert bus.forget("mine") == []
