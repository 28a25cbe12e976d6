"""The Celery application: beat asks for a level every tick, the task computes it.

Owns the schedule and the thin tasks; must not hold finance. Run as
``celery -A workers.tasks worker|beat|flower``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from importlib.metadata import version
from typing import Any

from celery import Celery, signals
from celery.schedules import schedstate, schedule
from kombu.exceptions import OperationalError

from common.bus import keys
from common.bus.cache import Cache
from common.bus.client import connect
from common.bus.lock import Lock, name_of_process
from common.bus.memory import Memory
from common.clock import SECOND, wall_us
from common.db.policies import apply_policies, policies_of
from common.errors import BusError, ServiceError
from common.quant import kernels
from common.servers.instance import Instance
from common.settings import Settings, load_settings
from common.tick import TickPolicy, publish_tick
from workers.broker import wait_out_full_brokers
from workers.context import Context
from workers.startup import keep_heap, without_collecting

log = logging.getLogger(__name__)
TICK = "gex.tick"
UPKEEP = "gex.upkeep"
BACKUP = "gex.backup"
QUEUE = "gex"
UPKEEP_QUEUE = "gex-upkeep"
"""Has a worker of its own: what takes minutes must not hold up a tick."""
_BACKUP_PATIENCE = 3600.0
"""For a statement of a backup [s]."""
_LOCK_SECONDS = 2.0
"""And two ticks: so long a lock outlives a worker that was killed under it. One that takes longer
than that is overtaken, and puts no older level over a newer one."""
_LOCK_PAUSE = 0.02
"""Between two looks at a lock that another has [s]."""
_busy: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
"""Symbol → held by the thread that aggregates it; the lock in Redis is one of the process."""
_BEAT_DRIFT = 0.010
"""Celery's beat wakes this much before an entry says it is due [s]."""


class WallGrid(schedule):  # type: ignore[misc]  # celery has no types
    """Due once in every period of the wall clock, however long the last run took."""

    def __init__(self, seconds: float, **options: Any) -> None:
        super().__init__(run_every=seconds, **options)
        self._period = seconds

    def is_due(self, last_run_at: datetime) -> Any:
        """Whether the grid has moved on since the last run, and how long until it does [s]."""
        now = time.time()
        slot = now // self._period
        due = last_run_at.timestamp() // self._period < slot
        return schedstate(is_due=due, next=(slot + 1) * self._period - now + _BEAT_DRIFT)

    def __reduce__(self) -> Any:
        return type(self), (self._period,)


def make_app(settings: Settings) -> Celery:
    """The application for these settings; connects to nothing."""
    wait_out_full_brokers()
    app = Celery("gex", broker=_broker_url(settings))
    app.conf.update(
        task_default_queue=QUEUE,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_serializer="json",
        accept_content=["json"],
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_send_task_events=True,
        worker_enable_remote_control=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_keepalive": True,
            "socket_timeout": 10,
            "health_check_interval": 10,
            "visibility_timeout": 60,
        },
        beat_scheduler="workers.beat:LoneScheduler",
        beat_max_loop_interval=5,
        timezone="UTC",
        beat_schedule={
            f"tick-{symbol}": {
                "task": TICK,
                "schedule": WallGrid(settings.tick_seconds),
                "args": [symbol],
                "options": {"expires": settings.tick_seconds, "queue": QUEUE},
            }
            for symbol in settings.symbols
        }
        | {
            "upkeep": {
                "task": UPKEEP,
                "schedule": WallGrid(settings.upkeep_seconds),
                "options": {"expires": settings.upkeep_seconds, "queue": UPKEEP_QUEUE},
            }
        }
        | _backup_schedule(settings),
    )
    return app


def _backup_schedule(settings: Settings) -> dict[str, Any]:
    """Where there is an archive to back up to."""
    if not settings.backup_url:
        return {}
    return {
        "backup": {
            "task": BACKUP,
            "schedule": WallGrid(settings.backup_seconds),
            "options": {"expires": settings.backup_seconds, "queue": UPKEEP_QUEUE},
        }
    }


def _broker_url(settings: Settings) -> str:
    try:
        return Instance(settings).broker_url()
    except ServiceError:  # importing must not need a server; connecting will say what is missing
        return f"redis://{settings.listen_host}:{settings.redis_port}/1"


app = make_app(load_settings())


@signals.celeryd_init.connect  # type: ignore[untyped-decorator]  # celery has no types
@signals.beat_init.connect  # type: ignore[untyped-decorator]
def settle_broker(**_: Any) -> None:
    """Before a worker or beat connects: the address that the programs of this start agree on."""
    instance = Instance(load_settings())
    instance.make_folders()
    instance.runtime_or_decide()
    app.conf.broker_url = instance.broker_url()


@cache
def _settings() -> Settings:
    return load_settings()


@signals.worker_init.connect  # type: ignore[untyped-decorator]
def load_kernels(sender: Any = None, **_: Any) -> None:
    """Before the first tick: the compiled kernels, from their cache or compiled anew."""
    if str(getattr(sender, "hostname", "")).startswith("upkeep@"):
        return  # it computes nothing
    with without_collecting():
        kernels.load(folder=_settings().state_dir / "kernels")
    keep_heap()


@cache
def _cache() -> Cache:
    return Cache(connect(Instance(_settings()).redis_url()))


@cache
def _name() -> str:
    return name_of_process()


@cache
def _memory() -> Memory:
    return Memory(_cache().client)


@app.task(name=TICK)  # type: ignore[untyped-decorator]  # celery has no types
def tick(symbol: str, at: int | None = None) -> None:
    """Publish the level of a symbol.

    :param at: market time [us] a replay asks for; None is now.
    """
    settings, cached = _settings(), _cache()
    policy = TickPolicy(
        settings.quant, round(settings.tick_seconds * SECOND), version("gex-platform")
    )
    with _alone(symbol, settings.tick_seconds, waits=at is not None) as alone:
        if not alone:
            log.warning("%s: the tick before is still running", symbol)
            return
        outcome = publish_tick(
            *(cached, symbol, policy),
            wall_us=wall_us,
            at=at,
            recorded=_memory().share() < settings.hold_share,
        )
    log.debug("%s: %s", symbol, outcome)


@contextmanager
def _alone(symbol: str, tick_seconds: float, *, waits: bool) -> Iterator[bool]:
    """Whether nobody else aggregates a symbol meanwhile, in this process or in another.

    :param waits: for another to be done, as long as its lock may live.
    """
    lifetime = _LOCK_SECONDS + 2.0 * tick_seconds
    deadline = time.monotonic() + (lifetime + 1.0 if waits else 0.0)
    lock = Lock(
        *(_cache().client, keys.levels_lock(symbol)),
        name=_name(),
        milliseconds=round(1000.0 * lifetime),
    )
    if not _busy[symbol].acquire(timeout=max(0.0, deadline - time.monotonic())):
        yield False
        return
    try:
        while lock.holder():
            if time.monotonic() >= deadline:
                yield False
                return
            time.sleep(_LOCK_PAUSE)
        try:
            yield True
        finally:
            if not lock.release():
                log.warning("%s: a tick took longer than its lock", symbol)
    finally:
        _busy[symbol].release()


@app.task(name=UPKEEP)  # type: ignore[untyped-decorator]  # celery has no types
def upkeep() -> None:
    """Partitions ahead, old rows dropped, compression and retention as the settings say.

    :raises StorageError: when the database is out of reach; the next time will do.
    """
    with Context(_settings()).database("upkeep") as connection:
        log.info("upkeep: %s", apply_policies(connection, policies_of(_settings())))


@app.task(name=BACKUP)  # type: ignore[untyped-decorator]  # celery has no types
def back_up() -> None:
    """Every stored day that is not in the archive yet.

    :raises ArchiveError: when the archive fails, or a backup cannot be restored.
    :raises StorageError: when the database is out of reach.
    """
    from common.db.archive import open_archive  # noqa: PLC0415  only where it is needed
    from common.db.backup import backup  # noqa: PLC0415

    settings = _settings()
    opened = Context(settings).database("backup", timeout_seconds=_BACKUP_PATIENCE)
    with opened as connection:
        log.info("backup: %s", backup(connection, open_archive(settings.backup_url, settings)))


def request_tick(symbol: str, at: int) -> None:
    """Ask for the level of a replay's instant [us].

    :raises BusError: when the broker is out of reach; asking again is safe.
    """
    try:
        app.send_task(TICK, args=[symbol, at], queue=QUEUE)
    except OperationalError as error:
        raise BusError(f"the Celery broker is out of reach: {error}") from error
