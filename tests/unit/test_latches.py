"""Counts latched by the compiled kernel and by plain numpy: the same ones, quote by quote."""

from __future__ import annotations

import numpy as np
import pytest

from common.latches import Held, Latches
from common.quant import kernels

NAN = np.nan
CONTRACTS = 300  # more than a new table has places


def latched(places: np.ndarray, values: np.ndarray, kind: kernels.Name) -> tuple[Held, Latches]:
    kernels.use(kind)
    latches = Latches()
    for key in range(CONTRACTS):
        latches.place("2026-08-19", 2 * key)
    halves = np.array_split(np.arange(len(places)), 2)
    found = [latches.take(places[half], values[half]) for half in halves]
    kernels.use("compiled")
    counts = np.concatenate([each.counts for each in found])
    return Held(counts, sum(each.fallen for each in found)), latches


def quotes(random: np.random.Generator, count: int) -> np.ndarray:
    """Quotes of prices that meet each other, and counts that rise, fall and are missing."""
    bids = random.choice([NAN, 0.0, 1.0, 1.1], count)
    asks = random.choice([NAN, 1.0, 1.2, 1.3], count)
    lasts = random.choice([NAN, 1.0, 1.1, 1.15, 1.2], count)
    volumes, interests = random.integers(-1, 9, count), random.integers(-1, 4, count)
    ones = np.ones(count)
    return np.stack([bids, asks, lasts, ones, ones, volumes, interests], 1)


@pytest.mark.parametrize("seed", range(30))
def test_the_same_whatever_comes(seed: int) -> None:
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 200))
    of = CONTRACTS if seed % 3 else 5  # now and then a few contracts again and again
    places, values = random.integers(0, of, count), quotes(random, count)
    compiled, known = latched(places, values, "compiled")
    plain, also_known = latched(places, values, "plain")

    assert compiled.counts.tolist() == plain.counts.tolist()
    assert compiled.fallen == plain.fallen
    again = np.arange(of)
    nothing = np.tile([NAN, NAN, NAN, -1.0, -1.0, -1.0, -1.0], (of, 1))
    after = [each.take(again, nothing).counts.tolist() for each in (known, also_known)]
    assert after[0] == after[1]


@pytest.mark.parametrize("kind", ["compiled", "plain"])
def test_volume_goes_to_the_side_of_each_trade_of_one_flush(kind: kernels.Name) -> None:
    rows = [
        [1.0, 1.2, 1.1, 1, 1, 100, 50],  # the first volume has no side
        [1.0, 1.2, 1.2, 1, 1, 110, 70],  # ten bought; the open interest stays
        [1.0, 1.2, 1.0, 1, 1, 115, 50],  # five sold
        [1.0, 1.2, 1.1, 1, 1, 118, 50],  # at the middle, above the trade before: three bought
        [1.0, 1.2, 1.2, 1, 1, 90, 50],  # less than is known: nothing
    ]
    found, _ = latched(np.zeros(5, np.int64), np.array(rows, np.float64), kind)
    assert found.counts.tolist() == [
        [100, 50, 0, 0],
        [110, 50, 10, 0],
        [115, 50, 10, 5],
        [118, 50, 13, 5],
        [118, 50, 13, 5],
    ]
    assert found.fallen == 1


def test_a_place_that_there_is_not_changes_nothing() -> None:
    kernels.use("compiled")
    counts, prices = np.full((3, 4), -1), np.full((3, 3), NAN)
    values, held, fallen = np.ones((2, 7)), np.empty((2, 4), np.int64), np.empty(1)
    for bad in (-1, 3):
        places = np.array([0, bad])
        assert not kernels.active().latch(places, values, counts, prices, held, fallen)
        assert (counts == -1).all()
