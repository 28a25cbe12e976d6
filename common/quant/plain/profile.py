"""The net gamma curve and its roots on arrays; see :mod:`common.quant.compiled.profile`.

.. [1] Dowell, Jarratt, "A modified regula falsi method", BIT 11 (1971): the Illinois rule.
"""

from __future__ import annotations

import numpy as np

from common.models import FloatArray
from common.quant.limits import FARTHEST_D1, ROOT_STEPS
from common.quant.plain.elementary import log_ratio

_ROOT_TWO_PI_INVERSE = 0.3989422804014327
_CHUNK = 250_000


def net_gex(
    K: FloatArray,
    b: FloatArray,
    T: FloatArray,
    s: FloatArray,
    D: FloatArray,
    q: FloatArray,
    spots: FloatArray,
    anchor: float,
    out: FloatArray,
) -> bool:
    """Fill ``out`` (g,) at ascending ``spots`` (g,) for contracts (n,); False on other sizes."""
    if {part.shape for part in (K, b, T, s, D, q)} != {K.shape} or out.shape != spots.shape:
        return False
    with np.errstate(all="ignore"):
        v = s * np.sqrt(T)
        shift = (log_ratio(np.full_like(K, anchor), K) + log_ratio(b, np.ones_like(b))) / v
        shift += 0.5 * v
        scale = q * D * b / v
        logs = log_ratio(spots, np.full_like(spots, anchor))
        step = max(1, _CHUNK // max(K.size, 1))
        for start in range(0, spots.size, step):
            part = slice(start, start + step)
            d = logs[part, None] / v + shift
            square = np.square(d, out=d)
            bell = np.where(square < FARTHEST_D1 * FARTHEST_D1, np.exp(-0.5 * square), 0.0)
            out[part] = (bell * scale).sum(axis=1)
    out *= spots * _ROOT_TWO_PI_INVERSE
    return True


def refine(
    K: FloatArray,
    b: FloatArray,
    T: FloatArray,
    s: FloatArray,
    D: FloatArray,
    q: FloatArray,
    anchor: float,
    tolerance: float,
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
            if np.all(upper - lower <= tolerance * anchor):
                break
    brackets[0] = brackets[1] = 0.5 * (lower + upper)
    return True
