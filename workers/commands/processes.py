"""`gex serve …` and `gex worker …`: the commands that supervisord and the Procfile run.

Owns building each process from the settings; must not hold what a process does.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import sys
import time
from contextlib import suppress
from dataclasses import replace
from typing import Annotated

import typer

from common.bus.cache import Cache
from common.bus.leases import Leases
from common.bus.memory import Marks, Memory
from common.bus.producer import Keep
from common.bus.spools import Spools
from common.bus.streams import Streams
from common.clock import SECOND, wall_us
from common.errors import ServiceError
from common.servers.instance import Runtime
from common.settings import Settings, parse_speed
from workers.actor import Actor
from workers.context import Context, software, wait_for
from workers.handling import Policy
from workers.startup import be_prompt, keep_heap, step_back, without_collecting

_WATCHER_PATIENCE = 20.0
"""Flower and the page start after this, level or not [s]."""
_PAGE_PATIENCE = 1.0
"""How long the page waits for Redis, three times, before it says that it is away [s]."""
_QUICK_SECONDS = 0.5
"""What an ingestor lets an append take before it leaves it to a thread [s]; it reads nothing
meanwhile."""
_GREEKS_BYTES = 2 * 2**20
"""A round of a backlog takes so much of a quotes stream whose entries are small [bytes]."""
_BEFORE_TICKS = 0.01
"""So long before a tick states are committed, if its period is a multiple of theirs [s]: a
commit takes some milliseconds."""
_SPOOL_PATIENCE = 60.0
"""How long a store worker waits for Redis, and for a predecessor to let go of its spool [s]."""
_FLOWER_TASKS = 1000
"""Flower remembers so many tasks of six kilobytes each; by itself it would a hundred thousand,
and grow for a day."""
serve = typer.Typer(help="Run one of the embedded servers in the foreground.", no_args_is_help=True)
worker = typer.Typer(help="Run one worker in the foreground.", no_args_is_help=True)


def begin() -> Context:
    """The context of a worker: its log started, the addresses agreed on."""
    context = Context.load()
    logging.basicConfig(
        level=context.settings.log_level,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each request
    _runtime(context)
    return context


def _runtime(context: Context) -> Runtime:
    """What `gex up` decided, or what a server started alone decides now."""
    context.instance.make_folders()
    return context.instance.runtime_or_decide()


def _wait_for_a_level(context: Context) -> None:
    """Let the first level come first: a watcher must not take the processor from it."""
    deadline = time.monotonic() + _WATCHER_PATIENCE
    while time.monotonic() < deadline:
        with suppress(ServiceError):
            cache = context.cache()
            if any(cache.levels(symbol) for symbol in context.settings.symbols):
                return
        time.sleep(0.25)


def idle(reason: str) -> None:
    """Say why there is nothing to do and stay: a Procfile ends when one of its programs does."""
    typer.echo(reason)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


@serve.command("redis")
def serve_redis() -> None:
    """The embedded Redis (Valkey): anyone on this machine may read, only you may write."""
    context = Context.load()
    if context.settings.redis_url is not None:
        idle("GEX_REDIS_URL names a server of yours; there is nothing to serve")
        return
    from common.servers import redis_server  # noqa: PLC0415

    redis_server.run(context.instance, _runtime(context))


@serve.command("postgres")
def serve_postgres() -> None:
    """The embedded PostgreSQL: on a unix socket that only you can reach."""
    step_back()
    context = Context.load()
    if context.settings.database_url is not None:
        idle("GEX_DATABASE_URL names a server of yours; there is nothing to serve")
        return
    from common.servers import postgres_server  # noqa: PLC0415

    _runtime(context)
    postgres_server.run(context.instance)


@serve.command("flower")
def serve_flower() -> None:
    """Flower, the page that watches the Celery worker."""
    step_back()
    context = Context.load()
    runtime = _runtime(context)
    _wait_for_a_level(context)
    arguments = [
        "celery",
        "-A",
        "workers.tasks",
        "flower",
        f"--address={context.settings.listen_host}",
        f"--port={runtime.flower_port}",
        f"--max_tasks={_FLOWER_TASKS}",
        "--loglevel=WARNING",
    ]
    os.execvp(arguments[0], arguments)  # noqa: S606  a fixed command


@serve.command("dashboard")
def serve_dashboard() -> None:
    """The page: levels, charts and the day's history in a browser."""
    step_back()
    context = begin()
    settings, runtime = context.settings, _runtime(context)
    if set(settings.feeds_in_use) != {"none"}:
        _wait_for_a_level(context)
    from workers.dashboard.documents import Documents  # noqa: PLC0415  Dash, only where it is needed
    from workers.dashboard.history import History  # noqa: PLC0415
    from workers.dashboard.page import Page, serve_page  # noqa: PLC0415

    documents = Documents(
        cache=Cache(context.redis(timeout=_PAGE_PATIENCE)),
        history=History(lambda: context.database("dashboard")),
        symbols=settings.symbols,
        period_ms=1000 * settings.tick_seconds,
        replay_period_ms=1000 * settings.replay_tick_seconds / parse_speed(settings.speed),
        wall_us=wall_us,
    )
    port = runtime.dashboard_port or settings.dashboard_port  # 0: `gex up --no-dashboard`
    serve_page(Page(documents), host=settings.listen_host, port=port)


@worker.command("ingest")
def worker_ingest() -> None:
    """The ingestor: the configured feed onto the quotes streams."""
    from common.quant import kernels  # noqa: PLC0415  numpy, only where needed
    from workers.commands.feeds import make_feeds  # noqa: PLC0415
    from workers.delivery import Restraint  # noqa: PLC0415
    from workers.ingest import Ingestor, Pace  # noqa: PLC0415
    from workers.tasks import request_tick  # noqa: PLC0415

    context = begin()
    settings = context.settings
    kernels.load(folder=settings.state_dir / "kernels")
    pace = Pace(
        flush_seconds=settings.flush_milliseconds / 1000.0,
        flush_rows=settings.flush_rows,
        speed=parse_speed(settings.speed),
        grid_us=round(settings.replay_tick_seconds * SECOND),
        keep=Keep(settings.reappend_seconds, round(settings.reappend_mb * 2**20)),
        restraint=Restraint(
            Marks(settings.spool_share, settings.conflate_share, settings.hold_share),
            settings.conflated_flush_seconds,
        ),
    )
    client, quick = context.redis(), context.redis(timeout=_QUICK_SECONDS, retries=0)
    ingestors = [
        Ingestor(client, symbol, feed, pace, request_tick, memory=Memory(client), quick=quick)
        for symbol, feed in make_feeds(context).items()
    ]

    async def run() -> None:
        def stop() -> None:
            for ingestor in ingestors:
                ingestor.stop()

        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stop)
        async with asyncio.TaskGroup() as group:
            for ingestor in ingestors:
                group.create_task(ingestor.run())

    be_prompt()
    try:
        asyncio.run(run())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors


@worker.command("greeks")
def worker_greeks(
    name: Annotated[str, typer.Option(help="Unique among the Greeks workers.")] = "greeks-0",
) -> None:
    """A Greeks worker: implied volatilities and Greeks of the shards it holds."""
    context = begin()
    settings = context.settings
    with without_collecting():
        from common.live import LiveLevels, LivePace  # noqa: PLC0415
        from common.quant import kernels  # noqa: PLC0415
        from workers.greeks import GreeksHandler, Live  # noqa: PLC0415

        kernels.load(folder=settings.state_dir / "kernels")
    keep_heap()
    be_prompt()
    client = context.redis()
    leases = Leases(
        client,
        name=name,
        token=f"{os.getpid()}-{secrets.token_hex(6)}",
        milliseconds=round(settings.lease_seconds * 1000),
    )
    live = Live(
        LiveLevels(settings.quant, software()),
        LivePace(settings.live_share),
        ttl_ms=round(3000 * settings.tick_seconds),
    )
    handler = GreeksHandler(client, leases, settings.quant, live)
    run(Actor(Streams(client), handler, name, greeks_policy(settings)))


@worker.command("store")
def worker_store(
    name: Annotated[str, typer.Option(help="Unique among the store workers.")] = "store-0",
) -> None:
    """A store worker: everything the streams carry into the database."""
    step_back()
    from common.db.store import Store  # noqa: PLC0415
    from common.spool import Spool  # noqa: PLC0415
    from workers.spooling import SpoolingHandler  # noqa: PLC0415
    from workers.store import ROUND_BYTES, StoreHandler  # noqa: PLC0415

    context = begin()
    settings = context.settings
    client = context.redis()
    store, beside = (
        Store(
            lambda: context.database(name, timeout_seconds=settings.statement_seconds),
            software=software(),
            conflate_seconds=settings.conflate_seconds,
        )
        for _ in range(2)
    )
    stored = StoreHandler(
        client,
        store,
        beside=beside,
        strike_seconds=settings.strike_seconds,
        keep_seconds=settings.keep_seconds,
    )
    max_bytes = round(settings.spool_max_mb * 2**20)
    handler = SpoolingHandler(
        stored,
        Spool(settings.state_dir / "spool" / name, max_bytes=max_bytes),
        spools=Spools(client),
        streams=Streams(client),
        memory=Memory(client),
        consumer=name,
        mark=settings.spool_share,
        max_bytes=max_bytes,
    )
    wait_for(handler.open, seconds=_SPOOL_PATIENCE, what="the spool")
    policy = replace(
        usual_policy(settings),
        small_bytes=ROUND_BYTES,
        gather_seconds=settings.gather_milliseconds / 1000.0,
    )
    be_prompt()
    run(Actor(Streams(client), handler, name, policy))


def greeks_policy(settings: Settings) -> Policy:
    """How a Greeks worker reads: a backlog in large rounds, what is live at once."""
    return replace(
        usual_policy(settings),
        small_bytes=_GREEKS_BYTES,
        look_ahead=True,
        defer_seconds=settings.commit_milliseconds / 1000.0,
        defer_before=_BEFORE_TICKS,
    )


def usual_policy(settings: Settings) -> Policy:
    """How any worker reads, by the settings in force."""
    return Policy(
        reclaim_ms=round(settings.reclaim_seconds * 1000), max_deliveries=settings.max_deliveries
    )


def run(actor: Actor) -> None:
    """Let an actor work until it is told to stop."""
    actor.stop_on_signals()
    actor.run()
