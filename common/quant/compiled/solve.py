"""One expiration from the rows of its state to the rows of its results; compiled.

Owns the way through the columns between them; what happens on it is defined in
:mod:`common.quant.plain.chain`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from common.machine.arguments import (
    BYTE,
    DOUBLE,
    ROUNDS,
    bytes_at,
    column,
    eight_at,
    entry,
    flags_at,
    inlined,
    is_array,
    is_column,
    items_at,
    length,
    python_bool,
    set_eight,
    table,
    whole_at,
)
from common.models import FLAG_WITHDRAWN, GREEKS, QUOTE, Status
from common.quant.compiled.chain import quote_forward, strike_vols
from common.quant.compiled.elementary import NAN, bits, exp, from_bits
from common.quant.compiled.greeks import delta_gamma
from common.quant.compiled.implied_vol import implied_columns
from common.quant.limits import YEAR_US

COLUMNS, MARKS, RULES, HEAD, FOUND = 17, 7, 8, 4, 6
"""Rows of doubles and of bytes that the kernel needs room for, and sizes of its other arrays."""
_OK = int(Status.OK)
_WITHDRAWN = int(FLAG_WITHDRAWN)
_ROW, _RESULT = QUOTE.itemsize, GREEKS.itemsize
_TIME, _SEQ, _SPOT, _BID, _ASK = (
    QUOTE.fields[name][1] for name in ("time", "seq", "spot", "bid", "ask")
)
_TO_TIME, _TO_SEQ, _TO_IV, _TO_DELTA, _TO_GAMMA = (
    GREEKS.fields[name][1] for name in ("time", "seq", "iv", "delta", "gamma")
)
_LOW = 0xFFFFFFFF


@inlined
def _number(address):
    return from_bits(eight_at(address))


@njit(**ROUNDS)
def _read(rows, bids, asks, spots, K, T, D, ages, put, board, rules):
    """The columns of quotes; the age of each is behind the newest on the board."""
    rate, settled, newest = rules[6], int(rules[7]), 0
    for i in range(K.size):
        row = rows + _ROW * i
        word, time = whole_at(row), whole_at(row + _TIME)
        K[i], put[i] = float((word & _LOW) >> 1) / 1000.0, (word & 1) != 0
        board[i] = ((word >> 32) & _WITHDRAWN) == 0
        bids[i], asks[i], spots[i] = _number(row + _BID), _number(row + _ASK), _number(row + _SPOT)
        T[i] = float(settled - time) / YEAR_US
        D[i] = exp(max(min(-rate * T[i], 700.0), -700.0))
        if board[i] and time > newest:
            newest = time
    for i in range(K.size):
        ages[i] = float(newest - whole_at(rows + _ROW * i + _TIME))


@njit(**ROUNDS)
def _own_vols(bids, asks, F, K, T, D, put, own, sigmas, room, puts, found):
    """The volatility of each row whose quote can carry one."""
    n, count = K.size, 0
    for i in range(n):
        sigmas[i] = NAN
        if own[i] == _OK:
            room[0, count], room[1, count] = 0.5 * (bids[i] + asks[i]), F[i]
            room[2, count], room[3, count], room[4, count] = K[i], T[i], D[i]
            puts[count] = put[i]
            count += 1
    solved = room[5]
    implied_columns(room[0], room[1], room[2], room[3], room[4], puts, solved, found, count)
    at = 0
    for i in range(n):
        if own[i] == _OK:
            sigmas[i], own[i] = solved[at], found[at]
            at += 1


@njit(**ROUNDS)
def _write(rows, results, iv, delta, gamma, status, side):
    for i in range(iv.size):
        row, to = rows + _ROW * i, results + _RESULT * i
        word = (whole_at(row) & _LOW) | (np.int64(status[i]) << 32) | (np.int64(side[i]) << 40)
        set_eight(to, np.uint64(word))
        set_eight(to + _TO_TIME, eight_at(row + _TIME))
        set_eight(to + _TO_SEQ, eight_at(row + _SEQ))
        set_eight(to + _TO_IV, np.uint64(bits(iv[i])))
        set_eight(to + _TO_DELTA, np.uint64(bits(delta[i])))
        set_eight(to + _TO_GAMMA, np.uint64(bits(gamma[i])))


@entry
def solve(self, args, count):
    """(quotes, results, rules, head, room, marks, found): fill ``results`` and ``head`` (4,).

    Rows are bytes, of QUOTE and of GREEKS; room is (17, n) doubles, (7 n,) bytes and
    (6, pairs at most) doubles.
    """
    if not (count == 7 and is_array(self, args, 0, BYTE, 1)):
        return python_bool(0)
    n = length(args, 0, 0) // _ROW
    right = is_column(self, args, 0, BYTE, n * _ROW) and is_column(self, args, 1, BYTE, n * _RESULT)
    right = right and is_column(self, args, 2, DOUBLE, RULES)
    right = right and is_column(self, args, 3, DOUBLE, HEAD) and is_array(self, args, 4, DOUBLE, 2)
    right = (
        right and is_column(self, args, 5, BYTE, MARKS * n) and is_array(self, args, 6, DOUBLE, 2)
    )
    if not right:
        return python_bool(0)
    rules, pairs = column(args, 2, RULES), length(args, 6, 1)
    right = length(args, 4, 0) == COLUMNS and length(args, 4, 1) == n
    if not (right and length(args, 6, 0) == FOUND and rules[4] >= 0.0 and rules[4] <= pairs):
        return python_bool(0)
    rows, results, marks = items_at(args, 0), items_at(args, 1), items_at(args, 5)
    room, head, found = (
        table(args, 4, COLUMNS, n),
        column(args, 3, HEAD),
        table(args, 6, FOUND, pairs),
    )
    put, board, some = flags_at(marks, n), flags_at(marks + n, n), flags_at(marks + 2 * n, n)
    own, status = bytes_at(marks + 3 * n, n), bytes_at(marks + 4 * n, n)
    side, reasons = bytes_at(marks + 5 * n, n), bytes_at(marks + 6 * n, n)
    bids, asks, spots, K, T, D = room[0], room[1], room[2], room[3], room[4], room[5]
    F, sigmas, iv, delta, gamma = room[6], room[7], room[8], room[9], room[10]
    _read(rows, bids, asks, spots, K, T, D, F, put, board, rules)
    quote_forward(bids, asks, spots, K, T, D, F, put, board, rules, found, head, own)
    for i in range(n):
        F[i] = head[0] * spots[i]  # its ages are not needed any more
    _own_vols(bids, asks, F, K, T, D, put, own, sigmas, room[11:17], some, reasons)
    strike_vols(F, K, T, bids, asks, sigmas, put, board, own, iv, status, side)
    delta_gamma(spots, F, K, T, iv, rules[6], put, delta, gamma)
    _write(rows, results, iv, delta, gamma, status, side)
    return python_bool(1)
