"""How often each program was started: what supervisord itself has written down of this run."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.servers.instance import Instance
from common.servers.supervisor import Supervisor
from common.settings import load_settings


@pytest.fixture
def supervisor(tmp_path: Path) -> Supervisor:
    """The supervisord of a folder in which nothing has run yet."""
    instance = Instance(load_settings(state_dir=tmp_path))
    instance.make_folders()
    return Supervisor(instance)


def write(folder: Path, *said: str, end: str = "") -> None:
    """Write lines as supervisord does."""
    lines = (f"2026-11-24 22:16:{n % 60:02d},040 {text}\n" for n, text in enumerate(said))
    (folder / "logs" / f"supervisord.log{end}").write_text("".join(lines))


def started(program: str, pid: int = 7) -> tuple[str, str]:
    """A start and what follows it."""
    running = f"INFO success: {program} entered RUNNING state, process has stayed up"
    return f"INFO spawned: '{program}' with pid {pid}", running


BEGAN = "INFO supervisord started with pid 4327"


def test_before_there_is_a_log_nothing_was_started(supervisor: Supervisor) -> None:
    assert supervisor.starts() == {}


def test_every_start_counts(supervisor: Supervisor, tmp_path: Path) -> None:
    gone = "WARN exited: greeks-0 (terminated by SIGKILL; not expected)"
    write(tmp_path, BEGAN, *started("redis"), *started("greeks-0"), gone, *started("greeks-0", 9))
    assert supervisor.starts() == {"redis": 1, "greeks-0": 2}


def test_an_earlier_run_does_not_count(supervisor: Supervisor, tmp_path: Path) -> None:
    write(tmp_path, BEGAN, *started("redis"), *started("beat"), BEGAN, *started("redis"))
    assert supervisor.starts() == {"redis": 1}


def test_a_log_that_goes_on_in_another_file_is_read_as_one(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    write(tmp_path, BEGAN, *started("store"), end=".2")
    write(tmp_path, *started("store"), *started("beat"), end=".1")
    write(tmp_path, *started("store"))
    assert supervisor.starts() == {"store": 3, "beat": 1}
