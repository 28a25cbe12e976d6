"""One chaos run: a live session under load, everything going wrong by a seed, then the truth.

Owns the order of a run; what goes wrong stands in plan and havoc, what must be true in truth.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis
from harness import Platform, platform, wait_until
from havoc import Havoc
from plan import plan
from simulated import login, simulator
from truth import (
    Log,
    counters_that_differ,
    greeks_not_stored,
    left_over,
    levels_not_once,
    not_sent_once,
    not_stored_once,
    states_that_differ,
)
from witness import Witness

from common.bus.cache import Cache
from common.bus.streams import Streams
from common.clock import parse_instant, wall_us
from common.db.connection import Connection, connect
from common.errors import ServiceError
from common.quant import kernels
from common.settings import load_settings

SYMBOL = "SPY"
RECLAIM = 3.0
"""After which the entries of a silent worker are taken over [s]."""
_SPEED, _STEP = 20.0, 0.1
"""Market seconds in a second, and seconds between two steps: some thousand quotes a second."""
_HOURS = 4.5
"""Of market time there are from the start, 11:00 in New York, until shortly before the close."""
SETTINGS = {
    "greeks_workers": "2",
    "expirations": "4",
    "tick_seconds": "0.5",
    "lease_seconds": "2",
    "reclaim_seconds": str(RECLAIM),
    "keep_seconds": "360000",  # the streams are the log: nothing of them is trimmed
}


@dataclass(slots=True)
class Report:
    """What came of a run."""

    seed: int
    seconds: float
    problems: list[str] = field(default_factory=list)
    figures: dict[str, int | float] = field(default_factory=dict)

    def __str__(self) -> str:
        figures = ", ".join(f"{name} {value:,}" for name, value in self.figures.items())
        verdict = "all true" if not self.problems else "; ".join(self.problems)
        return f"seed {self.seed}, {self.seconds:g} s: {verdict} ({figures})"


@dataclass(frozen=True, slots=True)
class Rest:
    """A platform that has been through it and has come to rest."""

    running: Platform
    client: redis.Redis
    havoc: Havoc
    witness: Witness
    restarts: Mapping[str, int]
    """Program → how often it had been started again when the run was over."""
    woken: Mapping[str, int]
    """The counters at that moment: what the watchdog had restarted is among them."""
    report: Report

    @contextmanager
    def database(self) -> Iterator[Connection]:
        """A connection to its database."""
        with connect(self.running.status()["database_url"], name="truth") as connection:
            yield connection

    def problems(self) -> Iterator[str]:
        """What is not true of it, a line each."""
        settings = load_settings(state_dir=self.running.state)
        client, parameters = self.client, settings.quant
        kernels.load(folder=settings.state_dir / "kernels")
        log = Log.read(client, SYMBOL)
        yield from left_over(client)
        yield from not_sent_once(log, self.witness.seen)
        yield from counters_that_differ(log, client)
        yield from states_that_differ(log, client, parameters)
        with self.database() as connection:
            yield from not_stored_once(log, connection)
            yield from greeks_not_stored(client, SYMBOL, connection)
            yield from levels_not_once(client, SYMBOL, connection, parameters, self.witness.levels)
        yield from self._restarts_not_counted()

    def _restarts_not_counted(self) -> Iterator[str]:
        """Programs whose count of restarts is not what was done to them, here and by `gex up`."""
        for program, counted in sorted(self.restarts.items()):
            known = self.havoc.caused[program] + self.woken.get(f"watchdog_{program}", 0)
            if counted != known:
                yield f"{program} had to start again {known} times, {counted} were counted"


def chaos(seed: int, seconds: float, say: Callable[[str], None]) -> Report:
    """Run it and judge.

    :param seconds: for how long things go wrong [s]; starting, coming to rest and the judgement
        take about half a minute more.
    :param say: is told each act as it is done.
    """
    with at_rest(seed, seconds, say) as rest:
        rest.report.problems += rest.problems()
        return rest.report


@contextmanager
def at_rest(seed: int, seconds: float, say: Callable[[str], None]) -> Iterator[Rest]:
    """A platform after a chaos run."""
    with (
        simulator(*_market(seconds)) as served,
        platform("--no-dashboard", settings={**SETTINGS, **login(served)}) as running,
    ):
        running.levels(SYMBOL, seconds=180)
        url = running.status()["redis_url"]
        with redis.Redis.from_url(url) as client, Witness(url, SYMBOL) as witness:
            havoc = Havoc(running, served, say)
            havoc.follow(plan(seed, seconds, reclaim=RECLAIM), seconds)
            began = time.monotonic()
            with _logs_kept(running, seed, say):
                _wait_for_new_levels(running, client)
            waited = time.monotonic() - began
            restarts, woken = havoc.restarts(), Cache(client).counters(SYMBOL)
            _come_to_rest(running, havoc, client)
            say("all is at rest; looking at what is there")
            report = Report(seed, seconds, figures=_figures(client, witness))
            report.figures["restarts"] = sum(restarts.values())
            report.figures["seconds until levels were fresh"] = round(waited, 1)
            yield Rest(running, client, havoc, witness, restarts, woken, report)


def _market(seconds: float) -> tuple[str, ...]:
    """Options of a simulator whose session outlasts the run."""
    speed = min(_SPEED, 3600.0 * _HOURS / (seconds + 300.0))
    return ("--start", "2026-11-23T11:00", "--step", str(_STEP), "--speed", str(speed))


@contextmanager
def _logs_kept(running: Platform, seed: int, say: Callable[[str], None]) -> Iterator[None]:
    """What is left of a run that does not recover: its folder goes, its logs and status stay."""
    try:
        yield
    except AssertionError:
        kept = Path(tempfile.mkdtemp(prefix=f"gex-chaos-{seed}-"))
        shutil.copytree(running.state / "logs", kept / "logs")
        (kept / "status.json").write_text(json.dumps(running.status(), indent=1))
        say(f"its logs and its status are in {kept}")
        raise


def _wait_for_new_levels(running: Platform, client: redis.Redis) -> None:
    """A level that all workers have had a part in, of quotes that are newer than now."""
    cache, began = Cache(client), wall_us()

    def fresh() -> bool:
        running.check_alive()
        try:
            session, latest = cache.session(SYMBOL), cache.latest(SYMBOL)
        except ServiceError:  # Redis is on its way up
            return False
        if session is None or latest is None or latest["state"] != "live":
            return False
        return parse_instant(latest["newest_quote_at"]) > session.clock.market(began)

    wait_until(fresh, seconds=90, what="fresh levels after all has been given back")


def _come_to_rest(running: Platform, havoc: Havoc, client: redis.Redis) -> None:
    """Stop what sends, in order, and let the workers finish."""
    for program in ("ingest", "beat", "celery"):
        havoc.stop(program)
    streams = Streams(client)

    def rests() -> bool:
        running.check_alive()
        groups = [g for stream in streams.registered() for g in streams.groups(stream)]
        return not any(group.pending or group.lag for group in groups)

    wait_until(rests, seconds=90, what="workers that are done with everything")


def _figures(client: redis.Redis, witness: Witness) -> dict[str, int | float]:
    counters = Cache(client).counters(SYMBOL)
    names = (
        "batches_appended quotes_appended quotes_known entries_redelivered levels_published"
    ).split()
    return {
        **{name: counters.get(name, 0) for name in names},
        "runs of the ingestor": len({epoch for _, epoch, _ in witness.seen}),
        "by the watchdog": sum(n for name, n in counters.items() if name.startswith("watchdog_")),
    }
