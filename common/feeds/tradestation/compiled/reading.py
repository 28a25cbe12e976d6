"""Data rows in their usual spelling as columns, compiled.

Owns the grammar of a row; what the columns mean is :mod:`common.feeds.tradestation.rows`'. A line
that holds anything unusual, be it right or wrong, is left to whoever reads every spelling.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from common.feeds.snapshot import HIGHEST_COUNT
from common.feeds.tradestation.columns import (
    AT,
    BID_SIZE,
    END,
    KEY,
    KEYS,
    LONGEST_NAME,
    NAME_AT,
    NAME_SIZE,
    PRESENT,
    READ,
    VALUES,
    WIDTH,
)
from common.feeds.tradestation.compiled.fields import (
    CLOSED,
    DELAYED,
    FLAGS,
    LEGS,
    OTHER,
    SYMBOL,
    key_at,
)
from common.feeds.tradestation.compiled.text import (
    CLOSE,
    CLOSE_LIST,
    COMMA,
    MINUS,
    OPEN,
    OPEN_LIST,
    POINT,
    QUOTE,
    ZERO,
    digits_end,
    first,
    scalar_end,
    string_end,
    strings_end,
    word,
)
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
    table,
    text,
)

_NEWLINE, _RETURN = np.uint64(10), np.uint64(13)
_MOST_DIGITS = 15
"""A whole number of so many digits is a double, and so is the power of ten below."""
_POWERS = (1.0, 10.0, 100.0, 1000.0, 10000.0)
"""Of ten; a price of more decimals is rounded elsewhere."""
_FALSE, _FIVE = word("false"), first(5)


@inlined
def _digits(at, end):
    """The whole number that the digits from one address to another spell."""
    value = 0
    while at < end:
        value = 10 * value + np.int64(byte_at(at) - ZERO)
        at += 1
    return value


@inlined
def _price(at, rows, row, column):
    """Behind a price in quotes, which is put into its place."""
    if byte_at(at) != QUOTE:
        return 0
    at += 1
    falls = byte_at(at) == MINUS
    at += 1 if falls else 0
    point = digits_end(at)
    value, decimals, last = _digits(at, point), 0, point
    if byte_at(point) == POINT:
        last = digits_end(point + 1)
        decimals = last - point - 1
        if decimals == 0 or decimals >= len(_POWERS):
            return 0
        value = value * np.int64(_POWERS[decimals]) + _digits(point + 1, last)
    if point == at or last - at > _MOST_DIGITS or byte_at(last) != QUOTE:
        return 0
    price = value / _POWERS[decimals]  # both are exact, so that this is rounded once
    rows[row, column] = -price if falls else price
    return last + 1


@inlined
def _count(at, rows, row, column):
    """Behind a count, in quotes or not, which is put into its place."""
    quoted = byte_at(at) == QUOTE
    at += 1 if quoted else 0
    last = digits_end(at)
    padded = byte_at(at) == ZERO and last > at + 1
    if last == at or padded or last - at > _MOST_DIGITS:
        return 0
    value = _digits(at, last)
    if value > HIGHEST_COUNT:
        return 0
    rows[row, column] = value
    if not quoted:
        return last
    return last + 1 if byte_at(last) == QUOTE else 0


@inlined
def _name(at, end, start, rows, row):
    """Behind a symbol, whose place is written down."""
    if byte_at(at) != QUOTE:
        return 0
    last = string_end(at + 1, end)
    if last == 0:
        return 0
    rows[row, NAME_AT], rows[row, NAME_SIZE] = at + 1 - start, last - at - 1
    return last + 1


@inlined
def _leg(at, end, start, rows, row, before, memory):
    """Behind the list of one leg, which has plain fields and names the row."""
    if byte_at(at) != OPEN_LIST or byte_at(at + 1) != OPEN:
        return 0, 0
    rows[row, NAME_SIZE] = 0.0
    at += 2
    while True:
        field, at, before = key_at(at, end, before, memory)
        if at == 0:
            return 0, 0
        named = field == SYMBOL
        at = _name(at, end, start, rows, row) if named else scalar_end(at, end)
        if at == 0:
            return 0, 0
        char = byte_at(at)
        at += 1
        if char == CLOSE:
            return (at + 1 if byte_at(at) == CLOSE_LIST else 0), before
        if char != COMMA:
            return 0, 0


@inlined
def _flags(at, end, before, memory):
    """Behind an object of plain fields that does not say that the quote is delayed."""
    if byte_at(at) != OPEN:
        return 0, 0
    at += 1
    while True:
        field, at, before = key_at(at, end, before, memory)
        if at == 0 or (field == DELAYED and (at + 8 > end or eight_at(at) & _FIVE != _FALSE)):
            return 0, 0
        at = scalar_end(at, end)
        if at == 0:
            return 0, 0
        char = byte_at(at)
        at += 1
        if char == CLOSE:
            return at, before
        if char != COMMA:
            return 0, 0


@inlined
def _row(at, end, start, rows, row, memory):
    """Behind the line that begins at ``at``, read into its row; 0 where it is none to read."""
    rows[row, NAME_SIZE] = 0.0
    present, legged, before = 0, False, 0
    if byte_at(at) != OPEN:
        return 0
    at += 1
    while True:
        field, at, before = key_at(at, end, before, memory)
        if at == 0:
            return 0
        if field == CLOSED and byte_at(at) != QUOTE:  # a contract's is of no use, but looked at
            return 0
        if field in (OTHER, DELAYED, CLOSED):
            at = strings_end(at, end) if byte_at(at) == OPEN_LIST else scalar_end(at, end)
        elif field >= BID_SIZE:
            at = _count(at, rows, row, field)
            present |= 1 << (field - VALUES)
        elif field >= VALUES:
            at = _price(at, rows, row, field)
            present |= 1 << (field - VALUES)
        elif field == LEGS:
            at, before = _leg(at, end, start, rows, row, before, memory)
            legged = True
        elif field == SYMBOL:
            if legged:  # a leg's symbol goes before this one
                return 0
            at = _name(at, end, start, rows, row)
        elif field == FLAGS:
            at, before = _flags(at, end, before, memory)
        else:
            return 0
        if at == 0:
            return 0
        char = byte_at(at)
        at += 1
        if char == CLOSE:
            break
        if char != COMMA:
            return 0
    if byte_at(at) == _RETURN:
        at += 1
    named = 0.0 < rows[row, NAME_SIZE] <= LONGEST_NAME
    if byte_at(at) != _NEWLINE or not named:
        return 0
    rows[row, PRESENT] = present
    return at + 1


@njit(**ROUNDS)
def _read_rows(start, size, rows, memory, head):
    """Read a line into each row; head: rows, those that could not be read, where to go on."""
    at, end = start + np.int64(head[2]), start + size
    row = odd = 0
    while at < end and row < rows.shape[0]:
        behind = _row(at, end, start, rows, row, memory)
        rows[row, READ] = 1.0 if behind else 0.0
        rows[row, AT] = at - start
        if behind == 0:
            rows[row, NAME_AT] = rows[row, NAME_SIZE] = 0.0
            odd += 1
            behind = at
            while behind < end and byte_at(behind) != _NEWLINE:
                behind += 1
            behind += 1
        at = behind
        rows[row, END] = at - start
        row += 1
    head[0], head[1], head[2] = row, odd, at - start


@entry
def read_rows(self, args, count):
    """(whole, rows, memory, head): lines of ``whole``, each with its newline, into ``rows``
    (n, WIDTH), from the byte ``head[2]`` on and as many as there is room for. ``head`` (3,) gets
    how many there are, how many of them are not read, and where the next one begins. ``memory``
    (KEYS * KEY,) keeps which key came behind which: zeros at first.
    """
    if not (count == 4 and is_text(self, args, 0) and is_array(self, args, 1, DOUBLE, 2)):
        return python_bool(0)
    if not (length(args, 1, 1) == WIDTH and is_column(self, args, 2, BYTE, KEY * KEYS)):
        return python_bool(0)
    if not is_column(self, args, 3, DOUBLE, 3):
        return python_bool(0)
    start, size = text(args, 0)
    rows = table(args, 1, length(args, 1, 0), WIDTH)
    _read_rows(start, size, rows, items_at(args, 2), column(args, 3, 3))
    return python_bool(1)
