"""What quotes tell beside the prices of contracts and their underlying.

Owns the latest of symbols such as VIX, and whether the host calls its quotes delayed.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable

from msgspec import UNSET

from common.feeds.snapshot import price
from common.feeds.tradestation.messages import Row
from common.feeds.tradestation.symbols import quote_symbol, root_of
from common.models import VixUpdate

log = logging.getLogger(__name__)
VIX = "VIX"


class Beside:
    """The other symbols of one session, and the delay of its quotes."""

    def __init__(self, symbol: str, others: Iterable[str], counters: Counter[str]) -> None:
        """Know nothing yet.

        :param symbol: the underlying's plain root, which is none of the others.
        """
        self._names = {quote_symbol(each) for each in others if each != symbol}
        self._counters = counters
        self._delayed: set[str] = set()
        self.levels: dict[str, float] = {}
        """Plain root → last price, e.g. VIX → 17.31."""
        self._told = math.nan

    def news(self, time: int) -> list[VixUpdate]:
        """The VIX, where it has changed since the last call.

        :param time: when that came [us, market time].
        """
        level = self.levels.get(VIX, math.nan)
        if math.isnan(level) or level == self._told:
            return []
        self._told = level
        return [VixUpdate(time, level)]

    def take(self, row: Row) -> bool:
        """Note what a row of a quote stream tells; true when it is of another symbol."""
        name = row.name.upper()
        if row.MarketFlags is not UNSET:
            self._note_delay(name, row.is_delayed)
        if name not in self._names:
            return False
        level = math.nan if row.Last is UNSET else price(row.Last)
        if 0.0 < level < math.inf:
            self.levels[root_of(name)] = level
            self._counters["other_quotes"] += 1
        return True

    def _note_delay(self, name: str, delayed: bool | None) -> None:
        if delayed and name not in self._delayed:
            if not self._delayed:
                log.warning(
                    "%s is quoted with a delay (MarketFlags.IsDelayed): the login has no "
                    "real-time data for it", name,
                )  # fmt: skip
            self._delayed.add(name)
            self._counters["delayed_symbols"] += 1
