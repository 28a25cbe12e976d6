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
    marks = np.asarray(flags, dtype=np.bool_)
    if any(part.shape != marks.shape for part in parts):
        shape = np.broadcast_shapes(marks.shape, *(part.shape for part in parts))
        parts = [np.broadcast_to(part, shape).copy() for part in parts]
        marks = np.broadcast_to(marks, shape).copy()
    flat = [np.require(part, requirements=["C", "A"]).reshape(-1) for part in parts]
    return flat, np.require(marks, requirements=["C", "A"]).reshape(-1), marks.shape


def are_columns(numbers: Sequence[object], flags: object, n: int) -> bool:
    """Whether these are arrays (n,), the numbers of float64 and the flags of bool."""
    parts = [*((part, np.float64) for part in numbers), (flags, np.bool_)]
    return all(
        isinstance(part, np.ndarray) and part.dtype == kind and part.shape == (n,)
        for part, kind in parts
    )
