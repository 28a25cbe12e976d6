"""Positions that can be re-priced, their shares, and a bound on those that cannot.

Owns these definitions; must not choose scenarios. Every contract keeps its IV and its carry.
"""

from __future__ import annotations

import numpy as np

from common.models import QUOTE, BoolArray, FloatArray
from common.quant.exposure import MULTIPLIER
from common.quant.limits import YEAR_US
from common.quant.plain.board import Bytes, Places
from common.quant.plain.greeks import greeks
from common.quant.plain.implied_vol import implied_vols
from common.quant.plain.value import deltas


def book(
    board: FloatArray,
    places: Places,
    signs: FloatArray,
    puts: BoolArray,
    used: BoolArray,
    out: FloatArray,
    held: FloatArray,
    head: FloatArray,
) -> bool:
    """Fill ``out`` (6, n) with K, F/S, T, sigma, D and position of ``head`` (1,) contracts, and
    ``held`` (3, m) with the puts' positions of each shard, its T and its F/S.

    A call and a put of one strike and one IV are one position. Merging halves the work, and
    positions that offset each other cancel exactly instead of leaving rounding noise whose signs
    would look like roots.

    :param board: and ``places``, as :func:`common.quant.plain.board.board` fills them.
    :param signs: of the dealers; (n,). :param used: which contracts count; (n,).
    """
    usable = used & np.isfinite(board[4]) & np.isfinite(board[3])
    positions = np.where(usable, signs * board[8], 0.0)
    held[:] = 0.0
    short = np.flatnonzero(usable & puts)
    np.add.at(held[0], places[0][short], positions[short])
    held[1][places[0][short]], held[2][places[0][short]] = board[1][short], board[3][short]
    short = short[places[1][short] >= 0]
    calls = places[1][short]
    same = usable[calls] & (board[4][calls] == board[4][short])
    positions[calls[same]] += positions[short[same]]
    usable[short[same]] = False
    rows = np.flatnonzero(usable)
    head[0] = rows.size
    for row, column in enumerate((board[0], board[3], board[1], board[4], board[2], positions)):
        out[row, : rows.size] = column[rows]
    return True


def shares(
    K: FloatArray,
    b: FloatArray,
    T: FloatArray,
    s: FloatArray,
    q: FloatArray,
    held: FloatArray,
    gone: FloatArray,
    spots: FloatArray,
    out: FloatArray,
    rate: float,
) -> bool:
    """Fill ``out`` (p,) with the shares that positions are long at each point: so many years are
    gone, and the spot is there [$]. A put's delta is its call's less exp(-qT), so one position a
    strike is priced.

    :param held: of :func:`book`; (3, m).
    """
    calls, found = np.zeros(K.shape, np.bool_), np.empty(K.size)
    carries = np.log(b) / T
    puts, years, bases = held[:, held[0] != 0.0]
    drifts = np.log(bases) / years - rate
    for point, (elapsed, spot) in enumerate(zip(gone.tolist(), spots.tolist(), strict=True)):
        ahead = np.maximum(T - elapsed, 0.0)
        basis = np.exp(carries * ahead)
        deltas(spot * basis, K, T - elapsed, s, np.exp(-rate * ahead) * basis, calls, found)
        lost = puts * np.exp(drifts * np.maximum(years - elapsed, 0.0))
        out[point] = MULTIPLIER * ((found * q).sum() - lost.sum())
    return True


@np.errstate(all="ignore")
def ceiling(
    quotes: Bytes,
    board: FloatArray,
    places: Places,
    puts: BoolArray,
    used: BoolArray,
    settled: FloatArray,
    out: FloatArray,
    rate: float,
) -> bool:
    """Fill ``out`` (1,) with the sum of open interest times the upper bound of gamma [1/$] over the
    contracts that live but do not count.

    The ask of the out-of-the-money side bounds the option's value, hence its IV, hence the gamma
    of a wing. Both rights of a strike get the strike's bound; where nothing is known it is 0.

    :param settled: settlement of each shard [us]; (m,).
    """
    at = np.flatnonzero((board[1] > 0.0) & ~used)
    K, T, bases, F, spots = (board[row, at] for row in (0, 1, 3, 5, 6))
    asked = np.where(puts[at] == (K < F), at, places[1, at])
    rows = quotes.view(QUOTE)[asked]
    years = (settled[places[0, at]] - rows["time"]) / YEAR_US
    sigmas, statuses = np.empty(at.size), np.empty(at.size, np.uint8)
    implied_vols(
        np.where((asked >= 0) & (rows["ask"] > 0.0), rows["ask"], np.nan),
        *(rows["spot"] * bases, K, years, np.exp(np.clip(-rate * years, -700.0, 700.0))),
        *(puts[asked], sigmas, statuses),
    )
    table = np.empty((11, at.size))
    greeks(spots, F, K, T, sigmas, np.full(at.size, rate), puts[asked], table)
    gammas = np.where(np.isfinite(table[1]), np.abs(table[1]), 0.0)
    out[0] = (gammas * board[8, at]).sum()
    return True
