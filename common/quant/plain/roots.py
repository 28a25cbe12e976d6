"""The grid of the net gamma curve and the roots of the curve on arrays.

Owns where the curve is looked at and which of its roots count; definitions are those of
:mod:`common.quant.zero_gamma`.

.. [1] Dowell, Jarratt, "A modified regula falsi method", BIT 11 (1971): the Illinois rule.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from common.models import FloatArray
from common.quant.limits import NOISE_SHARE, NOISE_WINDOW, PEAK_STEPS, ROOT_STEPS, ROOT_TOLERANCE
from common.quant.plain.profile import net_gex

_Crossing = tuple[int, int]
"""Neighbours on the grid, but for zeros between them, at which the curve's signs differ."""


def grid(
    K: FloatArray,
    b: FloatArray,
    T: FloatArray,
    s: FloatArray,
    out: FloatArray,
    head: FloatArray,
    spot: float,
    width: float,
    points: float,
) -> bool:
    """Fill ``out`` (at least points + n,) with as many spots as ``head`` (1,) says [$]: an even
    grid over ``spot · (1 ± width)`` and the narrow peaks of contracts (n,) within it, ascending.
    """
    low, high = spot * (1.0 - width), spot * (1.0 + width)
    even = np.linspace(low, high, int(points))
    narrow = s * np.sqrt(T) * spot < PEAK_STEPS * (even[1] - even[0])
    peaks = (K / b)[narrow]
    spots = np.unique(np.concatenate([even, peaks[(peaks > low) & (peaks < high)]]))
    head[0] = spots.size
    out[: spots.size] = spots
    return True


def roots(
    K: FloatArray,
    b: FloatArray,
    T: FloatArray,
    s: FloatArray,
    D: FloatArray,
    q: FloatArray,
    spots: FloatArray,
    values: FloatArray,
    out: FloatArray,
    head: FloatArray,
    spot: float,
    anchor: float,
) -> bool:
    """Fill ``out`` (g,) with as many roots as ``head`` (1,) says [$], ascending, of the curve
    (g,) that these contracts (n,) have at these spots.
    """
    head[0] = 0.0
    seen = values.nonzero()[0]
    above = values[seen] > 0.0
    at = (above[1:] != above[:-1]).nonzero()[0]
    crossings = list(zip(seen[at].tolist(), seen[at + 1].tolist(), strict=True))
    kept = _visible(spots, values, crossings, NOISE_WINDOW * spot) if crossings else []
    if not kept:
        return True
    lower, upper = np.array(kept).T
    brackets = np.array([spots[lower], spots[upper], np.where(values[lower] > 0.0, 1.0, -1.0)])
    head[0] = len(kept)
    done = _refine(K, b, T, s, D, q, anchor, brackets)
    out[: len(kept)] = np.sort(brackets[0])
    return done


def _visible(
    spots: FloatArray, values: FloatArray, crossings: list[_Crossing], reach: float
) -> list[_Crossing]:
    """The crossings that lie where the curve is more than noise.

    The ends of a step of the grid count with it, however wide it is; where zeros lie between
    them, the crossing is in their middle and the ends may be far.
    """
    sizes: npt.NDArray[np.float64] = np.abs(values)
    threshold = NOISE_SHARE * float(sizes[sizes.argmax()])
    kept = []
    for lower, upper in crossings:
        middle = 0.5 * (spots[lower] + spots[upper])
        first = int(spots.searchsorted(middle - reach))
        last = int(spots.searchsorted(middle + reach, side="right"))
        if upper == lower + 1:
            first, last = min(first, lower), max(last, upper + 1)
        if sizes[first:last].max(initial=0.0) >= threshold:
            kept.append((lower, upper))
    return kept


def _refine(
    K: FloatArray,
    b: FloatArray,
    T: FloatArray,
    s: FloatArray,
    D: FloatArray,
    q: FloatArray,
    anchor: float,
    brackets: FloatArray,
) -> bool:
    """Shrink ``brackets`` (3, k), lower spot, upper spot, sign at the lower, by [1]; in place."""
    lower, upper, sign = brackets[0].copy(), brackets[1].copy(), brackets[2]
    f_lower, f_upper, values = np.empty_like(lower), np.empty_like(lower), np.empty_like(lower)
    sums = (K, b, T, s, D, q)
    if not (net_gex(*sums, lower, anchor, f_lower) and net_gex(*sums, upper, anchor, f_upper)):
        return False
    moved = np.zeros(lower.shape)  # end that moved last: -1 the lower, +1 the upper
    with np.errstate(all="ignore"):
        for turn in range(1, ROOT_STEPS):
            secant = (lower * f_upper - upper * f_lower) / (f_upper - f_lower)
            inside = (secant > lower) & (secant < upper) & (turn % 4 != 0)
            x = np.where(inside, secant, 0.5 * (lower + upper))
            net_gex(*sums, x, anchor, values)
            left, exact = np.sign(values) == sign, values == 0.0
            # The end that stays a second time lends only half of its value to the secant.
            f_lower = np.where(left, values, np.where(moved > 0.0, 0.5 * f_lower, f_lower))
            f_upper = np.where(left, np.where(moved < 0.0, 0.5 * f_upper, f_upper), values)
            moved = np.where(left, -1.0, 1.0)
            lower, upper = np.where(left | exact, x, lower), np.where(left, upper, x)
            if np.all(upper - lower <= ROOT_TOLERANCE * anchor):
                break
    brackets[0] = brackets[1] = 0.5 * (lower + upper)
    return True
