"""Rows merged into what is held of their contracts, compiled.

Owns the table of names and the merge; must not see a line beyond a row's symbol.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from common.feeds.tradestation.columns import (
    LONGEST_NAME,
    NAME_AT,
    NAME_SIZE,
    PRESENT,
    READ,
    SLOT,
    VALUES,
    WIDTH,
)
from common.feeds.tradestation.compiled.text import first
from common.machine.arguments import (
    BYTE,
    DOUBLE,
    ROUNDS,
    byte_at,
    column,
    eight_at,
    entry,
    inlined,
    is_array,
    is_column,
    is_text,
    items_at,
    length,
    python_bool,
    set_eight,
    table,
    text,
)

_FIELDS = WIDTH - VALUES
_WHOLE, _NONE, _BYTE_BITS = np.uint64(0xFFFFFFFFFFFFFFFF), np.uint64(0), np.uint64(8)
_PARTS = tuple(first(count) for count in range(8))
_FACTORS = tuple(
    np.uint64(odd)
    for odd in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93)
)
"""Odd numbers without a pattern."""
_HALF, _TOP = np.uint64(32), np.uint64(40)


@inlined
def _eight(at, size, end):
    """Eight bytes of a name of which ``size`` are left; zeros behind its end."""
    if size <= 0:
        return _NONE
    if at + 8 <= end:
        return eight_at(at) & (_WHOLE if size >= 8 else _PARTS[size])
    found = _NONE
    for place in range(min(size, 8)):
        found |= byte_at(at + place) << (_BYTE_BITS * np.uint64(place))
    return found


@inlined
def _slot(at, size, end, names, slots):
    """The address of a name's place in the table: its own, or the free one where it belongs.

    ``slots`` is a power of two, and at least one place is free.
    """
    a, b = _eight(at, size, end), _eight(at + 8, size - 8, end)
    c, d = _eight(at + 16, size - 16, end), _eight(at + 24, size - 24, end)
    mixed = a * _FACTORS[0] ^ b * _FACTORS[1] ^ c * _FACTORS[2] ^ d * _FACTORS[3]
    mixed = (mixed ^ (mixed >> _HALF)) * _FACTORS[0]
    place = np.int64(mixed >> _TOP) & (slots - 1)
    while True:
        slot = names + SLOT * place
        if eight_at(slot + LONGEST_NAME) == _NONE:
            return slot
        same = eight_at(slot) == a and eight_at(slot + 8) == b
        if same and eight_at(slot + 16) == c and eight_at(slot + 24) == d:
            return slot
        place = (place + 1) & (slots - 1)


@njit(**ROUNDS)
def _merge_rows(start, size, rows, chain, names, slots, head):
    end = start + size
    row = np.int64(head[0])
    while row < rows.shape[0]:
        if rows[row, READ] == 0.0:
            break
        name, left = start + np.int64(rows[row, NAME_AT]), np.int64(rows[row, NAME_SIZE])
        number = np.int64(eight_at(_slot(name, left, end, names, slots) + LONGEST_NAME))
        if not 0 < number <= chain.shape[0]:
            break
        present = np.int64(rows[row, PRESENT])
        for field in range(_FIELDS):
            if present >> field & 1:
                chain[number - 1, field] = rows[row, VALUES + field]
            else:
                rows[row, VALUES + field] = chain[number - 1, field]
        rows[row, PRESENT] = number - 1
        row += 1
    head[0] = row


@entry
def merge_rows(self, args, count):
    """(whole, rows, chain, names, head): merge ``rows`` (n, WIDTH) of the lines ``whole`` into
    ``chain`` (contracts, 7) and fill each up from it; the contract's number replaces what was
    present. It begins at the row ``head[0]`` and ends before the first one that was not read or
    whose name is not known, which becomes ``head[0]``.
    """
    if not (count == 5 and is_text(self, args, 0) and is_array(self, args, 1, DOUBLE, 2)):
        return python_bool(0)
    if not (length(args, 1, 1) == WIDTH and is_array(self, args, 2, DOUBLE, 2)):
        return python_bool(0)
    if not (length(args, 2, 1) == _FIELDS and is_array(self, args, 3, BYTE, 1)):
        return python_bool(0)
    if not (length(args, 3, 0) % SLOT == 0 and is_column(self, args, 4, DOUBLE, 2)):
        return python_bool(0)
    start, size = text(args, 0)
    rows = table(args, 1, length(args, 1, 0), WIDTH)
    chain = table(args, 2, length(args, 2, 0), _FIELDS)
    slots = length(args, 3, 0) // SLOT
    _merge_rows(start, size, rows, chain, items_at(args, 3), slots, column(args, 4, 2))
    return python_bool(1)


@entry
def learn_name(self, args, count):
    """(name, names, head): the contract ``head[0]`` is called ``name``, too. The table has free
    places, and a name of at most LONGEST_NAME bytes.
    """
    if not (count == 3 and is_text(self, args, 0) and is_array(self, args, 1, BYTE, 1)):
        return python_bool(0)
    at, size = text(args, 0)
    fits = 0 < size <= LONGEST_NAME and length(args, 1, 0) % SLOT == 0
    if not (fits and is_column(self, args, 2, DOUBLE, 2)):
        return python_bool(0)
    slots = length(args, 1, 0) // SLOT
    slot = _slot(at, size, at + size, items_at(args, 1), slots)
    for part in range(LONGEST_NAME // 8):
        set_eight(slot + 8 * part, _eight(at + 8 * part, size - 8 * part, at + size))
    set_eight(slot + LONGEST_NAME, np.uint64(column(args, 2, 2)[0] + 1.0))
    return python_bool(1)
