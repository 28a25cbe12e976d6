"""Starts of servers and pages are counted by who looks at supervisord, each once."""

from __future__ import annotations

import fakeredis
from fakes import LossyRedis

from common.bus.cache import Cache
from common.servers.supervisor import Program
from workers.commands.starts import Starts


def program(name: str, pid: int) -> Program:
    """A program as supervisord sees it; 0 is no process."""
    return Program(name, "RUNNING" if pid else "STOPPED", pid, 0, 1_790_000_000)


def test_every_new_process_of_a_server_is_one_start(client: fakeredis.FakeRedis) -> None:
    starts = Starts(Cache(client), "run")
    for pid in (10, 10, 0, 11, 11, 12):
        starts.look([program("redis", pid), program("postgres", 20)])
    assert Cache(client).starts() == {"redis": 3, "postgres": 1}


def test_workers_count_themselves(client: fakeredis.FakeRedis) -> None:
    Starts(Cache(client), "run").look([program(n, 7) for n in ("store", "greeks-0", "celery")])
    assert Cache(client).starts() == {}


def test_a_new_run_counts_from_one(client: fakeredis.FakeRedis) -> None:
    for run in ("first", "second"):
        Starts(Cache(client), run).look([program("redis", 10)])
    assert Cache(client).starts() == {"redis": 1}


def test_what_cannot_be_counted_now_is_counted_later() -> None:
    client = LossyRedis()
    starts = Starts(Cache(client), "run")
    starts.look([program("redis", 10), program("postgres", 20)])
    client.lose_answers("HGET")
    starts.look([program("redis", 11), program("postgres", 21)])
    assert Cache(client).starts() == {"redis": 1, "postgres": 1}
    starts.look([program("redis", 11), program("postgres", 21)])
    assert Cache(client).starts() == {"redis": 2, "postgres": 2}
