"""Processes killed in the middle of a day: nothing lost, nothing twice, the same levels."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from harness import Platform, platform, wait_until

pytestmark = pytest.mark.data
RUN_FIELDS = ("published_at", "watermark")


def day(recording: Path) -> list[str]:
    return ["--feed", "recording", "--recording", str(recording), "--speed", "max"]


def stored_levels(running: Platform) -> list[dict[str, Any]]:
    """Every stored level without what belongs to the run alone."""
    with running.database() as connection:
        rows = connection.execute("SELECT result FROM gex.levels ORDER BY time").fetchall()
    return [{k: v for k, v in row["result"].items() if k not in RUN_FIELDS} for row in rows]


def stored_quotes(running: Platform) -> list[tuple[Any, ...]]:
    with running.database() as connection:
        rows = connection.execute(
            'SELECT time, seq, strike, "right", bid, ask, volume, open_interest, withdrawn'
            " FROM gex.quotes ORDER BY seq"
        ).fetchall()
    return [tuple(row.values()) for row in rows]


@pytest.fixture(scope="module")
def undisturbed(recording: Path) -> tuple[list[dict[str, Any]], list[tuple[Any, ...]]]:
    with platform(*day(recording)) as running:
        running.wait_for_end()
        return stored_levels(running), stored_quotes(running)


def kill_when(running: Platform, program: str, levels: int) -> None:
    """SIGKILL a program once this many levels were published."""
    client, pid = running.redis(), running.pid_of(program)
    wait_until(
        lambda: int(client.hget("counters:SPY", "levels_published") or 0) >= levels,
        seconds=90,
        what=f"{levels} levels",
    )
    os.kill(pid, signal.SIGKILL)


def check_complete(
    running: Platform, undisturbed: tuple[list[dict[str, Any]], list[tuple[Any, ...]]]
) -> None:
    levels, quotes = undisturbed
    counters = running.counters()
    assert stored_quotes(running) == quotes
    assert counters["quotes_appended"] == counters["quotes_processed"] == len(quotes)
    assert counters["quotes_stored"] == len(quotes)
    assert stored_levels(running) == levels
    client = running.redis()
    assert client.xlen("dead:greeks") == client.xlen("dead:store") == 0


def test_a_killed_greeks_worker_loses_nothing(
    recording: Path, undisturbed: tuple[list[dict[str, Any]], list[tuple[Any, ...]]]
) -> None:
    with platform(*day(recording)) as running:
        kill_when(running, "greeks-0", 40)
        kill_when(running, "greeks-0", 160)
        running.wait_for_end()
        check_complete(running, undisturbed)


def test_a_killed_store_worker_loses_nothing(
    recording: Path, undisturbed: tuple[list[dict[str, Any]], list[tuple[Any, ...]]]
) -> None:
    with platform(*day(recording)) as running:
        kill_when(running, "store", 40)
        kill_when(running, "store", 160)
        running.wait_for_end()
        check_complete(running, undisturbed)


def test_a_killed_celery_worker_changes_no_level(
    recording: Path, undisturbed: tuple[list[dict[str, Any]], list[tuple[Any, ...]]]
) -> None:
    with platform(*day(recording)) as running:
        kill_when(running, "celery", 40)
        running.wait_for_end()
        check_complete(running, undisturbed)


def test_a_killed_ingestor_plays_the_day_again_to_the_same_end(
    recording: Path, undisturbed: tuple[list[dict[str, Any]], list[tuple[Any, ...]]]
) -> None:
    with platform(*day(recording)) as running:
        kill_when(running, "ingest", 60)
        running.wait_for_end()
        levels, quotes = undisturbed
        counters = running.counters()
        assert stored_quotes(running) == quotes
        assert stored_levels(running) == levels
        assert counters["quotes_appended"] == counters["quotes_processed"] > len(quotes)
        assert counters["quotes_stored"] == counters["quotes_appended"]
        assert counters["quotes_known"] == counters["quotes_appended"] - len(quotes)


def test_an_absent_database_is_caught_up_with(
    recording: Path, undisturbed: tuple[list[dict[str, Any]], list[tuple[Any, ...]]]
) -> None:
    with platform(*day(recording)) as running:
        kill_when(running, "postgres", 40)
        running.wait_for_end()
        check_complete(running, undisturbed)


def test_what_a_killed_up_leaves_behind_is_ended_by_the_next(recording: Path) -> None:
    with platform() as first:
        first.levels()
        first.process.kill()
        first.process.wait(30)
        left = first.members()
        assert len(left) >= 8
        with platform("--feed", "none", state=first.state) as second:
            wait_until(
                lambda: "had left running" in second.said, seconds=60, what="the leftovers' end"
            )
            assert not any(process.is_running() for process in left)
