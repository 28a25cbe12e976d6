"""New quotes merged into the rows of a state; compiled.

Owns the merge of contracts that are known; what it means is :func:`common.state.merged`'s.
"""

from __future__ import annotations

from numba import njit

from common.machine.arguments import (
    BOOL,
    BYTE,
    DOUBLE,
    ROUNDS,
    column,
    eight_at,
    entry,
    flags,
    inlined,
    is_array,
    is_column,
    items_at,
    length,
    python_bool,
    set_eight,
    whole_at,
)
from common.models import QUOTE

_ROW, _SEQ = QUOTE.itemsize, QUOTE.fields["seq"][1]


@inlined
def _key(row):
    return whole_at(row) & 0xFFFFFFFF


@inlined
def _number(row):
    return whole_at(row + _SEQ)


@njit(**ROUNDS)
def _merge(held, new, count, out, touched):
    """How many were no newer than what was held; -1 with a contract that is not there."""
    late = 0
    for i in range(count):
        row, low, high = new + _ROW * i, 0, touched.size
        while low < high:
            middle = (low + high) // 2
            if _key(held + _ROW * middle) < _key(row):
                low = middle + 1
            else:
                high = middle
        if low == touched.size or _key(held + _ROW * low) != _key(row):
            return -1
        touched[low] = True
        to = out + _ROW * low
        late += 1 if _number(row) <= _number(held + _ROW * low) else 0
        if _number(row) >= _number(to):
            for word in range(0, _ROW, 8):
                set_eight(to + word, eight_at(row + word))
    return late


@entry
def merge(self, args, count):
    """(held, new, out, touched, late): merge ``new`` into ``out``, a copy of ``held``; mark the
    rows of (n,) that were quoted, and count what came late in (1,). Rows are bytes, of QUOTE.
    """
    if not (count == 5 and is_array(self, args, 0, BYTE, 1) and is_array(self, args, 1, BYTE, 1)):
        return python_bool(0)
    n, rows = length(args, 0, 0) // _ROW, length(args, 1, 0) // _ROW
    right = is_column(self, args, 0, BYTE, n * _ROW) and is_column(self, args, 1, BYTE, rows * _ROW)
    right = right and is_column(self, args, 2, BYTE, n * _ROW) and is_column(self, args, 3, BOOL, n)
    if not (right and is_column(self, args, 4, DOUBLE, 1)):
        return python_bool(0)
    late = _merge(items_at(args, 0), items_at(args, 1), rows, items_at(args, 2), flags(args, 3, n))
    column(args, 4, 1)[0] = late
    return python_bool(1 if late >= 0 else 0)
