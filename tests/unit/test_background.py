"""Who waits for a processor: asked of Linux, and taken back where there are too few."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from common.servers import background
from common.servers.background import (
    Background,
    Helpers,
    IdleGroup,
    IdlePolicy,
    find_way,
    give_way,
)

MANY = """
import subprocess, sys, threading, time
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
children = []
print("there", flush=True)
for line in sys.stdin:
    children.append(subprocess.Popen(["sleep", "60"]))
    print("there", flush=True)
for child in children:
    child.kill()
"""
"""A process of two threads that begins another for each line."""
V1 = "9:name=systemd:/\n2:cpu,cpuacct:/mine\n1:memory:/other\n0::/\n"
V1_MOUNTS = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup {0} cgroup rw,cpu,cpuacct 0 0\n"
V2_MOUNTS = "cgroup2 {0} cgroup2 rw,nosuid 0 0\n"


class Asked:
    """A way that notes what it is asked."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, set[int]]] = []

    def let(self, wait: bool, pids: set[int]) -> None:
        self.notes.append(("wait" if wait else "go", pids))

    def close(self) -> None:
        self.notes.append(("close", set()))


class Machine:
    """Two processors, a second between two looks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.idle = self.busy = self.own = 0.0
        monkeypatch.setattr(background.psutil, "cpu_times", self._times)
        monkeypatch.setattr(background.psutil, "cpu_count", lambda: 2)
        monkeypatch.setattr(background, "_used", lambda _pids: self.own)

    def second(self, *, idle: float, own: float) -> None:
        """One passes: shares of both processors that nobody used, cores of who may wait."""
        self.idle += 2 * idle
        self.busy += 2 * (1 - idle)
        self.own += own

    def _times(self) -> tuple[float, ...]:
        return Times(self.busy, self.idle)


class Times(tuple):  # type: ignore[type-arg]  # as psutil's are
    """Of all processors [s]."""

    def __new__(cls, busy: float, idle: float) -> Times:
        return super().__new__(cls, (busy, idle))

    @property
    def idle(self) -> float:
        return float(self[1])


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        pytest.param([(0.5, 0.3)], [True], id="room for all"),
        pytest.param([(0.01, 0.3)], [True], id="short, but they get some"),
        pytest.param([(0.01, 0.1)], [False], id="they starve"),
        pytest.param([(0.05, 0.1)], [True], id="not that short"),
        pytest.param(
            [(0.0, 0.0), (0.0, 0.9), (0.05, 0.9), (0.11, 0.9), (0.05, 0.0)],
            [False, False, False, True, True],
            id="until there is room again",
        ),
    ],
)
def test_who_starves_waits_no_more_until_there_is_room(
    seconds: list[tuple[float, float]],
    expected: list[bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine, way = Machine(monkeypatch), Asked()
    waiting, found = Background(way), []
    waiting.look(0, os.getpid())
    for idle, own in seconds:
        machine.second(idle=idle, own=own)
        waiting.look(0, os.getpid())
        found.append(waiting.waits)
    assert found == expected
    asked = ["wait" if wait else "go" for wait in (True, *expected)]
    assert way.notes == [(what, {os.getpid()}) for what in asked]  # also of who has started since


def test_at_the_end_nobody_waits_and_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch)
    way = Asked()
    waiting = Background(way)
    waiting.look(0, 4711, 0)
    waiting.release()
    assert not waiting.waits
    waiting.close()
    assert way.notes == [("wait", {4711}), ("go", {4711}), ("close", set())]


def test_without_a_way_nobody_waits() -> None:
    waiting = Background(None)
    waiting.look(0, os.getpid())
    waiting.release()
    waiting.close()
    assert not waiting.waits
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


@contextmanager
def a_process() -> Iterator[subprocess.Popen[str]]:
    """It runs :data:`MANY`."""
    command = [sys.executable, "-c", MANY]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process


def begin_another(process: subprocess.Popen[str]) -> int:
    """Let it begin a process, whose id this is."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("another\n")
    process.stdin.flush()
    process.stdout.readline()
    return psutil.Process(process.pid).children()[-1].pid


def may_return() -> bool:
    """Whether a process of this user may be idle and then not."""
    program = (
        "import os; none = os.sched_param(0)\n"
        "os.sched_setscheduler(0, os.SCHED_IDLE, none)\n"
        "os.sched_setscheduler(0, os.SCHED_OTHER, none)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    return found.returncode == 0


def policies(pid: int) -> set[int]:
    """Of its threads."""
    threads = (int(each.name) for each in Path(f"/proc/{pid}/task").iterdir())
    return {os.sched_getscheduler(thread) for thread in threads}


def test_where_there_is_no_group_the_policy_of_every_thread_changes(tmp_path: Path) -> None:
    way = find_way("gex-test", groups=tmp_path)
    assert not list(tmp_path.iterdir())  # it is no folder of control groups
    if not may_return():
        assert way is None
        return
    assert isinstance(way, IdlePolicy)
    with a_process() as process:
        child = begin_another(process)
        way.let(True, {process.pid, 2**22 + 1})  # there is no such process
        assert policies(process.pid) == {os.SCHED_IDLE}
        assert policies(child) == {os.SCHED_OTHER}
        later = begin_another(process)
        assert policies(later) == {os.SCHED_IDLE}
        way.let(False, {process.pid, later})
        assert policies(process.pid) | policies(later) == {os.SCHED_OTHER}
        way.close()


def test_who_asks_is_not_idle_itself() -> None:
    find_way("gex-test", groups=Path("/nonexistent"))
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def group_of(pid: int) -> str:
    """The control groups of a process."""
    return Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8")


def test_a_group_takes_what_its_members_begin() -> None:
    name = f"gex-test-{os.getpid()}"
    folder = background._own_groups(Path("/proc"))
    try:
        way = IdleGroup((folder or Path("/nonexistent")) / name)
    except OSError:
        assert not isinstance(find_way(name), IdleGroup)
        return
    assert folder is not None
    idle = folder / name / "cpu.idle"
    try:
        with a_process() as process:
            way.let(True, {process.pid, 2**22 + 1})
            assert name in group_of(process.pid)
            assert name in group_of(begin_another(process))
            assert idle.read_text().strip() == "1"
            way.let(False, {process.pid})
            assert idle.read_text().strip() == "0"
            way.let(True, set())
            assert idle.read_text().strip() == "1"
            way.close()
            assert name in group_of(process.pid)  # one with processes stays
    finally:
        way.close()
    assert not (folder / name).exists()
    assert name not in group_of(os.getpid())


@pytest.mark.parametrize(
    ("groups", "mounts", "expected"),
    [
        pytest.param(V1, V1_MOUNTS, "mine", id="version 1"),
        pytest.param(V1, V1_MOUNTS + V2_MOUNTS, "mine", id="both"),
        pytest.param("0::/user.slice/a.scope\n", V2_MOUNTS, "user.slice/a.scope", id="version 2"),
        pytest.param("0::/\n", V2_MOUNTS, "", id="its root"),
        pytest.param("0::/\n", "proc /proc proc rw 0 0\n", None, id="none is mounted"),
        pytest.param("nonsense\n", V2_MOUNTS, None, id="unreadable"),
    ],
)
def test_the_groups_that_this_process_is_in(
    groups: str, mounts: str, expected: str | None, tmp_path: Path
) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self/cgroup").write_text(groups)
    (tmp_path / "self/mounts").write_text(mounts.format(tmp_path))
    found = background._own_groups(tmp_path)
    assert found == (None if expected is None else tmp_path / expected)
    assert background._own_groups(tmp_path / "nowhere") is None


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

    monkeypatch.setattr(background, "give_way", ask)
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
