"""`gex history`: stored levels of a span, or the chain as of any second of a stored day.

Owns how they are asked for and shown; the work is done in common.db.queries and common.as_of.
"""

from __future__ import annotations

import csv
import re
import sys
from datetime import date, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer
from rich import box
from rich.table import Table

from common.clock import iso_ms, parse_instant, to_datetime
from common.db import queries
from common.db.connection import Connection
from common.errors import UsageError
from workers.commands.display import money, number
from workers.commands.levels import curve_plot, strike_table
from workers.context import Context, console, print_json

if TYPE_CHECKING:
    from common.as_of import AsOf

_BUCKET = re.compile(r"(\d+)([smh])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours"}
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_LONG = timedelta(minutes=1)
"""A gap between levels that is worth a word."""
_Rows = list[dict[str, Any]]


def history(
    symbol: Annotated[str, typer.Argument(help="The underlying, e.g. SPY.")] = "SPY",
    since: Annotated[
        str, typer.Option("--from", help="ISO 8601, New York unless it says; or a date.")
    ] = "",
    until: Annotated[str, typer.Option("--to", help="Exclusive; a date is its whole day.")] = "",
    bucket: Annotated[str, typer.Option(help="30s, 1m, 5m, 1h …; 'tick' is every level.")] = "1m",
    at: Annotated[str, typer.Option(help="The chain as of this second, built anew.")] = "",
    session: Annotated[str, typer.Option(help="Key of one session; all by default.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    parquet: Annotated[bool, typer.Option("--parquet", help="Write Parquet.")] = False,
    contracts: Annotated[
        bool, typer.Option("--contracts", help="With --at: every contract too.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="A file instead of the screen.")] = None,
) -> None:
    """Stored levels: by time buckets of a span (the last stored day by default), or --at a time.

    With --at, chain, levels and profile are computed from the stored quotes and compared with
    what was published then, if anything was at that instant; exit code 1 if they differ.
    """
    if sum((json, as_csv, parquet)) > 1:
        raise UsageError("choose one of --json, --csv and --parquet")
    if at and (as_csv or parquet or since or until):
        raise UsageError("--at goes with --json, --contracts and --session only")
    if parquet and output is None and sys.stdout.isatty():
        raise UsageError("Parquet is no text; name a file with --output")
    context = Context.load()
    with context.database("history") as connection:
        if at:
            from common.as_of import as_of  # noqa: PLC0415  numpy, only where it is needed

            instant = parse_instant(at)
            found = as_of(
                connection,
                symbol.upper(),
                instant,
                context.settings.quant,
                session=session or None,
            )
            _show_moment(found, json=json, contracts=contracts)
            return
        span = _span(connection, symbol.upper(), since, until, session or None)
        rows = queries.history(connection, span, bucket=parse_bucket(bucket))
    if not rows:
        raise UsageError(
            f"no level of {span.symbol} is stored from {span.since:%Y-%m-%d %H:%M} UTC "
            f"to {span.until:%Y-%m-%d %H:%M} UTC"
        )
    if as_csv:
        _write_csv(rows, output)
    elif parquet:
        _write_parquet(rows, output)
    elif json:
        _print_rows(span, bucket, rows, output)
    else:
        _show_rows(rows)


def parse_bucket(text: str) -> timedelta:
    """The length that a text such as ``5m`` names; ``tick`` is the shortest there is.

    :raises UsageError: when it names none.
    """
    if text == "tick":
        return timedelta(microseconds=1)
    match = _BUCKET.fullmatch(text)
    if match is None or not int(match[1]):
        raise UsageError(f"{text!r} is no time bucket; e.g. 30s, 1m, 5m, 1h or tick")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _span(
    connection: Connection, symbol: str, since: str, until: str, session: str | None
) -> queries.Span:
    """What was asked for; what was not is the last stored day's."""
    day = None if since and until else queries.last_day(connection, symbol, session)
    if not (since and until) and day is None:
        raise UsageError(f"nothing of {symbol} is stored")
    first = _instant(since or str(day), end=False)
    last = _instant(until or str(max(day, first.date()) if day else day), end=True)
    if last <= first:
        raise UsageError("--to must be after --from")
    return queries.Span(symbol, first, last, session)


def _instant(text: str, *, end: bool) -> datetime:
    at = to_datetime(parse_instant(text))
    whole_day = end and _DATE.fullmatch(text.strip())
    return at + timedelta(days=1) if whole_day else at


def _print_rows(span: queries.Span, bucket: str, rows: _Rows, output: Path | None) -> None:
    document = {"symbol": span.symbol, "bucket": bucket, "rows": rows}
    if output is None:
        print_json(document)
        return
    import orjson  # noqa: PLC0415

    output.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))


def _write_csv(rows: _Rows, output: Path | None) -> None:
    with output.open("w", newline="") if output else sys.stdout as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(rows[0])
        for row in rows:
            writer.writerow({**row, "time": row["time"].isoformat()}.values())


def _write_parquet(rows: _Rows, output: Path | None) -> None:
    import pyarrow as pa  # noqa: PLC0415  slow to import
    import pyarrow.parquet as pq  # noqa: PLC0415

    target: BinaryIO | Path = output or sys.stdout.buffer
    pq.write_table(pa.Table.from_pylist(rows), target, compression="zstd")


def _show_rows(rows: _Rows) -> None:
    """A table for each session and day, narrow enough for 80 characters."""

    def place(row: dict[str, Any]) -> tuple[date, str]:
        return row["time"].date(), row["session"]

    for (day, session), group in groupby(sorted(rows, key=place), place):
        found = list(group)
        table = Table(
            title=f"{session}  {day} UTC  {len(found)} rows",
            title_justify="left",
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
        )
        table.add_column("time")
        for name in ("spot", "net GEX", "low", "high", "zero γ", "call\nwall", "put\nwall"):
            table.add_column(name, justify="right", no_wrap=True)
        for row in found:
            table.add_row(
                f"{row['time']:%H:%M:%S}",
                number(row["spot"]),
                *(money(row[name]) for name in ("net_gex", "net_gex_low", "net_gex_high")),
                *(number(row[name]) for name in ("zero_gamma", "call_wall", "put_wall")),
            )
        console.print(table)


def _show_moment(found: AsOf, *, json: bool, contracts: bool) -> None:
    document = found.to_json(contracts=contracts)
    if json:
        print_json(document)
    else:
        levels = found.levels
        console.print(
            f"{levels.symbol} {iso_ms(levels.as_of)}  {found.session}  spot {number(levels.spot)}  "
            f"net GEX {money(levels.net_gex)}  {levels.regime}"
        )
        profile = {**document["profile"], "state": "history"}
        console.print(strike_table(profile))
        console.print(curve_plot(profile, min(console.width, 110)))
        console.print(_verdict(found))
    if found.differences():
        raise typer.Exit(1)


def _verdict(found: AsOf) -> str:
    if found.published is None:
        verdict = "no level was published at this very instant; built of every quote by then"
        age = timedelta(microseconds=found.levels.as_of - found.last_level_at)
        if age < _LONG:
            return verdict
        last = iso_ms(found.last_level_at)
        return f"{verdict}\n[yellow]the last level by then is of {last}, {age} before[/]"
    if found.differences():
        return f"differs from what was published then: {', '.join(found.differences())}"
    return "equal to what was published then"
