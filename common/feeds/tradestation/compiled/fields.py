"""Which field a key names, compiled.

Owns the names of fields, and a memory of their order: rows come with the same keys one after
the other, and comparing with the key that is expected is cheaper than reading one.
"""

from __future__ import annotations

import numpy as np

from common.feeds.tradestation.columns import (
    ASK,
    ASK_SIZE,
    BID,
    BID_SIZE,
    KEY,
    KEYS,
    LAST,
    OPEN_INTEREST,
    VOLUME,
)
from common.feeds.tradestation.compiled.text import first, key_end, word
from common.machine.arguments import byte_at, eight_at, inlined, set_eight

OTHER, CONTROL, SYMBOL, LEGS, FLAGS, DELAYED, CLOSED = -1, -2, -3, -4, -5, -6, -7
"""Kinds of fields that are no column: of no interest, of no data row, the name twice, flags and
the one of them that counts, the previous close."""
_SIZES = tuple(first(count) for count in range(8))
_ASK, _BID, _LAST, _LEGS_KEY = word("Ask"), word("Bid"), word("Last"), word("Legs")
_ERROR, _SYMBOL_KEY, _VOLUME = word("Error"), word("Symbol"), word("Volume")
_ASK_SIZE, _BID_SIZE = word("AskSize"), word("BidSize")
_HEARTBEAT, _FLAGS_KEY, _STATUS = word("Heartbeat"), word("MarketFlags"), word("StreamStatus")
_DELAYED_KEY, _CLOSED_KEY = word("IsDelayed"), word("PreviousClose")
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
        return OTHER
    eight = eight_at(at)
    if size == 3:
        eight &= _SIZES[3]
        return ASK if eight == _ASK else BID if eight == _BID else OTHER
    if size == 4:
        eight &= _SIZES[4]
        return LAST if eight == _LAST else LEGS if eight == _LEGS_KEY else OTHER
    if size == 5:
        return CONTROL if eight & _SIZES[5] == _ERROR else OTHER
    if size == 6:
        eight &= _SIZES[6]
        return SYMBOL if eight == _SYMBOL_KEY else VOLUME if eight == _VOLUME else OTHER
    if size == 7:
        eight &= _SIZES[7]
        return ASK_SIZE if eight == _ASK_SIZE else BID_SIZE if eight == _BID_SIZE else OTHER
    if size == 9:
        return CONTROL if eight == _HEARTBEAT else DELAYED if eight == _DELAYED_KEY else OTHER
    if size == 11:
        return FLAGS if eight == _FLAGS_KEY else OTHER
    if size == 12:
        return CONTROL if eight == _STATUS else OTHER
    if size == 13:
        return CLOSED if eight == _CLOSED_KEY else OTHER
    if size == 17 and eight == _INTEREST[0] and eight_at(at + 8) == _INTEREST[1]:
        return OPEN_INTEREST if byte_at(at + 16) == _INTEREST[2] else OTHER
    return OTHER


@inlined
def key_at(at, end, before, memory):
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
        return OTHER, 0, 0
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
