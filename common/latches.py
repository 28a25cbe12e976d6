"""What a session knows of its contracts from one quote to the next.

Owns the latches: volume never falls, open interest is set once, volume that comes is given to
the side of the last trade. Must not number or batch anything.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from common.models import FloatArray, Rows
from common.quant import kernels
from common.trades import buyer_or_seller

IntArray = npt.NDArray[np.int64]
_COUNTS = ("volume", "open_interest", "bought", "sold")
_FIRST = np.array([-1, -1, 0, 0])
_PLACES = 256


class Held(NamedTuple):
    """Of quotes, what is known of their contracts with them."""

    counts: IntArray
    """Volume, open interest, bought, sold; (n, 4)."""
    fallen: int
    """Quotes whose own volume or open interest was lower, or missing, and is not taken."""


class Latches:
    """The contracts of one session, by place."""

    def __init__(self) -> None:
        """Know none."""
        self._places: dict[tuple[str, int], int] = {}
        self._counts = np.tile(_FIRST, (_PLACES, 1))
        """Volume, open interest, bought, sold; (places, 4)."""
        self._prices = np.full((_PLACES, 3), np.nan)
        """Bid, ask, last; (places, 3)."""
        self.keys = np.zeros(_PLACES, np.uint32)
        """Each contract's key in its shard."""
        self.shards: list[str] = []
        self.shard = np.zeros(_PLACES, np.int64)
        """Which of the shards each is in."""

    def place(self, shard: str, key: int) -> int:
        """Where a contract stands; it gets a place if it has none."""
        found = self._places.get((shard, key))
        if found is not None:
            return found
        place = self._places[shard, key] = len(self._places)
        if place == len(self.keys):
            self._grow()
        if shard not in self.shards:
            self.shards.append(shard)
        self.keys[place], self.shard[place] = key, self.shards.index(shard)
        return place

    def restore(self, shard: str, quotes: Rows) -> None:
        """Go on from the counts of an earlier run."""
        places = np.array([self.place(shard, key) for key in quotes["key"].tolist()], np.int64)
        for number, name in enumerate(_COUNTS):
            self._counts[places, number] = quotes[name]

    def take(self, places: IntArray, values: FloatArray) -> Held:
        """Latch quotes in their order.

        :param places: of their contracts; (n,). :param values: as in
            :class:`~common.models.QuoteColumns`; (n, 7).
        """
        held, lower = np.empty((len(places), len(_FIRST)), np.int64), np.empty(1)
        kernel = kernels.active().latch
        if kernel(places, values, self._counts, self._prices, held, lower):
            return Held(held, int(lower[0]))
        fallen = 0  # no compiler
        for part in _rounds(places):
            held[part], some = self._take(places[part], values[part])
            fallen += some
        return Held(held, fallen)

    def _take(self, at: IntArray, values: FloatArray) -> tuple[IntArray, int]:
        """Latch quotes of different contracts: what is known, how many had something held."""
        known, said = self._counts[at], values[:, 5:].astype(np.int64)
        lower, now = said < known[:, :2], known.copy()
        now[:, :2] = np.maximum(known[:, :2], said)
        now[:, 1] = np.where(known[:, 1] > 0, known[:, 1], now[:, 1])
        grown = (now[:, 0] - known[:, 0]) * (known[:, 0] >= 0)
        if grown.any():
            bid, ask, before = self._prices[at].T
            side = buyer_or_seller(price=values[:, 2], bid=bid, ask=ask, price_before=before)
            now[:, 2] += grown * (side > 0)
            now[:, 3] += grown * (side < 0)
        self._counts[at], self._prices[at] = now, values[:, :3]
        return now, int(np.count_nonzero(lower[:, 0] | lower[:, 1]))

    def _grow(self) -> None:
        """Twice as many places."""
        more = len(self.keys)
        self._counts = np.concatenate([self._counts, np.tile(_FIRST, (more, 1))])
        self._prices = np.concatenate([self._prices, np.full((more, 3), np.nan)])
        self.keys, self.shard = np.resize(self.keys, 2 * more), np.resize(self.shard, 2 * more)


def _rounds(places: IntArray) -> list[IntArray | slice]:
    """Indices of places, in order, so that none comes twice in one part; usually one part."""
    if len(set(places.tolist())) == places.size:
        return [slice(None)]
    order = np.argsort(places, kind="stable")
    begins = np.flatnonzero(np.diff(places[order], prepend=-1))
    turns = np.empty(places.size, np.int64)  # how often each place has come before
    turns[order] = np.arange(places.size) - np.repeat(begins, np.diff(begins, append=places.size))
    return [np.flatnonzero(turns == turn) for turn in range(int(turns.max()) + 1)]
