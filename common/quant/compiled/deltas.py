"""Deltas, compiled.

Owns the arithmetic; formulas and units are those of :mod:`common.quant.blackscholes`.
"""

from __future__ import annotations

from numba import njit

from common.machine.arguments import (
    BOOL,
    DOUBLE,
    ROUNDS,
    are_columns,
    column,
    entry,
    flags,
    inlined,
    is_array,
    is_column,
    length,
    python_bool,
)
from common.quant.compiled.elementary import NAN, arrays_are_distinct, mills
from common.quant.compiled.greeks import moneyness


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
def delta_columns(F, K, T, s, growth, put, out):
    """Fill ``out``."""
    arrays_are_distinct()
    for i in range(K.size):
        out[i] = _delta(F[i], K[i], T[i], s[i], growth[i], put[i])


@entry
def deltas(self, args, count):
    """(F, K, T, s, growth, put, out): fill ``out`` with phi · growth · N(phi d1); once T <= 0
    with what settlement leaves.
    """
    if not (count == 7 and is_array(self, args, 0, DOUBLE, 1)):
        return python_bool(0)
    n = length(args, 0, 0)
    right = are_columns(self, args, 1, 5, n) and is_column(self, args, 5, BOOL, n)
    if not (right and is_column(self, args, 6, DOUBLE, n)):
        return python_bool(0)
    F, K, T = column(args, 0, n), column(args, 1, n), column(args, 2, n)
    s, growth, put = column(args, 3, n), column(args, 4, n), flags(args, 5, n)
    delta_columns(F, K, T, s, growth, put, column(args, 6, n))
    return python_bool(1)
