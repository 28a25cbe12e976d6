"""Implied volatility, compiled: the general branch, one contract at a time.

Owns what the quick branch of :mod:`common.quant.compiled.implied_vol` leaves: large total
volatility, far strikes and prices next to nothing. Householder steps on ln(value), or on
ln(bound - value) where that is the smaller, within a bracket that catches what would leave it.

.. [1] P. Jäckel, "Let's Be Rational", Wilmott (2015), eqs. 2.8-2.15.
.. [2] C. Hastings, "Approximations for Digital Computers" (1955), 26.2.23.
"""

from __future__ import annotations

import math
from math import sqrt

from numba import njit

from common.machine.arguments import ROUNDS
from common.quant.compiled.elementary import NAN, ROOT_TWO_PI_INVERSE, mills, mills_rest
from common.quant.limits import HIGHEST_TOTAL, LOWEST_TOTAL, MAX_STEPS

_EPSILON = 2.220446049250313e-16
_SERIES_BELOW, _SERIES_LOG = 0.5, 2.0


@njit(**ROUNDS)
def _long_series(h: float, t: float) -> float:
    """value/(front v) in powers of t², with as many terms as it takes, at most 24."""
    h2, t2 = h * h, t * t
    before, term = mills_rest(h), 0.0
    term = t2 / 6.0 * ((h2 + 3.0) * before - 1.0)
    total = before + term
    for k in range(2, 24):
        before, term = term, t2 / (2 * k * (2 * k + 1)) * ((h2 + 4 * k - 1) * term - t2 * before)
        total += term
        if abs(term) <= 1e-18 * total:
            break
    return total


@njit(**ROUNDS)
def value(log: float, v: float) -> tuple[float, float]:
    """(b, exp(x/2) - b) at x = -log; the second is NaN where the first is the accurate one."""
    h, t = log / v, 0.5 * v
    front = ROOT_TWO_PI_INVERSE * math.exp(-0.5 * (h * h + t * t))
    if t < _SERIES_BELOW and log < _SERIES_LOG:
        return front * v * _long_series(h, t), NAN
    if h > t:
        return front * (mills(h - t) - mills(h + t)), NAN
    rest = front * (mills(t - h) + mills(h + t))
    return math.exp(-0.5 * log) - rest, rest


@njit(**ROUNDS)
def _far_guess(beta: float, log: float) -> float:
    """v from -2 N^-1 of the rest below the bound, by [2]; for large v."""
    rest = (math.exp(-0.5 * log) - beta) / (2.0 * math.cosh(0.5 * log))
    if not 0.0 < rest < 0.5:
        return 0.7
    y = sqrt(-2.0 * math.log(rest))
    top = 2.515517 + y * (0.802853 + y * 0.010328)
    return 2.0 * (y - top / (1.0 + y * (1.432788 + y * (0.189269 + y * 0.001308))))


@njit(**ROUNDS)
def _householder(v: float, beta: float, log: float) -> tuple[float, float]:
    """(sign-bearing gap of the value at v, third-order step towards the root)."""
    inside, rest = value(log, v)
    upper = rest < inside  # False where rest is NaN
    matched = rest if upper else inside
    target = math.exp(-0.5 * log) - beta if upper else beta
    h2, t2 = (log / v) ** 2, 0.25 * v * v
    vega = ROOT_TWO_PI_INVERSE * math.exp(-0.5 * (h2 + t2))
    slope = (-vega if upper else vega) / matched
    f = math.log(matched / target)
    second = (h2 - t2) / v
    third = second * second - 3.0 * h2 / (v * v) - 0.25
    newton = -f / slope
    gamma = second - slope
    delta = third - 3.0 * second * slope + 2.0 * slope * slope
    step = newton * (1.0 + 0.5 * gamma * newton)
    step /= 1.0 + newton * (gamma + delta * newton / 6.0)
    # A far first guess can turn the rational step round; Newton's never points backwards.
    return (-f if upper else f), (step if step * newton > 0.0 else newton)


@njit(**ROUNDS)
def general(beta: float, log: float, v: float) -> float:
    """v with the value beta at moneyness ``log`` [1], from a first guess that may be poor.

    :returns: NaN where nothing within the bounds of what is looked for has the value.
    """
    if not v < 0.7:
        v = _far_guess(beta, log)
    if not (4.0 * LOWEST_TOTAL <= v <= 0.5 * HIGHEST_TOTAL):
        v = 4.0 * LOWEST_TOTAL if v < 1.0 else 0.5 * HIGHEST_TOTAL
    low, high, done = LOWEST_TOTAL, HIGHEST_TOTAL, False
    for _ in range(MAX_STEPS):
        gap, step = _householder(v, beta, log)
        if gap < 0.0:
            low = v
        elif gap > 0.0:
            high = v
        small = abs(step) <= 4.0 * _EPSILON * v
        raw = v + step
        v = raw if small or low < raw < high else sqrt(low * high)
        done = small or gap == 0.0 or high - low <= 2.0 * _EPSILON * high
        if done:
            break
    return v if done and 2.0 * LOWEST_TOTAL < v < 0.99 * HIGHEST_TOTAL else NAN
