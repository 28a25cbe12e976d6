"""What dealers would have to trade: the change of their modelled delta with spot and time.

Owns the scenarios; must not choose contracts. Every contract keeps its IV. A put's delta is its
call's less exp(-qT), so one position a strike is priced.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from common.board import Board
from common.level_parts import Flip
from common.quant import kernels

SPOT_MOVES = (-0.02, -0.01, -0.005, -0.0025, 0.0025, 0.005, 0.01, 0.02)
"""Moves of the spot looked at, as shares of it."""
MINUTES = (1, 5, 30)
"""Times ahead looked at, at the present spot."""
_YEAR_MINUTES = 365.0 * 1440.0
_SPOTS = np.array([1.0, *(1.0 + move for move in SPOT_MOVES), *([1.0] * (len(MINUTES) + 1))])
_GONE = np.array([0.0] * (1 + len(SPOT_MOVES)) + [m / _YEAR_MINUTES for m in MINUTES] + [0.0])
NAN = float("nan")


class Hedging(msgspec.Struct, frozen=True):
    """Changes of the modelled dealer delta, shares times the present spot [$ of delta].

    Dealers who stay hedged trade the opposite. NaN without a contract that can be priced.
    """

    by_spot: dict[float, float]
    """Move of the spot [share of it] → change at once."""
    by_minutes: dict[int, float]
    """Minutes from now → change at the present spot."""
    charm_into_close: float
    """Change until the front expiration settles, at the present spot: a full re-price."""


def hedging(board: Board, flip: Flip, spot: float, rate: float) -> Hedging:
    """The scenarios of one chain.

    :param flip: has the positions of the chain, both rights of a strike in one.
    :param spot: S [$]. :param rate: r [per year].
    """
    book = flip.book
    if book.strikes.size == 0 or not math.isfinite(spot):
        return Hedging(dict.fromkeys(SPOT_MOVES, NAN), dict.fromkeys(MINUTES, NAN), NAN)
    gone, spots, shares = _GONE.copy(), spot * _SPOTS, np.empty(_GONE.shape)
    gone[-1] = board.years[board.used].min()
    done = kernels.active().shares(
        *(book.strikes, book.bases, book.years, book.sigmas, book.positions),
        *(flip.puts, gone, spots, shares, float(rate)),
    )
    kernels.filled(done)
    changes = ((shares[1:] - shares[0]) * spot).tolist()
    return Hedging(
        by_spot=dict(zip(SPOT_MOVES, changes, strict=False)),
        by_minutes=dict(zip(MINUTES, changes[len(SPOT_MOVES) :], strict=False)),
        charm_into_close=changes[-1],
    )
