"""Prices and deltas, compiled.

Owns the arithmetic; formulas and units are those of :mod:`common.quant.blackscholes`.
"""

from __future__ import annotations

from math import sqrt

from numba import njit, types

from common.quant.compiled.elementary import (
    COLUMN,
    FLAGS,
    NAN,
    ROUNDS,
    arrays_are_distinct,
    inlined,
    log_ratio,
    mills,
)
from common.quant.compiled.general import value
from common.quant.compiled.greeks import moneyness

SIGNATURE = types.boolean(*[COLUMN] * 5, FLAGS, COLUMN)


@njit(SIGNATURE, cache=True, **ROUNDS)
def prices(F, K, T, s, D, put, out):
    """Fill ``out``; arrays (n,), contiguous; False if they are not."""
    n = K.size
    if not (F.size == T.size == s.size == D.size == put.size == out.size == n):
        return False
    for i in range(n):
        out[i] = NAN
        finite = (F[i] + K[i] + T[i] + s[i] + D[i]) * 0.0 == 0.0
        if finite and F[i] > 0.0 and K[i] > 0.0 and T[i] > 0.0 and s[i] > 0.0:
            log, v = abs(log_ratio(F[i], K[i])), s[i] * sqrt(T[i])
            intrinsic = max(K[i] - F[i] if put[i] else F[i] - K[i], 0.0)
            out[i] = D[i] * (sqrt(F[i] * K[i]) * value(log, v)[0] + intrinsic)
    return True


@inlined
def _delta(F, K, T, s, growth, put):
    sign = -1.0 if put else 1.0
    d1, _, density, inverse_v, _ = moneyness(F, K, T, s)
    tail = density * mills(abs(d1))
    live = tail if sign * d1 < 0.0 else 1.0 - tail
    gap = sign * (F - K)
    settled = 1.0 if gap > 0.0 else 0.5
    settled = 0.0 if gap < 0.0 else settled
    alive = T > 0.0
    chance = live if alive else settled
    finite = (F + K + T + s + growth) * 0.0 == 0.0
    usable = (inverse_v + d1) * 0.0 == 0.0
    good = finite & (F > 0.0) & (K > 0.0) & (s > 0.0) & (usable | (T <= 0.0))
    return sign * growth * chance if good else NAN


@njit(**ROUNDS)
def _deltas(F, K, T, s, growth, put, out):
    arrays_are_distinct()
    for i in range(K.size):
        out[i] = _delta(F[i], K[i], T[i], s[i], growth[i], put[i])


@njit(SIGNATURE, cache=True, **ROUNDS)
def deltas(F, K, T, s, growth, put, out):
    """Fill ``out`` with phi · growth · N(phi d1); once T <= 0 with what settlement leaves."""
    n = K.size
    if not (F.size == T.size == s.size == growth.size == put.size == out.size == n):
        return False
    _deltas(F, K, T, s, growth, put, out)
    return True
