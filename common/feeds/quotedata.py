"""Cboe's quote table as its page saves it, ``<symbol>_quotedata.csv``: a strike per row.

Owns that CSV's layout; must not touch a file. Above the table stand the underlying with its
price and a date in the reader's language, which is when the page was made: the quotes are
older (:func:`common.feeds.cboe.market_times`).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import StringIO

from common.errors import InputError
from common.feeds.cboe import MarketTimes, market_times
from common.feeds.page_date import page_instant
from common.feeds.roots import INDEXES, OCC_SYMBOL, main_underlying
from common.feeds.snapshot import (
    FileSnapshot,
    SnapshotRows,
    at_or_before,
    number,
    price,
)

_TOP = 12
"""The table begins within this many lines."""
_PRICE = re.compile(r"\bLast:\s*([\d,]*\.?\d*)\s*(?:,\s*Change:|,*$)")
_DATE = re.compile(r"\bDate:\s*(.*?)\s*(?:,\s*Bid:|,*$)")
_NEEDED = ("Bid", "Ask", "Open Interest")
_VENDOR = ("IV", "Delta", "Gamma")
Cells = list[str]


@dataclass(frozen=True, slots=True)
class _Side:
    """Where one right's cells stand in a row; -1 for a column that is missing."""

    name: int
    quote: tuple[int, ...]
    counts: tuple[int, ...]
    vendor: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Table:
    """What is above the table, and its rows."""

    top: list[str]
    width: int
    sides: tuple[_Side, _Side]
    strike: int
    rows: list[Cells]


def is_quotedata(text: str) -> bool:
    """Whether a CSV is such a table: a header with calls and puts near its top."""
    lines = text.lstrip().split("\n", _TOP)[:_TOP]
    return any(_is_header(line.split(",")) for line in lines)


def parse_quotedata(text: str, *, at_us: int | None, symbol: str | None) -> FileSnapshot:
    """The snapshot of a table for which :func:`is_quotedata` holds.

    A row of another width than the header counts as two contracts that are not named.

    :param at_us: latest market time wanted; the time itself where the date line is no help [us].
    :param symbol: the underlying; by default that of most option roots.
    :raises InputError: without columns, contracts, price or time, or when it is later.
    """
    table = _table(text)
    symbol = symbol.upper() if symbol else _symbol(table)
    rows = SnapshotRows()
    for row in table.rows:
        _add(rows, row, table, symbol)
    if rows.first_expiration is None:
        raise InputError(f"the table holds no options on {symbol}")
    spot = _spot(table.top)
    times = _times(table.top, rows, symbol, at_us)
    as_of = at_or_before(times.quotes, at_us)
    return rows.build(symbol=symbol, as_of=as_of, spot=spot, spot_at=times.price)


def _is_header(cells: Sequence[str]) -> bool:
    names = {cell.strip().strip('"') for cell in cells}
    return {"Calls", "Puts"} <= names


def _table(text: str) -> _Table:
    try:
        lines = [row for row in csv.reader(StringIO(text, newline="")) if any(row)]
    except csv.Error as error:
        raise InputError(f"broken CSV, {error}") from error
    at = next((at for at, row in enumerate(lines[:_TOP]) if _is_header(row)), None)
    if at is None:
        raise InputError("broken CSV, the header cannot be read")
    header = [cell.strip() for cell in _trimmed(lines[at])]
    calls, puts = header.index("Calls"), header.index("Puts")
    if calls > puts:
        raise InputError("the columns are out of order: Puts before Calls")
    sides = (_side(header, calls, puts), _side(header, puts, len(header)))
    if not all(side.vendor for side in sides):
        sides = (replace(sides[0], vendor=()), replace(sides[1], vendor=()))
    return _Table(
        top=[",".join(row) for row in lines[:at]],
        width=len(header),
        sides=sides,
        strike=header.index("Strike") if "Strike" in header else -1,
        rows=[_trimmed(row, len(header)) for row in lines[at + 1 :]],
    )


def _trimmed(row: Cells, width: int = 0) -> Cells:
    """The row without the empty cells that a spreadsheet pads it with."""
    end = len(row)
    while end > width and not row[end - 1].strip():
        end -= 1
    return row[:end]


def _side(header: Sequence[str], first: int, end: int) -> _Side:
    """The columns of one right: those from its symbol up to the other's."""
    where = {name: first + at for at, name in enumerate(header[first:end])}
    missing = [name for name in _NEEDED if name not in where]
    if missing:
        raise InputError(f"column {', '.join(missing)} of the {header[first]} is missing")
    vendor = tuple(where[name] for name in _VENDOR if name in where)
    return _Side(
        name=first,
        quote=tuple(where.get(name, -1) for name in ("Bid", "Ask", "Last Sale")),
        counts=(-1, -1, where.get("Volume", -1), where["Open Interest"]),
        vendor=vendor if len(vendor) == len(_VENDOR) else (),
    )


def _symbol(table: _Table) -> str:
    names = (row[side.name] for row in table.rows for side in table.sides if side.name < len(row))
    matches = (OCC_SYMBOL.fullmatch(name) for name in names)
    symbol = main_underlying(match.group(1) for match in matches if match)
    if symbol is None:
        raise InputError("the table holds no option symbols")
    return symbol


def _add(rows: SnapshotRows, row: Cells, table: _Table, symbol: str) -> None:
    """Take the call and the put of one strike."""
    if len(row) != table.width:
        rows.unnamed += len(table.sides)
        return
    level = price(row[table.strike]) if table.strike >= 0 else None
    for side in table.sides:
        rows.add_listed(
            name=row[side.name],
            underlying=symbol,
            quote=[_cell(row, at) for at in side.quote],
            counts=[_cell(row, at) for at in side.counts],
            vendor=[row[at] for at in side.vendor],
            strike=level,
        )


def _cell(row: Cells, at: int) -> str | None:
    return row[at] if at >= 0 else None


def _spot(top: Sequence[str]) -> float:
    """The underlying's price; thousands may be set apart by commas."""
    for line in top:
        found = _PRICE.search(line)
        if found:
            spot = number(found.group(1).replace(",", ""))
            if spot > 0.0:
                return spot
    raise InputError("the table holds no price of the underlying (Last: ...)")


def _times(top: Sequence[str], rows: SnapshotRows, symbol: str, at_us: int | None) -> MarketTimes:
    """When the quotes and the price are of; an index has no price before the open."""
    lines = [found.group(1) for found in map(_DATE.search, top) if found and found.group(1)]
    try:
        if not lines:
            raise InputError("the table carries no date; give --at")
        made = page_instant(lines[0], first_expiration=rows.first_expiration)
    except InputError:
        if at_us is None:
            raise
        return MarketTimes(at_us, at_us)
    times = market_times(made=made, traded=None)
    return MarketTimes(times.quotes, times.quotes) if symbol in INDEXES else times
