"""What dealers would have to trade: the change of their modelled delta with spot and time.

Owns the scenarios; must not choose contracts. Every contract keeps its IV. A put's delta is its
call's less exp(-qT), so one position a strike is priced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.board import Board, Index
from common.models import FloatArray
from common.quant import kernels
from common.quant.exposure import MULTIPLIER
from common.quant.zero_gamma import Book

SPOT_MOVES = (-0.02, -0.01, -0.005, -0.0025, 0.0025, 0.005, 0.01, 0.02)
"""Moves of the spot looked at, as shares of it."""
MINUTES = (1, 5, 30)
"""Times ahead looked at, at the present spot."""
_YEAR_MINUTES = 365.0 * 1440.0
NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Hedging:
    """Changes of the modelled dealer delta, shares times the present spot [$ of delta].

    Dealers who stay hedged trade the opposite. NaN without a contract that can be priced.
    """

    by_spot: dict[float, float]
    """Move of the spot [share of it] → change at once."""
    by_minutes: dict[int, float]
    """Minutes from now → change at the present spot."""
    charm_into_close: float
    """Change until the front expiration settles, at the present spot: a full re-price."""


def hedging(board: Board, book: Book, spot: float, rate: float) -> Hedging:
    """The scenarios of one chain.

    :param book: the positions of the chain, both rights of a strike in one.
    :param spot: S [$]. :param rate: r [per year].
    """
    alive = board.years[board.used]
    if book.strikes.size == 0 or not np.isfinite(spot):
        return Hedging(dict.fromkeys(SPOT_MOVES, NAN), dict.fromkeys(MINUTES, NAN), NAN)
    ahead = [*(minutes / _YEAR_MINUTES for minutes in MINUTES), float(alive.min())]
    present, *later = _instants(board, book, rate, [0.0, *ahead])
    scenarios = [
        (present, spot),
        *((present, spot * (1.0 + move)) for move in SPOT_MOVES),
        *((at, spot) for at in later),
    ]
    shares = _shares(book, scenarios)
    changes = ((shares[1:] - shares[0]) * spot).tolist()
    return Hedging(
        by_spot=dict(zip(SPOT_MOVES, changes, strict=False)),
        by_minutes=dict(zip(MINUTES, changes[len(SPOT_MOVES) :], strict=False)),
        charm_into_close=changes[-1],
    )


@dataclass(frozen=True, slots=True)
class _Instant:
    """A chain at one instant; arrays (n,)."""

    years: FloatArray
    bases: FloatArray
    growth: FloatArray
    """exp(-qT) [1]"""
    puts_lose: float
    """What the puts' deltas are below those of their calls [contracts]."""


def _instants(board: Board, book: Book, rate: float, elapsed: Sequence[float]) -> list[_Instant]:
    """The chain so many years from now, each of them."""
    first, sizes = _runs(book.years)
    carries = np.log(book.bases[first]) / book.years[first]
    gone = np.array(elapsed)[:, None]
    ahead = np.maximum(book.years[first] - gone, 0.0)
    bases = np.exp(carries * ahead)
    growth = np.repeat(np.exp(-rate * ahead) * bases, sizes, axis=1)
    spread = np.repeat(bases, sizes, axis=1)
    lost = _puts_lose(board, rate, gone)
    years = book.years - gone
    return [_Instant(*at) for at in zip(years, spread, growth, lost, strict=True)]


def _puts_lose(board: Board, rate: float, gone: FloatArray) -> list[float]:
    """What the puts' deltas are below those of their calls [contracts].

    :param gone: times from now [years]; (t, 1).
    """
    short = board.used & board.puts & np.isfinite(board.sigmas) & np.isfinite(board.bases)
    starts = np.array(board.bounds[:-1])
    puts = np.where(short, board.signs * board.open_interests, 0.0)
    held = np.add.reduceat(puts, starts)
    chosen = held.nonzero()[0]  # expirations with a put
    rows = starts[chosen]
    years = board.years[rows]
    carries = np.log(board.bases[rows]) / years
    lost = np.exp((carries - rate) * np.maximum(years - gone, 0.0))
    sums: list[float] = (held[chosen] * lost).sum(axis=1).tolist()
    return sums


def _runs(values: FloatArray) -> tuple[Index, Index]:
    """First row and length of each run of equal values: an expiration of a book."""
    new = np.ones(values.size + 1, np.bool_)
    np.not_equal(values[1:], values[:-1], out=new[1:-1])
    edges = new.nonzero()[0]
    return edges[:-1], edges[1:] - edges[:-1]


def _shares(book: Book, scenarios: Sequence[tuple[_Instant, float]]) -> FloatArray:
    """Shares that the dealers are long at each (instant, spot) [shares]."""
    calls = np.zeros(book.strikes.shape, dtype=np.bool_)
    deltas, compute, filled = np.empty(calls.shape), kernels.active().deltas, kernels.filled
    shares = np.empty(len(scenarios))
    for place, (at, spot) in enumerate(scenarios):
        forwards = spot * at.bases
        filled(compute(forwards, book.strikes, at.years, book.sigmas, at.growth, calls, deltas))
        deltas *= book.positions
        shares[place] = deltas.sum() - at.puts_lose
    return MULTIPLIER * shares
