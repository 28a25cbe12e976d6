"""Exposures by strike, and what each expiration says of itself; compiled.

Owns the arithmetic; definitions are those of :mod:`common.quant.plain.strikes`.
"""

from __future__ import annotations

from numba import njit

from common.machine.arguments import (
    BOOL,
    DOUBLE,
    ROUNDS,
    column,
    entry,
    flags,
    inlined,
    is_array,
    is_column,
    is_number,
    length,
    number,
    python_bool,
    table,
)
from common.quant.compiled.elementary import NAN
from common.quant.limits import SKEW_DELTA, TIE

BOARD, GREEKS, EXPOSURES, SHARD, TABLE, FOUND, ROOM = 10, 11, 4, 2, 7, 6, 8
INFINITY = float("inf")


@njit(**ROUNDS)
def _groups(board, puts, used, first, last, room):
    """Strikes of an expiration, open interest of calls and of puts, sum and number of
    volatilities of each; how many there are.
    """
    count = 0
    for i in range(first, last):
        if i == first or board[0, i] != board[0, i - 1]:
            room[0, count] = board[0, i]
            room[1, count] = room[2, count] = room[3, count] = room[4, count] = 0.0
            count += 1
        at, sigma = count - 1, board[4, i]
        room[2 if puts[i] else 1, at] += board[8, i]
        if used[i] and sigma * 0.0 == 0.0:
            room[3, at] += sigma
            room[4, at] += 1.0
    return count


@njit(**ROUNDS)
def _max_pain(strikes, calls, puts, totals, count, spot):
    running = held = interest = 0.0
    for k in range(count):
        if k > 0:
            running += held * (strikes[k] - strikes[k - 1])
        totals[k] = running
        held += calls[k]
    interest = held
    running = held = 0.0
    for k in range(count - 1, -1, -1):
        if k < count - 1:
            running += held * (strikes[k + 1] - strikes[k])
        totals[k] += running
        held += puts[k]
    interest += held
    if not interest > 0.0:
        return NAN
    least = INFINITY
    for k in range(count):
        least = min(least, totals[k])
    at, near = -1, INFINITY
    for k in range(count):
        if totals[k] <= least * (1.0 + TIE) and (at < 0 or abs(strikes[k] - spot) < near):
            at, near = k, abs(strikes[k] - spot)
    return strikes[at]


@njit(**ROUNDS)
def _at_forward(room, count, forward):
    """The volatility at the forward, linear in strike, the end's value outside."""
    before = after = -1
    if forward * 0.0 != 0.0:
        return NAN
    for k in range(count):
        if room[4, k] > 0.0:
            if after < 0 and room[0, k] > forward:
                after = k
            elif after < 0:
                before = k
    if before < 0 and after < 0:
        return NAN
    if before < 0 or after < 0:
        only = max(before, after)
        return room[3, only] / room[4, only]
    low, high = room[3, before] / room[4, before], room[3, after] / room[4, after]
    slope = (high - low) / (room[0, after] - room[0, before])
    return slope * (forward - room[0, before]) + low


@njit(**ROUNDS)
def _own(board, own, first, last, room):
    """Strikes of an expiration with a volatility of their own, for :func:`_at_forward`."""
    count = 0
    for i in range(first, last):
        if own[i] * 0.0 != 0.0:
            continue
        if count == 0 or room[0, count - 1] != board[0, i]:
            room[0, count], room[3, count], room[4, count] = board[0, i], own[i], 1.0
            count += 1
    return count


@njit(**ROUNDS)
def _at_delta(board, delta, puts, used, first, last, put):
    """The volatility of one right at a delta of 0.25 in size; NaN where it is not reached."""
    found, size_before, sigma_before = NAN, INFINITY, NAN
    for step in range(last - first):
        i = first + step if put else last - 1 - step
        if not used[i] or puts[i] != put:
            continue
        size, sigma = -delta[i] if put else delta[i], board[4, i]
        if size_before <= SKEW_DELTA and size > SKEW_DELTA:
            share = (SKEW_DELTA - size_before) / (size - size_before)
            found = sigma_before + share * (sigma - sigma_before)
        size_before, sigma_before = size, sigma
    return found


@inlined
def _end(shards, at, n):
    return int(shards[0, at + 1]) if at + 1 < shards.shape[1] else n


@njit(**ROUNDS)
def _by_strike(board, gex, puts, shards, places, out):
    """Merge the strikes of all expirations that live; how many there are."""
    n, count = puts.size, 0
    for at in range(shards.shape[1]):
        first = int(shards[0, at])
        places[at] = first if first < n and board[1, first] > 0.0 else _end(shards, at, n)
    while True:
        strike = INFINITY
        for at in range(shards.shape[1]):
            i = int(places[at])
            if i < _end(shards, at, n):
                strike = min(strike, board[0, i])
        if strike == INFINITY:
            return count
        out[0, count] = strike
        for row in range(1, TABLE):
            out[row, count] = 0.0
        for at in range(shards.shape[1]):
            i = int(places[at])
            while i < _end(shards, at, n) and board[0, i] == strike:
                right = 1 if puts[i] else 0
                out[1 + right, count] += gex[i]
                out[3 + right, count] += board[8, i]
                out[5 + right, count] += board[9, i]
                i += 1
            places[at] = i
        count += 1


@entry
def strikes(self, args, count):
    """(board, greeks, exposures, puts, used, shards, out, found, room, head, own, spot): fill
    ``out``, ``found`` and ``head``.

    As of :mod:`common.quant.compiled.tally`: board, greeks, exposures (4, n), puts, used;
    ``shards`` (2, m) first row and forward; ``out`` (7, n) strike, GEX, open interest, volume of
    calls and of puts each, as many columns as ``head`` (1,) says; ``found`` (6, m) net GEX,
    rows that count, IV at the forward, max pain, skew, IV of ``own`` (n,) at the forward; ``room``
    (8, n).
    """
    if not (count == 12 and is_array(self, args, 3, BOOL, 1) and is_number(self, args, 11)):
        return python_bool(0)
    n, spot = length(args, 3, 0), number(args, 11)
    right = is_column(self, args, 4, BOOL, n) and is_column(self, args, 9, DOUBLE, 1)
    right = right and is_column(self, args, 10, DOUBLE, n)
    for at in (0, 1, 2, 5, 6, 7, 8):
        right = right and is_array(self, args, at, DOUBLE, 2)
    if not right:
        return python_bool(0)
    shards = table(args, 5, SHARD, length(args, 5, 1))
    m, before = shards.shape[1], 0.0
    right = length(args, 0, 0) == BOARD and length(args, 1, 0) == GREEKS
    right = right and length(args, 2, 0) == EXPOSURES and length(args, 5, 0) == SHARD
    right = right and length(args, 6, 0) == TABLE and length(args, 7, 0) == FOUND
    right = right and length(args, 8, 0) == ROOM and length(args, 7, 1) == m and m <= n
    for at in (0, 1, 2, 6, 8):
        right = right and length(args, at, 1) == n
    if not right:
        return python_bool(0)
    for at in range(m):
        right = right and before <= shards[0, at] <= n
        before = shards[0, at]
    if not right:
        return python_bool(0)
    board, greeks, exposures = (
        table(args, 0, BOARD, n),
        table(args, 1, GREEKS, n),
        table(args, 2, 4, n),
    )
    puts, used, room = flags(args, 3, n), flags(args, 4, n), table(args, 8, ROOM, n)
    out, found, head = table(args, 6, TABLE, n), table(args, 7, FOUND, m), column(args, 9, 1)
    own = column(args, 10, n)
    for at in range(m):
        first, last = int(shards[0, at]), _end(shards, at, n)
        net = counted = 0.0
        for i in range(first, last):
            net += exposures[0, i]
            counted += 1.0 if used[i] else 0.0
        size = _groups(board, puts, used, first, last, room)
        found[0, at], found[1, at] = net, counted
        found[2, at] = _at_forward(room, size, shards[1, at])
        found[3, at] = _max_pain(room[0], room[1], room[2], room[5], size, spot)
        size = _own(board, own, first, last, room)
        found[5, at] = _at_forward(room, size, shards[1, at])
        found[4, at] = _at_delta(board, greeks[0], puts, used, first, last, True) - _at_delta(
            board, greeks[0], puts, used, first, last, False
        )
    head[0] = _by_strike(board, exposures[0], puts, shards, room[6], out)
    return python_bool(1)


@njit(**ROUNDS)
def _largest(strikes, sizes, spot, side):
    """The strike of the largest size on a side of the spot (1 above, -1 below, 0 both)."""
    largest = 0.0
    for k in range(strikes.size):
        if side == 0.0 or side * (strikes[k] - spot) >= 0.0:
            largest = max(largest, abs(sizes[k]))
    found, near = NAN, INFINITY
    for k in range(strikes.size):
        if (side == 0.0 or side * (strikes[k] - spot) >= 0.0) and largest > 0.0:
            is_tie = abs(sizes[k]) >= largest * (1.0 - TIE)
            if is_tie and (found * 0.0 != 0.0 or abs(strikes[k] - spot) < near):
                found, near = strikes[k], abs(strikes[k] - spot)
    return found


@entry
def walls(self, args, count):
    """(strikes, call_gex, put_gex, out, spot): fill ``out`` (4,) from strikes (k,) and what calls
    and puts of each are worth."""
    if not (count == 5 and is_array(self, args, 0, DOUBLE, 1) and is_number(self, args, 4)):
        return python_bool(0)
    k, spot = length(args, 0, 0), number(args, 4)
    right = is_column(self, args, 1, DOUBLE, k) and is_column(self, args, 2, DOUBLE, k)
    if not (right and is_column(self, args, 3, DOUBLE, 4)):
        return python_bool(0)
    K, calls, puts = column(args, 0, k), column(args, 1, k), column(args, 2, k)
    out = column(args, 3, 4)
    out[0], out[1] = _largest(K, calls, spot, 1.0), _largest(K, puts, spot, -1.0)
    out[2], out[3] = _largest(K, calls, spot, 0.0), _largest(K, puts, spot, 0.0)
    return python_bool(1)
