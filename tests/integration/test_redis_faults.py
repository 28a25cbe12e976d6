"""Redis is killed under load, and comes back without its last second: nothing lost, nothing
twice."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from harness import Platform, platform, state_folder, wait_until

from common.servers.ports import Reservations
from common.servers.redis_server import binary

LEVELS = 5
"""Levels between two faults."""


class OwnRedis:
    """A server of the user's own, with a log that is written to the disk every second."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = Reservations()
        self.port = self.ports.first_free("127.0.0.1", 18479)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it and wait until it answers."""
        arguments = {
            "port": self.port,
            "dir": self.folder,
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
        }
        options = [part for name, value in arguments.items() for part in (f"--{name}", str(value))]
        with (self.folder / "redis.out").open("ab") as output:
            self.process = subprocess.Popen([binary(), *options], stdout=output, stderr=output)
        wait_until(self.answers, seconds=30, what="Redis")

    def answers(self) -> bool:
        """Whether it does, and has read its log."""
        try:
            return bool(redis.Redis.from_url(self.url).ping())
        except redis.RedisError:
            return False

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    @property
    def log(self) -> Path:
        """The file that commands are appended to."""
        (found,) = (self.folder / "appendonlydir").glob("*.incr.aof")
        return found

    def stop(self) -> None:
        """In order."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)


@pytest.fixture
def own_redis() -> Iterator[OwnRedis]:
    folder = state_folder()
    server = OwnRedis(folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


def counted(running: Platform, name: str) -> int:
    return int(running.redis().hget("counters:SPY", name) or 0)


def wait_for_more(running: Platform, name: str, more: int) -> None:
    """Until a counter has moved on by so much."""
    before, client = counted(running, name), running.redis()
    wait_until(
        lambda: int(client.hget("counters:SPY", name) or 0) >= before + more,
        seconds=60,
        what=f"{more} {name}",
    )


def check_nothing_lost(running: Platform) -> dict[str, int]:
    """Stop the feed, let everything be stored, and count."""
    running.control("stop", "ingest")
    client = running.redis()

    def stored() -> bool:
        streams = client.smembers("registry:streams")
        groups = [group for name in streams for group in client.xinfo_groups(name)]
        return all(group["pending"] == 0 and group["lag"] == 0 for group in groups)

    wait_until(stored, seconds=60, what="everything to be stored")
    counters = running.counters()
    assert counters["quotes_appended"] == counters["quotes_processed"] == counters["quotes_stored"]
    with running.database() as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM gex.quotes) AS quotes,"
            " (SELECT count(DISTINCT (epoch, batch, expiration)) FROM gex.entries) AS batches,"
            " (SELECT count(*) FROM gex.greeks) AS greeks"
        ).fetchone()
    assert row is not None
    assert row["quotes"] == counters["quotes_appended"]
    assert row["batches"] == counters["batches_appended"]
    assert row["greeks"] > 0
    assert counters.get("batches_lost", 0) == 0
    assert client.xlen("dead:greeks") == client.xlen("dead:store") == 0
    return counters


def test_a_killed_redis_loses_nothing() -> None:
    with platform(settings={"expirations": "2"}) as running:
        running.levels()
        for _ in range(2):
            wait_for_more(running, "levels_published", LEVELS)
            wait_for_more(running, "batches_appended", 20)
            os.kill(running.pid_of("redis"), signal.SIGKILL)
        wait_for_more(running, "levels_published", LEVELS)
        check_nothing_lost(running)


def test_a_redis_that_comes_back_without_its_last_second_loses_nothing(
    own_redis: OwnRedis,
) -> None:
    """What a power cut leaves of a log that is synced every second."""
    settings = {"redis_url": own_redis.url, "expirations": "2"}
    with platform(settings=settings) as running:
        running.levels()
        for _ in range(2):
            wait_for_more(running, "levels_published", LEVELS)
            safe = own_redis.log.stat().st_size
            wait_for_more(running, "batches_appended", 20)
            own_redis.kill()
            with own_redis.log.open("ab") as log:
                log.truncate(safe)
            own_redis.start()
        wait_for_more(running, "levels_published", LEVELS)
        counters = check_nothing_lost(running)
        assert counters["batches_reappended"] > 0
