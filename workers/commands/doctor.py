"""`gex doctor`: is everything as it should be, and if not, what to do.

Owns the checks; must not mend anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
from rich.table import Table

from common.bus import keys
from common.bus.cache import Cache
from common.bus.client import Client, bus_errors
from common.bus.dead_letters import DeadLetters
from common.bus.memory import Memory
from common.bus.spools import Spools
from common.bus.streams import Streams
from common.db import migrate, queries
from common.errors import GexError
from common.servers.supervisor import Supervisor
from common.settings import describe
from workers.commands.display import age_seconds, shown_state
from workers.context import Context, console, print_json

_MANY_PENDING = 1000
_PAGE_ADVICE = "see logs/dashboard.log"
_BEHIND_ADVICE = (
    "see `gex status`: is the worker of that group running? A group of yours that has none "
    "any more is given up by `gex worker forget GROUP`"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    check: str
    ok: bool
    detail: str
    advice: str = ""


def doctor(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Check settings, servers, feed, freshness, lag and invariants; say what to do.

    Exit code 1 when a check fails.
    """
    context = Context.load()
    findings = list(_all(context))
    settings = describe(context.settings)
    if json:
        print_json(
            {
                "ok": all(finding.ok for finding in findings),
                "findings": [asdict(finding) for finding in findings],
                "settings": [{"name": n, "value": v, "origin": o} for n, v, o in settings],
            }
        )
    else:
        _show(findings, settings)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _all(context: Context) -> Iterator[Finding]:
    instance = context.instance
    holder = instance.holder()
    yield Finding(
        "instance",
        holder is not None,
        f"pid {holder}" if holder else "not running",
        "" if holder else "start it with `gex up`",
    )
    if holder is not None:
        yield from _guarded("programs", lambda: _programs(context))
    client: Client | None = None
    try:
        client = context.reachable_redis()
    except GexError as error:
        yield Finding("redis", ok=False, detail=str(error), advice="see logs/redis.log")
    yield from _guarded("database", lambda: _database(context))
    if holder is not None and instance.dashboard_url():
        yield _page(instance.dashboard_url())
    if client is None:
        return
    present = client
    yield from _guarded("redis", lambda: _redis(present))
    yield from _guarded("redis memory", lambda: _memory(context, present))
    yield from _guarded("spool", lambda: _spool(present))
    yield from _guarded("streams", lambda: _streams(present))
    yield from _guarded("dead letters", lambda: _dead(present))
    cache = Cache(client)
    for symbol in context.settings.symbols:
        yield from _guarded(
            f"levels {symbol}",
            lambda s=symbol: _levels(context, cache, s),  # type: ignore[misc]
        )


def _guarded(check: str, findings: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """The findings of a check; a check that cannot be done is a finding too."""
    try:
        yield from findings()
    except GexError as error:
        yield Finding(check, ok=False, detail=str(error), advice="see the logs folder")


def _programs(context: Context) -> Iterator[Finding]:
    programs = Supervisor(context.instance).programs()
    wrong = [
        f"{program.name} {program.state.lower()}"
        for program in programs
        if program.state in ("FATAL", "BACKOFF")
        or (program.state == "EXITED" and program.exit_status)
    ]
    folder = context.instance.log_dir
    yield Finding(
        "programs",
        not wrong,
        ", ".join(wrong) or f"{len(programs)} as they should be",
        f"see {folder}" if wrong else "",
    )


def _redis(client: Client) -> Iterator[Finding]:
    with bus_errors():
        info: Any = client.info()
    name = (
        f"{info.get('server_name', 'redis')} {info.get('valkey_version') or info['redis_version']}"
    )
    major = int(str(info["redis_version"]).split(".")[0])
    yield Finding("redis", major >= 7, name, "" if major >= 7 else "Redis 7 or Valkey is needed")
    aof = bool(info.get("aof_enabled"))
    yield Finding(
        "redis durability",
        aof,
        "append-only file on" if aof else "append-only file off",
        "" if aof else "set `appendonly yes`, or a restart of Redis loses what is in flight",
    )
    policy = str(info.get("maxmemory_policy", "noeviction"))
    yield Finding(
        "redis eviction",
        policy == "noeviction",
        policy,
        ""
        if policy == "noeviction"
        else "set `maxmemory-policy noeviction`: streams must not vanish",
    )


def _memory(context: Context, client: Client) -> Iterator[Finding]:
    """How full Redis is, and what the platform does about it."""
    settings, share = context.settings, Memory(client).share()
    stages = (
        (1.0, "full, nothing more is taken in"),
        (settings.hold_share, "no quote is appended until there is room"),
        (settings.conflate_share, "of each contract the newest quote alone is appended"),
        (settings.spool_share, "what the database does not take is spooled"),
    )
    stage = next((said for mark, said in stages if share >= mark), "")
    with bus_errors():
        info: Any = client.info("memory")
    used, bound = int(info["used_memory"]) / 2**20, int(info.get("maxmemory", 0)) / 2**20
    if not bound:
        yield Finding(
            "redis memory",
            ok=False,
            detail=f"{used:.0f} MB, no bound",
            advice="set `maxmemory`: without it nothing is spooled nor conflated in time",
        )
        return
    detail = f"{used:.0f} of {bound:.0f} MB"
    yield Finding(
        "redis memory",
        not stage,
        f"{detail}: {stage}" if stage else detail,
        "the database is away or behind, or a worker is down; see `gex status`" if stage else "",
    )


def _spool(client: Client) -> Iterator[Finding]:
    """What waits in files for the database."""
    for name, spooled in Spools(client).all().items():
        waits = (
            f"{spooled.entries:,} entries of {name} wait for the database, "
            f"{spooled.size / 2**20:.1f} of {spooled.max_size / 2**20:.0f} MB"
        )
        advice = "bring the database back; they are loaded by themselves"
        if spooled.error:
            waits, advice = f"{waits}; {spooled.error}", "make room on the disk, or " + advice
        yield Finding(
            "spool",
            not spooled.entries and not spooled.error,
            waits if spooled.entries else "nothing waits",
            advice if spooled.entries else "",
        )


def _database(context: Context) -> Iterator[Finding]:
    with context.database("doctor") as connection:
        steps = migrate.status(connection)
        facts = queries.server_facts(connection)
    current = migrate.is_current(steps)
    yield Finding(
        "database", ok=True, detail=f"PostgreSQL {facts['server_version']}, {facts['engine']}"
    )
    yield Finding(
        "schema",
        current,
        f"{len(steps)} migrations" if current else "not current",
        "" if current else "run `gex db migrate`",
    )


def _page(url: str) -> Finding:
    """Whether the page is served; what it shows is another check's matter."""
    import httpx  # noqa: PLC0415  slow to import

    try:
        answer = httpx.get(url, timeout=5.0, trust_env=False)
    except httpx.HTTPError as error:
        return Finding("dashboard", ok=False, detail=f"{url}: {error}", advice=_PAGE_ADVICE)
    ok = answer.is_success
    detail = url if ok else f"{url} answers {answer.status_code}"
    return Finding("dashboard", ok, detail, "" if ok else _PAGE_ADVICE)


def _streams(client: Client) -> Iterator[Finding]:
    behind = []
    streams = Streams(client)
    for stream in streams.registered():
        states = {state.name: state for state in streams.groups(stream)}
        for group in dict.fromkeys([*keys.groups_of(stream), *states]):
            state = states.get(group)
            if state is None:
                behind.append(f"{stream} has no group {group}")
            elif state.lag + state.pending > _MANY_PENDING:
                behind.append(f"{group} is {state.lag + state.pending} entries behind on {stream}")
    yield Finding(
        "streams",
        not behind,
        "; ".join(behind) or "every group is up to date",
        _BEHIND_ADVICE if behind else "",
    )


def _dead(client: Client) -> Iterator[Finding]:
    counts = {}
    for group in DeadLetters(client).groups():
        with bus_errors():
            counts[group] = int(client.xlen(keys.dead(group)))
    total = sum(counts.values())
    detail = ", ".join(f"{group} {count}" for group, count in counts.items() if count)
    yield Finding(
        "dead letters",
        total == 0,
        detail or "none",
        "`gex dead list` shows them, `gex dead retry` drives them again" if total else "",
    )


def _levels(context: Context, cache: Cache, symbol: str) -> Iterator[Finding]:
    session = cache.session(symbol)
    if session is None:
        detail = f"{context.settings.feed_of(symbol)}: no session"
        yield Finding(f"feed {symbol}", ok=False, detail=detail, advice="see logs/ingest.log")
        return
    yield Finding(f"feed {symbol}", ok=True, detail=f"{session.feed}, {session.key}")
    latest = cache.latest(symbol)
    if latest is None:
        yield Finding(
            f"levels {symbol}",
            ok=False,
            detail="no fresh level",
            advice="see logs/celery.log, logs/beat.log and logs/greeks-0.log",
        )
        return
    state = shown_state(latest, context.settings.tick_seconds)
    coverage = latest["quality"]["coverage_oi"]
    covered = "no usable quote" if coverage is None else f"coverage {coverage:.0%} of open interest"
    yield Finding(
        f"levels {symbol}",
        state != "stale",
        f"{state}, {age_seconds(latest):.1f} s old, {covered}",
        "the feed or the workers are quiet; see `gex status`" if state == "stale" else "",
    )
    breaches = latest["invariants"]
    yield Finding(
        f"invariants {symbol}",
        not breaches,
        "; ".join(breaches) or "hold",
        "this is a defect; report it with the output of `gex levels --json`" if breaches else "",
    )


def _show(findings: list[Finding], settings: list[tuple[str, str, str]]) -> None:
    table = Table(show_header=False, box=None)
    for finding in findings:
        mark = "[green]ok[/]" if finding.ok else "[bold red]FAIL[/]"
        advice = f"[yellow]→ {finding.advice}[/]" if finding.advice else ""
        table.add_row(mark, finding.check, finding.detail, advice)
    console.print(table)
    shown = Table(title="settings in force", title_justify="left")
    for heading in ("setting", "value", "from"):
        shown.add_column(heading)
    for row in settings:
        shown.add_row(*row)
    console.print(shown)
