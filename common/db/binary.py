"""Columns as PostgreSQL's binary COPY format, packed by arrays instead of row by row.

Owns that format (PostgreSQL manual, COPY, 'Binary Format'); must not know tables nor talk to a
server. A null or a text changes the length of a row, so rows are packed by groups of equal
layout; their order within a COPY is of no account.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from common.models import BoolArray

POSTGRES_EPOCH_US = 946_684_800_000_000
"""2000-01-01 UTC, from which the server counts [us since the Unix epoch]."""
POSTGRES_EPOCH_DAY = 730_120
"""``date(2000, 1, 1).toordinal()``."""
_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_PIECE = 4096
"""Rows of a piece of a COPY."""
_GRID = 10_000
"""Prices are multiples of a 10,000th of a dollar, but for those that were computed; and the
base of the digits of the server's decimal numbers."""
_GRID_BOUND = 1e12
"""Multiples below this fit three digits."""
_NEGATIVE, _INFINITE, _MINUS_INFINITE = 0x4000, 0xD000, 0xF000
"""Signs of decimal numbers."""
Index = npt.NDArray[np.intp]
_Part = tuple[bytes, str | None]
"""What precedes a value in every row of a group, and the value's type, None for no value."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """Numbers of one width; null where ``nulls``."""

    data: npt.NDArray[Any]
    kind: str
    """Big-endian numpy type, e.g. ``>f8``."""
    nulls: BoolArray | None = None

    @property
    def variants(self) -> int:
        """With a value, or without."""
        return 1 if self.nulls is None else 2

    def variant(self) -> Any:
        """1 for null."""
        return 0 if self.nulls is None else self.nulls

    def part(self, row: int) -> _Part:
        """A length and a number, or the length that says null."""
        if self.nulls is not None and self.nulls[row]:
            return _length(-1), None
        return _length(np.dtype(self.kind).itemsize), self.kind

    def values(self, rows: Index) -> npt.NDArray[Any]:
        """Of those rows."""
        return self.data[rows]

    def take(self, rows: Index) -> Fixed:
        """The column of these rows alone."""
        nulls = None if self.nulls is None else self.nulls[rows]
        return Fixed(self.data[rows], self.kind, nulls)


@dataclass(frozen=True, slots=True)
class Texts:
    """A few different texts; ``codes`` are indices into ``choices``."""

    codes: npt.NDArray[np.integer[Any]]
    choices: tuple[bytes, ...]

    @property
    def variants(self) -> int:
        """One a text."""
        return len(self.choices)

    def variant(self) -> Any:
        """The codes."""
        return self.codes

    def part(self, row: int) -> _Part:
        """The whole text, as it is the same throughout a group."""
        text = self.choices[int(self.codes[row])]
        return _length(len(text)) + text, None

    def values(self, rows: Index) -> None:
        """None."""

    def take(self, rows: Index) -> Texts:
        """The column of these rows alone."""
        return Texts(self.codes[rows], self.choices)


Column = Fixed | Texts
"""Values of one column, (n,). Each tells how many ``variants`` of layout its values have, the
``variant`` of each, and for a group of one variant the ``part`` that all its rows share and the
``values`` that follow it."""


def floats(data: npt.NDArray[Any]) -> Fixed:
    """``float8``, null where NaN."""
    nulls = np.isnan(data)
    return Fixed(data, ">f8", nulls if nulls.any() else None)


def counts(data: npt.NDArray[Any]) -> Fixed:
    """``int4``, null where negative."""
    nulls = data < 0
    return Fixed(data, ">i4", nulls if nulls.any() else None)


def prices(data: npt.NDArray[Any]) -> Fixed:
    """``numeric`` of the fewest digits that tell a number from its neighbours, null where NaN.

    The server takes numbers with zeros around their digits, so all rows get as many.
    """
    nulls = np.isnan(data)
    sizes = np.where(nulls, 0.0, np.abs(data))
    grid = np.rint(np.minimum(sizes * _GRID, _GRID_BOUND))
    odd = np.flatnonzero((grid / _GRID != sizes) | (grid >= _GRID_BOUND))
    grid[odd] = 0.0
    values, places = np.unique(data[odd], return_inverse=True)  # e.g. one spot of many quotes
    parsed = [_digits(value) for value in values.tolist()]
    before = max([2, *(len(whole) for _, whole, _, _ in parsed)])
    behind = max([1, *(len(part) for _, _, part, _ in parsed)])
    fields = np.zeros((len(data), 4 + before + behind), ">u2")
    fields[:, 0], fields[:, 1] = before + behind, before - 1
    fields[:, 2] = np.where(data < 0.0, _NEGATIVE, 0)
    whole = grid.astype(np.int64)
    fields[:, 3] = 1 + sum((whole % step != 0).astype(np.int64) for step in (1000, 100, 10))
    for place in (before, before - 1, before - 2):
        fields[:, 4 + place] = whole % _GRID
        whole //= _GRID
    wide = np.zeros((len(parsed), fields.shape[1] - 2), ">u2")
    for row, (sign, wholes, part, decimals) in zip(wide, parsed, strict=True):
        row[:2] = sign, decimals
        row[2 + before - len(wholes) : 2 + before] = wholes
        row[2 + before : 2 + before + len(part)] = part
    fields[odd, 2:] = wide[places]
    kind = f"V{2 * fields.shape[1]}"
    return Fixed(fields.view(kind)[:, 0], kind, nulls if nulls.any() else None)


def _digits(value: float) -> tuple[int, list[int], list[int], int]:
    """(sign, digits of the whole number, digits behind the point, decimals)."""
    if np.isinf(value):
        return (_INFINITE if value > 0.0 else _MINUS_INFINITE), [], [], 0
    whole, _, part = f"{Decimal(repr(abs(value))):f}".partition(".")
    width = len(str(_GRID)) - 1
    whole = whole.zfill(-(-len(whole) // width) * width)
    padded = part.ljust(-(-len(part) // width) * width, "0")
    wholes, parts = (
        [int(text[at : at + width]) for at in range(0, len(text), width)]
        for text in (whole, padded)
    )
    return (_NEGATIVE if value < 0.0 else 0), wholes, parts, len(part)


def instants(times_us: npt.NDArray[Any]) -> Fixed:
    """``timestamptz`` of instants [us since the Unix epoch]."""
    return Fixed(times_us - POSTGRES_EPOCH_US, ">i8")


def pack(columns: Sequence[Column], rows: int) -> Iterator[bytes]:
    """A whole binary COPY of ``rows`` rows, in pieces: the server takes one while the next is
    made."""
    yield _HEADER
    for start in range(0, rows, _PIECE):
        yield _pack_piece(columns, np.arange(start, min(start + _PIECE, rows)))
    yield _TRAILER


def _pack_piece(columns: Sequence[Column], rows: Index) -> bytes:
    code = np.zeros(len(rows), dtype=np.int64)
    for column in columns:
        if column.variants > 1:
            code = code * column.variants + column.variant()[rows]
    order = np.argsort(code, kind="stable")
    starts = np.flatnonzero(np.diff(code[order], prepend=-1))
    return b"".join(_pack_group(columns, rows[group]) for group in np.split(order, starts[1:]))


def _pack_group(columns: Sequence[Column], rows: Index) -> bytes:
    """Rows of one layout, as an array of records: what is constant, then a value, in turn."""
    layout: list[tuple[str, str]] = []
    constants: dict[str, bytes] = {}
    values: dict[str, npt.NDArray[Any]] = {}
    prefix = len(columns).to_bytes(2, "big")
    for number, column in enumerate(columns):
        before, kind = column.part(int(rows[0]))
        prefix += before
        found = column.values(rows) if kind else None
        if kind is None or found is None:
            continue
        layout += [(f"c{number}", f"V{len(prefix)}"), (f"v{number}", kind)]
        constants[f"c{number}"], values[f"v{number}"] = prefix, found
        prefix = b""
    if prefix:
        layout.append(("end", f"V{len(prefix)}"))
        constants["end"] = prefix
    records = np.empty(len(rows), dtype=np.dtype(layout))
    for name, constant in constants.items():
        records[name] = np.void(constant)
    for name, found in values.items():
        records[name] = found
    return records.tobytes()


def _length(size: int) -> bytes:
    return size.to_bytes(4, "big", signed=True)
