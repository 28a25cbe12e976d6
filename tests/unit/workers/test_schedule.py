"""What beat asks for, and of which worker."""

from __future__ import annotations

from pathlib import Path

from redis.exceptions import OutOfMemoryError

from common.settings import load_settings
from workers.tasks import BACKUP, QUEUE, TICK, UPKEEP, UPKEEP_QUEUE, make_app


def test_what_takes_long_has_a_worker_of_its_own(tmp_path: Path) -> None:
    settings = load_settings(state_dir=tmp_path, symbols="SPY,QQQ", backup_url="s3://bucket/x")
    schedule = make_app(settings).conf.beat_schedule
    queues = {row["task"]: row["options"]["queue"] for row in schedule.values()}
    assert queues == {TICK: QUEUE, UPKEEP: UPKEEP_QUEUE, BACKUP: UPKEEP_QUEUE}
    assert sorted(schedule) == ["backup", "tick-QQQ", "tick-SPY", "upkeep"]
    for name, seconds in (("upkeep", settings.upkeep_seconds), ("backup", settings.backup_seconds)):
        assert schedule[name]["schedule"].run_every.total_seconds() == seconds
        assert schedule[name]["options"]["expires"] == seconds


def test_a_broker_without_memory_is_waited_for(tmp_path: Path) -> None:
    app = make_app(load_settings(state_dir=tmp_path))
    connection = app.connection_for_read()
    assert OutOfMemoryError in connection.connection_errors
    assert connection.as_uri().startswith("redis://")


def test_without_an_archive_there_is_no_backup(tmp_path: Path) -> None:
    app = make_app(load_settings(state_dir=tmp_path, symbols="SPY"))
    assert sorted(app.conf.beat_schedule) == ["tick-SPY", "upkeep"]
