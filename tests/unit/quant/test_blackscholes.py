"""Prices and Greeks against known values, limits, parity and high precision."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest

from common.quant.blackscholes import GREEKS, greeks, log_moneyness, price
from common.quant.plain.value import normalised_value

YEAR = 365.0 * 86400.0


def exact_price(S, K, T, s, *, r, q, put):
    """Black-Scholes-Merton in mpmath numbers."""
    v = s * mp.sqrt(T)
    d1 = (mp.log(S / K) + (r - q) * T) / v + v / 2
    phi = -1 if put else 1
    front = S * mp.exp(-q * T) * mp.ncdf(phi * d1)
    return phi * (front - K * mp.exp(-r * T) * mp.ncdf(phi * (d1 - v)))


def test_hull_case():
    forward = 100.0 * np.exp(0.05)
    values = price(
        forwards=forward,
        strikes=100,
        years=1,
        sigmas=0.2,
        discounts=np.exp(-0.05),
        puts=[False, True],
    )
    found = greeks(
        spots=100, forwards=forward, strikes=100, years=1, sigmas=0.2, rates=0.05, puts=False
    )
    assert values == pytest.approx([10.450584, 5.573526], abs=5e-7)
    assert float(found.delta) == pytest.approx(0.636831, abs=5e-7)
    assert float(found.vega) == pytest.approx(37.52403, abs=5e-6)
    assert float(found.theta) * 365 == pytest.approx(-6.414028, abs=5e-7)
    assert float(found.rho) == pytest.approx(0.532325, abs=5e-7)


@pytest.mark.parametrize("seconds", [1, 60, 3600, 6.5 * 3600, 7 * 86400, 2 * YEAR])
@pytest.mark.parametrize("sigma", [0.01, 0.15, 1.0, 5.0])
def test_price_agrees_with_mpmath(seconds, sigma):
    forward, years = 500.123, seconds / YEAR
    v = sigma * np.sqrt(years)
    z = np.array([-8.0, -3.0, -1.0, -0.1, 0.0, 1e-3, 0.5, 2.0, 6.0, 12.0])
    strikes = forward * np.exp(z[np.abs(z * v) < 5] * v)
    puts = strikes < forward
    found = price(
        forwards=forward, strikes=strikes, years=years, sigmas=sigma, discounts=1.0, puts=puts
    )
    with mp.workdps(60):
        for value, K, put in zip(found, strikes, puts, strict=True):
            exact = exact_price(
                mp.mpf(forward), mp.mpf(K), mp.mpf(years), mp.mpf(sigma), r=0, q=0, put=put
            )
            depth = 1.0 + (np.log(K / forward) / v) ** 2
            assert abs(float(value / exact - 1)) < 2e-15 * depth


@pytest.mark.parametrize("put", [False, True])
@pytest.mark.parametrize(("seconds", "strike"), [(3600, 501.0), (7 * 86400, 480.0), (YEAR, 560.0)])
def test_greeks_agree_with_high_precision_differences(seconds, strike, put):
    S, r, q, s, T = 500.0, 0.04, 0.013, 0.21, seconds / YEAR
    F = S * np.exp((r - q) * T)
    found = greeks(spots=S, forwards=F, strikes=strike, years=T, sigmas=s, rates=r, puts=put)
    with mp.workdps(50):
        b = mp.log(mp.mpf(F) / S) / T  # the carry of the same doubles
        point = [mp.mpf(S), mp.mpf(T), mp.mpf(s), mp.mpf(r)]

        def value(S, T, s, r):
            return exact_price(S, mp.mpf(strike), T, s, r=r, q=mp.mpf(0.04) - b, put=put)

        def slope(*orders):
            return mp.diff(value, tuple(point), orders, h=mp.mpf(10) ** -9 * T)

        day = 365
        exact = {
            "delta": slope(1, 0, 0, 0),
            "gamma": slope(2, 0, 0, 0),
            "theta": -slope(0, 1, 0, 0) / day,
            "vega": slope(0, 0, 1, 0),
            "rho": slope(0, 0, 0, 1) / 100,
            "vanna": slope(1, 0, 1, 0),
            "charm": -slope(1, 1, 0, 0) / day,
            "vomma": slope(0, 0, 2, 0),
            "speed": slope(3, 0, 0, 0),
            "zomma": slope(2, 0, 1, 0),
            "color": -slope(2, 1, 0, 0) / day,
        }
        for name in GREEKS:
            assert float(getattr(found, name)) == pytest.approx(float(exact[name]), rel=1e-8), name


def test_parity_of_prices_and_deltas():
    strikes = np.linspace(400, 600, 41)
    given = {"forwards": 502.0, "strikes": strikes, "years": 0.1, "sigmas": 0.2}
    call, put = (price(**given, discounts=0.99, puts=side) for side in (False, True))
    assert call - put == pytest.approx(0.99 * (502.0 - strikes), abs=1e-11)
    found = [greeks(**given, spots=500.0, rates=0.04, puts=side) for side in (False, True)]
    assert found[0].delta - found[1].delta == pytest.approx(np.exp(-0.004) * 502 / 500, abs=1e-14)
    assert found[0].gamma == pytest.approx(found[1].gamma, rel=1e-14)


def test_limits():
    deep = price(
        forwards=100.0,
        strikes=[50.0, 150.0],
        years=1e-6,
        sigmas=0.2,
        discounts=1.0,
        puts=False,
    )
    assert deep.tolist() == [50.0, 0.0]
    wild = price(forwards=100.0, strikes=100.0, years=1, sigmas=60.0, discounts=0.9, puts=False)
    assert float(wild) == pytest.approx(90.0)
    assert normalised_value(logs=np.array([0.0]), totals=np.array([1e-8])) == pytest.approx(
        1e-8 / np.sqrt(2 * np.pi), rel=1e-15
    )


def test_log_moneyness_keeps_the_digits_the_quotient_loses():
    F, K = 750.0, 750.0 * (1 + 1e-9)
    with mp.workdps(40):
        exact = mp.log(mp.mpf(F) / mp.mpf(K))
        assert float(log_moneyness(forwards=F, strikes=K) / exact - 1) == pytest.approx(
            0, abs=4e-16
        )
    assert float(log_moneyness(forwards=100.0, strikes=1.0)) == np.log(100.0)


@pytest.mark.parametrize("name", ["spots", "forwards", "strikes", "years", "sigmas", "rates"])
def test_bad_rows_are_nan_and_leave_their_neighbours_alone(name):
    given = {
        "spots": 100.0,
        "forwards": 101.0,
        "strikes": 100.0,
        "years": 0.1,
        "sigmas": 0.2,
        "rates": 0.04,
    }
    alone = greeks(**given, puts=False)
    bad = [np.nan, np.inf] if name == "rates" else [np.nan, np.inf, 0.0, -1.0]
    column = np.array([given[name], *bad])
    found = greeks(**{**given, name: column}, puts=False)
    for greek in GREEKS:
        values = getattr(found, greek)
        assert values[0] == getattr(alone, greek)
        assert np.isnan(values[1:]).all(), greek


def test_one_second_before_settlement_everything_is_finite():
    strikes = np.linspace(700.0, 800.0, 101)
    found = greeks(
        spots=750.0,
        forwards=750.0,
        strikes=strikes,
        years=1 / YEAR,
        sigmas=0.15,
        rates=0.04,
        puts=strikes < 750.0,
    )
    for name in GREEKS:
        assert np.isfinite(getattr(found, name)).all(), name
