"""How processes start, and who gives way to whom."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from common.servers import postgres_server
from common.servers.postgres_server import Helpers, give_way
from workers.startup import be_prompt, keep_heap, without_collecting


def test_the_collector_rests_and_works_again() -> None:
    seen = []

    def fail() -> None:
        with without_collecting():
            seen.append(gc.isenabled())
            raise ImportError

    with pytest.raises(ImportError):
        fail()
    assert seen == [False]
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with without_collecting():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_heap_is_kept_with_glibc() -> None:
    assert keep_heap() == (platform.libc_ver()[0] == "glibc")


def test_what_was_made_at_the_start_is_not_looked_through_again() -> None:
    interval, before = sys.getswitchinterval(), gc.get_freeze_count()
    kept = [[] for _ in range(1000)]
    try:
        be_prompt()
        assert gc.get_freeze_count() >= before + len(kept)
        assert sys.getswitchinterval() < 0.001
    finally:
        gc.unfreeze()
        sys.setswitchinterval(interval)


def test_a_session_of_the_server_gives_way_to_the_platform() -> None:
    program = [sys.executable, "-c", "input()"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, start_new_session=True) as session:
        wish = Path(f"/proc/{session.pid}/autogroup")
        assert give_way(session.pid) == wish.exists()
        assert not wish.exists() or wish.read_text().split()[-1] == "10"
        assert session.stdin is not None
        session.stdin.write(b"\n")
    assert not give_way(session.pid)  # it has ended


def test_what_the_server_has_begun_gives_way_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A parent and its children stand for the server and what it does by itself."""
    program = (
        "import subprocess, sys\n"
        "run = lambda: subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        "children = [run() for _ in range(4)]\n"
        "print('there', flush=True)\n"
        "for line in sys.stdin:\n"
        "    children.append(run()); print('there', flush=True)\n"
        "for child in children: child.kill()\n"
    )
    asked: list[int] = []

    def ask(pid: int) -> bool:
        asked.append(pid)
        return give_way(pid)

    monkeypatch.setattr(postgres_server, "give_way", ask)
    helpers, groups = Helpers(), Path("/proc/self/autogroup").exists()
    command = [sys.executable, "-c", program]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdout.readline()
        assert [helpers.look(server.pid) for _ in range(3)] == ([3, 1, 0] if groups else [0] * 3)
        server.stdin.write("one more\n")
        server.stdin.flush()
        server.stdout.readline()
        assert [helpers.look(server.pid) for _ in range(2)] == ([1, 0] if groups else [0, 0])
        assert sorted(asked) == sorted(child.pid for child in psutil.Process(server.pid).children())
        assert len(asked) == 5
    assert helpers.look(server.pid) == 0  # it has ended


def test_who_steps_back_says_so_to_the_system() -> None:
    program = "import os; from workers.startup import step_back; a = os.nice(0); step_back();"
    found = subprocess.run(
        [sys.executable, "-c", f"{program} print(os.nice(0) - a)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "5"
