"""Figures of the quantities: implied volatility, one solved expiry, one whole level.

Owns measuring them; the references are a scalar loop over scipy's root finder and the time a
level has.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq

from common.chain import solve
from common.levels import ShardState, evaluate
from common.models import Status
from common.quant.blackscholes import price
from common.quant.implied_vol import ImpliedVols, implied_vol
from common.settings import QuantParameters
from workers.benches.figure import Figure, interleaved, ratio
from workers.benches.sample import chain

_ROUNDS = 15
_FORWARD = 600.0
_YEARS = 3.0 / 24 / 365


def run() -> list[Figure]:
    """The figures of `gex bench quant`."""
    parameters = QuantParameters()
    figures = [_implied_vol(300)]
    for contracts, goal in ((300, 50.0), (5000, 250.0)):
        expiry, quotes, spot, at = chain(contracts)
        solution = solve(quotes=quotes, expiry=expiry, parameters=parameters)
        shard = ShardState(expiry, quotes, solution)
        times = interleaved(
            {
                "solve": lambda q=quotes, e=expiry: solve(  # type: ignore[misc]
                    quotes=q, expiry=e, parameters=parameters
                ),
                "level": lambda s=shard, p=spot, t=at: evaluate(  # type: ignore[misc]
                    symbol="SPY", shards=[s], spot=p, as_of=t, parameters=parameters
                ),
            },
            rounds=_ROUNDS,
        )
        for name, seconds in times.items():
            figures.append(
                Figure(
                    f"{name}_{contracts}_ms",
                    1000 * seconds,
                    "ms",
                    {"name": "period of the levels", "value": 1000.0, "unit": "ms"},
                    goal,
                    "<=",
                )
            )
    return figures


def _implied_vol(count: int) -> Figure:
    """IVs per second against scipy's brentq, contract by contract; inputs F, K, D, T."""
    strikes = np.linspace(585.0, 615.0, count)
    sigmas = np.random.default_rng(1).uniform(0.1, 0.4, count)
    puts = strikes < _FORWARD
    prices = price(
        forwards=_FORWARD, strikes=strikes, years=_YEARS, sigmas=sigmas, discounts=1.0, puts=puts
    )

    def ours() -> ImpliedVols:
        return implied_vol(
            prices=prices,
            forwards=_FORWARD,
            strikes=strikes,
            years=_YEARS,
            discounts=1.0,
            puts=puts,
        )

    def loop() -> list[float]:
        rows = zip(prices, strikes, puts, strict=True)
        return [_root(value, strike, put) for value, strike, put in rows]

    found = ours()
    if not (found.statuses == Status.OK).all() or np.abs(found.sigmas / sigmas - 1).max() > 1e-9:
        return Figure(f"iv_{count}_ratio", None, "ratio", None, 10.0)
    times = interleaved({"ours": ours, "loop": loop}, rounds=5)
    return ratio(
        f"iv_{count}_ratio",
        own=count / times["ours"],
        name="scipy.optimize.brentq loop",
        reference=count / times["loop"],
        unit="IV/s",
        goal=10.0,
    )


def _root(value: float, strike: float, put: bool) -> float:
    def miss(sigma: float) -> float:
        """The textbook formula, scalar: N(d1), N(d2)."""
        total = sigma * _YEARS**0.5
        d1 = math.log(_FORWARD / strike) / total + total / 2
        call = _FORWARD * _normal(d1) - strike * _normal(d1 - total)
        return (call - _FORWARD + strike if put else call) - value

    return float(brentq(miss, 1e-4, 5.0, xtol=1e-12))


def _normal(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2.0))
