"""A long backlog, and whoever works it off is killed, frozen or set back, by a seed.

Owns a Redis and Greeks workers of its own; what must be true stands in truth. A run of the whole
platform never falls so far behind that its workers read ahead of delivery: this one does.
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import redis
from harness import GEX, environment, state_folder, wait_until
from own_redis import OwnRedis
from truth import Log, left_over, states_that_differ

from common.bus import keys
from common.bus.codec import Result
from common.bus.entries import id_order
from common.bus.producer import Producer
from common.models import Expiry
from common.settings import load_settings
from workers.benches.sample import DAY, batches

SYMBOL = "SPY"
SHARDS = [Expiry(DAY + timedelta(days=number)).shard for number in range(4)]
ENTRIES, QUOTES = 20_000, 2
"""Entries of each shard, and quotes of each entry."""
FAULTS = 3
"""Of each kind, at least."""
_LEASE = 2.0
_AT_ONCE = 100


@dataclass(slots=True)
class Report:
    """What came of a run."""

    seed: int
    problems: list[str] = field(default_factory=list)
    looked_ahead: int = 0
    """Commits that moved a group beyond entries that had not been delivered."""

    def __str__(self) -> str:
        verdict = "all true" if not self.problems else "; ".join(self.problems)
        return f"backlog, seed {self.seed}: {verdict} ({self.looked_ahead} commits looked ahead)"


class Run:
    """A server with a backlog, and two workers."""

    def __init__(self, folder: Path, seed: int, say: Callable[[str], None]) -> None:
        self.folder, self.say = folder, say
        self.random = random.Random(seed)
        self.server = OwnRedis(folder)
        self.client = redis.Redis.from_url(self.server.url)
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.report = Report(seed)
        self.safe = 0

    def fill(self) -> None:
        """Append everything before anybody reads."""
        producer, made = Producer(self.client, SYMBOL, 1), batches(ENTRIES * QUOTES, QUOTES)
        for shard in SHARDS:
            for start in range(0, len(made), _AT_ONCE):
                producer.append_all([(shard, part) for part in made[start : start + _AT_ONCE]])
        self.safe = self.server.log.stat().st_size

    def start(self, name: str) -> None:
        """Run a worker."""
        settings = {"redis_url": self.server.url, "lease_seconds": str(_LEASE)}
        with (self.folder / f"{name}.out").open("ab") as output:
            self.workers[name] = subprocess.Popen(
                [GEX, "worker", "greeks", "--name", name],
                env=environment(self.folder, **settings),
                stdout=output,
                stderr=output,
                cwd=self.folder,
            )

    def work_off(self) -> None:
        """Let the workers do it, and disturb them at instants of their progress."""
        total = len(SHARDS) * ENTRIES * QUOTES
        for what in (self.kill, self.pause, self.cut) * FAULTS:
            if self.merged() >= total:  # there is nothing to disturb
                self.cut()
            at = min(total, self.merged() + self.random.randrange(total // FAULTS))
            wait_until(lambda at=at: self.merged() >= at, seconds=60, what="progress")  # type: ignore[misc]
            what()
        wait_until(
            lambda: self.merged() >= total and not self.unread(), seconds=120, what="the end"
        )
        self.count()

    def kill(self) -> None:
        """SIGKILL one of them and start it again."""
        name = self.random.choice(sorted(self.workers))
        self.say(f"kill {name} at {self.merged():,} quotes")
        self.workers[name].kill()
        self.workers[name].wait(30)
        self.start(name)

    def pause(self) -> None:
        """SIGSTOP one of them until its leases have run out."""
        name = self.random.choice(sorted(self.workers))
        self.say(f"pause {name} at {self.merged():,} quotes")
        self.workers[name].send_signal(signal.SIGSTOP)
        until = time.monotonic() + 2.0 * _LEASE
        wait_until(lambda: time.monotonic() > until, seconds=60, what="the leases' end")
        self.workers[name].send_signal(signal.SIGCONT)

    def cut(self) -> None:
        """Kill the server; it comes back without some of what was committed last."""
        self.count()
        size = self.server.log.stat().st_size
        keep = self.random.randrange(self.safe, size + 1)
        self.say(f"cut {size - keep:,} bytes of the log at {self.merged():,} quotes")
        self.server.kill_and_cut(keep)

    def count(self) -> None:
        """Remember what the server counts until it is killed."""
        seen: Any = self.client.info("commandstats")
        self.report.looked_ahead += seen.get("cmdstat_xgroup|setid", {}).get("calls", 0)

    def merged(self) -> int:
        """Quotes in the states."""
        return int(self.client.hget(keys.counters(SYMBOL), "quotes_processed") or 0)  # type: ignore[arg-type]

    def unread(self) -> list[str]:
        """What is left for the Greeks workers."""
        return [line for line in left_over(self.client) if f", {keys.GREEKS_GROUP}:" in line]

    def judge(self) -> Iterator[str]:
        """What is not true at the end, a line each."""
        log = Log.read(self.client, SYMBOL)
        yield from self.unread()
        yield from states_that_differ(log, self.client, load_settings(state_dir=self.folder).quant)
        if self.merged() != log.quotes:
            yield f"quotes_processed says {self.merged()}, the log has {log.quotes}"
        if self.client.xlen(keys.dead(keys.GREEKS_GROUP)):
            yield "there are dead letters"
        yield from self._results_not_in_order()

    def _results_not_in_order(self) -> Iterator[str]:
        """Each commit goes on from the one before it."""
        last: dict[str, str] = {}
        reply: Any = self.client.xrange(keys.greeks(SYMBOL))
        for _, fields in reply:
            header = Result.decode(fields).header
            if id_order(header.last_id) <= id_order(last.get(header.shard, "0-0")):
                yield f"{header.shard}: {header.last_id} follows {last[header.shard]}"
            last[header.shard] = header.last_id

    def dismiss(self) -> None:
        """End the workers."""
        for process in self.workers.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.workers.values():
            process.wait(60)


@contextmanager
def worked_off(seed: int, say: Callable[[str], None] = lambda _: None) -> Iterator[Run]:
    """A backlog after it was worked off, and what was not true of it."""
    folder = state_folder()
    run = Run(folder, seed, say)
    try:
        run.server.start()
        run.fill()
        for name in ("greeks-0", "greeks-1"):
            run.start(name)
        run.work_off()
        run.report.problems += run.judge()
        yield run
    finally:
        run.dismiss()
        run.server.stop()
        shutil.rmtree(folder, ignore_errors=True)
