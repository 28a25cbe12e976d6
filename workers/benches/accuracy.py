"""Figures of accuracy: the whole grid against mpmath, the libraries on the same grid beside.

Owns measuring them; the grid and the oracle stand in :mod:`workers.benches.oracle`.
"""

from __future__ import annotations

import numpy as np

from common.models import FloatArray
from workers.benches.figure import Figure
from workers.benches.oracle import WEEK, Grid, greek_errors, grid, volatility_errors
from workers.benches.peers import Slice, solvers

_FAILED = 1e-9
"""A library fails on an option where its scaled error is above this, or it gives nothing."""


def run() -> list[Figure]:
    """Worst errors over the grid, NaN and statuses counting as infinite."""
    options = grid()
    own = volatility_errors(options, options.volatilities().sigmas)
    others = {name: volatility_errors(options, vols) for name, vols in _theirs(options).items()}
    week = options.years <= WEEK
    ulps = options.sigmas / np.spacing(options.sigmas)
    return [
        _worst(
            "iv_ulp_7d",
            (own * ulps)[week],
            {name: (errors * ulps)[week] for name, errors in others.items()},
            unit="ulp",
            goal=8.0,
        ),
        _worst("iv_rel_full", own, others, unit="relative", goal=1e-13),
        _greeks(options),
    ]


def _worst(
    figure_id: str, own: FloatArray, others: dict[str, FloatArray], *, unit: str, goal: float
) -> Figure:
    """Our worst error, beside the library that fails least and its worst where it does not."""
    worst = float(own.max())
    value = worst if np.isfinite(worst) else None
    if not others:
        return Figure(figure_id, value, unit, None, goal, "<=")
    limit = _FAILED if unit == "relative" else _FAILED / np.finfo(np.float64).eps
    fails = {name: int(np.count_nonzero(~(errors < limit))) for name, errors in others.items()}
    typical = {name: float(np.median(errors)) for name, errors in others.items()}
    best = min(fails, key=lambda name: (fails[name], typical[name]))
    errors = others[best]
    beside = {
        "name": f"{best}, failing on {fails[best]} of {own.size}",
        "value": float(errors[errors < limit].max()),
        "unit": unit,
        "failures": fails,
    }
    return Figure(figure_id, value, unit, beside, goal, "<=")


def _theirs(options: Grid) -> dict[str, FloatArray]:
    """Library → its volatilities of the grid, slice by slice."""
    found: dict[str, FloatArray] = {}
    for years in np.unique(options.years):
        rows = np.flatnonzero(options.years == years)
        rows = rows[np.argsort(~options.puts[rows], kind="stable")]  # puts first
        piece = Slice(
            float(options.forwards[0]),
            float(years),
            float(options.discounts[rows[0]]),
            options.strikes[rows],
            options.puts[rows],
            options.prices[rows],
            options.sigmas[rows],
        )
        for name, call in solvers(piece).items():
            found.setdefault(name, np.full(options.strikes.shape, np.nan))[rows] = call()
    return found


def _greeks(options: Grid) -> Figure:
    """The worst error of any Greek over its natural scale."""
    errors = greek_errors(options, options.greeks())
    worst = max(errors, key=lambda name: errors[name].max())
    beside = {"name": f"mpmath, {worst} being the worst", "value": 0.0, "unit": "relative"}
    return Figure("greeks_rel", float(errors[worst].max()), "relative", beside, 1e-13, "<=")
