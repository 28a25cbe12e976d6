"""`gex status`: what runs, where, and how far each stage has come.

Owns collecting and showing it; must not judge (that is `gex doctor`).
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated, Any
from urllib.parse import urlsplit, urlunsplit

import typer
from rich.table import Table

from common.bus.cache import Cache
from common.bus.client import bus_errors
from common.bus.entries import age_of
from common.bus.spools import Spools
from common.bus.streams import Streams
from common.errors import GexError, ServiceError
from common.servers.supervisor import Supervisor
from workers.commands.actors import actor_rows, actors_table, with_work
from workers.context import Context, console, print_json


def status(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """What runs here, where it listens, and how far each stage has come.

    With --json, `redis_url` and `database_url` are complete and may hold a password.
    """
    context = Context.load()
    found = collect(context)
    if json:
        print_json(found)
    else:
        _show(found)


def collect(context: Context) -> dict[str, Any]:
    """Everything `gex status` tells, as one document."""
    instance = context.instance
    runtime = instance.runtime()
    holder = instance.holder()
    found: dict[str, Any] = {
        "running": holder is not None,
        "pid": holder,
        "state_dir": str(instance.state_dir),
        "redis_url": _or_none(instance.redis_url),
        "broker_url": _or_none(instance.broker_url),
        "database_url": instance.database_url(),
        "flower_url": instance.flower_url() or None,
        "dashboard_url": instance.dashboard_url() or None,
        "embedded": {
            "redis": bool(runtime and runtime.embedded_redis),
            "postgres": bool(runtime and runtime.embedded_postgres),
        },
        "programs": [],
        "actors": [],
        "symbols": {},
        "streams": [],
        "spools": [],
    }
    if holder is not None:
        supervisor = Supervisor(instance)
        starts = supervisor.starts()
        found["programs"] = [
            {
                "name": program.name,
                "state": program.state.lower(),
                "pid": program.pid or None,
                "seconds": round(time.time() - program.started_at, 1) if program.pid else None,
                "restarts": max(starts.get(program.name, 0) - 1, 0),
            }
            for program in supervisor.programs()
        ]
    try:
        client = context.redis()
        with bus_errors():
            client.ping()
        cache = Cache(client)
        found["symbols"] = {symbol: _symbol(cache, symbol) for symbol in cache.symbols()}
        found["streams"] = _streams(Streams(client))
        found["actors"] = with_work(
            actor_rows(cache), found["streams"], Streams(client), found["programs"]
        )
        found["spools"] = [
            {"store": name, **asdict(spooled)} for name, spooled in Spools(client).all().items()
        ]
    except ServiceError as error:
        found["redis_error"] = str(error)
    return found


def masked(url: str | None) -> str:
    """A URL without its password."""
    if not url:
        return "–"
    parts = urlsplit(url)
    if parts.password is None:
        return url
    netloc = parts.netloc.replace(f":{parts.password}@", ":********@")
    return urlunsplit(parts._replace(netloc=netloc))


def _symbol(cache: Cache, symbol: str) -> dict[str, Any]:
    session, tick, levels = cache.session(symbol), cache.tick(symbol), cache.levels(symbol)
    return {
        "session": session.key if session else None,
        "feed": session.feed if session else None,
        "epoch": session.epoch if session else None,
        "ended": session.ended if session else None,
        "state": levels.get("state"),
        "as_of": levels.get("as_of"),
        "published_at": levels.get("published_at"),
        "last_tick_us": tick.at if tick else None,
        "shards": cache.shards(symbol),
        "counters": cache.counters(symbol),
    }


def _streams(streams: Streams) -> list[dict[str, Any]]:
    rows = []
    for stream in streams.registered():
        with bus_errors():
            length = streams.client.xlen(stream)
        rows.append(
            {
                "stream": stream,
                "length": length,
                "groups": [
                    {
                        "group": group.name,
                        "lag": group.lag,
                        "pending": group.pending,
                        "oldest_pending": group.oldest_pending,
                        "oldest_pending_seconds": age_of(group.oldest_pending),
                    }
                    for group in streams.groups(stream)
                ],
            }
        )
    return rows


def _show(found: dict[str, Any]) -> None:
    console.print(
        f"[bold]{'running' if found['running'] else 'not running'}[/]"
        + (f" (pid {found['pid']})" if found["pid"] else "")
        + f"   state in {found['state_dir']}"
    )
    for name in ("redis_url", "database_url", "flower_url", "dashboard_url"):
        console.print(f"{name.removesuffix('_url'):<9} {masked(found[name])}")
    if found["programs"]:
        console.print(_programs_table(found["programs"]))
    if found["actors"]:
        console.print(actors_table(found["actors"]))
    for symbol, row in found["symbols"].items():
        console.print(
            f"{symbol}: feed {row['feed'] or '–'} session {row['session']} epoch {row['epoch']} "
            f"state {row['state'] or 'no fresh level'} as of {row['as_of'] or '–'}"
        )
        counters = ", ".join(f"{name} {value:,}" for name, value in row["counters"].items())
        console.print(f"  {counters}")
    if found["streams"]:
        console.print(_streams_table(found["streams"]))
    for row in found["spools"]:
        if row["entries"]:
            console.print(
                f"spool of {row['store']}: {row['entries']:,} entries wait for the database, "
                f"{row['size'] / 2**20:.1f} of {row['max_size'] / 2**20:.0f} MB, since "
                f"{time.time() - row['since']:.0f} s"
            )
    if "redis_error" in found:
        console.print(found["redis_error"])


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading)
    return table


def _programs_table(rows: list[dict[str, Any]]) -> Table:
    table = _table("programs", "program", "state", "pid", "up for", "restarts")
    for row in rows:
        up_for = f"{row['seconds']:.0f} s" if row["seconds"] is not None else ""
        restarts = str(row.get("restarts") or "")
        table.add_row(row["name"], row["state"], str(row["pid"] or ""), up_for, restarts)
    return table


def _streams_table(rows: list[dict[str, Any]]) -> Table:
    table = _table("streams", "stream", "entries", "group", "lag", "pending", "oldest")
    for row in rows:
        for group in row["groups"]:
            age = group["oldest_pending_seconds"]
            table.add_row(
                row["stream"],
                str(row["length"]),
                group["group"],
                str(group["lag"]),
                str(group["pending"]),
                "" if age is None else f"{age:.1f} s",
            )
    return table


def _or_none(read: Any) -> str | None:
    try:
        url: str = read()
    except GexError:
        return None
    return url
