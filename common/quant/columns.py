"""Arguments of any shape as the columns that kernels take.

Owns broadcasting; must not look at values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from common.models import BoolArray, FloatArray


def columns(
    numbers: Sequence[npt.ArrayLike], flags: npt.ArrayLike
) -> tuple[list[FloatArray], BoolArray, tuple[int, ...]]:
    """Numbers as float64 and flags as bool, broadcast, flat and contiguous; and the shape."""
    parts = [np.asarray(number, dtype=np.float64) for number in numbers]
    *spread, marks = np.broadcast_arrays(*parts, np.asarray(flags, dtype=np.bool_))
    flat = [np.array(part, dtype=np.float64).reshape(-1) for part in spread]
    return flat, np.array(marks, dtype=np.bool_).reshape(-1), marks.shape
