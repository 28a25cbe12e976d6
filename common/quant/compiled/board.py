"""The contracts of several expirations as columns; compiled.

Owns the arithmetic; definitions are those of :mod:`common.quant.plain.board`.
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
    entry,
    flags,
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
from common.quant.compiled.elementary import NAN

ROWS, PLACES, SHARD = 10, 3, 4
"""Rows of the results and of what is said of shards; number of terms."""
_OK, _STALE = int(Status.OK), int(Status.STALE)
_BAD_INPUT, _EXPIRED = int(Status.BAD_INPUT), int(Status.EXPIRED)
_ROW, _TIME, _VOLUME = QUOTE.itemsize, QUOTE.fields["time"][1], QUOTE.fields["volume"][1]
_CALL, _PUT = ord("C"), ord("P")


@njit(**ROUNDS)
def _read(rows, of_shard, sides, terms, out, places, puts):
    """Everything but volatilities and statuses; the newest time that a live row rests on."""
    spot, rate, newest = terms[0], terms[1], int(terms[2])
    for shard in range(of_shard.shape[1]):
        first = int(of_shard[0, shard])
        last = int(of_shard[0, shard + 1]) if shard + 1 < of_shard.shape[1] else puts.size
        years, discount, basis = of_shard[1, shard], of_shard[2, shard], of_shard[3, shard]
        for i in range(first, last):
            row = rows + _ROW * i
            key, sizes = whole_at(row) & 0xFFFFFFFF, whole_at(row + _VOLUME)
            out[0, i], puts[i] = float(key >> 1) / 1000.0, key & 1 != 0
            out[1, i], out[2, i], out[3, i] = years, discount, basis
            out[5, i], out[6, i], out[7, i] = spot * basis, spot, rate
            out[8, i], out[9, i] = max(sizes >> 32, 0), max((sizes << 32) >> 32, 0)
            places[0, i], places[1, i] = shard, -1
            if key & 1 and i > first and whole_at(row - _ROW) & 0xFFFFFFFF == key - 1:
                places[1, i], places[1, i - 1] = i - 1, i
        for i in range(first, last):
            time, partner = whole_at(rows + _ROW * i + _TIME), places[1, i]
            side = sides[i]
            if partner >= 0 and side != 0 and side != (_PUT if puts[i] else _CALL):
                time = min(time, whole_at(rows + _ROW * partner + _TIME))
            places[2, i] = time
            if years > 0.0 and time > newest:
                newest = time
    return newest


@njit(**ROUNDS)
def _judge(oldest, years, iv, limit, sigmas, statuses):
    for i in range(oldest.size):
        status = statuses[i]
        if oldest[i] < limit and status != _BAD_INPUT:
            status = _STALE
        if not years[i] > 0.0:
            status = _EXPIRED
        statuses[i] = status
        sigmas[i] = iv[i] if status == _OK else NAN


@entry
def board(self, args, count):
    """(quotes, of_shard, iv, sides, terms, out, places, puts, statuses): fill the last four.

    Quotes are n rows of QUOTE as bytes; ``of_shard`` (4, m) first row, T, D, F/S of each shard;
    ``iv`` and ``sides`` (n,) as solved; ``terms`` (4,) spot, rate, a time [us] that may be newer
    than every quote, and the age [us] beyond which a quote is stale; ``out`` (10, n) K, T, D,
    F/S, sigma, F, S, r, open interest, volume; ``places`` (3, n) shard, partner, oldest time.
    """
    if not (count == 9 and is_array(self, args, 2, DOUBLE, 1)):
        return python_bool(0)
    n = length(args, 2, 0)
    right = is_column(self, args, 0, BYTE, n * _ROW) and is_array(self, args, 1, DOUBLE, 2)
    right = right and is_column(self, args, 3, BYTE, n) and is_column(self, args, 4, DOUBLE, 4)
    right = right and is_array(self, args, 5, DOUBLE, 2) and is_array(self, args, 6, WHOLE, 2)
    if not (right and is_column(self, args, 7, BOOL, n) and is_column(self, args, 8, BYTE, n)):
        return python_bool(0)
    right = length(args, 5, 0) == ROWS and length(args, 5, 1) == n and length(args, 1, 0) == SHARD
    if not (right and length(args, 6, 0) == PLACES and length(args, 6, 1) == n):
        return python_bool(0)
    of_shard, terms = table(args, 1, SHARD, length(args, 1, 1)), column(args, 4, 4)
    before = 0.0
    for shard in range(of_shard.shape[1]):
        right = right and before <= of_shard[0, shard] <= n
        before = of_shard[0, shard]
    if not right or (n > 0 and (of_shard.shape[1] == 0 or of_shard[0, 0] != 0.0)):
        return python_bool(0)
    out, places = table(args, 5, ROWS, n), whole_table(args, 6, PLACES, n)
    newest = _read(
        *(items_at(args, 0), of_shard, codes(args, 3, n), terms, out, places, flags(args, 7, n)),
    )
    limit = newest - int(terms[3])
    _judge(places[2], out[1], column(args, 2, n), limit, out[4], codes(args, 8, n))
    return python_bool(1)
