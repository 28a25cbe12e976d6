"""Positions that can be re-priced, their shares, and a bound on those that cannot; compiled.

Owns the arithmetic; definitions are those of :mod:`common.quant.plain.book`.
"""

from __future__ import annotations

from math import log

from numba import njit

from common.machine.arguments import (
    BOOL,
    BYTE,
    DOUBLE,
    ROUNDS,
    WHOLE,
    are_columns,
    bytes_at,
    column,
    eight_at,
    entry,
    flags,
    flags_at,
    inlined,
    is_array,
    is_column,
    is_number,
    items_at,
    length,
    number,
    python_bool,
    table,
    whole_at,
    whole_table,
)
from common.models import QUOTE
from common.quant.compiled.deltas import delta_columns
from common.quant.compiled.elementary import NAN, exp, from_bits
from common.quant.compiled.greeks import delta_gamma
from common.quant.compiled.implied_vol import implied_columns
from common.quant.limits import YEAR_US

BOARD, PLACES, COLUMNS, HELD, ROOM, CEILING = 10, 3, 6, 3, 4, 9
_ROW = QUOTE.itemsize
_TIME, _SPOT, _ASK = (QUOTE.fields[name][1] for name in ("time", "spot", "ask"))


@inlined
def _is_short(board, used, i):
    return used[i] and board[4, i] * 0.0 == 0.0 and board[3, i] * 0.0 == 0.0


@inlined
def _limited(x):
    return max(min(x, 700.0), -700.0)


@njit(**ROUNDS)
def _book(board, partners, signs, puts, used, shard_of, out, held):
    """How many positions there are."""
    count = 0
    for i in range(puts.size):
        if not _is_short(board, used, i):
            continue
        position, shard, partner = signs[i] * board[8, i], shard_of[i], partners[i]
        if puts[i]:
            held[0, shard] += position
            held[1, shard], held[2, shard] = board[1, i], board[3, i]
        if partner >= 0 and _is_short(board, used, partner) and board[4, partner] == board[4, i]:
            if puts[i]:
                continue  # it is part of its call's position
            position += signs[partner] * board[8, partner]
        out[0, count], out[1, count], out[2, count] = board[0, i], board[3, i], board[1, i]
        out[3, count], out[4, count], out[5, count] = board[4, i], board[2, i], position
        count += 1
    return count


@entry
def book(self, args, count):
    """(board, places, signs, puts, used, out, held, head): fill the last three.

    As of :mod:`common.quant.compiled.tally`: board, places, signs, puts, used; ``out`` (6, n) K,
    F/S, T, sigma, D, position of as many contracts as ``head`` (1,) says; ``held`` (3, m) the
    puts' positions of each shard, its T and F/S.
    """
    if not (count == 8 and is_array(self, args, 2, DOUBLE, 1)):
        return python_bool(0)
    n = length(args, 2, 0)
    right = is_array(self, args, 0, DOUBLE, 2) and is_array(self, args, 1, WHOLE, 2)
    right = right and is_column(self, args, 3, BOOL, n) and is_column(self, args, 4, BOOL, n)
    right = right and is_array(self, args, 5, DOUBLE, 2) and is_array(self, args, 6, DOUBLE, 2)
    if not (right and is_column(self, args, 7, DOUBLE, 1)):
        return python_bool(0)
    right = length(args, 0, 0) == BOARD and length(args, 1, 0) == PLACES
    right = right and length(args, 5, 0) == COLUMNS and length(args, 6, 0) == HELD
    right = right and length(args, 0, 1) == n and length(args, 1, 1) == n
    if not (right and length(args, 5, 1) == n):
        return python_bool(0)
    m, places = length(args, 6, 1), whole_table(args, 1, PLACES, n)
    for i in range(n):
        right = right and 0 <= places[0, i] < m and places[1, i] < n
    if not right:
        return python_bool(0)
    held = table(args, 6, HELD, m)
    held[:] = 0.0
    column(args, 7, 1)[0] = _book(
        *(table(args, 0, BOARD, n), places[1], column(args, 2, n), flags(args, 3, n)),
        *(flags(args, 4, n), places[0], table(args, 5, COLUMNS, n), held),
    )
    return python_bool(1)


@njit(**ROUNDS)
def _calls(K, b, T, s, q, gone, spot, rate, room, calls):
    """Shares of all positions as calls."""
    ahead = basis = growth = NAN
    for i in range(K.size):
        if i == 0 or T[i] != T[i - 1]:
            ahead = max(T[i] - gone, 0.0)
            basis = exp(_limited(log(b[i]) / T[i] * ahead))
            growth = exp(_limited(-rate * ahead)) * basis
        room[0, i], room[1, i], room[2, i] = spot * basis, T[i] - gone, growth
    delta_columns(room[0], K, room[1], s, room[2], calls, room[3])
    total = 0.0
    for i in range(K.size):
        total += room[3, i] * q[i]
    return total


@entry
def shares(self, args, count):
    """(K, b, T, s, q, held, gone, spots, room, calls, out, rate): fill ``out`` (p,) with the shares
    that the positions are long once so many years are ``gone`` and at these spots; of
    :func:`book` its columns (n,) and ``held`` (3, m). ``room`` is (4, n), ``calls`` (n,) false.
    """
    if not (count == 12 and is_array(self, args, 0, DOUBLE, 1) and is_number(self, args, 11)):
        return python_bool(0)
    n = length(args, 0, 0)
    right = are_columns(self, args, 1, 5, n) and is_column(self, args, 9, BOOL, n)
    right = right and is_array(self, args, 5, DOUBLE, 2) and is_array(self, args, 6, DOUBLE, 1)
    if not (right and is_array(self, args, 8, DOUBLE, 2)):
        return python_bool(0)
    points = length(args, 6, 0)
    right = are_columns(self, args, 7, 8, points) and are_columns(self, args, 10, 11, points)
    right = right and length(args, 5, 0) == HELD
    if not (right and length(args, 8, 0) == ROOM and length(args, 8, 1) == n):
        return python_bool(0)
    rate, m = number(args, 11), length(args, 5, 1)
    held, room, calls = table(args, 5, HELD, m), table(args, 8, ROOM, n), flags(args, 9, n)
    gone, spots, out = column(args, 6, points), column(args, 7, points), column(args, 10, points)
    for point in range(points):
        total = _calls(
            *(column(args, 0, n), column(args, 1, n), column(args, 2, n), column(args, 3, n)),
            *(column(args, 4, n), gone[point], spots[point], rate, room, calls),
        )
        for at in range(m):
            if held[0, at] != 0.0:  # a put's delta is its call's less exp(-qT)
                ahead = max(held[1, at] - gone[point], 0.0)
                carry = log(held[2, at]) / held[1, at]
                total -= held[0, at] * exp(_limited((carry - rate) * ahead))
        out[point] = 100.0 * total
    return python_bool(1)


@njit(**ROUNDS)
def _ask_columns(rows, board, places, puts, used, settled, rate, room, some):
    """Of the rows that live but do not count, what their volatility is bounded by; how many."""
    count = 0
    for i in range(puts.size):
        if used[i] or not board[1, i] > 0.0:
            continue
        asked = i if puts[i] == (board[0, i] < board[5, i]) else places[1, i]
        at = rows + _ROW * max(asked, 0)
        ask, spot = from_bits(eight_at(at + _ASK)), from_bits(eight_at(at + _SPOT))
        years = float(int(settled[places[0, i]]) - whole_at(at + _TIME)) / YEAR_US
        room[0, count] = ask if asked >= 0 and ask > 0.0 else NAN
        room[1, count], room[2, count], room[3, count] = spot * board[3, i], board[0, i], years
        room[4, count] = exp(_limited(-rate * years))
        room[6, count], room[7, count], room[8, count] = board[5, i], board[1, i], board[8, i]
        some[count] = puts[i] if asked == i else not puts[i]
        count += 1
    return count


@entry
def ceiling(self, args, count):
    """(quotes, board, places, puts, used, settled, room, marks, out, rate): fill ``out`` (1,) with
    the sum of open interest times the bound of gamma over the rows that live but do not count.

    As of :mod:`common.quant.compiled.tally`: quotes, board, places, puts, used; ``settled`` (m,)
    settlement of each shard [us]; ``room`` (9, n); ``marks`` (2 n,) bytes.
    """
    if not (count == 10 and is_array(self, args, 3, BOOL, 1) and is_number(self, args, 9)):
        return python_bool(0)
    n = length(args, 3, 0)
    right = is_column(self, args, 0, BYTE, n * _ROW) and is_array(self, args, 1, DOUBLE, 2)
    right = right and is_array(self, args, 2, WHOLE, 2) and is_column(self, args, 4, BOOL, n)
    right = right and is_array(self, args, 5, DOUBLE, 1) and is_array(self, args, 6, DOUBLE, 2)
    right = right and is_column(self, args, 7, BYTE, 2 * n)
    if not (right and is_column(self, args, 8, DOUBLE, 1)):
        return python_bool(0)
    right = length(args, 1, 0) == BOARD and length(args, 1, 1) == n
    right = right and length(args, 2, 0) == PLACES and length(args, 2, 1) == n
    m = length(args, 5, 0)
    if not (right and length(args, 6, 0) == CEILING and length(args, 6, 1) == n):
        return python_bool(0)
    board, places = table(args, 1, BOARD, n), whole_table(args, 2, PLACES, n)
    room = table(args, 6, CEILING, n)
    for i in range(n):
        right = right and 0 <= places[0, i] < m and places[1, i] < n
    if not right:
        return python_bool(0)
    marks, rate = items_at(args, 7), number(args, 9)
    some, codes = flags_at(marks, n), bytes_at(marks + n, n)
    size = _ask_columns(
        *(items_at(args, 0), board, places, flags(args, 3, n), flags(args, 4, n)),
        *(column(args, 5, m), rate, room, some),
    )
    implied_columns(room[0], room[1], room[2], room[3], room[4], some, room[5], codes, size)
    spots, deltas, gammas = room[0][:size], room[1][:size], room[3][:size]
    spots[:] = board[6, 0] if n else NAN
    delta_gamma(
        *(spots, room[6][:size], room[2][:size], room[7][:size], room[5][:size], rate),
        *(some[:size], deltas, gammas),
    )
    total = 0.0
    for i in range(size):
        total += abs(gammas[i]) * room[8, i] if gammas[i] * 0.0 == 0.0 else 0.0
    column(args, 8, 1)[0] = total
    return python_bool(1)
