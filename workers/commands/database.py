"""`gex db …`: the schema of the database.

Owns the commands; the work is done in common.db.
"""

from __future__ import annotations

import signal
from typing import Annotated

import typer
from rich.table import Table

from common.db import migrate as migrations
from common.db import queries
from common.db.connection import Connection
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

    def connect() -> Connection:
        return context.database("migrate")

    with wait_for(connect, seconds=wait, what="PostgreSQL") as connection:
        done = migrations.migrate(connection, tell=console.print)
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
        print_json({"current": current, "migrations": rows, **facts})
    else:
        engine = f"TimescaleDB {facts['timescaledb']}" if facts["timescaledb"] else "no TimescaleDB"
        table = Table(title=f"PostgreSQL {facts['server_version']}, {engine}, {facts['size']}")
        for name in ("version", "migration", "applied"):
            table.add_column(name)
        for step in steps:
            applied = step.applied_at.isoformat(timespec="seconds") if step.applied_at else "no"
            note = " (with another text!)" if step.changed else ""
            table.add_row(f"{step.version:04d}", step.name, applied + note)
        console.print(table)
    if not current:
        raise ServiceError("the schema is not current; run `gex db migrate`")
