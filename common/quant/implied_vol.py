"""Implied volatility: the one solver, vectorised and safeguarded.

Owns the inversion of :mod:`common.quant.blackscholes`; must not filter quotes or choose a
forward. A row that has no volatility gives NaN and a status, never a bound or a constant, and
its neighbours in the batch change no bit of any result.

The out-of-the-money value over sqrt(F K) is matched on a logarithmic scale: ln b where the
value is the smaller part of its upper bound exp(x/2), ln(exp(x/2) - b) where the rest is.
Both are concave in v = sigma sqrt(T), so a third-order Householder step from the Bachelier
answer converges in two or three steps; a bracket catches what would leave the domain.

.. [1] P. Jäckel, "Let's Be Rational", Wilmott (2015).
.. [2] L. Bachelier, "Théorie de la spéculation" (1900): the limit of small v.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import erfcx, ndtri

from common.models import BoolArray, FloatArray, Status, StatusArray
from common.quant.blackscholes import ROOT_TWO_PI, log_moneyness, value_branches

LOWEST_TOTAL = 1e-9
"""Least sigma sqrt(T) that is looked for; 1 % over one second is 1.8e-6."""
HIGHEST_TOTAL = 20.0
"""Largest; beyond it a double holds no time value below the bound."""
MAX_STEPS = 40
_EPSILON = 2.220446049250313e-16


@dataclass(frozen=True, slots=True)
class ImpliedVols:
    """What the solver found; both of the broadcast shape."""

    sigmas: FloatArray
    """[per square root of a year], NaN unless the status is OK."""
    statuses: StatusArray


def implied_vol(
    *,
    prices: npt.ArrayLike,
    forwards: npt.ArrayLike,
    strikes: npt.ArrayLike,
    years: npt.ArrayLike,
    discounts: npt.ArrayLike,
    puts: npt.ArrayLike,
) -> ImpliedVols:
    """The volatility at which the Black-76 price equals ``prices``.

    An in-the-money price is taken to the other side by parity, with the digits that costs.

    :param prices: discounted option prices [$ per share].
    :param forwards: F [$]. :param strikes: K [$]. :param years: T to settlement [years].
    :param discounts: D [1]. :param puts: true for a put.
    :returns: volatilities with relative error near 1e-15 times the conditioning
        max(1, price/(sigma vega)), and one of OK, BAD_INPUT, EXPIRED, NO_FORWARD,
        BELOW_INTRINSIC, NO_TIME_VALUE, ABOVE_BOUND, NOT_CONVERGED.
    """
    numbers = (prices, forwards, strikes, years, discounts)
    arrays = [np.asarray(part, dtype=np.float64) for part in numbers]
    p, F, K, T, D, put = np.broadcast_arrays(*arrays, np.asarray(puts, dtype=np.bool_))
    shape = p.shape
    p, F, K, T, D, put = (np.ravel(part) for part in (p, F, K, T, D, put))
    with np.errstate(all="ignore"):
        intrinsic = np.maximum(np.where(put, K - F, F - K), 0.0)
        values = p / D - intrinsic
        statuses = _screen(p=p, F=F, K=K, T=T, D=D, values=values)
        rows = np.flatnonzero(statuses == Status.OK)
        sigmas = np.full(p.shape, np.nan)
        if rows.size:
            logs = -np.abs(log_moneyness(forwards=F[rows], strikes=K[rows]))
            targets = values[rows] / np.sqrt(F[rows] * K[rows])
            totals, converged = total_volatility(values=targets, logs=logs)
            sigmas[rows] = totals / np.sqrt(T[rows])
            statuses[rows[~converged]] = Status.NOT_CONVERGED
    return ImpliedVols(sigmas.reshape(shape), statuses.reshape(shape))


def _screen(
    *,
    p: FloatArray,
    F: FloatArray,
    K: FloatArray,
    T: FloatArray,
    D: FloatArray,
    values: FloatArray,
) -> StatusArray:
    """The first reason why a row has no volatility; OK where it may have one."""
    finite = np.isfinite(p) & np.isfinite(K) & np.isfinite(T) & np.isfinite(D)
    bad = ~(finite & (K > 0.0) & (D > 0.0))
    statuses: StatusArray = np.select(
        [
            bad,
            T <= 0.0,
            ~(np.isfinite(F) & (F > 0.0)),
            values < 0.0,
            values == 0.0,
            values >= np.minimum(F, K),
        ],
        [
            Status.BAD_INPUT,
            Status.EXPIRED,
            Status.NO_FORWARD,
            Status.BELOW_INTRINSIC,
            Status.NO_TIME_VALUE,
            Status.ABOVE_BOUND,
        ],
        Status.OK,
    ).astype(np.uint8)
    return statuses


def total_volatility(*, values: FloatArray, logs: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Solve b(x, v) = beta for v = sigma sqrt(T).

    :param values: beta, out-of-the-money value over sqrt(F K) [1], in (0, exp(x/2)); (n,).
    :param logs: x = -|ln(F/K)| [1]; (n,).
    :returns: (v, mask of rows that converged); v is NaN where the mask is false.
    """
    v = _first_guess(values, logs)
    low = np.full_like(v, LOWEST_TOTAL)
    high = np.full_like(v, HIGHEST_TOTAL)
    done = np.zeros(v.shape, dtype=np.bool_)
    for _ in range(MAX_STEPS):
        gap, step = _householder_step(v, values, logs)
        low = np.where(gap < 0.0, v, low)
        high = np.where(gap > 0.0, v, high)
        raw = v + step
        inside = (raw > low) & (raw < high)
        small = np.abs(step) <= 4.0 * _EPSILON * v
        moved = np.where(inside | small, raw, np.sqrt(low * high))
        v = np.where(done, v, moved)
        done |= small | (gap == 0.0) | (high - low <= 2.0 * _EPSILON * high)
        if done.all():
            break
    converged: BoolArray = done & (v > 2.0 * LOWEST_TOTAL) & (v < 0.99 * HIGHEST_TOTAL)
    return np.where(converged, v, np.nan), converged


def _householder_step(
    v: FloatArray, values: FloatArray, logs: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """(sign-bearing gap of the value at v, third-order step towards the root)."""
    value, rest = value_branches(logs=logs, totals=v)
    bound = np.exp(0.5 * logs)
    upper = rest < value  # False where rest is NaN
    matched = np.where(upper, rest, value)
    target = np.where(upper, bound - values, values)
    h2 = np.square(logs / v)
    t2 = np.square(0.5 * v)
    vega = np.exp(-0.5 * (h2 + t2)) / ROOT_TWO_PI
    slope = np.where(upper, -vega, vega) / matched  # f' of f = ln(matched/target)
    f = np.log(matched / target)
    second = (h2 - t2) / v
    third = second * second - 3.0 * h2 / (v * v) - 0.25
    newton = -f / slope
    gamma = second - slope
    delta = third - 3.0 * second * slope + 2.0 * slope * slope
    step = newton * (1.0 + 0.5 * gamma * newton)
    step = step / (1.0 + newton * (gamma + delta * newton / 6.0))
    # A far first guess can turn the rational step round; Newton's never points backwards.
    step = np.where(step * newton > 0.0, step, newton)
    return np.where(upper, -f, f), step


def _first_guess(values: FloatArray, logs: FloatArray) -> FloatArray:
    """Bachelier's v, or the at-the-money inverse ``-2 N^-1(rest)`` for large v."""
    ratio = values / -logs  # infinite at the money
    h = np.exp(np.interp(np.log(ratio), _LOG_RATIOS, _LOG_H))
    small = np.where(ratio < _WIDE_RATIO, -logs / h, ROOT_TWO_PI * values)
    rest = (np.exp(0.5 * logs) - values) / (2.0 * np.cosh(0.5 * logs))
    large = -2.0 * ndtri(rest)
    guess = np.where(small < 0.7, small, large)
    guess = np.where(np.isfinite(guess) & (guess > 0.0), guess, 0.7)
    return np.clip(guess, 4.0 * LOWEST_TOTAL, 0.5 * HIGHEST_TOTAL)


def _bachelier_table() -> tuple[FloatArray, FloatArray]:
    """(ln(value/|x|) ascending, ln h) of the normal model: value/|x| = n(h)/h - N(-h)."""
    h = np.exp(np.linspace(np.log(39.0), np.log(1e-4), 600))
    mills = np.sqrt(0.5 * np.pi) * erfcx(h / np.sqrt(2.0))
    # Above h = 8 the difference is taken from its asymptotic series.
    far = h > 8.0
    h2 = h * h
    series = (1.0 - 3.0 / h2 + 15.0 / h2**2 - 105.0 / h2**3) / (h * h2)
    inner = np.where(far, series, 1.0 / h - mills)
    return np.log(inner) - 0.5 * h2 - np.log(ROOT_TWO_PI), np.log(h)


_LOG_RATIOS, _LOG_H = _bachelier_table()
_WIDE_RATIO = float(np.exp(_LOG_RATIOS[-1]))
