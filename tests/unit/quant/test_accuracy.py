"""Volatilities and Greeks on a thinned accuracy grid, against mpmath; both implementations."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from common.models import Status
from common.quant import kernels
from common.quant.blackscholes import price
from common.quant.implied_vol import implied_vol
from workers.benches.oracle import WEEK, Grid, greek_errors, grid, volatility_errors

ULP = 2.220446049250313e-16


@pytest.fixture(params=["compiled", "plain"])
def implementation(request: pytest.FixtureRequest) -> Iterator[str]:
    kernels.use(request.param)
    yield request.param
    kernels.use("compiled")


@pytest.fixture(scope="module")
def options() -> Grid:
    return grid(every=7)


def test_volatilities(implementation: str, options: Grid) -> None:
    found = options.volatilities()
    assert np.all(found.statuses == Status.OK)
    errors = volatility_errors(options, found.sigmas)
    assert errors[options.years <= WEEK].max() < 8 * ULP / 2  # an ulp is at least ULP/2
    assert errors.max() < 3e-15


def test_greeks(implementation: str, options: Grid) -> None:
    errors = greek_errors(options, options.greeks())
    assert {name: worst.max() for name, worst in errors.items() if worst.max() > 1e-14} == {}


@pytest.mark.parametrize(
    ("variable", "border"),
    [("total", 0.4), ("log", 1.0), ("deviations", 25.0)],
)
def test_no_seam_between_the_branches(variable: str, border: float) -> None:
    """Across each border of the quick branch every volatility is found to the last digits."""
    around = border * (1.0 + np.linspace(-3e-2, 3e-2, 241))
    for other in (0.02, 0.2, 0.39):
        if variable == "total":
            v, h = around, np.full(around.shape, 10.0 * other)
        elif variable == "log":
            v, h = np.full(around.shape, other), around / other
        else:
            v, h = np.full(around.shape, other), around
        strikes = 500.0 * np.exp(h * v)
        terms = {"forwards": 500.0, "strikes": strikes, "years": 0.25, "discounts": 0.99}
        values = price(**terms, sigmas=2.0 * v, puts=False)
        found = implied_vol(**terms, prices=values, puts=False)
        kept = values > 1e-290
        assert np.all(found.statuses[kept] == Status.OK)
        assert np.all(np.abs(found.sigmas / (2.0 * v) - 1.0)[kept] < 4e-15)
