"""Redis is killed under load, and comes back without its last second: nothing lost, nothing
twice."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator

import pytest
from flow import check_nothing_lost, wait_for_more
from harness import platform, state_folder
from own_redis import OwnRedis

LEVELS = 5
"""Levels between two faults."""


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
            own_redis.kill_and_cut(safe)
        wait_for_more(running, "levels_published", LEVELS)
        counters = check_nothing_lost(running)
        assert counters["batches_reappended"] > 0
