"""Numbering, latching and micro-batching of a session's updates.

Owns what stands between a feed's typed updates and the fixed-width rows of the streams; must
not do I/O.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from common.bus.codec import Batch, BatchHeader
from common.latches import IntArray, Latches
from common.models import (
    FLAG_WITHDRAWN,
    QUOTE,
    SPOT,
    FloatArray,
    Listed,
    QuoteColumns,
    QuoteUpdate,
    Rows,
    Session,
    SpotUpdate,
    Update,
    VixUpdate,
)

_Spot = tuple[int, int, float, float]
RUN_SHIFT = 32
"""Live events are numbered epoch · 2³² + n: a later run of a session is later in order."""
_NO_PLACES = np.empty(0, np.int64)
_VALUES = ("bid", "ask", "last", "bid_size", "ask_size")
_COUNTS = ("volume", "open_interest", "bought", "sold")


class _Piece(NamedTuple):
    """Quotes that came one after the other, with no price of the underlying in between."""

    places: IntArray
    """Of their contracts among the latches; (n,)."""
    values: FloatArray
    """As in :class:`~common.models.QuoteColumns`; (n, 7)."""
    times: IntArray | int
    seqs: IntArray
    flags: IntArray | int
    spot: float


class Batcher:
    """Turns the updates of one session run into batches, one list a shard."""

    def __init__(self, session: Session, flush_rows: int, *, clock: Callable[[], int]) -> None:
        self._session = session
        self._flush_rows = flush_rows
        self._clock = clock
        self._next = session.epoch << RUN_SHIFT
        self._batch_numbers: dict[str, int] = {}
        self._pieces: list[_Piece] = []
        """What was added and is not latched yet."""
        self._quotes: dict[str, list[Rows]] = {}
        self._spots: dict[str, list[_Spot]] = {}
        self._spot: _Spot | None = None
        self._vix: VixUpdate | None = None
        self._latches = Latches()
        self._listed: dict[int, tuple[Sequence[Listed], IntArray]] = {}
        """Contracts of a feed (and by their list's identity) → their places."""
        self.rows = 0
        """Quotes added and not yet flushed."""
        self.conflated = 0
        """Quotes left out as a newer one of their contract was there before a flush."""
        self._least = 0
        """Rows that were left by the last conflation."""
        self._held_counts = 0

    @property
    def full(self) -> bool:
        """Whether there is enough for a flush."""
        return self.rows >= self._flush_rows

    @property
    def held_counts(self) -> int:
        """Quotes whose volume or open interest had fallen, or was missing, and was held."""
        self._settle()
        return self._held_counts

    def add(self, updates: Iterable[Update]) -> None:
        """Number updates and put them where they belong; a price goes to every shard.

        The VIX goes with whatever batch comes next.
        """
        alone: list[QuoteUpdate] = []
        for update in updates:
            if isinstance(update, QuoteUpdate):
                alone.append(update)
                continue
            self._add_quotes(alone)
            if isinstance(update, QuoteColumns):
                self._add_columns(update)
            elif isinstance(update, SpotUpdate):
                prior = update.prior_close
                if self._spot and not prior > 0.0:
                    prior = self._spot[3]
                (seq,) = self._numbers(update.seq, 1).tolist()
                self._spot = (update.time, seq, update.price, prior)
                for waiting in self._spots.values():
                    waiting.append(self._spot)
            elif isinstance(update, VixUpdate):
                self._vix = update
        self._add_quotes(alone)

    def restore(self, shard: str, quotes: Rows) -> None:
        """Go on from the volumes and open interests of an earlier run of the session.

        The quotes between the runs were not seen, so trades of that time get no side.
        """
        self._latches.restore(shard, quotes)

    def conflate(self, *, now: bool = False) -> None:
        """Keep the newest row of each contract and the newest price.

        :param now: else it is done when enough has come since the last time to be worth it.
        """
        for shard, spots in self._spots.items():
            self._spots[shard] = spots[-1:]
        if not now and self.rows < 2 * self._least + self._flush_rows:
            return
        self._settle()
        left = 0
        for shard, parts in self._quotes.items():
            rows = np.concatenate([*parts, np.empty(0, QUOTE)])
            _, newest = np.unique(rows["key"][::-1], return_index=True)
            self._quotes[shard] = [rows[np.sort(rows.size - 1 - newest)]]
            self.conflated += rows.size - newest.size
            left += newest.size
        self.rows = self._least = left

    def flush(self) -> list[tuple[str, Batch]]:
        """What was added since the last flush: (shard, batch), in shard order."""
        self._settle()
        received = self._clock()
        batches = []
        for shard in sorted(self._spots):
            quotes, spots = self._quotes[shard], self._spots[shard]
            rows = quotes[0] if len(quotes) == 1 else np.concatenate([*quotes, np.empty(0, QUOTE)])
            for start in range(0, max(len(rows), 1 if spots else 0), self._flush_rows):
                part = rows[start : start + self._flush_rows]
                news = spots if start == 0 else []
                batches.append((shard, self._batch(shard, received, part, news)))
            self._quotes[shard], self._spots[shard] = [], []
        self.rows = self._least = 0
        return batches

    def _batch(
        self,
        shard: str,
        received: int,
        quotes: Rows,
        spots: list[_Spot],
    ) -> Batch:
        number = self._batch_numbers[shard] = self._batch_numbers.get(shard, 0) + 1
        header = BatchHeader(
            session=self._session.key,
            epoch=self._session.epoch,
            batch=number,
            received_us=received,
            quotes=len(quotes),
            spots=len(spots),
            reset=not self._session.resume,
            vix=self._vix.level if self._vix else 0.0,
            vix_time=self._vix.time if self._vix else 0,
        )
        return Batch(header, quotes, np.array(spots, dtype=SPOT))

    def _add_quotes(self, quotes: list[QuoteUpdate]) -> None:
        """Take quotes one by one; the list is empty afterwards."""
        if not quotes:
            return
        places = [self._place(quote) for quote in quotes]
        values = [
            (q.bid, q.ask, q.last, q.bid_size, q.ask_size, q.volume, q.open_interest)
            for q in quotes
        ]
        seqs = [quote.seq for quote in quotes]
        if min(seqs) < 0:
            seqs = [int(self._numbers(seq, 1)[0]) for seq in seqs]
        times, withdrawn = [q.time for q in quotes], [q.withdrawn for q in quotes]
        self._pieces.append(
            _Piece(
                np.array(places),
                np.array(values, np.float64),
                np.array(times),
                np.array(seqs),
                np.where(withdrawn, FLAG_WITHDRAWN, 0),
                self._spot[2] if self._spot else math.nan,
            )
        )
        self.rows += len(quotes)
        quotes.clear()

    def _add_columns(self, quotes: QuoteColumns) -> None:
        """Take quotes as they came together."""
        listed = quotes.contracts
        _, places = self._listed.get(id(listed), (listed, _NO_PLACES))
        if len(places) < len(listed):
            places = np.append(places, [self._place(each) for each in listed[len(places) :]])
            self._listed[id(listed)] = listed, places
        seqs = self._numbers(quotes.seq, len(quotes))
        spot = self._spot[2] if self._spot else math.nan
        self._pieces.append(
            _Piece(places[quotes.numbers], quotes.values, quotes.time, seqs, 0, spot)
        )
        self.rows += len(quotes)

    def _place(self, contract: Listed) -> int:
        """Of a contract among the latches; a shard that is new learns the underlying's price."""
        shard = contract.expiry.shard
        if shard not in self._quotes:
            self._quotes[shard] = []
            self._spots[shard] = [self._spot] if self._spot else []
        key = (round(contract.strike * 1000) << 1) | (contract.right == "P")
        return self._latches.place(shard, key)

    def _settle(self) -> None:
        """Latch what was added, and make rows of it."""
        pieces, self._pieces = self._pieces, []
        if not pieces:
            return
        places = np.concatenate([piece.places for piece in pieces])
        values = np.concatenate([piece.values for piece in pieces])
        held = self._latches.take(places, values)
        self._held_counts += held.fallen
        rows = np.empty(places.size, QUOTE)
        at = 0
        for piece in pieces:
            part = rows[at : at + len(piece.places)]
            part["time"], part["seq"] = piece.times, piece.seqs
            part["flags"], part["spot"] = piece.flags, piece.spot
            at += len(piece.places)
        rows["key"] = self._latches.keys[places]
        for name, column in zip(_VALUES, values.T, strict=False):
            rows[name] = column
        for name, column in zip(_COUNTS, held.counts.T, strict=True):
            rows[name] = column
        shards = self._latches.shard[places]
        for number in set(shards.tolist()):
            self._quotes[self._latches.shards[number]].append(rows[shards == number])

    def _numbers(self, seq: int, count: int) -> IntArray:
        """Of so many updates: those of the source, from ``seq``, else the next ones."""
        if seq < 0:
            seq = self._next + 1
            self._next += count
        return np.arange(seq, seq + count)
