"""Implied volatility, compiled: the quick branch, vectorised, and who goes where.

Owns that branch and its borders; definitions of statuses and domain are those of
:mod:`common.quant.implied_vol`.

Quick branch, for v = sigma sqrt(T) < 0.4 and |ln(F/K)| < 1, which every option of a few
months is in: Bachelier's v from a rational function of sqrt(ln(1 + |F - K|/value)), corrected
by v²/24 + 7 v⁴/1920 to a relative 1e-4 or better; then one step of third order on ln(value),
whose error is the fourth power of that. The value is front · v · S with the odd series S of
eq. 2.14 in [1], here in powers of t² = v²/4, whose coefficients follow
y(k) = t²/(2k(2k+1)) ((h² + 4k - 1) y(k-1) - t² y(k-2)).

What is left goes to :mod:`common.quant.compiled.general`.

.. [1] P. Jäckel, "Let's Be Rational", Wilmott (2015).
.. [2] J. Choi, K. Kim, M. Kwak, "Numerical approximation of the implied volatility under
       arithmetic Brownian motion", Applied Mathematical Finance 16 (2009).
.. [3] P. S. Hagan, D. E. Woodward, "Equivalent Black volatilities" (1999): v²/24.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numba import carray, njit

from common.machine.arguments import (
    BOOL,
    BYTE,
    DOUBLE,
    ROUNDS,
    are_columns,
    codes,
    column,
    entry,
    flags,
    inlined,
    is_array,
    is_column,
    length,
    python_bool,
    stack,
)
from common.models import Status
from common.quant.compiled.elementary import (
    NAN,
    ROOT_TWO_PI_INVERSE,
    arrays_are_distinct,
    exp,
    fma,
    log_ratio,
    mills_rest,
    rough_log,
)
from common.quant.compiled.general import general
from common.quant.limits import LOWEST_TOTAL, NOISE

BLOCK = 128
_ROW = 136  # doubles between scratch rows; not a power of two, so that none share a cache set
_room = stack(7 * _ROW)
_QUICK_TOTAL, _QUICK_LOG, _QUICK_H, _QUICK_GAP = 0.4, 1.0, 25.0, 0.02
_TINY = 1e-200
_OK, _EXPIRED = int(Status.OK), int(Status.EXPIRED)
_BAD_INPUT, _NO_FORWARD = int(Status.BAD_INPUT), int(Status.NO_FORWARD)
_BELOW_INTRINSIC, _NO_TIME_VALUE = int(Status.BELOW_INTRINSIC), int(Status.NO_TIME_VALUE)
_ABOVE_BOUND, _NOT_CONVERGED = int(Status.ABOVE_BOUND), int(Status.NOT_CONVERGED)


@inlined
def _time_value(p: float, F: float, K: float, D: float, put: bool) -> tuple[float, float]:
    """(discounted time value, the part of it that is only rounding), [$]."""
    gap = K - F if put else F - K
    intrinsic = max(gap, 0.0)
    return fma(-D, intrinsic, p), (NOISE * p if intrinsic > 0.0 else 0.0)


@inlined
def _normalise(p: float, F: float, K: float, D: float, put: bool) -> tuple[float, float, float]:
    """(beta, 1/beta, |ln(F/K)|); NaN where a row has no volatility or a bad number."""
    value, noise = _time_value(p, F, K, D, put)
    scale = D * sqrt(F * K)
    good = (value > noise) & (value < D * min(F, K)) & (F > 0.0) & (D > 0.0)
    return (value / scale if good else NAN), scale / value, abs(log_ratio(F, K))


@inlined
def _guess(inverse: float, log: float) -> float:
    """v = sigma sqrt(T) of the normal model [2], turned lognormal by [3]."""
    squared = log * log
    log = max(log, _TINY)  # at the money the limit is taken, not 0/0
    ratio = log * inverse * fma(squared, fma(squared, 1 / 1920, 1 / 24), 1.0)
    y = 1.0 + ratio
    lost = ratio - (y - 1.0) if ratio < 1.0 else 0.0
    L = rough_log(y) + lost
    s = sqrt(L)
    L2 = L * L
    P = fma(
        L2,
        fma(s, 0.001995708953155064, 0.0020703146878506473),
        fma(
            L,
            fma(s, 0.00623841879781207, 0.059608469365931366),
            fma(s, -0.0786215508024193, 0.39894105946419023),
        ),
    )
    Q = fma(
        L2,
        fma(L, 0.0014113672176669383, fma(s, 0.0015002532266891993, 0.012979142176749774)),
        fma(
            L,
            fma(s, 0.012681902857780938, 0.1504451227540761),
            fma(s, -0.19721051831219005, 1.0),
        ),
    )
    v = log * Q / (L * P)
    v2 = v * v
    return v * fma(v2, fma(v2, 7 / 1920, 1 / 24), 1.0)


@inlined
def _series(h: float, t: float) -> float:
    """S = value/(front v), front = n(0) exp(-(h² + t²)/2); for t <= 0.2, 6 terms give 1e-16."""
    h2, t2 = h * h, t * t
    t4 = t2 * t2
    y0 = mills_rest(h)
    y1 = fma(t2 * (1 / 6) * (h2 + 3.0), y0, t2 * (-1 / 6))
    y2 = fma(t2 * (1 / 20) * (h2 + 7.0), y1, t4 * (-1 / 20) * y0)
    y3 = fma(t2 * (1 / 42) * (h2 + 11.0), y2, t4 * (-1 / 42) * y1)
    y4 = fma(t2 * (1 / 72) * (h2 + 15.0), y3, t4 * (-1 / 72) * y2)
    y5 = fma(t2 * (1 / 110) * (h2 + 19.0), y4, t4 * (-1 / 110) * y3)
    y6 = fma(t2 * (1 / 156) * (h2 + 23.0), y5, t4 * (-1 / 156) * y4)
    return y0 + (y1 + ((y2 + y3) + ((y4 + y5) + y6)))


@inlined
def _gap(v: float, h: float, S: float, beta: float, inverse: float) -> float:
    """value(v)/beta - 1."""
    t = 0.5 * v
    front = exp(max(-0.5 * fma(h, h, t * t), -700.0))
    return (front * (ROOT_TWO_PI_INVERSE * v) * S - beta) * inverse


@inlined
def _refine(v: float, h: float, S: float, gap: float, log: float) -> float:
    """The step of third order on f = ln(1 + gap); NaN outside the branch's domain.

    With N = -f S Newton's relative step, a = f'' N/f' and b = f''' N²/(6 f'), it is
    N (1 - a/2 + a²/2 - b).
    """
    h2, t2 = h * h, 0.25 * v * v
    g2 = gap * gap
    low = fma(g2, fma(gap, -1 / 4, 1 / 3), fma(gap, -1 / 2, 1.0))
    f = gap * fma(g2 * g2, fma(g2, 1 / 7, fma(gap, -1 / 6, 1 / 5)), low)
    N = -f * S
    m = (h2 - t2) * N
    a = m + f
    b = fma(m, m, -fma(3.0, h2, t2) * N * N) + f * fma(3.0, m, 2.0 * f)
    step = N * (fma(a, fma(a, 0.5, -0.5), 1.0) - b * (1 / 6))
    quick = (v < _QUICK_TOTAL) & (log < _QUICK_LOG) & (h < _QUICK_H) & (abs(gap) < _QUICK_GAP)
    quick &= v > 4.0 * LOWEST_TOTAL
    return fma(v, step, v) if quick else NAN


@njit(**ROUNDS)
def _prepare(p, F, K, D, put, betas, inverses, logs, start, count):
    arrays_are_distinct()
    for i in range(count):
        j = start + i
        betas[i], inverses[i], logs[i] = _normalise(p[j], F[j], K[j], D[j], put[j])


@njit(**ROUNDS)
def _start(inverses, logs, totals, count):
    arrays_are_distinct()
    for i in range(count):
        totals[i] = _guess(inverses[i], logs[i])


@njit(**ROUNDS)
def _compare(betas, inverses, logs, totals, hs, series, gaps, count):
    arrays_are_distinct()
    for i in range(count):
        v = totals[i]
        h = logs[i] / v
        S = _series(h, 0.5 * v)
        hs[i], series[i] = h, S
        gaps[i] = _gap(v, h, S, betas[i], inverses[i])


@njit(**ROUNDS)
def _finish(totals, hs, series, gaps, logs, T, sigmas, start, count):
    """Write the volatilities, NaN for what the quick branch cannot do; how many those are."""
    arrays_are_distinct()
    left = 0
    for i in range(count):
        v = _refine(totals[i], hs[i], series[i], gaps[i], logs[i])
        sigma = v / sqrt(T[start + i])
        good = (sigma > 0.0) & (sigma < 1e300)
        sigmas[start + i] = sigma if good else NAN
        left += 0 if good else 1
    return left


@inlined
def _first_reason(p: float, F: float, K: float, T: float, D: float, put: bool) -> int:
    """The first reason why a row has no volatility; OK where it may have one."""
    finite = (p * 0.0 == 0.0) & (K * 0.0 == 0.0) & (T * 0.0 == 0.0) & (D * 0.0 == 0.0)
    if not (finite and K > 0.0 and D > 0.0):
        return _BAD_INPUT
    if T <= 0.0:
        return _EXPIRED
    if not (F * 0.0 == 0.0 and F > 0.0):
        return _NO_FORWARD
    value, noise = _time_value(p, F, K, D, put)
    if value < -noise:
        return _BELOW_INTRINSIC
    if value <= noise:
        return _NO_TIME_VALUE
    return _ABOVE_BOUND if value >= D * min(F, K) else _OK


@njit(**ROUNDS)
def _rest(p, F, K, T, D, put, sigmas, statuses, start, stop):
    """What the quick branch left: a reason, or the general branch."""
    for i in range(start, stop):
        if sigmas[i] > 0.0:
            continue
        reason = _first_reason(p[i], F[i], K[i], T[i], D[i], put[i])
        if reason == _OK:
            beta, inverse, log = _normalise(p[i], F[i], K[i], D[i], put[i])
            sigmas[i] = general(beta, log, _guess(inverse, log)) / sqrt(T[i])
            if not (sigmas[i] > 0.0 and sigmas[i] < 1e300):
                sigmas[i], reason = NAN, _NOT_CONVERGED
        statuses[i] = reason


@njit(**ROUNDS)
def implied_columns(p, F, K, T, D, put, sigmas, statuses, n):
    """Fill the first n of the last two."""
    scratch = carray(_room(), (7, _ROW), np.float64)
    betas, inverses, logs, totals = scratch[0], scratch[1], scratch[2], scratch[3]
    hs, series, gaps = scratch[4], scratch[5], scratch[6]
    for start in range(0, n, BLOCK):
        rows = min(BLOCK, n - start)
        _prepare(p, F, K, D, put, betas, inverses, logs, start, rows)
        _start(inverses, logs, totals, rows)
        _compare(betas, inverses, logs, totals, hs, series, gaps, rows)
        left = _finish(totals, hs, series, gaps, logs, T, sigmas, start, rows)
        statuses[start : start + rows] = _OK
        if left:
            _rest(p, F, K, T, D, put, sigmas, statuses, start, start + rows)


@entry
def implied_vols(self, args, count):
    """(p, F, K, T, D, put, sigmas, statuses): fill the last two; arrays (n,)."""
    if not (count == 8 and is_array(self, args, 0, DOUBLE, 1)):
        return python_bool(0)
    n = length(args, 0, 0)
    right = are_columns(self, args, 1, 5, n) and is_column(self, args, 5, BOOL, n)
    if not (right and is_column(self, args, 6, DOUBLE, n) and is_column(self, args, 7, BYTE, n)):
        return python_bool(0)
    implied_columns(
        *(column(args, 0, n), column(args, 1, n), column(args, 2, n), column(args, 3, n)),
        *(column(args, 4, n), flags(args, 5, n), column(args, 6, n), codes(args, 7, n), n),
    )
    return python_bool(1)
