"""Quotes merged by the compiled kernel and by plain numpy: the same rows, the same counts."""

from __future__ import annotations

import numpy as np
import pytest

from common.models import QUOTE, Rows
from common.quant import kernels
from common.state import Merge, merged


def rows(keys: np.ndarray, seqs: np.ndarray) -> Rows:
    found = np.zeros(len(keys), QUOTE)
    found["key"], found["seq"] = keys, seqs
    found["bid"] = np.arange(len(keys)) + 0.25
    found["sold"] = np.arange(len(keys))  # the last bytes of a row
    return found


def both(held: Rows, new: Rows) -> tuple[Merge, Merge]:
    before = held.tobytes()
    kernels.use("plain")
    plain = merged(held, new)
    kernels.use("compiled")
    compiled = merged(held, new)
    assert held.tobytes() == before
    return compiled, plain


@pytest.mark.parametrize("seed", range(40))
def test_the_same_whatever_comes(seed: int) -> None:
    random = np.random.default_rng(seed)
    known = np.unique(random.integers(2, 120, 60))
    held = rows(known, random.integers(-5, 50, known.size))
    among = known if seed % 4 else np.arange(130)  # now and then a contract that is new
    count = int(random.integers(1, 80))
    new = rows(random.choice(among, count), random.integers(-5, 60, count))
    compiled, plain = both(held, new)
    assert compiled.rows.tobytes() == plain.rows.tobytes()
    assert compiled.touched.tolist() == plain.touched.tolist()
    assert compiled.late == plain.late
    newest = {int(row["key"]): int(row["seq"]) for row in held}
    for row in new:
        newest[int(row["key"])] = max(int(row["seq"]), newest.get(int(row["key"]), -9))
    assert dict(zip(*(compiled.rows[n].tolist() for n in ("key", "seq")), strict=True)) == newest
    assert compiled.rows["key"].tolist() == sorted(newest)


def test_of_equal_numbers_the_last_one_stays() -> None:
    held = rows(np.array([10, 11]), np.array([5, 5]))
    new = rows(np.array([10, 10, 11]), np.array([5, 5, 4]))
    for found in both(held, new):
        assert found.rows["bid"].tolist() == [1.25, 1.25]  # the second new one; the held one
        assert found.late == 3
        assert found.touched.tolist() == [True, True]


def test_no_quotes_change_nothing() -> None:
    held = rows(np.array([10]), np.array([5]))
    found = merged(held, held[:0])
    assert found.rows is held
    assert not found.touched.any()
