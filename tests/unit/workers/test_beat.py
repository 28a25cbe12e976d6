"""One beat asks, whoever else runs; what it asks for neither piles up nor overlaps."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fakeredis
import pytest
from celery import Celery
from fakes import FakeMemory

from common.bus import keys
from common.bus.lock import Lock
from common.settings import load_settings
from workers import beat as beat_module
from workers import tasks
from workers.beat import MOST_WAITING, LoneScheduler
from workers.tasks import QUEUE, TICK, WallGrid, make_app


class Scheduled(LoneScheduler):
    """A beat that notes what it asks for."""

    asked: list[str]

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Note it."""
        self.asked.append(entry.task)


@pytest.fixture
def app(tmp_path: Path) -> Celery:
    """The platform's application, which connects to nothing."""
    return make_app(load_settings(state_dir=tmp_path, symbols="SPY", tick_seconds=0.05))


@pytest.fixture
def make(
    app: Celery, server: fakeredis.FakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Any:
    """Beats in front of one Redis, by name; each has a lease of its own length."""
    monkeypatch.setenv("GEX_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("GEX_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setattr(beat_module, "connect", lambda url: fakeredis.FakeRedis(server=server))

    def beat(name: str, milliseconds: int = 60_000) -> Scheduled:
        made = Scheduled(app=app, lazy=True)
        made.asked = []
        made.__dict__["producer"] = None  # else it would connect to its broker
        made.lease = Lock(
            fakeredis.FakeRedis(server=server),
            keys.beat_lock(),
            name=name,
            milliseconds=milliseconds,
        )
        made.setup_schedule()
        for entry in made.schedule.values():
            entry.last_run_at = entry.last_run_at.replace(year=2020)
        made.populate_heap()
        return made

    return beat


def run(beat: Scheduled) -> None:
    """Let a beat ask for everything that is due; it asks for one at a time."""
    while beat.tick() == 0:
        pass


def test_one_beat_asks_and_the_other_says_so_once(
    make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = make("first"), make("second")
    with caplog.at_level(logging.WARNING):
        run(first)
        waits = [second.tick() for _ in range(5)]
    assert TICK in first.asked
    assert second.asked == []
    assert waits == [1.0] * 5
    assert caplog.text.count("another beat asks for the levels (first); this one waits") == 1


def test_it_looks_again_well_within_the_lease(make: Any) -> None:
    beat = make("first")
    for _ in range(3):
        assert 0.0 <= beat.tick() <= load_settings().lease_seconds / 3.0


def test_a_beat_that_ends_is_succeeded_at_once(make: Any) -> None:
    first, second = make("first"), make("second")
    run(first)
    run(second)
    first.close()
    run(second)
    assert TICK in second.asked


def test_a_beat_that_was_killed_is_succeeded_after_its_lease(
    make: Any, client: fakeredis.FakeRedis
) -> None:
    first, second = make("first"), make("second")
    run(first)
    assert 0 < client.pttl(keys.beat_lock()) <= 60_000
    client.delete(keys.beat_lock())  # it has run out
    run(second)
    assert TICK in second.asked
    before = len(first.asked)
    run(first)  # it was only asleep
    assert len(first.asked) == before


def test_without_redis_nothing_is_asked_for(
    make: Any, server: fakeredis.FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    beat = make("first")
    server.connected = False
    with caplog.at_level(logging.WARNING):
        assert [beat.tick(), beat.tick()] == [1.0, 1.0]
    assert beat.asked == []
    assert caplog.text.count("out of reach") == 1
    server.connected = True
    run(beat)
    assert TICK in beat.asked


def test_where_nobody_answers_nothing_piles_up(
    make: Any, client: fakeredis.FakeRedis, caplog: pytest.LogCaptureFixture
) -> None:
    beat = make("first")
    client.rpush(QUEUE, *range(MOST_WAITING))
    with caplog.at_level(logging.WARNING):
        assert [beat.tick(), beat.tick()] == [1.0, 1.0]
    assert beat.asked == []
    assert caplog.text.count(f"nobody answers (gex {MOST_WAITING} waiting)") == 1
    client.delete(QUEUE)
    run(beat)
    assert TICK in beat.asked


def test_a_tick_that_waited_a_period_is_not_run(app: Celery) -> None:
    (row,) = (row for row in app.conf.beat_schedule.values() if row["task"] == TICK)
    assert row["options"]["expires"] == row["schedule"].run_every.total_seconds() == 0.05


def test_however_late_a_beat_is_it_asks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2026, 11, 24, 15, 0, 0, 500_000, tzinfo=UTC)
    monkeypatch.setattr("time.time", now.timestamp)
    grid = WallGrid(1.0)
    assert grid.is_due(now - timedelta(hours=3)).is_due
    again = grid.is_due(now)
    assert not again.is_due
    assert again.next == pytest.approx(0.51, abs=1e-6)


def test_ticks_of_a_symbol_do_not_overlap(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cached = tasks.Cache(client)
    monkeypatch.setattr(tasks, "_cache", lambda: cached)
    ran: list[str] = []

    def publish(*_: Any, **__: Any) -> str:
        ran.append("outer" if not ran else "inner")
        if len(ran) == 1:
            tasks.tick("SPY")  # the next one is due before this one is done
            tasks.tick("QQQ")  # another symbol is another matter
        return "published"

    monkeypatch.setattr(tasks, "publish_tick", publish)
    monkeypatch.setattr(tasks, "_memory", FakeMemory)
    with caplog.at_level(logging.WARNING):
        tasks.tick("SPY")
    assert ran == ["outer", "inner"]
    assert caplog.text.count("SPY: the tick before is still running") == 1
    tasks.tick("SPY")
    assert len(ran) == 3
