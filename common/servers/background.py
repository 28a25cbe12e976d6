"""What may wait for a processor: the database and who writes to it stand behind those who are on
the way from a quote to a level.

Owns how Linux is asked for that and when it is taken back; must not know what the processes do.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import psutil

log = logging.getLogger(__name__)
_GROUP_NICE = 10
"""A tenth of the weight of all else together, where processors are short."""
_TURN_SECONDS = 0.11
"""Linux takes such a wish from one process in a tenth of a second, unless from root."""
_TURNS = 3
"""So many processes are looked after at once: who looks has other things to do."""
_BUSY, _FREE = 0.03, 0.10
"""Shares of the processors' time in which they did nothing: below the first they are short, above
the second no more."""
_LITTLE = 0.2
"""Cores; who gets less of short processors may be starving."""
_SHARES = {"cpu.shares": "256", "cpu.weight": "25"}
"""What a group weighs while it does not wait, by cgroup version: a quarter of the default."""


class Way(Protocol):
    """How processes are made to wait, what they start meanwhile included."""

    def let(self, wait: bool, pids: set[int]) -> None:
        """Make all of them wait or not, who does not yet."""

    def close(self) -> None:
        """Leave nothing behind, once they have ended."""


class Background:
    """Processes that wait as long as others need the processors, where Linux takes that up from
    this user; where processors are so short that they would starve, they do not.

    An idle process gives its processor to another at once, where one of little weight keeps it
    for a turn (sched(7), "SCHED_IDLE").
    """

    def __init__(self, way: Way | None) -> None:
        """:param way: None where there is none; then they only weigh less than others."""
        self._way = way
        self._helpers = Helpers()
        self._pids: set[int] = set()
        self._times: tuple[float, float, float] | None = None
        self.waits = way is not None

    def look(self, server: int, *others: int) -> None:
        """See to what has started since, and whether they starve. Call it each second or two.

        :param server: process id of the database server; what it has begun waits with it. 0 is
            nobody, here and beside.
        """
        self._helpers.look(server)
        if self._way is None:
            return
        self._pids = pids = {server, *_children(server), *others} - {0}
        wait = self._may_wait(pids)
        if wait != self.waits:
            log.info(
                "who stores %s", "waits for the rest again" if wait else "starved: it waits no more"
            )
            self.waits = wait
        self._way.let(wait, pids)

    def release(self) -> None:
        """They have to come to an end: nobody waits any more."""
        if self._way is not None:
            self._way.let(False, self._pids)
            self.waits = False

    def close(self) -> None:
        """After they have ended."""
        if self._way is not None:
            self._way.close()

    def _may_wait(self, pids: set[int]) -> bool:
        """Whether there is room enough for those who wait."""
        found = psutil.cpu_times()
        spare, whole, own = found.idle + getattr(found, "iowait", 0.0), sum(found), _used(pids)
        before, self._times = self._times, (spare, whole, own)
        if before is None or whole <= before[1]:
            return self.waits
        share = (spare - before[0]) / (whole - before[1])
        seconds = (whole - before[1]) / (psutil.cpu_count() or 1)
        if share < _BUSY:
            return self.waits and own - before[2] >= _LITTLE * seconds
        return self.waits or share > _FREE


class IdleGroup:
    """A control group of the scheduler's lowest weight (cgroup(7), ``cpu.idle``).

    The only way where each session of the system is a group of its own (autogroups): what a
    process asks for counts within its session alone.
    """

    def __init__(self, folder: Path) -> None:
        """:raises OSError: where no such group can be made."""
        self._folder = folder
        folder.mkdir(exist_ok=True)
        try:
            for name in _SHARES.keys() & {path.name for path in folder.iterdir()}:
                (folder / name).write_text(_SHARES[name], encoding="ascii")
            self._idle("1")
        except OSError:
            self.close()
            raise

    def let(self, wait: bool, pids: set[int]) -> None:
        """Make all of them wait or not, who does not yet; they are members either way."""
        members = self._folder / "cgroup.procs"
        with suppress(OSError):
            for pid in sorted(pids - {int(pid) for pid in members.read_text("ascii").split()}):
                with suppress(ProcessLookupError):
                    members.write_text(f"{pid}\n", encoding="ascii")
            self._idle("1" if wait else "0")

    def close(self) -> None:
        """Remove the group; one with processes stays."""
        with suppress(OSError):
            self._folder.rmdir()

    def _idle(self, text: str) -> None:
        path = self._folder / "cpu.idle"
        if not path.exists():  # a folder of anything else would take the file
            raise FileNotFoundError(path)
        path.write_text(text, encoding="ascii")


class IdlePolicy:
    """The policy of the scheduler by which a process runs where nobody else would (sched(7))."""

    def let(self, wait: bool, pids: set[int]) -> None:
        """Make all of them wait or not, who does not yet."""
        policy = os.SCHED_IDLE if wait else os.SCHED_OTHER
        for pid in pids:
            with suppress(OSError):  # it has ended
                for thread in (int(each.name) for each in Path(f"/proc/{pid}/task").iterdir()):
                    if (os.sched_getscheduler(thread) == os.SCHED_IDLE) != wait:
                        os.sched_setscheduler(thread, policy, os.sched_param(0))

    def close(self) -> None:
        """There is nothing to leave behind."""


def find_way(name: str, *, groups: Path | None = None) -> Way | None:
    """How this user can make processes wait and take it back, if at all.

    :param name: for a group, if it takes one.
    :param groups: folder of control groups, instead of the one that this process is in.
    """
    folder = groups or _own_groups(Path("/proc"))
    if folder is not None:
        with suppress(OSError):
            return IdleGroup(folder / name)
    return IdlePolicy() if _can_return() else None


def remove_group(name: str) -> None:
    """Take away the group of a start that was killed, unless something still runs there. It is
    looked for in the group that this process is in."""
    folder = _own_groups(Path("/proc"))
    if folder is not None:
        with suppress(OSError):  # there is none, or it is no empty group
            (folder / name).rmdir()


def give_way(pid: int) -> bool:
    """Let a session of the embedded server, by its process, stand behind the platform's own
    processes where processors are short; whether Linux has taken that up.

    The server makes each session the leader of a session of the system, and the scheduler takes
    every one of these for the equal of the whole platform, whatever its niceness, where
    autogroups are on, as they are by default (sched(7)): without this a COPY has a processor to
    itself while those who are on the way from a quote to a level share the other.
    """
    for _ in range(3):
        try:
            Path(f"/proc/{pid}/autogroup").write_text(f"{_GROUP_NICE}\n", encoding="ascii")
        except BlockingIOError:
            time.sleep(_TURN_SECONDS)
        except OSError:
            return False
        else:
            return True
    return False


class Helpers:
    """What an embedded server has begun: sessions, and what it does by itself, as autovacuum and
    checkpoints. Each gives way, once it has been seen."""

    def __init__(self) -> None:
        self._known: set[int] = set()

    def look(self, server: int) -> int:
        """Let those give way that are new; how many have.

        :param server: process id of the server.
        """
        running = _children(server)
        new = sorted(running - self._known)[:_TURNS]
        self._known = (self._known & running) | set(new)
        return sum(give_way(pid) for pid in new)


def _children(pid: int) -> set[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:  # it has ended, or this is no Linux
        return set()
    return {int(pid) for pid in text.split()}


def _used(pids: set[int]) -> float:
    """Processor time of those that run [s]."""
    total = 0.0
    for pid in pids:
        with suppress(psutil.Error):
            times = psutil.Process(pid).cpu_times()
            total += times.user + times.system
    return total


def _own_groups(proc: Path) -> Path | None:
    """The folder of the group of processes for processors that this process is in."""
    with suppress(OSError, ValueError):  # no Linux, or none as it is known
        groups = (proc / "self/cgroup").read_text(encoding="utf-8")
        mounts = (proc / "self/mounts").read_text(encoding="utf-8")
        paths = {
            name: path.lstrip("/")
            for _, names, path in (line.split(":", 2) for line in groups.splitlines())
            for name in names.split(",")
        }
        for _, place, kind, options, *_ in (line.split() for line in mounts.splitlines()):
            if kind == "cgroup" and "cpu" in options.split(",") and "cpu" in paths:
                return Path(place) / paths["cpu"]
            if kind == "cgroup2" and "cpu" not in paths and "" in paths:
                return Path(place) / paths[""]
    return None


def _can_return() -> bool:
    """Whether this user may take back that a process is idle; tried by a thread on itself."""
    may: list[bool] = []

    def attempt() -> None:
        with suppress(OSError, AttributeError):  # refused, or no Linux
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
            may.append(True)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return bool(may)
