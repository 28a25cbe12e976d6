"""The grid of the net gamma curve and the roots of the curve, compiled.

Owns where the curve is looked at and which of its roots count; definitions are those of
:mod:`common.quant.zero_gamma`, sums those of :mod:`common.quant.compiled.profile`.
"""

from __future__ import annotations

import math

from numba import njit

from common.machine.arguments import (
    DOUBLE,
    ROUNDS,
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
from common.quant.compiled.elementary import arrays_are_distinct, fma, log_ratio
from common.quant.compiled.profile import bell, position, terms
from common.quant.limits import NOISE_SHARE, NOISE_WINDOW, PEAK_STEPS, ROOT_STEPS, ROOT_TOLERANCE

TWICE_LN2 = 1.3862943611198906
_WORK = 5


@njit(**ROUNDS)
def _sort(values, size):
    """Shell's way: runs that ascend already cost little."""
    gap = 1
    while gap < size // 9:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, size):
            value, j = values[i], i
            while j >= gap and values[j - gap] > value:
                values[j] = values[j - gap]
                j -= gap
            values[j] = value
        gap //= 3


@njit(**ROUNDS)
def _peaks(K, b, T, s, spot, low, high, step, peaks):
    """Spots within the grid at which a narrow peak stands, ascending; how many there are."""
    count = 0
    for i in range(K.size):
        peak = K[i] / b[i]
        if s[i] * math.sqrt(T[i]) * spot < PEAK_STEPS * step and low < peak < high:
            peaks[count] = peak
            count += 1
    _sort(peaks, count)
    return count


@entry
def grid(self, args, count):
    """(K, b, T, s, out, room, head, spot, width, points): fill ``out`` (at least points + n,) with
    as many spots as ``head`` (1,) says, for contracts (n,); ``room`` is (n,).
    """
    right = count == 10 and is_array(self, args, 0, DOUBLE, 1)
    if not (right and is_array(self, args, 4, DOUBLE, 1)):
        return python_bool(0)
    n, size = length(args, 0, 0), length(args, 4, 0)
    right = are_columns(self, args, 1, 4, n) and is_column(self, args, 5, DOUBLE, n)
    right = right and is_column(self, args, 6, DOUBLE, 1)
    for at in (7, 8, 9):
        right = right and is_number(self, args, at)
    if not right:
        return python_bool(0)
    spot, width, points = number(args, 7), number(args, 8), int(number(args, 9))
    if not (points >= 2 and size >= points + n):
        return python_bool(0)
    out, room = column(args, 4, size), column(args, 5, n)
    low, high = spot * (1.0 - width), spot * (1.0 + width)
    step, even, found = (high - low) / (points - 1), 0, 0
    second = 1.0 * step + low
    peaks = _peaks(
        *(column(args, 0, n), column(args, 1, n), column(args, 2, n), column(args, 3, n)),
        *(spot, low, high, second - low, room),
    )
    taken = 0
    while even < points or taken < peaks:  # both ascend
        next_even = math.inf
        if even < points:
            next_even = high if even == points - 1 else even * step + low
        if taken < peaks and room[taken] < next_even:
            value = room[taken]
            taken += 1
        else:
            value = next_even
            even += 1
        if found == 0 or value != out[found - 1]:
            out[found] = value
            found += 1
    column(args, 6, 1)[0] = found
    return python_bool(1)


@njit(**ROUNDS)
def _at(log, inverse, shift, scale, values, slopes):
    """(sum, its slope in ln S) at one spot, summed in contract order."""
    arrays_are_distinct()
    for i in range(inverse.size):
        d = fma(log, inverse[i], shift[i])
        values[i] = scale[i] * bell(d)
        slopes[i] = -TWICE_LN2 * d * inverse[i] * values[i]
    value, slope = 0.0, 0.0
    for i in range(inverse.size):
        value += values[i]
        slope += slopes[i]
    return value, slope


@njit(**ROUNDS)
def _root(low, high, rising, inverse, shift, scale, values, slopes):
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
        if width <= ROOT_TOLERANCE:
            return x
    return 0.5 * (low + high)


@njit(**ROUNDS)
def _is_visible(spots, values, lower, upper, reach, threshold):
    """Whether the curve is more than noise near a crossing between two of its spots."""
    middle = 0.5 * (spots[lower] + spots[upper])
    first, last = position(spots, spots.size, middle - reach), lower
    while last < spots.size and spots[last] <= middle + reach:
        last += 1
    if upper == lower + 1:
        first, last = min(first, lower), max(last, upper + 1)
    seen = False
    for j in range(first, last):
        seen = seen or abs(values[j]) >= threshold
    return seen


@njit(**ROUNDS)
def _largest(values):
    """The largest size; NaN where there is one."""
    found = 0.0
    for j in range(values.size):
        size = abs(values[j])
        if size > found or size * 0.0 != 0.0:
            found = size
    return found


@entry
def roots(self, args, count):
    """(K, b, T, s, D, q, spots, values, out, scratch, head, spot, anchor): fill ``out`` (g,) with
    as many roots as ``head`` (1,) says of the curve (g,) of contracts (n,); scratch of 5 n doubles.
    """
    right = count == 13 and is_number(self, args, 11) and is_number(self, args, 12)
    if not (right and is_array(self, args, 0, DOUBLE, 1) and is_array(self, args, 6, DOUBLE, 1)):
        return python_bool(0)
    n, g = length(args, 0, 0), length(args, 6, 0)
    right = are_columns(self, args, 1, 6, n) and are_columns(self, args, 7, 9, g)
    right = right and is_column(self, args, 9, DOUBLE, _WORK * n)
    if not (right and is_column(self, args, 10, DOUBLE, 1)):
        return python_bool(0)
    K, b, T = column(args, 0, n), column(args, 1, n), column(args, 2, n)
    s, D, q = column(args, 3, n), column(args, 4, n), column(args, 5, n)
    spots, values, out = column(args, 6, g), column(args, 7, g), column(args, 8, g)
    work, spot, anchor = table(args, 9, _WORK, n), number(args, 11), number(args, 12)
    inverse, shift, scale = work[0], work[1], work[2]
    threshold, reach = NOISE_SHARE * _largest(values), NOISE_WINDOW * spot
    found, before, ready = 0, -1, False
    for at in range(g):
        if values[at] == 0.0:
            continue
        last, before = before, at
        rising = last >= 0 and values[last] > 0.0
        if last < 0 or (values[at] > 0.0) == rising:
            continue
        if not _is_visible(spots, values, last, at, reach, threshold):
            continue
        if not ready:
            terms(K, b, T, s, D, q, anchor, inverse, shift, scale)
            ready = True
        low, high = log_ratio(spots[last], anchor), log_ratio(spots[at], anchor)
        x = _root(low, high, rising, inverse, shift, scale, work[3], work[4])
        out[found] = anchor * math.exp(x)
        found += 1
    column(args, 10, 1)[0] = found
    return python_bool(1)
