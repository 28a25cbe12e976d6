"""The binary COPY format, read back as the server reads it."""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.db.binary import (
    POSTGRES_EPOCH_US,
    Column,
    Fixed,
    Texts,
    counts,
    floats,
    instants,
    pack,
    prices,
)


def read(data: bytes) -> list[list[bytes | None]]:
    """The fields of every row, as the manual describes them."""
    assert data[:19] == b"PGCOPY\n\xff\r\n\0" + bytes(8)
    at, rows = 19, []
    while (fields := struct.unpack_from(">h", data, at)[0]) != -1:
        at += 2
        row: list[bytes | None] = []
        for _ in range(fields):
            (length,) = struct.unpack_from(">i", data, at)
            at += 4
            row.append(None if length < 0 else data[at : at + length])
            at += max(length, 0)
        rows.append(row)
    assert at + 2 == len(data), "nothing follows the end"
    return rows


def packed(columns: list[Column], rows: int) -> list[list[bytes | None]]:
    return read(b"".join(pack(columns, rows)))


numbers = st.one_of(st.just(float("nan")), st.floats(allow_nan=False))


@given(
    st.lists(
        st.tuples(numbers, st.integers(-5, 2**31 - 1), st.integers(0, 2), numbers), max_size=40
    )
)
def test_what_is_packed_is_what_is_read(rows: list[tuple[float, int, int, float]]) -> None:
    texts = (b"C", b"", b"crossed")
    prices, sizes, codes, lasts = (
        np.array([row[n] for row in rows], dtype=kind)
        for n, kind in enumerate(("f8", "i8", "i8", "f8"))
    )
    columns: list[Column] = [
        Fixed(np.arange(len(rows)), ">i8"),
        floats(prices),
        counts(sizes),
        Texts(codes, texts),
        floats(lasts),
    ]

    def value(number: float, kind: str) -> Any:
        absent = number != number or (kind == ">i" and number < 0)  # noqa: PLR0124  NaN
        return None if absent else struct.pack(kind, number)

    assert packed(columns, len(rows)) == [
        [struct.pack(">q", n), value(price, ">d"), value(size, ">i"), texts[code],
         value(last, ">d")]
        for n, (price, size, code, last) in enumerate(rows)
    ]  # fmt: skip


def decimal(field: bytes | None) -> str | None:
    """A ``numeric`` as the server prints it."""
    if field is None:
        return None
    count, weight, sign, scale = struct.unpack_from(">HhHH", field)
    if sign in (0xD000, 0xF000):
        return "inf" if sign == 0xD000 else "-inf"
    digits = struct.unpack_from(f">{count}H", field, 8)
    assert len(field) == 8 + 2 * count
    assert all(digit < 10_000 for digit in digits)
    powers = [weight - n for n in range(count)]
    total = sum((Decimal(d).scaleb(4 * p) for d, p in zip(digits, powers, strict=True)), Decimal(0))
    text = f"{total:.{scale}f}"
    assert Decimal(text) == total, "no digit is cut off"
    return f"-{text}" if sign == 0x4000 else text


quoted = st.one_of(
    st.just(float("nan")),
    st.integers(-(10**6), 10**13).map(lambda ticks: ticks / 10_000),
    st.floats(-1e9, 1e9),
)


@given(st.lists(quoted, max_size=20))
def test_a_price_is_stored_by_its_shortest_digits(values: list[float]) -> None:
    data = np.array(values, dtype=np.float64)
    rows = packed([Fixed(np.arange(len(data)), ">i8"), prices(data)], len(data))
    found = {struct.unpack(">q", number or b"")[0]: decimal(field) for number, field in rows}
    for number, value in enumerate(data.tolist()):
        text = found[number]
        assert (text is None) == np.isnan(value)
        if text is not None:
            assert float(text) == value
            assert text.lstrip("-") == f"{Decimal(repr(abs(value))):f}"


@pytest.mark.parametrize(
    "value",
    [0.0, 0.01, 12.5, 640.0, 9999.9999, 10_000.0, 99_999_999.99, 1e8, 1e8 + 0.01, 1e22, 1e300,
     1 / 3, 0.1 + 0.2, 1e-5, 5e-324, -0.05, -1e-7, float("inf"), float("-inf")],
)  # fmt: skip
def test_a_price_of_any_size_is_stored(value: float) -> None:
    pairs = packed([prices(np.array([value, 0.25, np.nan]))], 3)
    fields = sorted(text for (field,) in pairs if (text := decimal(field)) is not None)
    assert "0.25" in fields
    assert value in [float(text) for text in fields]
    assert len(fields) == 2


def test_more_rows_than_a_piece_holds_are_one_copy() -> None:
    count = 20_000
    odd = np.arange(count) % 3 == 0
    values = np.where(odd, 1 / 3, np.arange(count) / 100)
    values[np.arange(count) % 7 == 0] = np.nan
    rows = packed([Fixed(np.arange(count), ">i8"), prices(values)], count)
    assert [struct.unpack(">q", row[0] or b"")[0] for row in rows] == list(range(count))
    found = [float(decimal(row[1]) or "nan") for row in rows]
    assert np.array_equal(found, values, equal_nan=True)


def test_instants_count_from_the_servers_epoch() -> None:
    ((field,),) = packed([instants(np.array([POSTGRES_EPOCH_US + 7]))], 1)
    assert field == struct.pack(">q", 7)


def test_rows_are_taken_with_their_nulls() -> None:
    prices, texts = floats(np.array([1.0, np.nan, 3.0])), Texts(np.array([0, 1, 1]), (b"a", b"bb"))
    chosen = np.array([1, 2])
    assert packed([prices.take(chosen), texts.take(chosen)], 2) == [
        [None, b"bb"],
        [struct.pack(">d", 3.0), b"bb"],
    ]


def test_texts_of_one_length_are_of_one_layout() -> None:
    """Calls and puts take turns; by layout they would be stored out of order."""
    texts = (b"ok", b"C", b"P", b"")
    assert Texts(np.array([1, 2]), texts[1:3]).variants == 1
    codes = np.array([1, 2, 1, 3, 0, 2])
    assert packed([Texts(codes, texts)], 6) == [[texts[code]] for code in codes.tolist()]


def test_no_row_is_an_empty_copy() -> None:
    assert packed([floats(np.array([]))], 0) == []
