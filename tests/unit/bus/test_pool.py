"""Who is handed which connection, and whether its socket is looked at first."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
import redis

from common.bus.client import connect
from common.bus.pool import QuickPool
from common.errors import UsageError


class Line(redis.Connection):
    """A connection without a socket that counts what is asked of it."""

    looks = 0

    def connect(self) -> None:
        self.connect_check_health()

    def connect_check_health(self, *_: Any, **__: Any) -> None:
        self._sock = self._sock or object()  # type: ignore[assignment]

    def disconnect(self, *_: Any, **__: Any) -> None:
        self._sock = None

    def can_read(self, timeout: float = 0) -> bool:
        self.looks += 1
        return False


@pytest.fixture
def pool() -> QuickPool:
    return QuickPool(connection_class=Line)


def test_the_connection_of_just_now_comes_again_unseen(pool: QuickPool) -> None:
    first = pool.get_connection()
    looks = first.looks
    pool.release(first)
    assert pool.get_connection() is first
    assert first.looks == looks


def test_nobody_has_anothers(pool: QuickPool) -> None:
    first, second = pool.get_connection(), pool.get_connection()
    pool.release(first)
    pool.release(second)
    pool.release(second)  # what is given back twice is had once
    again = [pool.get_connection() for _ in range(3)]
    assert len({id(each) for each in again}) == 3


def test_one_that_rested_is_looked_at(pool: QuickPool, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pool.get_connection()
    looks = first.looks
    pool.release(first)
    later = time.monotonic() + 2.0
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert pool.get_connection() is first
    assert first.looks == looks + 1


def test_a_lost_one_is_connected_before_it_comes_again(pool: QuickPool) -> None:
    first = pool.get_connection()
    first.disconnect()
    pool.release(first)
    again = pool.get_connection()
    assert again.is_connected


def test_a_closed_pool_connects_again(pool: QuickPool) -> None:
    first = pool.get_connection()
    pool.release(first)
    pool.close()
    assert not first.is_connected
    again = pool.get_connection()
    again.send_packed_command([])
    assert again.is_connected


def test_a_fork_has_its_own(pool: QuickPool, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pool.get_connection()
    pool.release(first)
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    assert pool.get_connection() is not first


@pytest.mark.parametrize(
    "url",
    [
        "unix:///run/redis.sock?password=hush",
        "http://hush@host",
        "redis://:hush@host/name",
        "redis://:hush@[host/0",
        "redis://:hush@host:port/0",
    ],
)
def test_a_url_of_another_kind_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(UsageError, match="no Redis URL") as refused:
        connect(url)
    assert "hush" not in str(refused.value)
