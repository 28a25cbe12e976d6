"""JSON in its plainest spelling, read from memory.

Owns the ends of strings and numbers; must not know a field. Every function takes the address
of what it reads and the end of all bytes, behind which stands a zero, and returns the address
behind what it has read: 0 where that is not spelled in the plainest way (escapes, characters
beyond ASCII, exponents, white space), whatever it may be else.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from common.machine.arguments import byte_at, eight_at, inlined

QUOTE, COMMA, COLON = np.uint64(ord('"')), np.uint64(ord(",")), np.uint64(ord(":"))
MINUS, POINT = np.uint64(ord("-")), np.uint64(ord("."))
ZERO, NINE = np.uint64(ord("0")), np.uint64(ord("9"))
OPEN_LIST, CLOSE_LIST = np.uint64(ord("[")), np.uint64(ord("]"))
OPEN, CLOSE = np.uint64(ord("{")), np.uint64(ord("}"))
_BACKSLASH, _SPACE, _BEYOND = np.uint64(ord("\\")), np.uint64(ord(" ")), np.uint64(0x80)


def word(text: str) -> np.uint64:
    """The first eight bytes of a text, as :func:`eight_at` reads them; zeros behind its end."""
    return np.uint64(int.from_bytes(text.encode()[:8].ljust(8, b"\0"), "little"))


def first(count: int) -> np.uint64:
    """The bits of the first so many bytes of eight."""
    return np.uint64((1 << 8 * count) - 1)


_ONES, _HIGH = word("\x01" * 8), np.uint64(0x8080808080808080)
_QUOTES, _BACKSLASHES, _SPACES = word('"' * 8), word("\\" * 8), word(" " * 8)
_TRUE, _NULL, _FALSE = word("true"), word("null"), word("false")
_FOUR, _FIVE, _NONE = first(4), first(5), np.uint64(0)


@intrinsic
def _trailing_zeros(context: Any, bits: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


@inlined
def _special(eight):
    """The high bit of each byte that is a quote, a backslash, a control character or beyond
    ASCII; the lowest of them is right, as a borrow reaches only what is above [1].

    .. [1] H. S. Warren, "Hacker's Delight" (2nd ed. 2012), 6-1.
    """
    quotes, backslashes = eight ^ _QUOTES, eight ^ _BACKSLASHES
    found = (quotes - _ONES) & ~quotes
    found |= (backslashes - _ONES) & ~backslashes
    found |= (eight - _SPACES) & ~eight
    return (found | eight) & _HIGH


@inlined
def string_end(at, end):
    """The address of the quote that ends the string whose first character is at ``at``."""
    while at + 8 <= end:
        found = _special(eight_at(at))
        if found != _NONE:
            at += _trailing_zeros(found) >> 3
            return at if byte_at(at) == QUOTE else 0
        at += 8
    while at < end:
        char = byte_at(at)
        if char == QUOTE:
            return at
        if char == _BACKSLASH or char < _SPACE or char >= _BEYOND:
            return 0
        at += 1
    return 0


@inlined
def digits_end(at):
    """Behind the digits that begin at ``at``; there may be none."""
    while ZERO <= byte_at(at) <= NINE:
        at += 1
    return at


@inlined
def _number_end(at):
    if byte_at(at) == MINUS:
        at += 1
    whole = digits_end(at)
    if whole == at or (byte_at(at) == ZERO and whole > at + 1):
        return 0
    if byte_at(whole) != POINT:
        return whole
    part = digits_end(whole + 1)
    return part if part > whole + 1 else 0


@inlined
def scalar_end(at, end):
    """Behind a string, a number, true, false or null."""
    char = byte_at(at)
    if char == QUOTE:
        last = string_end(at + 1, end)
        return last + 1 if last else 0
    if char == MINUS or ZERO <= char <= NINE:
        return _number_end(at)
    if at + 8 > end:
        return 0
    eight = eight_at(at)
    if eight & _FOUR == _TRUE or eight & _FOUR == _NULL:
        return at + 4
    return at + 5 if eight & _FIVE == _FALSE else 0


@inlined
def strings_end(at, end):
    """Behind a list of strings."""
    if byte_at(at) != OPEN_LIST:
        return 0
    at += 1
    if byte_at(at) == CLOSE_LIST:
        return at + 1
    while True:
        if byte_at(at) != QUOTE:
            return 0
        last = string_end(at + 1, end)
        if last == 0:
            return 0
        char = byte_at(last + 1)
        at = last + 2
        if char == CLOSE_LIST:
            return at
        if char != COMMA:
            return 0


@inlined
def key_end(at, end):
    """The quote behind the key whose opening quote is at ``at``, if a colon follows."""
    if byte_at(at) != QUOTE:
        return 0
    last = string_end(at + 1, end)
    return last if last and byte_at(last + 1) == COLON else 0
