"""Exposures of contracts and the sums over them; compiled.

Owns the arithmetic; definitions are those of :mod:`common.quant.plain.tally`.
"""

from __future__ import annotations

from numba import njit

from common.machine.arguments import (
    BOOL,
    BYTE,
    DOUBLE,
    ROUNDS,
    WHOLE,
    codes,
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
    table,
    whole_at,
    whole_table,
)
from common.models import QUOTE, Status
from common.quant.compiled.elementary import from_bits
from common.quant.sums import PLACE, SUMS

BOARD, GREEKS, PLACES, DATES, TERMS, EXPOSURES = 10, 11, 3, 2, 3, 4
SIZE = len(SUMS)


def _places(*names):
    return [PLACE[name] for name in names]


_OK = int(Status.OK)
_ROW = QUOTE.itemsize
_SPOT, _BID, _ASK, _VOLUME, _BOUGHT = (
    QUOTE.fields[name][1] for name in ("spot", "bid", "ask", "volume", "bought")
)
(_USED, _GEX, _DEX, _VEX, _CEX, _GROSS) = _places("used", "gex", "dex", "vex", "cex", "gross_gex")
(_SAME_DAY, _SAME_DAY_GEX, _WEEK, _WEEK_GEX, _NEAR, _NEAR_GEX) = _places(
    "same_day", "same_day_gex", "week", "week_gex", "near", "near_gex"
)
_TRADED, _VOLUME_GEX = _places("traded", "volume_gex")
_CALLS, _PUTS, _SIDED, _SOLVED, _SOLVED_OI = _places(
    "calls", "puts", "sided", "solved", "solved_oi"
)
_PRICED, _CALL_SIZE, _PUT_SIZE = _places("priced", "call_size", "put_size")
_FLOW, _FLOW_GEX = _places("flow", "flow_gex")
_PAIRS, _OUTLIERS, _OLDEST = _places("pairs", "outliers", "oldest")


@inlined
def _number(address):
    return from_bits(eight_at(address))


@inlined
def _finite(x):
    return x if x * 0.0 == 0.0 else 0.0


@njit(**ROUNDS)
def _exposures(board, greeks, signs, used, terms, out):
    """GEX, DEX, VEX and CEX of each row, 0 where it does not count."""
    spot, per_percent = terms[0], terms[1]
    for i in range(signs.size):
        held = board[8, i] * signs[i] if used[i] else 0.0
        shares = held * 100.0
        out[0, i] = held * _finite(greeks[1, i]) * per_percent
        out[1, i] = shares * _finite(greeks[0, i]) * spot
        out[2, i] = shares * _finite(greeks[5, i]) * (spot * 0.01)
        out[3, i] = shares * _finite(greeks[6, i]) * spot


@njit(**ROUNDS)
def _count(rows, board, greeks, places, signs, puts, used, dates, terms, out, sums):
    """The sums over the rows that count."""
    for i in range(signs.size):
        if not used[i]:
            continue
        gex, shard = out[0, i], places[0, i]
        if sums[_USED] == 0.0 or places[2, i] < sums[_OLDEST]:
            sums[_OLDEST] = places[2, i]
        sums[_USED] += 1.0
        sums[_GEX] += gex
        sums[_DEX] += out[1, i]
        sums[_VEX] += out[2, i]
        sums[_CEX] += out[3, i]
        sums[_GROSS] += abs(gex)
        if dates[0, shard] != 0.0:
            sums[_SAME_DAY] += 1.0
            sums[_SAME_DAY_GEX] += gex
        if dates[1, shard] != 0.0:
            sums[_WEEK] += 1.0
            sums[_WEEK_GEX] += gex
        if abs(board[0, i] - terms[0]) <= terms[2]:
            sums[_NEAR] += 1.0
            sums[_NEAR_GEX] += gex
        if (whole_at(rows + _ROW * i + _VOLUME) << 32) >= 0:
            sums[_TRADED] += 1.0
            sums[_VOLUME_GEX] += signs[i] * greeks[1, i] * board[9, i] * terms[1]


@njit(**ROUNDS)
def _live(rows, board, greeks, puts, statuses, used, terms, sums):
    """The sums over the rows that live, and over those with a volatility."""
    for i in range(puts.size):
        solved, alive = statuses[i] == _OK, board[1, i] > 0.0
        held, trades = board[8, i], whole_at(rows + _ROW * i + _BOUGHT)
        bought, sold = float((trades << 32) >> 32), float(trades >> 32)
        if solved:
            sums[_SOLVED] += 1.0
            sums[_SOLVED_OI] += held if used[i] else 0.0
        if not alive:
            continue
        at = _PUTS if puts[i] else _CALLS
        sums[at] += 1.0
        sums[at + 1] += held
        sums[at + 2] += board[9, i]
        sums[_SIDED] += bought + sold
        if solved:
            size = _finite(greeks[1, i]) * held * terms[1]
            sums[_PRICED] += 1.0
            sums[_PUT_SIZE if puts[i] else _CALL_SIZE] += size
            sign = (sold - bought) / (sold + bought)
            if sign * 0.0 == 0.0:
                sums[_FLOW] += 1.0
                sums[_FLOW_GEX] += sign * size


@njit(**ROUNDS)
def _parity(rows, board, places, puts, sums):
    """Pairs of two-sided quotes, and those off put-call parity by more than half-spreads."""
    for i in range(puts.size):
        partner = places[1, i]
        if puts[i] or partner < 0 or not board[1, i] > 0.0:
            continue
        call, put = rows + _ROW * i, rows + _ROW * partner
        bid_c, ask_c = _number(call + _BID), _number(call + _ASK)
        bid_p, ask_p = _number(put + _BID), _number(put + _ASK)
        if not (bid_c > 0.0 and ask_c > bid_c and bid_p > 0.0 and ask_p > bid_p):
            continue
        forward = board[3, i] * 0.5 * (_number(call + _SPOT) + _number(put + _SPOT))
        gap = abs(0.5 * (bid_c + ask_c - bid_p - ask_p) - board[2, i] * (forward - board[0, i]))
        sums[_PAIRS] += 1.0
        sums[_OUTLIERS] += 1.0 if gap > 0.5 * (ask_c - bid_c + ask_p - bid_p) else 0.0


@entry
def tally(self, args, count):
    """(quotes, board, greeks, places, signs, puts, statuses, used, dates, terms, out, sums): fill
    the last two.

    As of :mod:`common.quant.compiled.board`: quotes, board (10, n), places (3, n); greeks (11, n);
    ``dates`` (2, m) whether a shard expires today, and this week; ``terms`` (3,) S, m 0.01 S²,
    the distance of near strikes; ``out`` (4, n); ``sums`` (31,).
    """
    if not (count == 12 and is_array(self, args, 4, DOUBLE, 1)):
        return python_bool(0)
    n = length(args, 4, 0)
    right = is_column(self, args, 0, BYTE, n * _ROW) and is_array(self, args, 1, DOUBLE, 2)
    right = right and is_array(self, args, 2, DOUBLE, 2) and is_array(self, args, 3, WHOLE, 2)
    right = right and is_column(self, args, 5, BOOL, n) and is_column(self, args, 6, BYTE, n)
    right = right and is_column(self, args, 7, BOOL, n) and is_array(self, args, 8, DOUBLE, 2)
    right = (
        right and is_column(self, args, 9, DOUBLE, TERMS) and is_array(self, args, 10, DOUBLE, 2)
    )
    if not (right and is_column(self, args, 11, DOUBLE, len(SUMS))):
        return python_bool(0)
    right = length(args, 1, 0) == BOARD and length(args, 1, 1) == n
    right = right and length(args, 2, 0) == GREEKS and length(args, 2, 1) == n
    right = right and length(args, 3, 0) == PLACES and length(args, 3, 1) == n
    right = right and length(args, 10, 0) == EXPOSURES and length(args, 10, 1) == n
    shards = length(args, 8, 1)
    if not (right and length(args, 8, 0) == DATES):
        return python_bool(0)
    rows, board, greeks = items_at(args, 0), table(args, 1, BOARD, n), table(args, 2, GREEKS, n)
    places, signs, puts = whole_table(args, 3, PLACES, n), column(args, 4, n), flags(args, 5, n)
    statuses, used, dates = codes(args, 6, n), flags(args, 7, n), table(args, 8, DATES, shards)
    terms, out, sums = (
        column(args, 9, TERMS),
        table(args, 10, EXPOSURES, n),
        column(args, 11, len(SUMS)),
    )
    for i in range(n):
        right = right and 0 <= places[0, i] < shards and places[1, i] < n
    if not right:
        return python_bool(0)
    sums[:] = 0.0
    _exposures(board, greeks, signs, used, terms, out)
    _count(rows, board, greeks, places, signs, puts, used, dates, terms, out, sums)
    _live(rows, board, greeks, puts, statuses, used, terms, sums)
    _parity(rows, board, places, puts, sums)
    return python_bool(1)
