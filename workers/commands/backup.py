"""`gex backup` and `gex restore`: the history to a folder or an S3 bucket, and back.

Owns the commands; the work is done in common.db.backup.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Annotated

import typer

from common.db.archive import open_archive
from common.db.backup import Tally, backup, restore
from common.errors import UsageError
from workers.context import Context, console, print_json

Target = Annotated[
    str, typer.Argument(help="A folder, or s3://bucket/prefix; GEX_BACKUP_URL by default.")
]
Day = Annotated[str, typer.Option(help="One trading date alone, e.g. 2026-08-19.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PATIENCE_SECONDS = 3600.0
"""For one statement: a day is read, and compared, as a whole [s]."""


def back_up(target: Target = "", day: Day = "", json: Json = False) -> None:
    """Back up every stored day that is not there yet, or has grown; read back and compared."""
    _run(backup, target, day, "backed up", json=json)


def bring_back(target: Target = "", day: Day = "", json: Json = False) -> None:
    """Restore the days of a backup into a migrated and empty database; again is no harm."""
    _run(restore, target, day, "restored", json=json)


def _run(work: Callable[..., Tally], target: str, day: str, what: str, *, json: bool) -> None:
    context = Context.load()
    archive = open_archive(target or context.settings.backup_url, context.settings)
    tell = _teller(json=json)
    with context.database("backup", timeout_seconds=PATIENCE_SECONDS) as connection:
        _show(work(connection, archive, day=_date(day), tell=tell), what, json=json)


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise UsageError(f"{text!r} is no date, e.g. 2026-08-19") from error


def _teller(*, json: bool) -> Callable[[str], None]:
    return (lambda _: None) if json else console.print


def _show(tally: Tally, what: str, *, json: bool) -> None:
    if json:
        print_json({"days": tally.days, "rows": tally.rows, "skipped": tally.skipped})
        return
    console.print(
        f"{tally.days} days {what}, {tally.rows:,} rows; {tally.skipped} were there already"
    )
