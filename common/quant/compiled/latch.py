"""Counts of contracts latched, quote by quote; compiled.

Owns the loop over quotes; what latches is :class:`common.latches.Latches`'s to say, and who began
a trade :mod:`common.trades`'s.
"""

from __future__ import annotations

from numba import njit

from common.machine.arguments import (
    DOUBLE,
    ROUNDS,
    WHOLE,
    column,
    entry,
    is_array,
    is_column,
    length,
    python_bool,
    table,
    whole_column,
    whole_table,
)


@njit(**ROUNDS)
def _latch(places, values, counts, prices, held):
    """How many quotes had a volume or an open interest that was lower than what is known; -1, and
    nothing is changed, with a place that there is not."""
    for i in range(places.size):
        if places[i] < 0 or places[i] >= counts.shape[0]:
            return -1
    fallen = 0
    for i in range(places.size):
        at, price = places[i], values[i, 2]
        before, interest = counts[at, 0], counts[at, 1]
        fallen += 1 if values[i, 5] < before or values[i, 6] < interest else 0
        if values[i, 5] > before:
            counts[at, 0] = int(values[i, 5])
        if interest <= 0 and values[i, 6] > interest:
            counts[at, 1] = int(values[i, 6])
        grown = counts[at, 0] - before if before >= 0 else 0
        bid, ask = prices[at, 0], prices[at, 1]
        if grown > 0 and 0.0 < bid < ask:
            middle = 0.5 * (bid + ask)
            against = prices[at, 2] if price == middle else middle
            counts[at, 2] += grown if price > against else 0
            counts[at, 3] += grown if price < against else 0
        for each in range(3):
            prices[at, each] = values[i, each]
        for each in range(4):
            held[i, each] = counts[at, each]
    return fallen


@entry
def latch(self, args, count):
    """(places, values, counts, prices, held, fallen): latch quotes (n, 7) of contracts (n,) in
    their order into ``counts`` (p, 4) and ``prices`` (p, 3); fill ``held`` (n, 4) and ``fallen``
    (1,).
    """
    right = count == 6 and is_array(self, args, 0, WHOLE, 1) and is_array(self, args, 1, DOUBLE, 2)
    right = right and is_array(self, args, 2, WHOLE, 2) and is_array(self, args, 3, DOUBLE, 2)
    if not (right and is_array(self, args, 4, WHOLE, 2) and is_column(self, args, 5, DOUBLE, 1)):
        return python_bool(0)
    n, p = length(args, 0, 0), length(args, 2, 0)
    right = length(args, 1, 0) == n and length(args, 1, 1) == 7
    right = right and length(args, 2, 1) == 4 and length(args, 3, 0) == p
    right = right and length(args, 3, 1) == 3 and length(args, 4, 0) == n
    if not (right and length(args, 4, 1) == 4):
        return python_bool(0)
    fallen = _latch(
        whole_column(args, 0, n),
        table(args, 1, n, 7),
        whole_table(args, 2, p, 4),
        table(args, 3, p, 3),
        whole_table(args, 4, n, 4),
    )
    column(args, 5, 1)[0] = fallen
    return python_bool(1 if fallen >= 0 else 0)
