"""The net gamma curve on arrays; see :mod:`common.quant.compiled.profile`."""

from __future__ import annotations

import numpy as np

from common.models import FloatArray
from common.quant.limits import FARTHEST_D1
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
