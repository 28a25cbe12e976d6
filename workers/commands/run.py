"""One run of the platform: everything started, followed and stopped in order.

Owns the life of an instance in the foreground; must not know a command's options.
"""

from __future__ import annotations

import logging
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from common.bus import keys
from common.bus.cache import Cache
from common.bus.memory import Memory
from common.bus.spools import Spools
from common.bus.streams import Streams
from common.db import migrate
from common.errors import ServiceError, UsageError
from common.servers.append_log import AppendLog
from common.servers.background import Background, find_way
from common.servers.instance import Runtime
from common.servers.supervisor import Program, Supervisor, end_leftovers
from common.settings import environment_for, feeds_text
from workers.commands.actors import actor_rows
from workers.commands.display import LevelsDisplay
from workers.commands.own_servers import check_own_servers
from workers.context import Context, console
from workers.watchdog import Watchdog

log = logging.getLogger(__name__)
_START_SECONDS = 90.0
_CHECK_SECONDS = 2.0
"""Between two looks at the programs; asking for them is nearly half of what following a run
costs [s]."""
_ATTEMPTS = 3
"""Starts that a program of the user's may need to say something."""
_NEEDED_FREE_BYTES = 200 * 1024 * 1024


class _Stopped(Exception):  # noqa: N818  not an error
    """Raised by SIGINT (Ctrl-C), SIGTERM and SIGHUP, which all end the run in order."""


@dataclass(slots=True)
class Run:
    """One run of the platform."""

    context: Context
    exit_at_end: bool
    seconds: float | None
    dashboard: bool = True
    supervisor: Supervisor = field(init=False)
    waking: set[str] = field(default_factory=set, init=False)
    """Programs that are being restarted because they stood still."""
    spoke: set[str] = field(default_factory=set, init=False)
    """Programs of the user's that have given a sign of life."""
    given_up: set[str] = field(default_factory=set, init=False)
    """Programs of the user's that supervisord starts no more, or again and again in vain."""
    background: Background = field(default_factory=lambda: Background(None), init=False)
    """What stores: it waits for those who are on the way to a level."""
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.supervisor = Supervisor(self.context.instance)

    def __call__(self) -> int:
        """Start everything, tell the levels, stop everything; the exit code."""
        instance = self.context.instance
        instance.make_folders()
        _check_room(instance.state_dir)
        check_own_servers(self.context)
        with instance.lock():
            instance.make_run_dir()
            ended = end_leftovers(instance)
            if ended:
                console.print(f"ended {ended} processes that a killed start had left running")
            runtime = instance.decide(dashboard=self.dashboard)
            _catch_signals()
            self.background = Background(find_way(instance.group))
            try:
                self.supervisor.start(self._environment(runtime))
                self._wait_until_ready()
                self._tell_where(runtime)
                return self._follow(runtime)
            except _Stopped:
                return 0
            finally:
                _ignore_signals()
                console.print("stopping …")
                self.background.release()
                self.supervisor.stop()
                self.background.close()
                instance.remove_run_dir()
                console.print("stopped")

    def _environment(self, runtime: Runtime) -> dict[str, str]:
        settings = self.context.settings
        passed = environment_for(
            settings,
            symbols=",".join(settings.symbols),
            feed=settings.feed,
            feeds=feeds_text(settings.feeds) or ",",  # none, whatever an .env says
            recording=settings.recording,
            speed=settings.speed,
        )
        return {
            **passed,
            "GEX_START_REDIS": str(runtime.embedded_redis).lower(),
            "GEX_START_POSTGRES": str(runtime.embedded_postgres).lower(),
            "GEX_START_SIMULATOR": str("simulator" in settings.feeds_in_use).lower(),
            "GEX_START_DASHBOARD": str(self.dashboard).lower(),
            "GEX_START_INGEST": str(set(settings.feeds_in_use) != {"none"}).lower(),
            "GEX_GREEKS_WORKERS": str(settings.greeks_workers),
        }

    def _wait_until_ready(self) -> None:
        self._wait("Redis", self.context.reachable_redis)
        self._wait("the database", self._schema_is_current)

    def _schema_is_current(self) -> None:
        with self.context.database("up") as connection:
            if not migrate.is_current(migrate.status(connection)):
                raise ServiceError("the schema is not migrated yet")

    def _wait(self, what: str, ready: Callable[[], Any]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        reason = ""
        with console.status(f"waiting for {what} …"):
            while time.monotonic() < deadline:
                self._check_programs()
                try:
                    ready()
                except ServiceError as error:
                    reason = str(error)
                else:
                    return
                time.sleep(0.2)
        raise ServiceError(f"{what} did not come up: {reason}")

    def _check_programs(self) -> list[Program]:
        """The programs as they are.

        :raises ServiceError: when one of them, or supervisord, has failed for good.
        """
        if not self.supervisor.alive:
            raise ServiceError("supervisord has ended; see logs/supervisord.log")
        programs = self.supervisor.programs()
        for program in programs:  # levels go on without one of the user's
            gone = program.name == "migrate" and program.state == "EXITED" and program.exit_status
            if (program.failed and program.ours) or gone:
                raise ServiceError(self._why(program.name))
        return programs

    def _look_after_own(
        self, cache: Cache, watch: Watchdog, programs: list[Program]
    ) -> Iterator[str]:
        """Let the watchdog know the actors of the user's own programs; what to say of those that
        do not run."""
        own = [program for program in programs if not program.ours]
        if any(program.pid for program in own):
            with suppress(ServiceError):  # Redis is away; the display says so
                actors = {row["pid"]: row for row in actor_rows(cache) if row["here"]}
                watch.others = {
                    program.name: (actors[program.pid]["group"], actors[program.pid]["name"])
                    for program in own
                    if program.pid in actors
                }
        self.spoke.update(watch.others)
        silent = {program.name for program in own} - self.spoke
        starts = self.supervisor.starts() if silent else {}
        given_up = {
            program.name
            for program in own
            if program.failed
            or (program.name in silent and starts.get(program.name, 0) > _ATTEMPTS)
        }
        for name in sorted(given_up - self.given_up):
            yield f"{self._why(name)}; what its group has not read fills Redis"
        self.given_up = given_up

    def _refused_feed(self, programs: list[Program]) -> str | None:
        """Why the ingestor has given up for good, or None: it says so by its exit code."""
        for program in programs:
            refused = program.exit_status == UsageError.exit_code
            if program.name == "ingest" and program.state == "EXITED" and refused:
                return self._why(program.name)
        return None

    def _why(self, name: str) -> str:
        log = self.context.instance.log_dir / f"{name}.log"
        return f"{name} does not run: {self.supervisor.log_tail(name, 1)} ({log})"

    def _tell_where(self, runtime: Runtime) -> None:
        instance = self.context.instance
        settings = self.context.settings
        if runtime.embedded_redis:
            example = f"HGETALL {keys.levels(settings.symbols[0])}"
            console.print(f"redis     redis-cli -p {runtime.redis_port} {example}")
        else:
            console.print("redis     yours (GEX_REDIS_URL)")
        where = instance.database_url() if runtime.embedded_postgres else "yours (GEX_DATABASE_URL)"
        console.print(f"database  {where}")
        console.print(f"flower    {instance.flower_url()}")
        if self.dashboard:
            url = instance.dashboard_url()
            console.print(f"[bold green]page      {url}[/]   (with the first level)")
        console.print(f"logs      {instance.log_dir}")
        feeds = [f"{feed}  {' '.join(names)}" for feed, names in settings.feeds_in_use.items()]
        console.print(f"feed      {', '.join(feeds)}   (Ctrl-C stops)")

    def _follow(self, runtime: Runtime) -> int:
        cache = Cache(self.context.redis())
        settings = self.context.settings
        symbols, tick = settings.symbols, settings.tick_seconds
        deadline = None if self.seconds is None else time.monotonic() + self.seconds
        checked, refused, programs = 0.0, None, []
        watch = self._watch(cache)
        log_file = AppendLog(cache.client) if runtime.embedded_redis else None
        with LevelsDisplay(symbols, began=self.began, tick_seconds=tick) as display:
            while deadline is None or time.monotonic() < deadline:
                now = time.monotonic()
                if now - checked >= _CHECK_SECONDS:
                    programs, checked = self._check_programs(), now
                    refused = self._refused_feed(programs)
                    for line in self._look_after_own(cache, watch, programs):
                        display.note(line)
                    for name in watch.look():
                        if name not in self.waking:
                            display.note(self._wake(cache, watch, name))
                    if refused and not display.has_levels:
                        raise ServiceError(refused)
                try:
                    if checked == now:
                        self._see_to_background(programs, log_file)
                    for symbol in symbols:
                        display.show(symbol, cache.latest(symbol))
                    if self.exit_at_end and self._is_finished(cache):
                        break
                except ServiceError as error:
                    display.note(str(error))
                if refused:  # the last levels stay on show, as stale as they are
                    display.warn(refused)
                time.sleep(0.5 if display.has_levels and not self.exit_at_end else 0.2)
        return 0

    def _see_to_background(self, programs: list[Program], log_file: AppendLog | None) -> None:
        """Who stores, and who rewrites Redis' log, waits for who is on the way to a level.

        :raises BusError: when Redis is out of reach, or refuses.
        """
        pids = {program.name: program.pid for program in programs}
        writers: set[int] = set()
        try:
            if log_file:
                writers = log_file.look()
        finally:
            self.background.look(pids.get("postgres", 0), pids.get("store", 0), *writers)

    def _watch(self, cache: Cache) -> Watchdog:
        settings = self.context.settings
        return Watchdog(
            cache,
            settings.symbols,
            [f"greeks-{number}" for number in range(settings.greeks_workers)],
            patience=max(settings.watchdog_seconds, 10.0 * settings.tick_seconds),
            memory=Memory(cache.client),
        )

    def _wake(self, cache: Cache, watch: Watchdog, program: str) -> str:
        """Restart a program that stands still, in the background; what to tell of it."""
        self.waking.add(program)

        def restart() -> None:
            try:
                self.supervisor.restart(program)
            except ServiceError as error:
                log.error("%s", error)
            watch.forget()
            self.waking.discard(program)

        threading.Thread(target=restart, daemon=True).start()
        with suppress(ServiceError):
            for symbol in self.context.settings.symbols:
                cache.add_counts(symbol, {f"watchdog_{program}": 1})
        return f"{program} stood still for {watch.patience:.0f} s; it is being restarted"

    def _is_finished(self, cache: Cache) -> bool:
        """Whether the feed is done, the last level of each symbol out, and everything stored."""
        if any(p.name == "ingest" and p.state != "EXITED" for p in self.supervisor.programs()):
            return False
        for symbol in self.context.settings.symbols:
            session, tick = cache.session(symbol), cache.tick(symbol)
            if session is None or not session.ended or tick is None:
                return False
            if tick.epoch != session.epoch or not tick.final:
                return False
        if any(spooled.entries for spooled in Spools(cache.client).all().values()):
            return False
        streams = Streams(cache.client)
        return all(streams.is_dealt_with(stream) for stream in streams.registered())


def _check_room(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < _NEEDED_FREE_BYTES:
        raise UsageError(
            f"only {free // 1024 // 1024} MB are free where {folder} is; the servers need 200 MB"
        )


def _catch_signals() -> None:
    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        raise _Stopped

    # SIGINT too: it may have been ignored by whoever started this in the background
    for name in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(name, stop)


def _ignore_signals() -> None:
    """Stopping is under way: a second Ctrl-C must not cut it short."""
    for name in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(name, signal.SIG_IGN)
