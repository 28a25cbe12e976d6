"""Data rows in their usual spelling as columns, compiled.

Owns the fields of a row; what the columns mean is :mod:`common.feeds.tradestation.rows`'. A line
that holds anything unusual, be it right or wrong, is left to whoever reads every spelling.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from common.feeds.snapshot import HIGHEST_COUNT
from common.feeds.tradestation.columns import (
    ASK,
    ASK_SIZE,
    AT,
    BID,
    BID_SIZE,
    END,
    KEY,
    KEYS,
    LAST,
    LONGEST_NAME,
    NAME_AT,
    NAME_SIZE,
    OPEN_INTEREST,
    PRESENT,
    READ,
    VALUES,
    VOLUME,
    WIDTH,
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
    key_end,
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
    set_eight,
    table,
    text,
)

_OTHER, _CONTROL, _SYMBOL, _LEGS, _FLAGS, _DELAYED = -1, -2, -3, -4, -5, -6
"""Kinds of fields that are no column: of no interest, of no data row, the name twice, flags and
the one of them that counts."""
_NEWLINE, _RETURN = np.uint64(10), np.uint64(13)
_MOST_DIGITS = 15
"""A whole number of so many digits is a double, and so is the power of ten below."""
_POWERS = (1.0, 10.0, 100.0, 1000.0, 10000.0)
"""Of ten; a price of more decimals is rounded elsewhere."""
_SIZES = tuple(first(count) for count in range(8))
_ASK, _BID, _LAST, _LEGS_KEY = word("Ask"), word("Bid"), word("Last"), word("Legs")
_ERROR, _SYMBOL_KEY, _VOLUME = word("Error"), word("Symbol"), word("Volume")
_ASK_SIZE, _BID_SIZE = word("AskSize"), word("BidSize")
_HEARTBEAT, _FLAGS_KEY, _STATUS = word("Heartbeat"), word("MarketFlags"), word("StreamStatus")
_DELAYED_KEY, _FALSE = word("IsDelayed"), word("false")
_INTEREST = word("DailyOpe"), word("nInteres"), word("t")
_NEXT, _SAID, _SHIFT = 56, 48, 16
"""In a key's place, behind three eights of text and of its mask: size and field, what follows."""
_ALL, _NOTHING = np.uint64(0xFFFFFFFFFFFFFFFF), np.uint64(0)
_LOW_BYTE, _BYTE_BITS = np.uint64(0xFF), np.uint64(8)


@inlined
def _field(at, size, end):
    """Which field a key names: its column, or its kind. Of a long key that is no column the first
    eight bytes count and its length: another one of the same is no worse for being looked at.
    """
    if size < 3 or at + 8 > end:
        return _OTHER
    eight = eight_at(at)
    if size == 3:
        eight &= _SIZES[3]
        return ASK if eight == _ASK else BID if eight == _BID else _OTHER
    if size == 4:
        eight &= _SIZES[4]
        return LAST if eight == _LAST else _LEGS if eight == _LEGS_KEY else _OTHER
    if size == 5:
        return _CONTROL if eight & _SIZES[5] == _ERROR else _OTHER
    if size == 6:
        eight &= _SIZES[6]
        return _SYMBOL if eight == _SYMBOL_KEY else VOLUME if eight == _VOLUME else _OTHER
    if size == 7:
        eight &= _SIZES[7]
        return ASK_SIZE if eight == _ASK_SIZE else BID_SIZE if eight == _BID_SIZE else _OTHER
    if size == 9:
        return _CONTROL if eight == _HEARTBEAT else _DELAYED if eight == _DELAYED_KEY else _OTHER
    if size == 11:
        return _FLAGS if eight == _FLAGS_KEY else _OTHER
    if size == 12:
        return _CONTROL if eight == _STATUS else _OTHER
    if size == 17 and eight == _INTEREST[0] and eight_at(at + 8) == _INTEREST[1]:
        return OPEN_INTEREST if byte_at(at + 16) == _INTEREST[2] else _OTHER
    return _OTHER


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
def _key(at, end, before, memory):
    """What a key names, where its value begins, its place in memory; 0 for a key that is none.

    The one that came behind the same key the last time is looked for first: most rows have
    their keys in the same order, and comparing is cheaper than reading.
    """
    place = memory + KEY * np.int64(byte_at(memory + KEY * before + _NEXT))
    if place > memory and at + 24 <= end:
        wrong = (eight_at(at) ^ eight_at(place)) & eight_at(place + 24)
        wrong |= (eight_at(at + 8) ^ eight_at(place + 8)) & eight_at(place + 32)
        wrong |= (eight_at(at + 16) ^ eight_at(place + 16)) & eight_at(place + 40)
        if wrong == _NOTHING:
            said = eight_at(place + _SAID)
            at += np.int64(said & _LOW_BYTE)
            return np.int64(said >> _BYTE_BITS) - _SHIFT, at, (place - memory) // KEY
    last = key_end(at, end)
    if last == 0:
        return _OTHER, 0, 0
    field = _field(at + 1, last - at - 1, end)
    return field, last + 2, _remember(at, last + 2, end, field, before, memory)


@inlined
def _remember(at, behind, end, field, before, memory):
    """The place of a key in memory, from now on the one that comes behind ``before``."""
    size = behind - at
    if size > 24 or at + 24 > end:
        return 0
    masks = _mask(size), _mask(size - 8), _mask(size - 16)
    key = eight_at(at) & masks[0], eight_at(at + 8) & masks[1], eight_at(at + 16) & masks[2]
    known = np.int64(eight_at(memory + _SAID))
    number = 1
    while number <= known:
        place = memory + KEY * number
        same = eight_at(place) == key[0] and eight_at(place + 8) == key[1]
        if same and eight_at(place + 16) == key[2]:
            break
        number += 1
    if number >= KEYS:  # no room: begin anew
        for number in range(KEYS):
            set_eight(memory + KEY * number + _NEXT, _NOTHING)
        set_eight(memory + _SAID, _NOTHING)
        return 0
    if number > known:
        place = memory + KEY * number
        for part in range(3):
            set_eight(place + 8 * part, key[part])
            set_eight(place + 24 + 8 * part, masks[part])
        set_eight(place + _SAID, np.uint64(((field + _SHIFT) << 8) | size))
        set_eight(memory + _SAID, np.uint64(number))
    set_eight(memory + KEY * before + _NEXT, np.uint64(number))
    return number


@inlined
def _mask(size):
    """The bits of the first so many of eight bytes."""
    return _ALL if size >= 8 else _SIZES[size] if size > 0 else _NOTHING


@inlined
def _leg(at, end, start, rows, row, before, memory):
    """Behind the list of one leg, which has plain fields and names the row."""
    if byte_at(at) != OPEN_LIST or byte_at(at + 1) != OPEN:
        return 0, 0
    rows[row, NAME_SIZE] = 0.0
    at += 2
    while True:
        field, at, before = _key(at, end, before, memory)
        if at == 0:
            return 0, 0
        named = field == _SYMBOL
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
        field, at, before = _key(at, end, before, memory)
        if at == 0 or (field == _DELAYED and (at + 8 > end or eight_at(at) & _SIZES[5] != _FALSE)):
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
        field, at, before = _key(at, end, before, memory)
        if at == 0:
            return 0
        if field in (_OTHER, _DELAYED):
            at = strings_end(at, end) if byte_at(at) == OPEN_LIST else scalar_end(at, end)
        elif field >= BID_SIZE:
            at = _count(at, rows, row, field)
            present |= 1 << (field - VALUES)
        elif field >= VALUES:
            at = _price(at, rows, row, field)
            present |= 1 << (field - VALUES)
        elif field == _LEGS:
            at, before = _leg(at, end, start, rows, row, before, memory)
            legged = True
        elif field == _SYMBOL:
            if legged:  # a leg's symbol goes before this one
                return 0
            at = _name(at, end, start, rows, row)
        elif field == _FLAGS:
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
