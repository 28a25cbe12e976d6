"""What has traded so far today, contract by contract.

Owns opening, highest and lowest trade, and time and size of the last one, as far as boards
show them; must not know what is shown next.
"""

from __future__ import annotations

import numpy as np

from common.models import Rows
from workers.simulator.market import Places


class Trades:
    """The trades seen on successive boards."""

    def __init__(self, size: int) -> None:
        """Start before the first trade.

        :param size: how many contracts there are.
        """
        self.opens = np.full(size, np.nan)
        """[$], NaN before the first trade, as the next two."""
        self.highs = np.full(size, np.nan)
        self.lows = np.full(size, np.nan)
        self.times = np.zeros(size, np.int64)
        """Last time the volume grew [us], 0 before the first trade."""
        self.sizes = np.zeros(size, np.int64)
        """By how much it grew then."""
        self._volumes = np.zeros(size, np.int64)

    def take(self, rows: Rows, places: Places) -> None:
        """See the rows of some contracts, later than those seen before."""
        lasts = np.where(rows["last"] > 0.0, rows["last"], np.nan)
        opens = self.opens[places]
        self.opens[places] = np.where(np.isnan(opens), lasts, opens)
        self.highs[places] = np.fmax(self.highs[places], lasts)
        self.lows[places] = np.fmin(self.lows[places], lasts)
        grown = rows["volume"] - self._volumes[places]
        (traded,) = (grown > 0).nonzero()
        where, grown = places[traded], grown[traded]
        self.times[where] = rows["time"][traded]
        self.sizes[where] = grown
        self._volumes[where] += grown
