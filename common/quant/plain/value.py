"""Prices, deltas and the normalised out-of-the-money value of an option, on arrays.

Owns them; formulas and units of prices and deltas are those of
:mod:`common.quant.blackscholes`.

.. [1] P. Jäckel, "Let's Be Rational", Wilmott (2015), eqs. 2.2-2.15.
"""

from __future__ import annotations

import numpy as np

from common.models import BoolArray, FloatArray
from common.quant.columns import are_columns
from common.quant.plain.elementary import log_ratio, mills, mills_rest
from common.quant.plain.greeks import moneyness

ROOT_TWO_PI_INVERSE = 0.3989422804014327
_SERIES_BELOW, _SERIES_LOG = 0.5, 2.0
_TERMS = 24


def normalised_value(*, logs: FloatArray, totals: FloatArray) -> FloatArray:
    """Undiscounted out-of-the-money value over sqrt(F K): eq. 2.2 of [1].

    :param logs: -|ln(F/K)| [1], not above 0. :param totals: v = sigma sqrt(T) [1], positive.
    :returns: b(x, v) in [0, exp(x/2)]; the branches are those of :func:`value_branches`.
    """
    value, rest = value_branches(logs=logs, totals=totals)
    return np.where(np.isnan(rest), value, np.exp(0.5 * logs) - rest)


def value_branches(*, logs: FloatArray, totals: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The normalised value b(x, v), and exp(x/2) - b where that is the accurate one.

    With h = -x/v, t = v/2, R Mills' ratio and front = n(0) exp(-(h² + t²)/2), the value is
    front (R(h - t) - R(h + t)), eq. 2.9 of [1]. The difference cancels at small t, where an
    odd series in t replaces it (eq. 2.14); for h < t the complement is summed.

    :param logs: x = -|ln(F/K)| [1]. :param totals: v [1], positive; one shape.
    :returns: (b, exp(x/2) - b); the second is NaN where it was not needed.
    """
    with np.errstate(all="ignore"):
        h, t = -logs / totals, 0.5 * totals
        front = ROOT_TWO_PI_INVERSE * np.exp(-0.5 * (h * h + t * t))
        small = (t < _SERIES_BELOW) & (logs > -_SERIES_LOG)
        upper = ~small & (h < t)
        inner, outer = mills(np.abs(h - t)), mills(h + t)
        rest = np.where(upper, front * (inner + outer), np.nan)
        direct = np.where(upper, np.exp(0.5 * logs) - rest, front * (inner - outer))
        if not small.any():
            return direct, rest
        return np.where(small, front * totals * _series(h, np.where(small, t, 0.0)), direct), rest


def _series(h: FloatArray, t: FloatArray) -> FloatArray:
    """value/(front v) in powers of t²; see :mod:`common.quant.compiled.implied_vol`."""
    h2, t2 = h * h, t * t
    before = mills_rest(h)
    term = t2 / 6.0 * ((h2 + 3.0) * before - 1.0)
    total = before + term
    for k in range(2, _TERMS):
        before, term = term, t2 / (2 * k * (2 * k + 1)) * ((h2 + 4 * k - 1) * term - t2 * before)
        total = total + term
        if np.all(np.abs(term) <= 1e-18 * total):
            break
    return total


def prices(
    F: FloatArray,
    K: FloatArray,
    T: FloatArray,
    s: FloatArray,
    D: FloatArray,
    put: BoolArray,
    out: FloatArray,
) -> bool:
    """Fill ``out``; arrays (n,); False if they are not."""
    if {part.shape for part in (F, K, T, s, D, put)} != {(out.size,)}:
        return False
    with np.errstate(all="ignore"):
        finite = (F + K + T + s + D) * 0.0 == 0.0
        good = finite & (F > 0.0) & (K > 0.0) & (T > 0.0) & (s > 0.0)
        value = normalised_value(logs=-np.abs(log_ratio(F, K)), totals=s * np.sqrt(T))
        intrinsic = np.maximum(np.where(put, K - F, F - K), 0.0)
        out[:] = np.where(good, D * (np.sqrt(F * K) * value + intrinsic), np.nan)
    return True


def deltas(
    F: FloatArray,
    K: FloatArray,
    T: FloatArray,
    s: FloatArray,
    growth: FloatArray,
    put: BoolArray,
    out: FloatArray,
) -> bool:
    """Fill ``out`` with phi · growth · N(phi d1); once T <= 0 with what settlement leaves."""
    if not are_columns((F, K, T, s, growth), put, out.size):
        return False
    with np.errstate(all="ignore"):
        sign = np.where(put, -1.0, 1.0)
        d1, v, density = moneyness(F, K, T, s)
        tail = density * mills(np.abs(d1))
        live = np.where(sign * d1 < 0.0, tail, 1.0 - tail)
        chance = np.where(T > 0.0, live, 0.5 * (1.0 + np.sign(sign * (F - K))))
        finite = (F + K + T + s + growth) * 0.0 == 0.0
        usable = (1.0 / v + d1) * 0.0 == 0.0
        good = finite & (F > 0.0) & (K > 0.0) & (s > 0.0) & (usable | (T <= 0.0))
        out[:] = np.where(good, sign * growth * chance, np.nan)
    return True
