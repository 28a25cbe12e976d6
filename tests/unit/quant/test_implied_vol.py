"""The solver against mpmath on the same doubles, its statuses, and its independence of batches."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.models import Status
from common.quant.blackscholes import price
from common.quant.implied_vol import implied_vol

YEAR = 365.0 * 86400.0
FORWARD = 500.123


def grid():
    """(strikes, years, sigmas) over the whole range the platform promises."""
    rows = []
    for seconds in (1, 60, 3600, 6.5 * 3600, 86400, 7 * 86400, 90 * 86400, 2 * YEAR):
        for sigma in (0.01, 0.05, 0.15, 0.5, 2.0, 5.0):
            v = sigma * np.sqrt(seconds / YEAR)
            rows += [
                (FORWARD * np.exp(z * v), seconds / YEAR, sigma)
                for z in (-20, -12, -5, -2, -0.5, -1e-3, 0, 0.1, 1, 3, 8, 16, 20)
                if abs(z * v) < 6
            ]
    return (np.array(column) for column in zip(*rows, strict=True))


def exact_total(target, strike, start):
    """(v, conditioning) with the value of exactly these doubles, by Newton on the log value."""
    F, K = mp.mpf(FORWARD), mp.mpf(strike)
    x, scale, v = -abs(mp.log(F / K)), mp.sqrt(F * K), mp.mpf(start)
    for _ in range(6):
        value = mp.exp(x / 2) * mp.ncdf(x / v + v / 2) - mp.exp(-x / 2) * mp.ncdf(x / v - v / 2)
        vega = mp.exp(-((x / v) ** 2 + v * v / 4) / 2) / mp.sqrt(2 * mp.pi)
        v -= mp.log(value * scale / mp.mpf(target)) * value / vega
    return v, max(1.0, float(mp.mpf(target) / (scale * v * vega)))


def test_agrees_with_mpmath_on_the_same_doubles():
    strikes, years, sigmas = grid()
    puts = strikes < FORWARD
    terms = {"forwards": FORWARD, "strikes": strikes, "years": years, "discounts": 1.0}
    prices = price(**terms, sigmas=sigmas, puts=puts)
    keep = prices > 1e-300
    found = implied_vol(**terms, prices=prices, puts=puts)
    assert np.all(found.statuses[keep] == Status.OK)
    worst = 0.0
    with mp.workdps(50):
        for at in np.flatnonzero(keep):
            start = sigmas[at] * np.sqrt(years[at])
            total, conditioning = exact_total(prices[at], strikes[at], start)
            exact = total / mp.sqrt(mp.mpf(years[at]))
            worst = max(worst, abs(float(found.sigmas[at] / exact - 1)) / conditioning)
    assert worst < 3e-15


@settings(max_examples=200, deadline=None)
@given(
    st.floats(1, 2 * YEAR),
    st.floats(0.01, 5.0),
    st.floats(-6.0, 6.0),
    st.booleans(),
    st.floats(0.9, 1.0),
)
def test_round_trip(seconds, sigma, z, put, discount):
    years = seconds / YEAR
    strike = FORWARD * np.exp(z * min(sigma * np.sqrt(years), 0.5))
    put = bool(strike < FORWARD) if abs(z) > 0.5 else put
    terms = {"forwards": FORWARD, "strikes": strike, "years": years, "puts": put}
    value = price(**terms, sigmas=sigma, discounts=discount)
    found = implied_vol(**terms, prices=value, discounts=discount)
    again = price(**terms, sigmas=found.sigmas, discounts=discount)
    assert found.statuses == Status.OK
    assert float(again) == pytest.approx(float(value), rel=1e-12)


def test_in_the_money_prices_give_the_same_volatility():
    terms = {"forwards": 100.0, "strikes": np.array([90.0, 99.0, 101.0, 110.0]), "years": 0.1}
    values = [price(**terms, sigmas=0.3, discounts=0.99, puts=side) for side in (False, True)]
    for value, side in zip(values, (False, True), strict=True):
        found = implied_vol(**terms, prices=value, discounts=0.99, puts=side)
        assert found.sigmas == pytest.approx(0.3, rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, Status.OK),
        ({"prices": np.nan}, Status.BAD_INPUT),
        ({"prices": np.inf}, Status.BAD_INPUT),
        ({"strikes": -5.0}, Status.BAD_INPUT),
        ({"strikes": np.nan}, Status.BAD_INPUT),
        ({"discounts": 0.0}, Status.BAD_INPUT),
        ({"years": 0.0}, Status.EXPIRED),
        ({"years": -1.0}, Status.EXPIRED),
        ({"forwards": np.nan}, Status.NO_FORWARD),
        ({"forwards": 0.0}, Status.NO_FORWARD),
        ({"prices": -1.0}, Status.BELOW_INTRINSIC),
        ({"prices": 9.0, "strikes": 90.0}, Status.BELOW_INTRINSIC),
        ({"prices": 0.0}, Status.NO_TIME_VALUE),
        ({"prices": 10.0, "strikes": 90.0}, Status.NO_TIME_VALUE),
        ({"prices": 100.0}, Status.ABOVE_BOUND),
        ({"prices": 120.0}, Status.ABOVE_BOUND),
        ({"prices": 1e-12}, Status.NOT_CONVERGED),  # sigma sqrt(T) below what is looked for
    ],
)
def test_statuses(changes, status):
    row = {"prices": 2.0, "forwards": 100.0, "strikes": 100.0, "years": 0.1, "discounts": 1.0}
    found = implied_vol(**{**row, **changes}, puts=False)
    assert int(found.statuses) == status
    assert bool(np.isnan(found.sigmas)) == (status != Status.OK)


def test_a_bound_is_never_an_answer():
    """Whatever the price, a volatility that is returned reproduces it."""
    values = np.concatenate(
        [10.0 ** np.arange(-320.0, 2.0, 0.25), 100.0 - 10.0 ** np.arange(-13.0, 1)]
    )
    for strike in (80.0, 100.0, 120.0):
        terms = {"forwards": 100.0, "strikes": strike, "years": 0.02, "discounts": 1.0}
        found = implied_vol(**terms, prices=values, puts=strike < 100)
        ok = found.statuses == Status.OK
        assert ok.sum() > 20
        again = price(**terms, sigmas=found.sigmas[ok], puts=strike < 100)
        assert again == pytest.approx(values[ok], rel=1e-9)
        assert np.isnan(found.sigmas[~ok]).all()


def test_neighbours_change_no_bit():
    strikes, years, sigmas = grid()
    puts = strikes < FORWARD
    prices = price(
        forwards=FORWARD, strikes=strikes, years=years, sigmas=sigmas, discounts=1.0, puts=puts
    )

    def solve(rows):
        return implied_vol(
            prices=prices[rows],
            forwards=FORWARD,
            strikes=strikes[rows],
            years=years[rows],
            discounts=1.0,
            puts=puts[rows],
        ).sigmas

    whole = solve(np.arange(prices.size))
    order = np.random.default_rng(7).permutation(prices.size)
    assert solve(order).tobytes() == whole[order].tobytes()
    for start in range(0, prices.size, 7):
        part = np.arange(start, min(start + 7, prices.size))
        assert solve(part).tobytes() == whole[part].tobytes()


def test_shapes():
    found = implied_vol(
        prices=np.full((2, 3), 2.0),
        forwards=100.0,
        strikes=[99.0, 100.0, 101.0],
        years=0.1,
        discounts=1.0,
        puts=False,
    )
    assert found.sigmas.shape == found.statuses.shape == (2, 3)
    empty = implied_vol(prices=[], forwards=[], strikes=[], years=[], discounts=1.0, puts=False)
    assert empty.sigmas.size == 0
