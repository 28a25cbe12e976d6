"""One aggregation of a symbol at a time, and none kept back by one that is no more."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import fakeredis
import pytest
from fakes import FakeMemory

from common.bus import keys
from common.bus.cache import Cache
from workers import tasks

LOCK = keys.levels_lock("SPY")


@pytest.fixture
def published(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> list[str]:
    """The symbols whose level was computed, under a lock each."""
    monkeypatch.setenv("GEX_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("GEX_TICK_SECONDS", "0.05")
    tasks._settings.cache_clear()
    seen: list[str] = []

    def publish(_: Any, symbol: str, *__: Any, **___: Any) -> str:
        assert client.get(keys.levels_lock(symbol)) == tasks._name().encode()
        seen.append(symbol)
        return "published"

    memory = FakeMemory()
    monkeypatch.setattr(tasks, "publish_tick", publish)
    monkeypatch.setattr(tasks, "_cache", lambda: Cache(client))
    monkeypatch.setattr(tasks, "_memory", lambda: memory)
    return seen


def test_a_lock_that_this_worker_could_not_release_keeps_its_next_tick_from_nothing(
    client: fakeredis.FakeRedis, published: list[str]
) -> None:
    """Redis was restarted between taking and releasing, and the log brought the lock back."""
    client.set(LOCK, tasks._name(), px=2_100)
    tasks.tick("SPY")
    assert published == ["SPY"]
    assert not client.exists(LOCK)


def test_while_another_worker_is_at_it_a_tick_is_skipped(
    client: fakeredis.FakeRedis, published: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    client.set(LOCK, "another", px=60_000)
    with caplog.at_level(logging.WARNING):
        tasks.tick("SPY")
    assert published == []
    assert "still running" in caplog.text
    tasks.tick("QQQ")
    assert published == ["QQQ"]


def test_a_replay_waits_for_a_worker_that_was_killed_as_long_as_its_lock_lives(
    client: fakeredis.FakeRedis, published: list[str]
) -> None:
    client.set(LOCK, "killed", px=200)
    tasks.tick("SPY", at=1)
    assert published == ["SPY"]


def test_who_was_overtaken_says_so_and_takes_nothing_from_who_did(
    client: fakeredis.FakeRedis,
    published: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(
        tasks, "publish_tick", lambda *_, **__: client.set(LOCK, "successor", px=60_000)
    )
    with caplog.at_level(logging.WARNING):
        tasks.tick("SPY")
    assert "longer than its lock" in caplog.text
    assert client.get(LOCK) == b"successor"
    assert published == []
