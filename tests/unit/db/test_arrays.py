"""Arrays as parameters, read back as psycopg reads what a server sends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from psycopg.adapt import Transformer
from psycopg.pq import Format

from common.db.arrays import Array, array, instant_array


def read(made: Array, number: int) -> list[object]:
    """The elements, by the number of the array's type in PostgreSQL."""
    loader = Transformer().get_loader(number, Format.BINARY)
    return list(loader.load(made.data))


@pytest.mark.parametrize(
    ("kind", "number", "values"),
    [
        ("?", 1000, [True, False]),
        (">i4", 1007, [0, -1, 2**31 - 1]),
        (">i8", 1016, [0, -(2**63), 2**63 - 1]),
        (">f8", 1022, [0.0, -1e300, float("inf")]),
    ],
)
def test_numbers_come_as_they_are(kind: str, number: int, values: list[float]) -> None:
    assert read(array(values, kind), number) == values
    assert read(array([], kind), number) == []


def test_nulls_are_left_out() -> None:
    values, nulls = np.arange(5), np.array([True, False, True, False, True])
    assert read(array(values, ">i8", nulls), 1016) == [None, 1, None, 3, None]
    assert read(array(values, ">i4", ~nulls | True), 1007) == [None] * 5
    assert read(array(values, ">i4", nulls & False), 1007) == list(range(5))


def test_instants_are_timestamps() -> None:
    first = datetime(2026, 8, 19, 16, tzinfo=UTC)
    times = int(first.timestamp()) * 1_000_000 + np.arange(3)
    assert read(instant_array(times), 1185) == [first + timedelta(microseconds=n) for n in range(3)]
