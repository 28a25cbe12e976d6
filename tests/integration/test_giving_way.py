"""What the embedded PostgreSQL does gives way to those on the way from a quote to a level."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
from harness import Platform, platform, wait_until

WEIGHT = "10" if Path("/proc/self/autogroup").exists() else None
"""What a process says it asks for, where Linux asks."""


def asks(pid: int) -> str | None:
    """The weight that the group of a process asks for."""
    try:
        return Path(f"/proc/{pid}/autogroup").read_text(encoding="ascii").split()[-1]
    except OSError:
        return None


def wait_for_all(running: Platform) -> None:
    """Until each process that the server has begun asks for little."""
    server = psutil.Process(running.pid_of("postgres"))

    def behind() -> bool:
        children = [child.pid for child in server.children()]
        return len(children) >= 5 and all(asks(pid) == WEIGHT for pid in children)

    wait_until(behind, seconds=30, what="all to give way")


def test_sessions_and_what_the_server_does_by_itself_give_way() -> None:
    with platform("--feed", "none") as running:
        wait_for_all(running)
        with running.database() as session:  # begun by nobody of the platform, as autovacuum is
            pid = session.info.backend_pid
            wait_until(lambda: asks(pid) == WEIGHT, seconds=30, what="a new session to")
        before = running.pid_of("postgres")
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: running.pid_of("postgres") != before, seconds=60, what="its successor")
        wait_for_all(running)
