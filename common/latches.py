"""What a session knows of its contracts from one quote to the next.

Owns the latches: volume never falls, open interest is set once, volume that comes is given to
the side of the last trade. Must not number or batch anything.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from common.models import FloatArray, Rows
from common.trades import buyer_or_seller

IntArray = npt.NDArray[np.int64]
_COUNTS = ("volume", "open_interest", "bought", "sold")
_FIRST = np.array([[-1], [-1], [0], [0]])
_PLACES = 256


class Held(NamedTuple):
    """Of quotes, what is known of their contracts with them; each (n,)."""

    volume: IntArray
    open_interest: IntArray
    bought: IntArray
    sold: IntArray
    fallen: int
    """Quotes whose own volume or open interest was lower, or missing, and is not taken."""


class Latches:
    """The contracts of one session, by place."""

    def __init__(self) -> None:
        """Know none."""
        self._places: dict[tuple[str, int], int] = {}
        self._counts = np.tile(_FIRST, _PLACES)
        """Volume, open interest, bought, sold; (4, places)."""
        self._prices = np.full((3, _PLACES), np.nan)
        """Bid, ask, last; (3, places)."""
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
            self._counts[number, places] = quotes[name]

    def take(self, places: IntArray, values: FloatArray) -> Held:
        """Latch quotes in their order.

        :param places: of their contracts; (n,). :param values: as in
            :class:`~common.models.QuoteColumns`; (n, 7).
        """
        held, fallen = np.empty((4, len(places)), np.int64), 0
        for part in _rounds(places):
            fallen += self._take(places[part], values[part].T, held, part)
        volume, interest, bought, sold = held
        return Held(volume, interest, bought, sold, fallen)

    def _take(self, at: IntArray, values: FloatArray, held: IntArray, part: IntArray) -> int:
        """Latch quotes of different contracts; how many had something held."""
        volume, interest = values[5].astype(np.int64), values[6].astype(np.int64)
        known_volume, known_interest, bought, sold = self._counts[:, at]
        bid, ask, before = self._prices[:, at]
        grown = np.where(known_volume >= 0, np.maximum(volume - known_volume, 0), 0)
        if grown.any():
            side = buyer_or_seller(price=values[2], bid=bid, ask=ask, price_before=before)
            bought, sold = bought + grown * (side > 0), sold + grown * (side < 0)
        sets = (known_interest <= 0) & (interest > known_interest)
        held[:, part] = self._counts[:, at] = (
            np.maximum(known_volume, volume),
            np.where(sets, interest, known_interest),
            bought,
            sold,
        )
        self._prices[:, at] = values[:3]
        return int(np.count_nonzero((volume < known_volume) | (interest < known_interest)))

    def _grow(self) -> None:
        """Twice as many places."""
        more = len(self.keys)
        self._counts = np.concatenate([self._counts, np.tile(_FIRST, more)], axis=1)
        self._prices = np.concatenate([self._prices, np.full((3, more), np.nan)], axis=1)
        self.keys, self.shard = np.resize(self.keys, 2 * more), np.resize(self.shard, 2 * more)


def _rounds(places: IntArray) -> list[IntArray]:
    """Indices of places, in order, so that none comes twice in one part; usually one part."""
    order = np.argsort(places, kind="stable")
    ranked = places[order]
    begins = np.flatnonzero(np.diff(ranked, prepend=-1))
    if begins.size == places.size:
        return [np.arange(places.size)]
    turns = np.empty(places.size, np.int64)  # how often each place has come before
    turns[order] = np.arange(places.size) - np.repeat(begins, np.diff(begins, append=places.size))
    return [np.flatnonzero(turns == turn) for turn in range(int(turns.max()) + 1)]
