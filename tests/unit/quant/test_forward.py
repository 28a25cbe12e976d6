"""The parity forward: exact pairs, outliers, mismatched spots, the fall-back."""

from __future__ import annotations

import numpy as np
import pytest

from common.quant.blackscholes import price
from common.quant.forward import carry_basis, imply_forward, weighted_median

STRIKES = np.arange(740.0, 761.0)
DISCOUNT = 0.9995
BASIS = 1.0003


def imply(spots=750.0, **changes):
    spots = np.broadcast_to(np.asarray(spots, dtype=np.float64), STRIKES.shape).copy()
    mids = [
        price(
            forwards=BASIS * spots,
            strikes=STRIKES,
            years=0.01,
            sigmas=0.2,
            discounts=DISCOUNT,
            puts=side,
        )
        for side in (False, True)
    ]
    given = {
        "strikes": STRIKES,
        "call_mids": mids[0],
        "put_mids": mids[1],
        "call_spreads": np.full(STRIKES.size, 0.02),
        "put_spreads": np.full(STRIKES.size, 0.02),
        "call_spots": spots,
        "put_spots": spots.copy(),
        "discounts": np.full(STRIKES.size, DISCOUNT),
        "carry_basis": 1.0001,
        "nearest": 10,
        "least": 3,
    }
    changes = {
        name: change(given[name].copy()) if callable(change) else change
        for name, change in changes.items()
    }
    return imply_forward(**{**given, **changes})


def setting(at, value):
    def change(column):
        column[at] = value
        return column

    return change


def test_exact_pairs_give_the_exact_forward():
    found = imply()
    assert (found.source, found.pairs) == ("parity", 10)
    assert found.basis == pytest.approx(BASIS, rel=1e-14)
    assert found.residual < 1e-9


def test_quotes_taken_at_different_times_share_the_ratio():
    assert imply(spots=np.linspace(745, 755, STRIKES.size)).basis == pytest.approx(BASIS, rel=1e-14)


def test_one_wild_pair_changes_nothing():
    found = imply(call_mids=setting(10, 25.0))
    assert found.basis == pytest.approx(BASIS, rel=1e-14)
    assert found.pairs == 9


def test_wide_pairs_weigh_little():
    def skew(column):
        column[6:9] += 0.02
        return column

    found = imply(call_mids=skew, call_spreads=setting(slice(6, 9), 2.0))
    assert found.basis == pytest.approx(BASIS, abs=1e-7)


def test_sides_quoted_at_different_spots_are_no_pair():
    shifted = imply(put_spots=setting(slice(None), 750.0 * 1.0005))
    assert (shifted.source, shifted.pairs) == ("carry", 0)
    slight = imply(put_spots=setting(slice(None), 750.0 * 1.0001))
    assert slight.source == "parity"


def test_too_few_pairs_fall_back_to_the_carry():
    found = imply(put_mids=setting(slice(2, None), np.nan))
    assert (found.source, found.basis, found.pairs) == ("carry", 1.0001, 2)
    assert np.isnan(found.residual)


def test_without_a_carry_there_is_none():
    found = imply(put_mids=setting(slice(None), np.nan), carry_basis=float("nan"))
    assert found.source == "none"
    assert np.isnan(found.basis)


def test_weighted_median():
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 5.0])
    assert weighted_median(values=values, weights=weights) == 2.0
    assert float(carry_basis(rates=0.05, yields=0.02, years=2.0)) == pytest.approx(np.exp(0.06))
