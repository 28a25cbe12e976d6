"""The libraries that the quantities are measured against: adapters, one call each.

Owns how each is called at its best: columns as it wants them, puts and calls apart where it
takes one right a call, undiscounted prices where it wants those; none of that is timed. A
library that is not installed is left out. Inputs are F, K, D and T for volatilities and S, K,
r, q, T for Greeks.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from common.models import BoolArray, FloatArray

Solve = Callable[[], FloatArray]
"""Solves the slice it was made for; volatilities in the order of the slice."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Options of one forward and one expiration, puts first."""

    forward: float
    years: float
    discount: float
    strikes: FloatArray
    puts: BoolArray
    prices: FloatArray
    """Discounted [$]."""
    sigmas: FloatArray


def solvers(options: Slice) -> dict[str, Solve]:
    """Library → a call that solves the slice for its volatilities."""
    made = {
        "iv-engine": _iv_engine,
        "lbriv": _lbriv,
        "vanilla-option-pricers": _vanilla,
        "pyvolr": _pyvolr,
        "fast-vollib": _fast_vollib,
    }
    return {name: solve for name, make in made.items() if (solve := make(options)) is not None}


def _module(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _sides(options: Slice) -> list[tuple[bool, slice]]:
    """(is it a put, rows) of the two rights."""
    puts = int(np.count_nonzero(options.puts))
    sides = [(True, slice(0, puts)), (False, slice(puts, options.strikes.size))]
    return [(put, rows) for put, rows in sides if rows.stop > rows.start]


def _iv_engine(options: Slice) -> Solve | None:
    module = _module("iv_engine")
    if module is None:
        return None
    full = np.full(options.strikes.shape, 1.0)
    undiscounted = options.prices / options.discount
    parts = [
        (
            undiscounted[rows].copy(),
            options.forward * full[rows],
            options.strikes[rows].copy(),
            options.years * full[rows],
            not put,
        )
        for put, rows in _sides(options)
    ]
    solve = module.implied_volatilities
    return lambda: np.concatenate([solve(*part, parallel=False) for part in parts])


def _lbriv(options: Slice) -> Solve | None:
    module = _module("lbriv")
    if module is None:
        return None
    undiscounted, root = options.prices / options.discount, float(np.sqrt(options.years))
    parts = [
        (undiscounted[rows].copy(), options.forward, options.strikes[rows].copy(), -1 if put else 1)
        for put, rows in _sides(options)
    ]
    solve = module.vectorized_implied_vol_strikes
    return lambda: np.concatenate([solve(*part) for part in parts]) / root


def _vanilla(options: Slice) -> Solve | None:
    module = _module("vanilla_option_pricers")
    if module is None:
        return None
    rights = np.where(options.puts, "P", "C")
    return lambda: np.asarray(
        module.infer_bsm_ivols_from_slice_prices(
            ttm=options.years,
            forward=options.forward,
            discfactor=options.discount,
            strikes=options.strikes,
            optiontypes=rights,
            model_prices=options.prices,
        )
    )


def _pyvolr(options: Slice) -> Solve | None:
    module = _module("pyvolr")
    if module is None:
        return None
    rights, rate = np.where(options.puts, "p", "c"), -np.log(options.discount) / options.years
    return lambda: np.asarray(
        module.black76.implied_vol(
            options.prices,
            rights,
            F=options.forward,
            K=options.strikes,
            T=options.years,
            r=rate,
            on_error="ignore",
        )
    )


def _fast_vollib(options: Slice) -> Solve | None:
    module = _module("fast_vollib")
    if module is None:
        return None
    rights, rate = np.where(options.puts, "p", "c"), -np.log(options.discount) / options.years
    return lambda: np.asarray(
        module.fast_implied_volatility_black(
            options.prices,
            options.forward,
            options.strikes,
            rate,
            options.years,
            rights,
            return_as="numpy",
            on_error="ignore",
        )
    )


def greek_makers(
    options: Slice, *, spot: float, rate: float, dividend: float
) -> dict[str, Callable[[], object]]:
    """Library → a call that gives its four or five Greeks of the slice."""
    found: dict[str, Callable[[], object]] = {}
    shape, rights = options.strikes.shape, np.where(options.puts, "p", "c")
    spots, years = np.full(shape, spot), np.full(shape, options.years)
    engine, volr, vollib = _module("iv_engine"), _module("pyvolr"), _module("fast_vollib")
    if engine is not None:
        found["iv-engine"] = _engine_greeks(engine, options, years)
    if volr is not None:
        found["pyvolr"] = lambda: volr.bs.greeks(
            rights, S=spots, K=options.strikes, T=years, r=rate, q=dividend, sigma=options.sigmas
        )
    if vollib is not None:
        found["fast-vollib"] = lambda: vollib.get_all_greeks(
            rights,
            spots,
            options.strikes,
            years,
            rate,
            options.sigmas,
            dividend,
            model="black_scholes_merton",
            return_as="dict",
        )
    return found


def _engine_greeks(
    module: ModuleType, options: Slice, years: FloatArray
) -> Callable[[], list[FloatArray]]:
    """delta, gamma, vega, vanna, vomma."""
    forwards = np.full(options.strikes.shape, options.forward)
    whole = (forwards, options.strikes, years, options.sigmas)
    parts = [(not put, [column[rows].copy() for column in whole]) for put, rows in _sides(options)]

    def compute() -> list[FloatArray]:
        deltas = [module.deltas(*part, call, parallel=False) for call, part in parts]
        others = (module.gammas, module.vegas, module.vannas, module.vommas)
        return [*deltas, *(make(*whole, parallel=False) for make in others)]

    return compute
