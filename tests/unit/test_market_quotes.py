"""The quotes of the market model: sound, free of arbitrage, with a smile that can be found."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from common.clock import SECOND, YEAR_SECONDS, next_trading_day, settlement_us
from common.market_model import MarketModel
from common.models import Expiry, FloatArray, Rows, key_puts, key_strikes

MONDAY = date(2026, 11, 23)
HALF_DAY = date(2026, 11, 27)
HOUR = 3600 * SECOND
SHARES = (0.0, 0.1, 0.5, 0.9, 0.999)


@pytest.fixture(scope="module")
def model() -> MarketModel:
    """SPY on a Monday with five distinct expiries."""
    return MarketModel(symbol="SPY", seed=20261123, trading_date=MONDAY)


def instant(model: MarketModel, share: float) -> int:
    """The instant at which ``share`` of the session has passed [us]."""
    return model.path.open_us + int(share * (model.path.close_us - model.path.open_us))


def years_to(expiry: Expiry, at_us: int) -> float:
    """Time to settlement [years]."""
    return (settlement_us(expiry) - at_us) / SECOND / YEAR_SECONDS


def black(
    forward: float,
    discount: float,
    strikes: FloatArray,
    deviations: FloatArray,
    signs: FloatArray,
) -> FloatArray:
    """Black-76 prices [$] written down a second time, plainly."""
    d1 = np.log(forward / strikes) / deviations + deviations / 2
    held, paid = ndtr(signs * d1), ndtr(signs * (d1 - deviations))
    return np.asarray(discount * signs * (forward * held - strikes * paid))


def columns(rows: Rows) -> tuple[FloatArray, FloatArray]:
    """Strikes [$] and signs (+1 call, -1 put) of rows."""
    return key_strikes(rows["key"]), np.where(key_puts(rows["key"]), -1.0, 1.0)


def near_the_money(model: MarketModel, expiry: Expiry, at_us: int) -> tuple[Rows, FloatArray]:
    """Rows with strikes within half a standard deviation of the forward, and their true vols."""
    rows, vols = model.quotes(at_us)[expiry], model.implied_vols(at_us)[expiry]
    deviations = vols * np.sqrt(years_to(expiry, at_us))
    strikes, _ = columns(rows)
    near = np.abs(np.log(strikes / model.forward(expiry, at_us))) < 0.5 * deviations
    return rows[near], vols[near]


# --- quotes ----------------------------------------------------------------------------------


def assert_sound(model: MarketModel, share: float) -> None:
    """Never crossed or locked, on the grid, parity of the mids within the half-spreads."""
    at_us = instant(model, share)
    for expiry, rows in model.quotes(at_us).items():
        bids, asks = rows["bid"], rows["ask"]
        assert (bids >= 0).all()
        assert (asks > bids).all()
        for prices in (bids, asks):
            cents = np.rint(prices * 100)
            assert (prices == cents / 100).all()
            assert (cents[prices > 3.0] % 5 == 0).all()
        assert ((rows["bid_size"] > 0) == (bids > 0)).all()
        assert (rows["ask_size"] > 0).all()
        last = rows["last"][rows["volume"] > 0]
        assert (last >= 0.01).all()
        mids, halves = (bids + asks) / 2, (asks - bids) / 2
        forward, discount = model.forward(expiry, at_us), model.discount(expiry, at_us)
        gaps = mids[::2] - mids[1::2] - discount * (forward - columns(rows)[0][::2])
        assert (np.abs(gaps) <= halves[::2] + halves[1::2] + 1e-9).all()


@pytest.mark.parametrize("share", [*SHARES, 1.0])
def test_quotes_are_sound(model: MarketModel, share: float) -> None:
    assert_sound(model, share)


@settings(max_examples=15, deadline=None)
@given(
    symbol=st.sampled_from(["SPY", "QQQ", "SPX", "NDX", "IWM", "ABC", "Z"]),
    seed=st.integers(0, 2**63),
    day=st.dates(date(2016, 1, 1), date(2027, 12, 1)).map(next_trading_day),
    share=st.floats(0.0, 1.0),
)
def test_quotes_are_sound_for_any_symbol_seed_and_date(
    symbol: str, seed: int, day: date, share: float
) -> None:
    assert_sound(MarketModel(symbol=symbol, seed=seed, trading_date=day), share)


def test_spreads_grow_with_the_price_and_the_vega(model: MarketModel) -> None:
    at_us = instant(model, 0.2)
    quotes = model.quotes(at_us)
    front, far = quotes[model.expiries[0]], quotes[model.expiries[-1]]
    widths = front["ask"] - front["bid"]
    strikes, signs = columns(front)
    deep = signs * (model.spot(at_us) - strikes) > 30
    cheap = (signs * (model.spot(at_us) - strikes) < 0) & (front["ask"] < 1.0)
    assert widths[deep].min() > 2 * widths[cheap].max()
    money = np.abs(columns(far)[0] - model.spot(at_us)).argmin()
    front_money = np.abs(strikes - model.spot(at_us)).argmin()
    assert (far["ask"] - far["bid"])[money] > 2 * widths[front_money]


def test_far_wings_are_quoted_at_a_cent(model: MarketModel) -> None:
    shapes = set()
    for share in np.linspace(0.0, 0.9, 40):
        rows = model.quotes(instant(model, float(share)))[model.expiries[0]]
        wing = rows[rows["ask"] <= 0.02]
        shapes |= set(zip(wing["bid"].tolist(), wing["ask"].tolist(), strict=True))
        assert (wing["bid"] == 0).sum() > 20
    assert {(0.0, 0.01), (0.01, 0.02)} <= shapes


def test_at_settlement_prices_are_intrinsic(model: MarketModel) -> None:
    at_us = model.path.close_us
    front = model.expiries[0]
    rows = model.quotes(at_us)[front]
    strikes, signs = columns(rows)
    intrinsic = np.maximum(signs * (model.spot(at_us) - strikes), 0.0)
    assert (rows["bid"] <= intrinsic).all()
    assert (rows["ask"] >= intrinsic).all()
    out = intrinsic == 0
    assert (rows["bid"][out] == 0).all()
    assert (rows["ask"][out] == 0.01).all()
    assert np.isnan(model.implied_vols(at_us)[front]).all()
    assert model.forward(front, at_us) == model.spot(at_us)
    assert model.discount(front, at_us) == 1.0
    assert np.isfinite(model.implied_vols(at_us)[model.expiries[1]]).all()


def test_a_half_day_ends_at_one() -> None:
    model = MarketModel(symbol="SPY", seed=3, trading_date=HALF_DAY)
    assert model.path.close_us - model.path.open_us == 3.5 * HOUR
    assert_sound(model, 1.0)
    rows = model.quotes(model.path.close_us)[Expiry(HALF_DAY)]
    assert rows["volume"].sum() > 0
    assert np.isnan(model.implied_vols(model.path.close_us)[Expiry(HALF_DAY)]).all()


# --- volatility ------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_implied_vols_are_recoverable_from_the_mids_near_the_money(
    model: MarketModel, share: float
) -> None:
    at_us = instant(model, share)
    for expiry in model.expiries:
        rows, truth = near_the_money(model, expiry, at_us)
        strikes, signs = columns(rows)
        root = np.sqrt(years_to(expiry, at_us))
        forward, discount = model.forward(expiry, at_us), model.discount(expiry, at_us)
        mids = (rows["bid"] + rows["ask"]) / 2
        low, high = np.full(strikes.size, 0.001), np.full(strikes.size, 3.0)
        for _ in range(60):
            middle = (low + high) / 2
            dear = black(forward, discount, strikes, middle * root, signs) > mids
            low, high = np.where(dear, low, middle), np.where(dear, middle, high)
        d1 = np.log(forward / strikes) / (truth * root) + truth * root / 2
        vegas = discount * forward * root * np.exp(-(d1**2) / 2) / np.sqrt(2 * np.pi)
        errors = np.abs(low - truth)
        assert strikes.size >= 2
        assert (errors <= 1.1 * (rows["ask"] - rows["bid"]) / 2 / vegas).all()
        assert errors.max() < 0.02


@pytest.mark.parametrize("share", SHARES)
def test_the_smile_admits_no_butterfly_and_no_vertical(model: MarketModel, share: float) -> None:
    at_us = instant(model, share)
    for expiry, vols in model.implied_vols(at_us).items():
        strikes = key_strikes(model.contracts[expiry])[::2]
        deviations = vols[::2] * np.sqrt(years_to(expiry, at_us))
        discount = model.discount(expiry, at_us)
        calls = black(
            model.forward(expiry, at_us), discount, strikes, deviations, np.ones(strikes.size)
        )
        slopes = np.diff(calls) / np.diff(strikes)
        assert slopes.max() <= 1e-9
        assert slopes.min() >= -discount - 1e-9
        assert np.diff(slopes).min() >= -1e-9


def test_the_smile_is_one_per_strike_skewed_and_lifted_at_the_short_end(
    model: MarketModel,
) -> None:
    at_us = instant(model, 0.1)
    spot, money = model.spot(at_us), []
    for expiry, vols in model.implied_vols(at_us).items():
        assert (vols[::2] == vols[1::2]).all()
        strikes = key_strikes(model.contracts[expiry])[::2]
        low, middle, high = np.interp([0.97 * spot, spot, 1.015 * spot], strikes, vols[::2])
        assert low > middle + 0.01
        assert low > high
        assert 0.05 < middle < 0.6
        money.append(float(middle))
    assert money[0] > money[1] > money[2]
    assert money[0] > 1.3 * money[-1]


def test_zero_dte_gamma_explodes_at_the_money_and_dies_in_the_wings(model: MarketModel) -> None:
    front = model.expiries[0]
    strikes = key_strikes(model.contracts[front])

    def gammas(at_us: int) -> tuple[float, float]:
        forward = model.forward(front, at_us)
        deviations = model.implied_vols(at_us)[front] * np.sqrt(years_to(front, at_us))
        d1 = np.log(forward / strikes) / deviations + deviations / 2
        values = np.exp(-(d1**2) / 2) / np.sqrt(2 * np.pi) / forward / deviations
        return float(values.max()), float(values[np.abs(strikes - forward) > 12].max())

    morning, five_to_four = gammas(model.path.open_us), gammas(model.path.close_us - 300 * SECOND)
    assert five_to_four[0] > 5 * morning[0]
    assert five_to_four[1] < 1e-3 * morning[1]
