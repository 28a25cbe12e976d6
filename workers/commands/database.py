"""`gex db …`: the schema of the database.

Owns the commands; the work is done in common.db.
"""

from __future__ import annotations

import signal
import time
from typing import Annotated, Any

import typer
from rich.table import Table

from common.db import migrate as migrations
from common.db import queries
from common.db.policies import apply_policies, policies_of
from common.errors import ServiceError
from workers.context import Context, console, print_json, wait_for

database = typer.Typer(help="The schema of the database.", no_args_is_help=True)


@database.command()
def migrate(
    wait: Annotated[float, typer.Option(help="Wait this long for the server [s].", min=0)] = 0.0,
    stay: Annotated[
        bool, typer.Option("--stay", help="Stay when done, for runners that end with any program.")
    ] = False,
) -> None:
    """Bring the database to the schema of this build; what is applied already is left alone."""
    context = Context.load()
    deadline = time.monotonic() + wait
    done = 0

    def count(text: str) -> None:
        nonlocal done
        done += 1
        console.print(text)

    while True:
        left = max(0.0, deadline - time.monotonic())
        connection = wait_for(lambda: context.database("migrate"), seconds=left, what="PostgreSQL")
        try:
            with connection:
                migrations.migrate(connection, tell=count)
                apply_policies(connection, policies_of(context.settings))
            break
        except ServiceError as error:
            if not connection.broken or time.monotonic() >= deadline:
                raise
            console.print(f"{error}; going on once the server is there again")
    console.print(f"{done} migrations applied; the schema is current")
    if stay:
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


@database.command()
def status(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Which migrations the database has; exit code 1 unless it is current."""
    with Context.load().database("status") as connection:
        steps = migrations.status(connection)
        facts = queries.server_facts(connection)
        current = migrations.is_current(steps)
        series = queries.storage_report(connection) if current else []
    if json:
        rows = [
            {
                "version": step.version,
                "name": step.name,
                "applied_at": step.applied_at,
                "changed": step.changed,
            }
            for step in steps
        ]
        print_json({"current": current, "migrations": rows, "series": series, **facts})
    else:
        title = "PostgreSQL {server_version}, {engine}, {size}".format(**facts)
        table = Table(title=title)
        for name in ("version", "migration", "applied"):
            table.add_column(name)
        for step in steps:
            applied = step.applied_at.isoformat(timespec="seconds") if step.applied_at else "no"
            note = " (with another text!)" if step.changed else ""
            table.add_row(f"{step.version:04d}", step.name, applied + note)
        console.print(table)
        _show_series(series)
    if not current:
        raise ServiceError("the schema is not current; run `gex db migrate`")


def _show_series(series: list[dict[str, Any]]) -> None:
    if not series:
        return
    table = Table(title="series", title_justify="left")
    for name in ("series", "kept as", "parts", "MB", "compressed MB", "of MB"):
        table.add_column(name, justify="left" if name in ("series", "kept as") else "right")
    for row in series:
        sizes = ("bytes", "bytes_after_compression", "bytes_before_compression")
        shown = ("–" if row[size] is None else f"{row[size] / 1e6:,.1f}" for size in sizes)
        table.add_row(row["series"], row["kind"], str(row["parts"]), *shown)
    console.print(table)
