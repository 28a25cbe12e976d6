"""The net gamma curve and its roots, compiled.

Owns the sums over contracts; definitions are those of :mod:`common.quant.zero_gamma`. The
inner loop runs over spots, so that each spot's sum is taken in contract order and no sum is
ever reassociated: the vector width changes no bit. A contract is skipped where its density is
below the smallest double, which leaves few spots of a 0DTE chain.
"""

from __future__ import annotations

import math
from math import sqrt

import numpy as np
from numba import njit

from common.quant.compiled.arguments import (
    DOUBLE,
    are_columns,
    column,
    entry,
    is_array,
    is_column,
    is_number,
    length,
    number,
    python_bool,
    table,
)
from common.quant.compiled.elementary import (
    ROOT_TWO_PI_INVERSE,
    ROUNDER,
    ROUNDS,
    arrays_are_distinct,
    bits,
    fma,
    from_bits,
    inlined,
    log_ratio,
)
from common.quant.limits import FARTHEST_D1, ROOT_STEPS

TWICE_LN2 = 1.3862943611198906
_LANES = 8  # ranges of spots are widened to whole vectors
_BASE_2 = 0.8493218002880191  # sqrt(log2(e)/2): n(d) = n(0) 2^-(d · this)²
_LEAST_POWER = -(FARTHEST_D1 * FARTHEST_D1) * _BASE_2 * _BASE_2
_FARTHEST = FARTHEST_D1 * _BASE_2


@inlined
def _bell(d: float) -> float:
    """2^(-d²), exactly 0 beyond the farthest d; relative error 6e-16 (1 + d²)."""
    power = max(-d * d, _LEAST_POWER)
    shifted = power + ROUNDER
    r = power - (shifted - ROUNDER)
    r2 = r * r
    low = fma(
        r2,
        fma(r, 0.00961812910761865, 0.0555041086646514),
        fma(r, 0.24022650695910075, 0.6931471805599462),
    )
    middle = fma(
        r2,
        fma(r, 1.321545160506755e-06, 1.525267287609254e-05),
        fma(r, 0.0001540353042481424, 0.0013333558200859905),
    )
    high = fma(r, 7.070984300546448e-09, 1.0205916556573999e-07)
    r4 = r2 * r2
    p = fma(r4, fma(r4, high, middle), low)
    bell = from_bits(bits(fma(r, p, 1.0)) + (bits(shifted) << 52))
    return bell if power > _LEAST_POWER else 0.0


@njit(**ROUNDS)
def _terms(K, b, T, s, D, q, anchor, inverse, shift, scale):
    """d1 = ln(S/anchor)/v + shift, in the scale of 2^-d²; D b/v times the position."""
    arrays_are_distinct()
    for i in range(K.size):
        v = s[i] * sqrt(T[i])
        inverse_v = 1.0 / v
        log = log_ratio(anchor, K[i]) + log_ratio(b[i], 1.0)
        inverse[i] = inverse_v * _BASE_2
        shift[i] = fma(log, inverse_v, 0.5 * v) * _BASE_2
        scale[i] = q[i] * D[i] * b[i] * inverse_v


@njit(**ROUNDS)
def _add(logs, inverse, shift, scale, sums, first, last):
    arrays_are_distinct()
    for j in range(np.uint64(first), np.uint64(last)):  # unsigned: no index counts from the end
        sums[j] = fma(scale, _bell(fma(logs[j], inverse, shift)), sums[j])


@njit(**ROUNDS)
def _position(logs, size, bound):
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
    for i in range(inverse.size):
        reach, centre = 1.01 * _FARTHEST / inverse[i], -shift[i] / inverse[i]
        first, last = 0, padded
        if centre - reach > logs[0]:
            first = _position(logs, g, centre - reach) // _LANES * _LANES
        if centre + reach < logs[g - 1]:
            last = (_position(logs, g, centre + reach) + _LANES - 1) // _LANES * _LANES
        _add(logs, inverse[i], shift[i], scale[i], sums, first, last)


@entry
def net_gex(self, args, count):
    """(K, b, T, s, D, q, spots, out, scratch, anchor): fill ``out`` (g,) at ascending ``spots``
    (g,) for contracts (n,); scratch of 3 n + 2 g + 16 doubles.
    """
    if not (count == 10 and is_number(self, args, 9) and is_array(self, args, 0, DOUBLE, 1)):
        return python_bool(0)
    n = length(args, 0, 0)
    if not (are_columns(self, args, 1, 6, n) and is_array(self, args, 6, DOUBLE, 1)):
        return python_bool(0)
    g = length(args, 6, 0)
    padded = (g + _LANES - 1) // _LANES * _LANES
    right = is_column(self, args, 7, DOUBLE, g) and is_array(self, args, 8, DOUBLE, 1)
    if not (right and length(args, 8, 0) >= 3 * n + 2 * padded):
        return python_bool(0)
    K, b, T = column(args, 0, n), column(args, 1, n), column(args, 2, n)
    s, D, q = column(args, 3, n), column(args, 4, n), column(args, 5, n)
    spots, out, anchor = column(args, 6, g), column(args, 7, g), number(args, 9)
    room = column(args, 8, 3 * n + 2 * padded)
    inverse, shift, scale = room[:n], room[n : 2 * n], room[2 * n : 3 * n]
    _terms(K, b, T, s, D, q, anchor, inverse, shift, scale)
    if g:
        logs, sums = room[3 * n : 3 * n + padded], room[3 * n + padded :]
        _add_all(inverse, shift, scale, spots, anchor, logs, sums)
        for j in range(g):
            out[j] = sums[j] * spots[j] * ROOT_TWO_PI_INVERSE
    return python_bool(1)


@njit(**ROUNDS)
def _at(log, inverse, shift, scale, values, slopes):
    """(sum, its slope in ln S) at one spot, summed in contract order."""
    arrays_are_distinct()
    for i in range(inverse.size):
        d = fma(log, inverse[i], shift[i])
        values[i] = scale[i] * _bell(d)
        slopes[i] = -TWICE_LN2 * d * inverse[i] * values[i]
    value, slope = 0.0, 0.0
    for i in range(inverse.size):
        value += values[i]
        slope += slopes[i]
    return value, slope


@njit(**ROUNDS)
def _root(low, high, rising, tolerance, inverse, shift, scale, values, slopes):
    """Newton's step in ln S where it stays inside, the middle where it does not."""
    x, width = 0.5 * (low + high), high - low
    for _ in range(ROOT_STEPS):
        value, slope = _at(x, inverse, shift, scale, values, slopes)
        if value == 0.0:
            return x
        if (value > 0.0) == rising:
            low = x
        else:
            high = x
        step = -value / slope
        inside = slope != 0.0 and low < x + step < high and abs(step) < 0.5 * width
        width = abs(step) if inside else 0.5 * (high - low)
        x = x + step if inside else 0.5 * (low + high)
        if width <= tolerance:
            return x
    return 0.5 * (low + high)


@entry
def refine(self, args, count):
    """(K, b, T, s, D, q, brackets, scratch, anchor, tolerance): shrink ``brackets`` (3, k) in
    place: lower spot, upper spot, sign at the lower; scratch of 5 n doubles.
    """
    right = count == 10 and is_number(self, args, 8) and is_number(self, args, 9)
    if not (right and is_array(self, args, 0, DOUBLE, 1)):
        return python_bool(0)
    n = length(args, 0, 0)
    if not (are_columns(self, args, 1, 6, n) and is_array(self, args, 6, DOUBLE, 2)):
        return python_bool(0)
    if not (length(args, 6, 0) == 3 and is_column(self, args, 7, DOUBLE, 5 * n)):
        return python_bool(0)
    K, b, T = column(args, 0, n), column(args, 1, n), column(args, 2, n)
    s, D, q = column(args, 3, n), column(args, 4, n), column(args, 5, n)
    work, anchor, tolerance = table(args, 7, 5, n), number(args, 8), number(args, 9)
    inverse, shift, scale, values, slopes = work[0], work[1], work[2], work[3], work[4]
    _terms(K, b, T, s, D, q, anchor, inverse, shift, scale)
    brackets = table(args, 6, 3, length(args, 6, 1))
    for k in range(brackets.shape[1]):
        low, high = log_ratio(brackets[0, k], anchor), log_ratio(brackets[1, k], anchor)
        rising = brackets[2, k] > 0.0
        root = _root(low, high, rising, tolerance, inverse, shift, scale, values, slopes)
        brackets[0, k] = brackets[1, k] = anchor * math.exp(root)
    return python_bool(1)
