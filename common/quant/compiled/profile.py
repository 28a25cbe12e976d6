"""The net gamma curve, compiled.

Owns the sums over contracts; definitions are those of :mod:`common.quant.zero_gamma`. The
inner loop runs over spots, so that each spot's sum is taken in contract order and no sum is
ever reassociated: the vector width changes no bit. A contract is skipped where its density is
below the smallest double, which leaves few spots of a 0DTE chain.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numba import njit

from common.machine.arguments import (
    DOUBLE,
    ROUNDS,
    are_columns,
    column,
    entry,
    inlined,
    is_array,
    is_column,
    is_number,
    length,
    number,
    python_bool,
)
from common.quant.compiled.elementary import (
    ROOT_TWO_PI_INVERSE,
    ROUNDER,
    arrays_are_distinct,
    bits,
    fma,
    from_bits,
    log_ratio,
)
from common.quant.limits import FARTHEST_D1

_LANES = 8  # ranges of spots are widened to whole vectors
_TOGETHER = 4  # contracts of one pass over the spots
_BASE_2 = 0.8493218002880191  # sqrt(log2(e)/2): n(d) = n(0) 2^-(d · this)²
_FARTHEST = FARTHEST_D1 * _BASE_2
_LEAST_SHIFTED = ROUNDER - _FARTHEST * _FARTHEST
_LEADING = 7.0372791317480845e-09  # coefficient of the polynomial that bell leaves to its caller


@inlined
def bell(d: float) -> float:
    """2^(-d²)/_LEADING, exactly 0 beyond the farthest d; relative error 4e-16 (1 + d²).

    Minimax (error 2e-16 before rounding), divided by its leading coefficient so that the first
    step is an addition. By Horner's rule: several of these are under way at once, and the number
    of operations counts, not their order.
    """
    square = d * d
    shifted = ROUNDER - square
    r = (ROUNDER - shifted) - square
    p = fma(r, r + 14.506370590352569, 187.7950637827458)
    p = fma(r, p, 2167.4084303035615)
    p = fma(r, p, 21888.473759183416)
    p = fma(r, p, 189470.36175399544)
    p = fma(r, p, 1366739.7481283958)
    p = fma(r, p, 7887154.626858097)
    p = fma(r, p, 34136276.6008991)
    p = fma(r, p, 98496473.93306817)
    p = fma(r, p, 142100374.4882856)
    bell = from_bits(bits(p) + (bits(shifted) << 52))
    return bell if shifted > _LEAST_SHIFTED else 0.0


@njit(**ROUNDS)
def terms(K, b, T, s, D, q, anchor, inverse, shift, scale):
    """d1 = ln(S/anchor)/v + shift, in the scale of 2^-d²; D b/v times the position, for bell."""
    arrays_are_distinct()
    for i in range(K.size):
        v = s[i] * sqrt(T[i])
        inverse_v = 1.0 / v
        log = log_ratio(anchor, K[i]) + log_ratio(b[i], 1.0)
        inverse[i] = inverse_v * _BASE_2
        shift[i] = fma(log, inverse_v, 0.5 * v) * _BASE_2
        scale[i] = q[i] * D[i] * b[i] * inverse_v * _LEADING


@njit(**ROUNDS)
def _add(logs, sums, first, last, i0, s0, c0, i1, s1, c1, i2, s2, c2, i3, s3, c3):
    """Four contracts, in their order: inverse, shift and scale of each."""
    arrays_are_distinct()
    for j in range(np.uint64(first), np.uint64(last)):  # unsigned: no index counts from the end
        log = logs[j]
        value = fma(c0, bell(fma(log, i0, s0)), sums[j])
        value = fma(c1, bell(fma(log, i1, s1)), value)
        value = fma(c2, bell(fma(log, i2, s2)), value)
        sums[j] = fma(c3, bell(fma(log, i3, s3)), value)


@njit(**ROUNDS)
def position(logs, size, bound):
    """How many of the ascending logs are below the bound."""
    low, high = 0, size
    while low < high:
        middle = (low + high) >> 1
        if logs[middle] < bound:
            low = middle + 1
        else:
            high = middle
    return low


@njit(**ROUNDS)
def _add_all(inverse, shift, scale, spots, anchor, logs, sums):
    """Fill ``logs`` and ``sums``, both as long as whole vectors hold the spots."""
    g, padded = spots.size, logs.size
    logs[:], sums[:] = 0.0, 0.0
    for j in range(g):
        logs[j] = log_ratio(spots[j], anchor)
    low, high = logs[0], logs[g - 1]
    for i in range(0, inverse.size, _TOGETHER):
        begin, end = high, low
        for each in range(i, i + _TOGETHER):
            reach, centre = 1.01 * _FARTHEST / inverse[each], -shift[each] / inverse[each]
            begin, end = min(begin, centre - reach), max(end, centre + reach)
        first, last = 0, padded
        if begin > low:
            first = position(logs, g, begin) // _LANES * _LANES
        if end < high:
            last = (position(logs, g, end) + _LANES - 1) // _LANES * _LANES
        one, two, three = i + 1, i + 2, i + 3
        _add(
            logs, sums, first, last,
            inverse[i], shift[i], scale[i],
            inverse[one], shift[one], scale[one],
            inverse[two], shift[two], scale[two],
            inverse[three], shift[three], scale[three],
        )  # fmt: skip


@entry
def net_gex(self, args, count):
    """(K, b, T, s, D, q, spots, out, scratch, anchor): fill ``out`` (g,) at ascending ``spots``
    (g,) for contracts (n,); scratch of 3 n + 2 g + 32 doubles.
    """
    if not (count == 10 and is_number(self, args, 9) and is_array(self, args, 0, DOUBLE, 1)):
        return python_bool(0)
    n = length(args, 0, 0)
    if not (are_columns(self, args, 1, 6, n) and is_array(self, args, 6, DOUBLE, 1)):
        return python_bool(0)
    g = length(args, 6, 0)
    padded = (g + _LANES - 1) // _LANES * _LANES
    whole = (n + _TOGETHER - 1) // _TOGETHER * _TOGETHER
    right = is_column(self, args, 7, DOUBLE, g) and is_array(self, args, 8, DOUBLE, 1)
    if not (right and length(args, 8, 0) >= 3 * whole + 2 * padded):
        return python_bool(0)
    K, b, T = column(args, 0, n), column(args, 1, n), column(args, 2, n)
    s, D, q = column(args, 3, n), column(args, 4, n), column(args, 5, n)
    spots, out, anchor = column(args, 6, g), column(args, 7, g), number(args, 9)
    room = column(args, 8, 3 * whole + 2 * padded)
    inverse, shift, scale = room[:whole], room[whole : 2 * whole], room[2 * whole : 3 * whole]
    terms(K, b, T, s, D, q, anchor, inverse, shift, scale)
    for i in range(n, whole):  # nothing, of the last contract's shape
        inverse[i], shift[i], scale[i] = inverse[n - 1], shift[n - 1], 0.0
    if g:
        logs, sums = room[3 * whole : 3 * whole + padded], room[3 * whole + padded :]
        _add_all(inverse, shift, scale, spots, anchor, logs, sums)
        for j in range(g):
            out[j] = sums[j] * spots[j] * ROOT_TWO_PI_INVERSE
    return python_bool(1)
