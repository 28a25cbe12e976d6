"""The sums over the contracts of a board, all of them in one pass.

Owns which rows they run over by date and by distance; must not define an exposure.
"""

from __future__ import annotations

from datetime import date, timedelta

import msgspec
import numpy as np

from common.board import Board
from common.models import FloatArray
from common.quant import kernels
from common.quant.exposure import MULTIPLIER, ONE_PERCENT
from common.quant.sums import SUMS

LOCAL_SHARE = 0.01
"""Strikes within this share of the spot are local."""
NAN = float("nan")


class Tally(msgspec.Struct, frozen=True):
    """Exposures of each contract, 0 where it does not count, and their sums."""

    table: FloatArray
    """GEX, DEX, VEX, CEX; (4, n)."""
    sums: dict[str, float]
    """By the names of :data:`common.quant.sums.SUMS`."""

    def total(self, name: str, rows: str) -> float:
        """A sum; NaN where it runs over nothing.

        :param rows: the name of the number of rows it runs over.
        """
        return self.sums[name] if self.sums[rows] else NAN


def tally(board: Board, spot: float, today: date) -> Tally:
    """:param spot: S [$]. :param today: the New York date of the instant."""
    friday = today + timedelta(days=(4 - today.weekday()) % 7)
    days = [shard.expiry.expiration for shard in board.shards]
    dates = np.array([[day == today for day in days], [day <= friday for day in days]], np.float64)
    terms = np.array((spot, MULTIPLIER * ONE_PERCENT * spot * spot, LOCAL_SHARE * spot))
    found, sums = np.empty((4, board.puts.size)), np.empty(len(SUMS))
    done = kernels.active().tally(
        board.quotes.view(np.uint8),
        board.table,
        board.greeks.table,
        board.places,
        board.signs,
        board.puts,
        board.statuses,
        board.used,
        dates,
        terms,
        found,
        sums,
    )
    kernels.filled(done)
    return Tally(found, dict(zip(SUMS, sums.tolist(), strict=True)))
