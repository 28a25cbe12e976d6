"""What must hold for every option and every chain, on random ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from common.models import Status
from common.quant.blackscholes import deltas, greeks, price
from common.quant.exposure import MULTIPLIER, ONE_PERCENT, exposures
from common.quant.implied_vol import implied_vol
from common.quant.zero_gamma import Book, net_gex

YEAR = 365.0 * 86400.0
YEARS = st.floats(np.log(1.0 / YEAR), np.log(2.0)).map(lambda x: float(np.exp(x)))
SIGMAS = st.floats(np.log(0.01), np.log(5.0)).map(lambda x: float(np.exp(x)))
DEVIATIONS = st.floats(-6.0, 6.0)
RATES = st.floats(-0.02, 0.08)


def option(years: float, sigma: float, z: float, rate: float, scale: float = 1.0):
    return {
        "forwards": 500.0 * scale,
        "strikes": 500.0 * scale * np.exp(z * sigma * np.sqrt(years)),
        "years": years,
    }, float(np.exp(-rate * years))


@settings(max_examples=300)
@given(YEARS, SIGMAS, DEVIATIONS, RATES)
def test_parity(years, sigma, z, rate):
    terms, discount = option(years, sigma, z, rate)
    call, put = (
        float(price(**terms, sigmas=sigma, discounts=discount, puts=side)) for side in (False, True)
    )
    exact = discount * (terms["forwards"] - terms["strikes"])
    assert call - put == pytest.approx(exact, abs=1e-13 * (terms["forwards"] + terms["strikes"]))
    spot = {**terms, "spots": 499.0, "sigmas": sigma, "rates": rate}
    one, other = greeks(**spot, puts=False), greeks(**spot, puts=True)
    growth = discount * 500.0 / 499.0
    assert float(one.delta - other.delta) == pytest.approx(growth, rel=1e-14)
    assert float(one.gamma) == float(other.gamma)


@settings(max_examples=300)
@given(YEARS, SIGMAS, st.floats(-4.0, 4.0), st.floats(1e-6, 0.5))
def test_price_and_volatility_rise_together(years, sigma, z, more):
    terms, discount = option(years, sigma, z, 0.0)
    put = bool(z < 0.0)
    low, high = price(**terms, sigmas=[sigma, sigma * (1 + more)], discounts=discount, puts=put)
    assert high >= low
    assume(low > 1e-290)
    found = implied_vol(**terms, prices=[low, high], discounts=discount, puts=put)
    if np.all(found.statuses == Status.OK):
        assert found.sigmas[1] >= found.sigmas[0] * (1.0 - 1e-14)


@settings(max_examples=200)
@given(YEARS, SIGMAS, st.floats(-4.0, 4.0), st.sampled_from([0.125, 2.0, 64.0]))
def test_a_split_scales(years, sigma, z, factor):
    """Powers of two are exact: prices and strikes scaled give the very same volatility."""
    terms, _ = option(years, sigma, z, 0.0)
    value = float(price(**terms, sigmas=sigma, discounts=1.0, puts=z < 0.0))
    assume(value > 1e-280)
    once = implied_vol(**terms, prices=value, discounts=1.0, puts=z < 0.0)
    scaled = {**terms, "forwards": 500.0 * factor, "strikes": terms["strikes"] * factor}
    again = implied_vol(**scaled, prices=value * factor, discounts=1.0, puts=z < 0.0)
    assert once.statuses == again.statuses
    assert np.array_equal(once.sigmas, again.sigmas, equal_nan=True)


@settings(max_examples=100)
@given(YEARS, SIGMAS, st.lists(st.floats(-4.0, 4.0), min_size=1, max_size=30), RATES)
def test_the_slope_of_the_share_delta_is_gamma(years, sigma, deviations, rate):
    """N(S) differenced at fixed IV, T, sign and F/S, times S² · 0.01, is the sum of GEX."""
    z = np.asarray(deviations)
    spot, basis = 500.0, float(np.exp(0.01 * years))
    strikes = spot * np.exp(z * sigma * np.sqrt(years))
    puts = z < 0.0
    terms = {"strikes": strikes, "years": years, "sigmas": sigma, "rates": rate, "puts": puts}
    interests = 10.0 + np.arange(z.size)
    signs = np.where(puts, -1.0, 1.0)
    found = greeks(spots=spot, forwards=spot * basis, **terms)
    gex = exposures(
        signs=signs,
        deltas=found.delta,
        gammas=found.gamma,
        vannas=found.vanna,
        charms=found.charm,
        open_interests=interests,
        spot=spot,
    ).gex
    bump = 1e-4 * sigma * np.sqrt(years) * spot
    shares = [
        np.sum(signs * interests * MULTIPLIER * deltas(spots=at, forwards=at * basis, **terms))
        for at in (spot - bump, spot + bump)
    ]
    slope = (shares[1] - shares[0]) / (2.0 * bump) * spot * spot * ONE_PERCENT
    gross = np.abs(gex).sum()
    rounding = 1e-13 * interests.sum() * MULTIPLIER / bump * spot * spot * ONE_PERCENT
    assert abs(slope - gex.sum()) <= 1e-6 * gross + rounding


@settings(max_examples=100)
@given(st.integers(1, 200), st.integers(0, 2**32 - 1), st.floats(1e-5, 1.0))
def test_any_partition_sums_to_the_whole_and_any_order_is_the_same(size, seed, years):
    random = np.random.default_rng(seed)

    def book(rows):
        full = np.ones(size)[rows]
        return Book(
            strikes=strikes[rows],
            bases=1.001 * full,
            years=years * full,
            sigmas=sigmas[rows],
            discounts=0.99 * full,
            positions=positions[rows],
        )

    strikes = np.sort(random.uniform(80.0, 120.0, size))
    sigmas = random.uniform(0.05, 1.0, size)
    positions = random.normal(0.0, 100.0, size)
    spots = np.linspace(85.0, 115.0, 31)
    whole = net_gex(book=book(np.arange(size)), spots=spots)
    sides = random.random(size) < 0.5
    parts = [net_gex(book=book(np.flatnonzero(side)), spots=spots) for side in (sides, ~sides)]
    positions = np.abs(positions)
    gross = net_gex(book=book(np.arange(size)), spots=spots)
    assert np.all(np.abs(parts[0] + parts[1] - whole) <= 1e-11 * gross.max() + 1e-300)
    shuffled = net_gex(book=book(random.permutation(size)), spots=spots)
    assert np.all(np.abs(shuffled - gross) <= 1e-11 * gross.max() + 1e-300)


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(*[st.sampled_from([np.nan, np.inf, -np.inf, -1.0, 0.0, 1e-300, 1e300, 1.0])] * 5),
        min_size=1,
        max_size=9,
    ),
    st.booleans(),
)
def test_whatever_comes_in_there_is_a_status_and_no_exception(rows, put):
    prices, forwards, strikes, years, discounts = np.array(rows).T.copy()
    found = implied_vol(
        prices=prices,
        forwards=forwards,
        strikes=strikes,
        years=years,
        discounts=discounts,
        puts=np.full(prices.shape, put),
    )
    assert np.array_equal(np.isfinite(found.sigmas), found.statuses == Status.OK)
    assert np.all(np.isnan(found.sigmas) | (found.sigmas > 0.0))
