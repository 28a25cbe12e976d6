"""Signs, walls, ties, max pain and the other readings of a chain."""

from __future__ import annotations

import numpy as np
import pytest

from common.quant import exposure

STRIKES = np.array([90.0, 95.0, 100.0, 105.0, 110.0])


def test_one_table_of_signs():
    puts = [False, True]
    assert exposure.dealer_signs(convention="index", puts=puts).tolist() == [1.0, -1.0]
    assert exposure.dealer_signs(convention="short_all", puts=puts).tolist() == [-1.0, -1.0]
    with pytest.raises(KeyError):
        exposure.dealer_signs(convention="flow", puts=puts)


def test_units():
    found = exposure.exposures(
        signs=np.array([1.0, -1.0]),
        deltas=np.array([0.5, -0.4]),
        gammas=np.array([0.02, 0.02]),
        vannas=np.array([0.1, 0.1]),
        charms=np.array([-0.3, -0.3]),
        open_interests=np.array([10.0, 5.0]),
        spot=200.0,
    )
    assert found.gex == pytest.approx([0.02 * 10 * 100 * 200**2 * 0.01, -0.02 * 5 * 100 * 400])
    assert found.dex == pytest.approx([0.5 * 1000 * 200, 0.4 * 500 * 200])
    assert found.vex == pytest.approx([0.1 * 1000 * 200 * 0.01, -0.1 * 500 * 2.0])
    assert found.cex == pytest.approx([-0.3 * 1000 * 200, 0.3 * 500 * 200])


def test_walls_are_constrained_by_spot():
    found = exposure.walls(
        strikes=STRIKES,
        call_gex=np.array([9.0, 1.0, 2.0, 5.0, 3.0]),
        put_gex=-np.array([1.0, 4.0, 2.0, 3.0, 8.0]),
        spot=101.0,
    )
    assert (found.call, found.put) == (105.0, 95.0)
    assert (found.call_unconstrained, found.put_unconstrained) == (90.0, 110.0)


def test_a_strike_at_the_spot_may_be_both_walls():
    sizes = np.array([1.0, 1.0, 5.0, 1.0, 1.0])
    found = exposure.walls(strikes=STRIKES, call_gex=sizes, put_gex=-sizes, spot=100.0)
    assert (found.call, found.put) == (100.0, 100.0)


def test_ties_go_to_the_strike_nearest_the_spot():
    sizes = np.array([5.0, 5.0, 1.0, 5.0, 5.0 * (1 + 1e-15)])
    found = exposure.walls(strikes=STRIKES, call_gex=sizes, put_gex=-sizes, spot=101.0)
    assert (found.call, found.put) == (105.0, 95.0)
    assert (found.call_unconstrained, found.put_unconstrained) == (105.0, 105.0)


def test_no_exposure_no_wall():
    found = exposure.walls(strikes=STRIKES, call_gex=np.zeros(5), put_gex=np.zeros(5), spot=100.0)
    assert np.isnan([found.call, found.put, found.call_unconstrained]).all()
    empty = np.empty(0)
    assert np.isnan(exposure.walls(strikes=empty, call_gex=empty, put_gex=empty, spot=1.0).call)


def test_max_pain_by_hand():
    # Calls 100 at 90, puts 100 at 110: between them holders get 20 · 100 wherever it settles.
    strikes, puts = np.array([90.0, 100.0, 110.0]), np.array([False, False, True])
    interests = np.array([100.0, 0.0, 100.0])
    pain = exposure.max_pain(strikes=strikes, puts=puts, open_interests=interests, spot=104.0)
    assert pain == 100.0  # all equal: nearest the spot
    interests = np.array([100.0, 50.0, 300.0])
    pain = exposure.max_pain(strikes=strikes, puts=puts, open_interests=interests, spot=90.0)
    assert pain == 110.0
    none = exposure.max_pain(strikes=strikes, puts=puts, open_interests=np.zeros(3), spot=90.0)
    assert np.isnan(none)


def test_atm_volatility_is_linear_between_strikes():
    sigmas = np.array([0.3, 0.25, 0.2, 0.2, 0.22])
    at = {"strikes": STRIKES, "sigmas": sigmas}
    assert exposure.atm_volatility(**at, forward=98.0) == pytest.approx(0.22)
    assert exposure.atm_volatility(**at, forward=80.0) == 0.3
    assert np.isnan(exposure.atm_volatility(**at, forward=float("nan")))
    empty = np.empty(0)
    assert np.isnan(exposure.atm_volatility(strikes=empty, sigmas=empty, forward=98.0))


def test_expected_move_and_ratio():
    assert exposure.expected_move(straddle=0.798) == pytest.approx(1.0, abs=2e-4)
    assert exposure.ratio(puts=3.0, calls=2.0) == 1.5
    assert np.isnan(exposure.ratio(puts=3.0, calls=0.0))
    assert np.isnan(exposure.ratio(puts=3.0, calls=float("nan")))


@pytest.mark.parametrize(
    ("net", "flip", "name"),
    [
        (1.0, 90.0, "positive"),
        (-1.0, 90.0, "negative"),
        (1.0, 100.05, "flip"),
        (-1.0, 99.95, "flip"),
        (1.0, 100.2, "positive"),
        (1.0, float("nan"), "positive"),
        (float("nan"), 100.0, "unknown"),
        (0.0, float("nan"), "unknown"),
    ],
)
def test_regime(net, flip, name):
    assert exposure.regime(net_gex=net, zero_gamma=flip, spot=100.0) == name
