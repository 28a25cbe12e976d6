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
from flow import check_nothing_lost, wait_for_more
from harness import platform, state_folder, wait_until

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
