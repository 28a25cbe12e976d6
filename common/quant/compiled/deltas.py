"""Deltas, compiled.

Owns the arithmetic; formulas and units are those of :mod:`common.quant.blackscholes`.
"""

from __future__ import annotations

from numba import njit, types

from common.quant.compiled.elementary import (
    COLUMN,
    FLAGS,
    NAN,
    ROUNDS,
    arrays_are_distinct,
    inlined,
    mills,
)
from common.quant.compiled.greeks import moneyness

SIGNATURE = types.boolean(*[COLUMN] * 5, FLAGS, COLUMN)


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
