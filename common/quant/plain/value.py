"""The normalised out-of-the-money value of an option, on arrays.

Owns that function of two numbers; must not know prices.

.. [1] P. Jäckel, "Let's Be Rational", Wilmott (2015), eqs. 2.2-2.15.
"""

from __future__ import annotations

import numpy as np

from common.models import FloatArray
from common.quant.plain.elementary import mills, mills_rest

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
