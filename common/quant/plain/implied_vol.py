"""Implied volatility on arrays; domain and statuses of :mod:`common.quant.implied_vol`.

The out-of-the-money value over sqrt(F K) is matched on a logarithmic scale: ln b where the
value is the smaller part of its upper bound exp(x/2), ln(exp(x/2) - b) where the rest is.
Both are concave in v = sigma sqrt(T), so a third-order Householder step from the Bachelier
answer converges in two or three steps; a bracket catches what would leave the domain.

.. [1] P. Jäckel, "Let's Be Rational", Wilmott (2015).
.. [2] C. Hastings, "Approximations for Digital Computers" (1955), 26.2.23.
"""

from __future__ import annotations

import numpy as np

from common.models import BoolArray, FloatArray, Status, StatusArray
from common.quant.columns import are_columns
from common.quant.limits import HIGHEST_TOTAL, LOWEST_TOTAL, MAX_STEPS, NOISE
from common.quant.plain.elementary import exact_product, log_ratio
from common.quant.plain.value import ROOT_TWO_PI_INVERSE, value_branches

_EPSILON = 2.220446049250313e-16
_GUESS_TOP = (
    *(0.39894105946419023, -0.0786215508024193, 0.059608469365931366),
    *(0.00623841879781207, 0.0020703146878506473, 0.001995708953155064),
)
_GUESS_BOTTOM = (
    *(1.0, -0.19721051831219005, 0.1504451227540761, 0.012681902857780938),
    *(0.012979142176749774, 0.0015002532266891993, 0.0014113672176669383),
)


def implied_vols(
    p: FloatArray,
    F: FloatArray,
    K: FloatArray,
    T: FloatArray,
    D: FloatArray,
    put: BoolArray,
    sigmas: FloatArray,
    statuses: StatusArray,
) -> bool:
    """Fill ``sigmas`` and ``statuses``, all arrays (n,); False if they are not."""
    if not are_columns((p, F, K, T, D), put, sigmas.size):
        return False
    with np.errstate(all="ignore"):
        intrinsic = np.maximum(np.where(put, K - F, F - K), 0.0)
        product, lost = exact_product(D, intrinsic)
        values = (p - product) - lost
        statuses[:] = _screen(p=p, F=F, K=K, T=T, D=D, values=values, intrinsic=intrinsic)
        rows = np.flatnonzero(statuses == Status.OK)
        sigmas.fill(np.nan)
        if rows.size:
            logs = -np.abs(log_ratio(F[rows], K[rows]))
            targets = values[rows] / (D[rows] * np.sqrt(F[rows] * K[rows]))
            totals, converged = total_volatility(values=targets, logs=logs)
            sigmas[rows] = totals / np.sqrt(T[rows])
            statuses[rows[~converged]] = Status.NOT_CONVERGED
    return True


def _screen(
    *,
    p: FloatArray,
    F: FloatArray,
    K: FloatArray,
    T: FloatArray,
    D: FloatArray,
    values: FloatArray,
    intrinsic: FloatArray,
) -> StatusArray:
    """The first reason why a row has no volatility; OK where it may have one."""
    finite = np.isfinite(p) & np.isfinite(K) & np.isfinite(T) & np.isfinite(D)
    noise = np.where(intrinsic > 0.0, NOISE * p, 0.0)
    reasons = [
        (~(finite & (K > 0.0) & (D > 0.0)), Status.BAD_INPUT),
        (T <= 0.0, Status.EXPIRED),
        (~(np.isfinite(F) & (F > 0.0)), Status.NO_FORWARD),
        (values < -noise, Status.BELOW_INTRINSIC),
        (values <= noise, Status.NO_TIME_VALUE),
        (values >= D * np.minimum(F, K), Status.ABOVE_BOUND),
    ]
    return np.select(
        [mask for mask, _ in reasons], [reason for _, reason in reasons], Status.OK
    ).astype(np.uint8)


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
    vega = np.exp(-0.5 * (h2 + t2)) * ROOT_TWO_PI_INVERSE
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
    """Bachelier's v turned lognormal, or the at-the-money inverse -2 N^-1(rest) for large v."""
    size = np.maximum(-logs, 1e-200)
    squared = size * size
    ratio = size / values * (1.0 + squared * (1 / 24 + squared / 1920))
    L = np.log1p(ratio)
    s = np.sqrt(L)
    v = size / L * np.polyval(_GUESS_BOTTOM[::-1], s) / np.polyval(_GUESS_TOP[::-1], s)
    v = v * (1.0 + v * v * (1 / 24 + v * v * (7 / 1920)))
    rest = (np.exp(0.5 * logs) - values) / (2.0 * np.cosh(0.5 * logs))
    y = np.sqrt(-2.0 * np.log(rest))
    top = 2.515517 + y * (0.802853 + y * 0.010328)
    far = 2.0 * (y - top / (1.0 + y * (1.432788 + y * (0.189269 + y * 0.001308))))
    guess = np.where(v < 0.7, v, far)
    guess = np.where(np.isfinite(guess) & (guess > 0.0), guess, 0.7)
    return np.clip(guess, 4.0 * LOWEST_TOTAL, 0.5 * HIGHEST_TOTAL)
