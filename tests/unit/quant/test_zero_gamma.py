"""The curve and its roots: nearest of several, none, the noise rule, the last minutes."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.quant.blackscholes import greeks
from common.quant.exposure import MULTIPLIER, ONE_PERCENT
from common.quant.zero_gamma import Book, Curve, curve, nearest_root, net_gex, zero_gammas

MINUTE = 1.0 / (365.0 * 1440.0)


def book(strikes, positions, *, years=7 / 365, sigma=0.2, basis=1.0):
    strikes = np.asarray(strikes, dtype=np.float64)
    return Book(
        strikes=strikes,
        bases=np.full(strikes.size, basis),
        years=np.full(strikes.size, years),
        sigmas=np.full(strikes.size, sigma),
        discounts=np.full(strikes.size, np.exp(-0.04 * years)),
        positions=np.asarray(positions, dtype=np.float64),
    )


def roots_of(given, spot, *, width=0.15, points=301):
    grid = curve(book=given, spot=spot, width=width, points=points)
    return zero_gammas(book=given, curve=grid, spot=spot), grid


def test_the_curve_is_the_sum_of_gammas():
    given = book([95, 100, 105], [10, -20, 30], basis=1.001)
    spots = np.array([90.0, 100.0, 104.0])
    values = net_gex(book=given, spots=spots)
    for spot, value in zip(spots, values, strict=True):
        found = greeks(
            spots=spot,
            forwards=spot * 1.001,
            strikes=given.strikes,
            years=given.years,
            sigmas=given.sigmas,
            rates=0.04,
            puts=False,
        )
        expected = np.sum(given.positions * found.gamma) * MULTIPLIER * ONE_PERCENT * spot**2
        assert value == pytest.approx(expected, rel=1e-11)


def test_one_contract_against_the_oracle():
    """The error is that of d1, times d1, and a rounding or two: T from half a minute to a year."""
    random, worst = np.random.default_rng(3), 0.0
    with mpmath.workdps(40):
        for _ in range(300):
            years, sigma = 10.0 ** random.uniform(-6, 0), random.uniform(0.05, 1.0)
            basis, strike = 1.0 + 1e-3 * random.normal(), random.uniform(500.0, 700.0)
            spot = strike * np.exp(3.0 * random.normal() * sigma * np.sqrt(years))
            given = book([strike], [1.0], years=years, sigma=sigma, basis=basis)
            v = mpmath.mpf(sigma) * mpmath.sqrt(years)
            d1 = mpmath.log(mpmath.mpf(basis) * spot / strike) / v + v / 2
            if abs(d1) > 25:
                continue
            exact = mpmath.mpf(float(given.discounts[0])) * basis * spot * mpmath.npdf(d1) / v
            (value,) = net_gex(book=given, spots=np.array([spot]))
            worst = max(worst, float(abs(value / exact - 1) / (1 + d1 * d1)))
    assert worst < 1e-15


def test_a_spot_does_not_depend_on_the_others():
    given = book(np.arange(80, 121), np.arange(41) - 20.5)
    spots = np.linspace(85, 115, 200)
    whole = net_gex(book=given, spots=spots)
    single = [net_gex(book=given, spots=spots[at : at + 1])[0] for at in range(spots.size)]
    assert whole.tobytes() == np.array(single).tobytes()


def test_of_several_roots_the_nearest_is_published():
    given = book([85, 95, 105, 115], [100, -100, 100, -100])
    roots, _ = roots_of(given, 101.0, width=0.2)
    assert roots.size == 3
    assert np.all(np.diff(roots) > 0)
    assert nearest_root(roots=roots, spot=101.0) == roots[1]
    assert nearest_root(roots=roots, spot=112.0) == roots[2]


def test_roots_are_refined_far_below_a_cent():
    roots, _ = roots_of(book([95, 105], [100, -100]), 100.0, points=11)
    given = book([95, 105], [100, -100])
    left, right = net_gex(book=given, spots=np.array([roots[0] - 1e-7, roots[0] + 1e-7]))
    assert left > 0 > right


def test_one_sign_has_no_root():
    roots, grid = roots_of(book([95, 105], [100, 100]), 100.0)
    assert roots.size == 0
    assert np.isnan(nearest_root(roots=roots, spot=100.0))
    assert np.all(grid.net_gex >= 0)


def test_an_empty_book_has_no_root():
    roots, grid = roots_of(book([], []), 100.0)
    assert roots.size == 0
    assert not grid.net_gex.any()


def test_the_far_tails_do_not_count():
    # A 0DTE book: far below, one small put turns the sign where nothing is left to see.
    given = book([100.0, 88.0], [1000.0, -1.0], years=60 * MINUTE)
    spots = curve(book=given, spot=100.0, width=0.15, points=301)
    assert np.any(spots.net_gex < 0)
    assert np.any(spots.net_gex > 0)
    assert zero_gammas(book=given, curve=spots, spot=100.0).size == 0


def test_a_crossing_next_to_a_visible_curve_counts():
    given = book([100.0, 98.0], [1000.0, -400.0], years=60 * MINUTE)
    roots, _ = roots_of(given, 100.0)
    assert roots.size == 1
    assert 98.0 < roots[0] < 100.0


def test_peaks_narrower_than_the_grid_are_seen():
    # One minute to go: a strike's gamma is 15 cents wide, the even grid 75 cents apart.
    given = book(np.arange(740.0, 761.0), np.where(np.arange(21) < 8, -50.0, 70.0), years=MINUTE)
    roots, grid = roots_of(given, 750.3)
    assert roots.size == 1
    assert 747.0 < roots[0] < 748.0
    assert set(given.strikes) <= set(grid.spots.tolist())


def test_underflow_between_strikes_is_no_error():
    given = book([745.0, 755.0], [-50.0, 70.0], years=MINUTE / 60, sigma=0.05)
    roots, _ = roots_of(given, 750.0)
    assert roots.size == 1
    assert 745.0 < roots[0] < 755.0
    apart = book([740.0, 760.0], [-50.0, 70.0], years=MINUTE / 60, sigma=0.05)
    assert roots_of(apart, 750.0)[0].size == 0  # nothing to see within 1 % of the crossing


def test_a_root_on_a_point_of_the_grid():
    flat = Curve(np.array([99.0, 100.0, 101.0]), np.array([-1.0, 0.0, 1.0]))
    given = book([95, 105], [-100, 100])
    assert zero_gammas(book=given, curve=flat, spot=100.0).size == 1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-5000, 5000).filter(bool), min_size=2, max_size=12),
    st.floats(1e-3, 0.2),
    st.floats(0.05, 1.0),
)
def test_every_root_is_a_sign_change(positions, years, sigma):
    given = book(np.linspace(85, 115, len(positions)), positions, years=years, sigma=sigma)
    roots, grid = roots_of(given, 100.0)
    for root in roots:
        around = net_gex(book=given, spots=np.array([root * (1 - 1e-8), root, root * (1 + 1e-8)]))
        top = np.abs(grid.net_gex).max()
        assert around[0] * around[2] <= 0 or abs(around[1]) < 1e-9 * top
    assert roots.size <= np.count_nonzero(np.diff(np.sign(grid.net_gex)))
