"""Exposures by strike, and what each expiration says of itself.

Owns these definitions beside those of :mod:`common.quant.exposure`.
"""

from __future__ import annotations

import numpy as np

from common.models import BoolArray, FloatArray
from common.quant import exposure
from common.quant.limits import SKEW_DELTA, TIE
from common.quant.plain.board import Places


def strikes(
    board: FloatArray,
    greeks: FloatArray,
    exposures: FloatArray,
    puts: BoolArray,
    used: BoolArray,
    shards: FloatArray,
    out: FloatArray,
    found: FloatArray,
    room: FloatArray,
    head: FloatArray,
    own: FloatArray,
    spot: float,
) -> bool:
    """Fill ``out`` (7, n) with the distinct strikes of the expirations that live [$], ascending,
    and the GEX, open interest and volume of their calls and puts; ``head`` (1,) with their
    number; ``found`` (6, m) with each expiration's net GEX, contracts that count, IV at the
    forward, max pain [$], skew: the IV at the put delta -0.25 less that at the call delta 0.25,
    and IV at the forward as solved.

    :param board: of :func:`common.quant.plain.board.board`; (10, n).
    :param greeks: (11, n). :param exposures: GEX first; (4, n).
    :param shards: first row and forward [$] of each expiration, none of them empty; (2, m).
    :param room: for what a compiled kernel writes down. :param own: IV as solved; (n,).
    """
    del room
    starts, n = shards[0].astype(np.intp), puts.size
    bounds = [*starts.tolist(), n]
    groups = exposure.strike_groups(strikes=board[0], bounds=bounds)
    if starts.size:
        found[0] = np.add.reduceat(exposures[0], starts)
        found[1] = np.add.reduceat(used.astype(np.float64), starts)
    found[2] = _at_forwards(board[4], used, groups, shards[1])
    found[3] = exposure.max_pains(table=groups, puts=puts, open_interests=board[8], spot=spot)
    of_row = np.repeat(np.arange(starts.size), np.diff(bounds))
    rights = (np.flatnonzero(used & puts), -1.0), (np.flatnonzero(used & ~puts)[::-1], 1.0)
    ends = [
        _at_delta(board[4], sign * greeks[0], rows, of_row, starts.size) for rows, sign in rights
    ]
    found[4] = ends[0] - ends[1]
    found[5] = [
        _at_forward(board[0, first:last], own[first:last], forward)
        for first, last, forward in zip(bounds, bounds[1:], shards[1].tolist(), strict=False)
    ]
    alive = np.flatnonzero(board[1] > 0.0)
    levels, at = np.unique(board[0, alive], return_inverse=True)
    head[0], side = levels.size, at + levels.size * puts[alive]
    out[0, : levels.size] = levels
    for place, values in ((1, exposures[0]), (3, board[8]), (5, board[9])):
        sums = np.bincount(side, values[alive], 2 * levels.size)
        out[place : place + 2, : levels.size] = sums.reshape(2, -1)
    return True


def _at_forwards(
    sigmas: FloatArray, used: BoolArray, groups: exposure.StrikeGroups, forwards: FloatArray
) -> list[float]:
    """The IV of each expiration at its forward, both rights of a strike averaged."""
    solved, size = used & np.isfinite(sigmas), groups.strikes.size
    counts = np.bincount(groups.of_row, solved, size)
    sums = np.bincount(groups.of_row, np.where(solved, sigmas, 0.0), size)
    has = counts > 0.0
    before = np.concatenate([[0], np.cumsum(has)])[groups.bounds].tolist()
    strikes, means = groups.strikes[has], sums[has] / counts[has]
    return [
        exposure.atm_volatility(
            strikes=strikes[first:last], sigmas=means[first:last], forward=forward
        )
        for first, last, forward in zip(before, before[1:], forwards.tolist(), strict=False)
    ]


def _at_forward(strikes: FloatArray, sigmas: FloatArray, forward: float) -> float:
    """The IV of contracts of one expiration at its forward, of a strike the first it has."""
    solved = np.isfinite(sigmas)
    strikes, sigmas = strikes[solved], sigmas[solved]
    first = np.append(True, strikes[1:] != strikes[:-1])[: strikes.size]
    return exposure.atm_volatility(strikes=strikes[first], sigmas=sigmas[first], forward=forward)


def _at_delta(
    sigmas: FloatArray, sizes: FloatArray, rows: Places, shard_of: Places, shards: int
) -> FloatArray:
    """IV of each expiration where sizes of delta pass 0.25; NaN where they do not; (m,).

    :param rows: contracts of one right, by expiration, deltas ascending in size within it.
    """
    found = np.full(shards, np.nan)
    sizes, shard_of, sigmas = sizes[rows], shard_of[rows], sigmas[rows]
    low = np.flatnonzero(sizes <= SKEW_DELTA)
    low = low[low + 1 < rows.size]
    low = low[(shard_of[low + 1] == shard_of[low]) & (sizes[low + 1] > SKEW_DELTA)]
    share = (SKEW_DELTA - sizes[low]) / (sizes[low + 1] - sizes[low])
    found[shard_of[low]] = sigmas[low] + share * (sigmas[low + 1] - sigmas[low])
    return found


def walls(
    strikes: FloatArray, call_gex: FloatArray, put_gex: FloatArray, out: FloatArray, spot: float
) -> bool:
    """Fill ``out`` (4,) with the call wall at or above the spot, the put wall at or below it, and
    both wherever they are [$]: the strike of the largest size, NaN where there is none.

    :param strikes: ascending [$]; (k,). :param call_gex: of each; (k,). :param put_gex: alike.
    """
    calls, puts = np.abs(call_gex), np.abs(put_gex)
    above, below = strikes >= spot, strikes <= spot
    out[0] = _largest(strikes[above], calls[above], spot)
    out[1] = _largest(strikes[below], puts[below], spot)
    out[2], out[3] = _largest(strikes, calls, spot), _largest(strikes, puts, spot)
    return True


def _largest(strikes: FloatArray, sizes: FloatArray, spot: float) -> float:
    """The strike of the largest size; a tie goes to the one nearest the spot, then the lower."""
    largest = float(sizes.max(initial=0.0))
    if not largest > 0.0:
        return float("nan")
    ties: list[float] = strikes[sizes >= largest * (1.0 - TIE)].tolist()
    return min(ties, key=lambda strike: abs(strike - spot))
