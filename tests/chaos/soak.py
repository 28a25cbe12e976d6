"""A soak by hand: more beat ticks than any clock would give in a day, Redis restarted in between.

``python tests/chaos/soak.py --ticks 100000 --minutes 45`` runs until there were so many ticks,
or so long. Every minute it prints how many ticks the Celery worker has had, how old the levels
are and how much memory each process takes; at the end, 1 where levels were not fresh, ticks were
too few or a process grew.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import threading
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import redis
from celery import Celery

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]

from harness import Platform, platform, wait_until  # noqa: E402  found through the line above
from simulated import login, simulator  # noqa: E402

from common.bus.cache import Cache  # noqa: E402
from common.clock import SECOND, wall_us  # noqa: E402
from common.errors import ServiceError  # noqa: E402
from common.servers.instance import Instance  # noqa: E402
from common.servers.supervisor import Supervisor  # noqa: E402
from common.settings import load_settings  # noqa: E402
from workers.tasks import TICK  # noqa: E402

SYMBOLS = ("SPY", "QQQ", "SPX")
TICK_SECONDS = 0.05
"""The least that the setting takes; each symbol has a tick of its own in each."""
SETTINGS = {
    "symbols": ",".join(SYMBOLS),
    "tick_seconds": str(TICK_SECONDS),
    "expirations": "1",
    "strikes": "5",
    "quote_symbols": "none",
    "near_money": "0",
    "live_share": "0",
    "keep_seconds": "2",
    "strike_seconds": "3600",
}
MARKET = ("--start", "2026-11-23T10:00", "--step", "0.5", "--symbols", "SPY,QQQ,SPX")
FRESH = 5.0
"""A level is fresh while it is not older than this [s] ..."""
RECOVERY = 60.0
"""... but for so long after Redis was restarted [s]."""
GROWTH = 0.10
"""A process that has grown by more than this since the second fifth of the run is not flat ..."""
NOISE = 4.0
"""... if it is more than this, too: others on the machine share pages with it, or no more [MB]."""


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def proportional(pid: int) -> dict[str, float]:
    """Memory of a process by kind, pages of several in equal parts [MB]: proc_pid_smaps(5)."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    return {row.split(":")[0]: int(row.split()[1]) / 1024 for row in rows}


@dataclass
class Soak:
    """One platform whose ticks are counted and whose memory is watched."""

    running: Platform
    restart_every: float
    """[s]"""
    ticks: int = 0
    problems: list[str] = field(default_factory=list)
    sizes: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Program → proportional set size without memory that was made to be shared [MB], a sample a
    minute: PostgreSQL fills its buffers, whose size is fixed, only once."""
    shared: dict[str, float] = field(default_factory=dict)
    """Program → that memory, its part of it [MB], where there is any."""
    restarts: int = 0
    worst_recovery: float = 0.0
    _had: int = 0
    """Ticks of earlier starts of the Celery worker."""
    _last: int = 0
    """Those of its present start."""
    _pause: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        found = self.running.status()
        self.cache = Cache(redis.Redis.from_url(found["redis_url"]))
        self.broker = found["broker_url"]
        self.supervisor = Supervisor(Instance(load_settings(state_dir=self.running.state)))

    def follow(self, ticks: int, minutes: float) -> None:
        """Watch until there were so many ticks, or for so long."""
        began = time.monotonic()
        restarted, sampled, looked = began, began, 0
        while self.ticks < ticks and time.monotonic() - began < 60.0 * minutes:
            self._pause.wait(1.0)
            self.running.check_alive()
            now = time.monotonic()
            if now - restarted >= self.restart_every:
                self._restart_redis()
                restarted = time.monotonic()
                continue
            stale = self.stale()
            looked += 1
            if stale:
                self.problems.append(f"{now - began:.0f} s: {stale}")
                say(self.problems[-1])
            if now - sampled >= 60.0:
                sampled = now
                self._sample(now - began)
        say(f"looked {looked} times whether levels are fresh")

    def stale(self, *, since: int = 0) -> str:
        """Which symbols have no fresh level, or nothing.

        :param since: of an older instant of the wall clock none is fresh [us].

        By the instant of the last one that was published: the keys themselves stay for three
        ticks, which here is less than one look takes.
        """
        wrong = []
        for symbol in SYMBOLS:
            try:
                session, tick = self.cache.session(symbol), self.cache.tick(symbol)
            except ServiceError as error:
                return str(error)
            if session is None or tick is None or tick.epoch != session.epoch:
                wrong.append(f"{symbol} has no level")
                continue
            age = (session.clock.market(wall_us()) - tick.at) / SECOND
            if age > FRESH or tick.at < session.clock.market(since):
                wrong.append(f"{symbol} {age:.1f} s old")
        return ", ".join(wrong)

    def _restart_redis(self) -> None:
        """In order; the ticks until then are counted first, should the worker start anew."""
        self._count()
        self.restarts += 1
        before = time.monotonic()
        self.running.control("stop", "redis")
        self.running.control("start", "redis")
        back = wall_us()
        wait_until(
            lambda: not self.stale(since=back), seconds=RECOVERY, what="levels after a restart"
        )
        took = time.monotonic() - before
        self.worst_recovery = max(self.worst_recovery, took)
        say(f"redis restarted; levels of all symbols were fresh {took:.1f} s later")

    def _count(self) -> None:
        """How many ticks the Celery worker has had, all its starts together."""
        with Celery(broker=self.broker) as celery, celery.connection_for_write() as connection:
            asked = celery.control.inspect(timeout=5, connection=connection)
            stats = asked.stats() or {}
        for name, found in stats.items():
            if name.startswith("levels@"):
                total = int(found["total"].get(TICK, 0))
                self._had += self._last if total < self._last else 0
                self._last = total
                self.ticks = self._had + total

    def _sample(self, at: float) -> None:
        self._count()
        for program, (own, shared) in self._memory().items():
            self.sizes[program].append(own)
            if shared >= 1.0:
                self.shared[program] = shared
        levels = sum(self.cache.counters(s).get("levels_published", 0) for s in SYMBOLS)
        shown = " ".join(f"{name} {sizes[-1]:.1f}" for name, sizes in sorted(self.sizes.items()))
        beside = "".join(f", shared {size:.1f} of {name}" for name, size in self.shared.items())
        say(f"{at:6.0f} s  {self.ticks:,} ticks, {levels:,} levels, MB: {shown}{beside}")

    def _memory(self) -> dict[str, tuple[float, float]]:
        """Program → own memory of it and its children, and what was made to be shared [MB]."""
        found = {}
        for program in self.supervisor.programs():
            if not program.pid:
                continue
            with suppress(psutil.Error, OSError):
                head = psutil.Process(program.pid)
                family = [head, *head.children(recursive=True)]
                sizes = [proportional(each.pid) for each in family]
                shared = sum(size["Pss_Shmem"] for size in sizes)
                found[program.name] = (sum(size["Pss"] for size in sizes) - shared, shared)
        return found

    def grown(self) -> list[str]:
        """Programs whose memory is not flat: the last fifth of the run against its second."""
        wrong = []
        for program, sizes in sorted(self.sizes.items()):
            fifth = max(1, len(sizes) // 5)
            early = statistics.median(sizes[fifth : 2 * fifth] or sizes)
            late = statistics.median(sizes[-fifth:])
            say(f"{program:10} {early:8.1f} → {late:8.1f} MB ({late / early - 1:+.1%})")
            if late > max((1.0 + GROWTH) * early, early + NOISE):
                wrong.append(f"{program} grew from {early:.1f} to {late:.1f} MB")
        return wrong


def main() -> int:
    """Soak, and tell."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leave nothing running
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--restart-every", type=float, default=5.0, help="of Redis [minutes]")
    wishes = parser.parse_args()
    with simulator(*MARKET) as served:
        settings = {**SETTINGS, **login(served)}
        with platform("--no-dashboard", settings=settings) as running:
            soak = Soak(running, 60.0 * wishes.restart_every)
            wait_until(lambda: not soak.stale(), seconds=180, what="levels of every symbol")
            soak.follow(wishes.ticks, wishes.minutes)
            problems = soak.problems + soak.grown()
            if soak.ticks <= wishes.ticks:
                problems.append(f"only {soak.ticks:,} ticks")
            say(
                f"{soak.ticks:,} ticks, {soak.restarts} restarts of Redis, levels fresh again "
                f"{soak.worst_recovery:.1f} s later at most: {'; '.join(problems) or 'all is well'}"
            )
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
