"""Who stores gives way to those who are on the way from a quote to a level."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from harness import Platform, gex, platform, wait_until

from common.db.connection import Connection
from common.servers.background import IdleGroup, Way, find_way
from common.servers.instance import Instance
from common.settings import load_settings

WEIGHT = "10" if Path("/proc/self/autogroup").exists() else None
"""What a process says it asks for, where Linux asks."""


def asks(pid: int) -> str | None:
    """The weight that the group of a process asks for."""
    try:
        return Path(f"/proc/{pid}/autogroup").read_text(encoding="ascii").split()[-1]
    except OSError:
        return None


def group_of(pid: int) -> Path | None:
    """The group that a platform has made, with this process in it."""
    groups = Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii")
    if "gex-" not in groups:
        return None
    folder = next(line.split(":", 2)[2] for line in groups.splitlines() if "gex-" in line)
    (idle,) = Path("/sys/fs/cgroup").glob(f"*{folder}/cpu.idle")
    return idle.parent


def way_here() -> Way | None:
    """How a platform makes processes wait on this machine, if at all."""
    way = find_way("gex-probe")
    if way:
        way.close()
    return way


def is_idle(pid: int) -> bool:
    """Whether a process runs where nobody else would."""
    group = group_of(pid)
    if group:
        return (group / "cpu.idle").read_text(encoding="ascii").strip() == "1"
    return os.sched_getscheduler(pid) == os.SCHED_IDLE


def kill(running: Platform, program: str) -> None:
    """End a program as nobody should, and wait for its successor."""
    before = running.pid_of(program)
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: running.pid_of(program) != before, seconds=60, what="its successor")


def wait_for_all(running: Platform) -> None:
    """Until each process that the server has begun asks for little."""
    server = psutil.Process(running.pid_of("postgres"))

    def behind() -> bool:
        children = [child.pid for child in server.children()]
        return len(children) >= 5 and all(asks(pid) == WEIGHT for pid in children)

    wait_until(behind, seconds=30, what="all to give way")


@contextmanager
def a_session(running: Platform) -> Iterator[Connection]:
    """One of nobody's of the platform, that commits each statement, once the server is there."""
    wait_for_all(running)
    with running.database() as session:
        session.autocommit = True
        yield session


def test_sessions_and_what_the_server_does_by_itself_give_way() -> None:
    with platform("--feed", "none") as running:
        wait_for_all(running)
        with running.database() as session:  # begun by nobody of the platform, as autovacuum is
            pid = session.info.backend_pid
            wait_until(lambda: asks(pid) == WEIGHT, seconds=30, what="a new session to")
        kill(running, "postgres")
        wait_for_all(running)


def test_who_stores_waits_for_who_is_on_the_way_to_a_level() -> None:
    way = way_here()
    with platform("--feed", "simulator") as running:

        def stand() -> set[tuple[Path | None, bool]]:
            """Where who stores stands: the groups, and whether it waits."""
            try:
                server = psutil.Process(running.pid_of("postgres"))
                pids = [server.pid, *(child.pid for child in server.children())]
                pids.append(running.pid_of("store"))
                return {(group_of(pid), is_idle(pid)) for pid in pids}
            except (OSError, psutil.Error):  # one has just ended
                return set()

        running.levels()
        wait_until(
            lambda: {waits for _, waits in stand()} == {bool(way)},
            seconds=60,
            what="who stores to wait",
        )
        for program in ("greeks-0", "ingest", "redis", "celery"):
            assert not is_idle(running.pid_of(program))
        for program in ("store", "postgres"):  # on a busy machine nobody may wait any more
            kill(running, program)
            wait_until(
                lambda: len(stand()) == 1, seconds=60, what=f"the next {program} to stand with it"
            )
        running.check_alive()
        group = group_of(running.pid_of("store"))
    assert (group is not None) == isinstance(way, IdleGroup)
    assert group is None or not group.exists()


def test_down_leaves_nothing_of_an_up_that_was_killed() -> None:
    way = way_here()
    with platform("--feed", "none") as running:
        wait_for_all(running)
        sockets = Instance(load_settings(state_dir=running.state)).run_dir
        assert sockets.is_dir()
        group = None
        if isinstance(way, IdleGroup):
            group = wait_until(
                lambda: group_of(running.pid_of("store")),
                seconds=30,
                what="the group of who stores",
            )
        running.process.kill()
        running.process.wait(30)
        assert running.members()
        done = gex(running.state, "down")
        assert (done.returncode, done.stdout.strip()) == (0, "stopped"), done.stderr
        assert not running.members()
        assert not sockets.exists()
        assert group is None or not group.exists()
        again = gex(running.state, "down")
        assert (again.returncode, again.stdout.strip()) == (0, "nothing runs here")


def test_what_is_written_once_is_not_vacuumed() -> None:
    """It goes with its partition; the planner hears of it all the same, and what changes is."""
    with platform("--feed", "none") as running, a_session(running) as session:
        session.execute("ALTER SYSTEM SET autovacuum_naptime = 1")
        session.execute("SELECT pg_reload_conf()")
        session.execute("CREATE TABLE written AS SELECT * FROM generate_series(1, 20000) AS n")
        session.execute("CREATE TABLE changed AS SELECT * FROM written")
        session.execute("UPDATE changed SET n = n + 1")

        def looked_at() -> dict[str, bool]:
            """Name → whether it was vacuumed, of those of which the planner was told."""
            rows = session.execute(
                "SELECT relname, autovacuum_count FROM pg_stat_user_tables"
                " WHERE relname IN ('written', 'changed') AND autoanalyze_count > 0"
            ).fetchall()
            return {row["relname"]: row["autovacuum_count"] > 0 for row in rows}

        wait_until(lambda: len(looked_at()) == 2, seconds=60, what="autovacuum")
        assert looked_at() == {"written": False, "changed": True}
