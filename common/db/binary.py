"""Columns as PostgreSQL's binary COPY format, packed by arrays instead of row by row.

Owns that format (PostgreSQL manual, COPY, 'Binary Format'); must not know tables nor talk to a
server. A null or the length of a text changes the length of a row, so rows are packed by groups
of equal layout and put in order again: an index that grows at its end costs the server less.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
_PIECE = 8192
"""Rows of a piece of a COPY: as many as a processor's cache holds with what they are made of."""
_FIRST_PIECE = 1024
"""Rows of the first piece of a large one: the server has something to do soon."""
_GRID = 10_000
"""Prices are multiples of a 10,000th of a dollar, but for those that were computed; and the
base of the digits of the server's decimal numbers."""
_GRID_BOUND = 1e12
"""Multiples below this fit three digits."""
_DECIMALS = 1 + sum((np.arange(_GRID) % step != 0).astype(np.int64) for step in (1000, 100, 10))
"""Decimals of as many 10,000ths."""
_NEGATIVE, _INFINITE, _MINUS_INFINITE = 0x4000, 0xD000, 0xF000
"""Signs of decimal numbers."""
Index = npt.NDArray[np.intp]
_Rows = Index | slice
_Part = tuple[bytes, str, npt.NDArray[Any] | None]
"""What precedes a value in every row of a group, the values' type and the values; none where what
precedes is all."""


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

    def part(self, rows: _Rows, first: int) -> _Part:
        """A length and numbers, or the length that says null."""
        if self.nulls is not None and self.nulls[first]:
            return _length(-1), "", None
        return self.value(self.data[rows])

    def value(self, data: npt.NDArray[Any]) -> _Part:
        """Of numbers none of which is null."""
        return _length(np.dtype(self.kind).itemsize), self.kind, data

    def take(self, rows: Index) -> Fixed:
        """The column of these rows alone."""
        nulls = None if self.nulls is None else self.nulls[rows]
        return replace(self, data=self.data[rows], nulls=nulls)


class Decimals(Fixed):
    """Numbers as ``numeric`` of the fewest digits that tell each from its neighbours."""

    def value(self, data: npt.NDArray[Any]) -> _Part:
        """The server takes numbers with zeros around their digits, so all get as many."""
        numbers = _numerics(data)
        return _length(numbers.itemsize), numbers.dtype.str, numbers


@dataclass(frozen=True, slots=True)
class Texts:
    """A few different texts; ``codes`` are indices into ``choices``."""

    codes: npt.NDArray[np.integer[Any]]
    choices: tuple[bytes, ...]

    @property
    def variants(self) -> int:
        """One a length."""
        return len(set(map(len, self.choices)))

    def variant(self) -> Any:
        """By length."""
        lengths = [len(text) for text in self.choices]
        return np.unique(lengths, return_inverse=True)[1][self.codes]

    def part(self, rows: _Rows, first: int) -> _Part:
        """A length and texts; the whole where there is one text alone."""
        text = self.choices[int(self.codes[first])]
        if not text or len(self.choices) == 1:
            return _length(len(text)) + text, "", None
        return _length(len(text)), f"S{len(text)}", np.array(self.choices)[self.codes[rows]]

    def take(self, rows: Index) -> Texts:
        """The column of these rows alone."""
        return Texts(self.codes[rows], self.choices)


Column = Fixed | Texts
"""Values of one column, (n,). Each tells how many ``variants`` of layout its values have, the
``variant`` of each, and for a group of one variant, the ``first`` row of which is given too, its
``part`` of the rows."""


def floats(data: npt.NDArray[Any]) -> Fixed:
    """``float8``, null where NaN."""
    nulls = np.isnan(data)
    return Fixed(data, ">f8", nulls if nulls.any() else None)


def counts(data: npt.NDArray[Any]) -> Fixed:
    """``int4``, null where negative."""
    nulls = data < 0
    return Fixed(data, ">i4", nulls if nulls.any() else None)


def prices(data: npt.NDArray[Any]) -> Decimals:
    """``numeric``, null where NaN."""
    nulls = np.isnan(data)
    return Decimals(data, "", nulls if nulls.any() else None)


def _numerics(data: npt.NDArray[Any]) -> npt.NDArray[np.void]:
    """Of floats, none of which is NaN."""
    sizes = np.abs(data)
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
    rest = grid.astype(np.int64)
    for place in (before, before - 1, before - 2):
        whole = rest // _GRID
        fields[:, 4 + place] = rest - whole * _GRID
        rest = whole
    fields[:, 3] = _DECIMALS[fields[:, 4 + before]]
    wide = np.zeros((len(parsed), fields.shape[1] - 2), ">u2")
    for row, (sign, wholes, part, decimals) in zip(wide, parsed, strict=True):
        row[:2] = sign, decimals
        row[2 + before - len(wholes) : 2 + before] = wholes
        row[2 + before : 2 + before + len(part)] = part
    fields[odd, 2:] = wide[places]
    return fields.view(f"V{2 * fields.shape[1]}")[:, 0]


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


def pack(columns: Sequence[Column], rows: int) -> Iterator[bytes | bytearray]:
    """A whole binary COPY of ``rows`` rows, in pieces: the server takes one while the next is
    made."""
    if 0 < rows <= _PIECE:
        yield b"".join([_HEADER, _pack_piece(columns, 0, rows), _TRAILER])
        return
    yield _HEADER
    start, stop = 0, _FIRST_PIECE
    while start < rows:
        yield _pack_piece(columns, start, min(stop, rows))
        start, stop = stop, stop + _PIECE
    yield _TRAILER


def _pack_piece(columns: Sequence[Column], start: int, stop: int) -> bytes | bytearray:
    code = np.zeros(stop - start, dtype=np.int64)
    for column in columns:
        if column.variants > 1:
            code = code * column.variants + column.variant()[start:stop]
    if (code == code[0]).all():
        return _pack_group(columns, slice(start, stop), start, len(code))
    layouts, layout_of = np.unique(code, return_inverse=True)
    packed = np.empty(len(code), dtype=object)
    for number in range(len(layouts)):
        places = np.flatnonzero(layout_of == number)
        group = _pack_group(columns, places + start, start + int(places[0]), len(places))
        packed[places] = np.frombuffer(group, f"V{len(group) // len(places)}").tolist()
    return b"".join(packed.tolist())


def _pack_group(columns: Sequence[Column], rows: _Rows, first: int, size: int) -> bytearray:
    """Rows of the layout that the first of them has."""
    kinds: list[str] = []
    offsets: list[int] = []
    values: list[npt.NDArray[Any]] = []
    template = len(columns).to_bytes(2, "big")
    for column in columns:
        before, kind, found = column.part(rows, first)
        template += before
        if found is not None:
            kinds.append(kind)
            offsets.append(len(template))
            values.append(found)
            template += bytes(np.dtype(kind).itemsize)
    packed = bytearray(template) * size
    for kind, offset, found in zip(kinds, offsets, values, strict=True):
        np.ndarray(size, kind, packed, offset, len(template))[:] = found
    return packed


def _length(size: int) -> bytes:
    return size.to_bytes(4, "big", signed=True)
