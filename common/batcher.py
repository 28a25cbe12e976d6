"""Numbering, latching and micro-batching of a session's updates.

Owns what stands between a feed's typed updates and the fixed-width rows of the streams; must
not do I/O.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.bus.codec import Batch, BatchHeader
from common.models import (
    FLAG_WITHDRAWN,
    QUOTE,
    SPOT,
    QuoteUpdate,
    Rows,
    Session,
    SpotUpdate,
    Update,
    VixUpdate,
)
from common.trades import buyer_or_seller

_Spot = tuple[int, int, float, float]
RUN_SHIFT = 32
"""Live events are numbered epoch · 2³² + n: a later run of a session is later in order."""


@dataclass(slots=True)
class _Latched:
    """What a session knows of one contract from one quote to the next."""

    volume: int = -1
    open_interest: int = -1
    bought: int = 0
    sold: int = 0
    bid: float = math.nan
    ask: float = math.nan
    last: float = math.nan

    def take(self, update: QuoteUpdate) -> None:
        """Within a session open interest is set once and volume never falls."""
        if update.volume > self.volume:
            if self.volume >= 0:
                self._classify(update, update.volume - self.volume)
            self.volume = update.volume
        if self.open_interest <= 0 and update.open_interest > self.open_interest:
            self.open_interest = update.open_interest
        self.bid, self.ask, self.last = update.bid, update.ask, update.last

    def _classify(self, update: QuoteUpdate, traded: int) -> None:
        """Give the volume that has come to the side of the last trade."""
        side = buyer_or_seller(
            price=update.last, bid=self.bid, ask=self.ask, price_before=self.last
        )
        if side > 0:
            self.bought += traded
        elif side < 0:
            self.sold += traded


class Batcher:
    """Turns the updates of one session run into batches, one list a shard."""

    def __init__(self, session: Session, flush_rows: int, *, clock: Callable[[], int]) -> None:
        self._session = session
        self._flush_rows = flush_rows
        self._clock = clock
        self._next = session.epoch << RUN_SHIFT
        self._batch_numbers: dict[str, int] = {}
        self._quotes: dict[str, list[tuple[Any, ...]]] = {}
        self._spots: dict[str, list[_Spot]] = {}
        self._spot: _Spot | None = None
        self._vix: VixUpdate | None = None
        self._latched: dict[tuple[str, int], _Latched] = {}
        self.rows = 0
        """Quotes added and not yet flushed."""
        self.conflated = 0
        """Quotes left out as a newer one of their contract was there before a flush."""
        self._least = 0
        """Rows that were left by the last conflation."""
        self.held_counts = 0
        """Quotes whose volume or open interest had fallen, or was missing, and was held."""

    @property
    def full(self) -> bool:
        """Whether there is enough for a flush."""
        return self.rows >= self._flush_rows

    def add(self, updates: Iterable[Update]) -> None:
        """Number updates and put them where they belong; a price goes to every shard.

        The VIX goes with whatever batch comes next.
        """
        for update in updates:
            if isinstance(update, QuoteUpdate):
                self._add_quote(update)
            elif isinstance(update, SpotUpdate):
                prior = update.prior_close
                if self._spot and not prior > 0.0:
                    prior = self._spot[3]
                self._spot = (update.time, self._number(update.seq), update.price, prior)
                for waiting in self._spots.values():
                    waiting.append(self._spot)
            elif isinstance(update, VixUpdate):
                self._vix = update

    def restore(self, shard: str, quotes: Rows) -> None:
        """Go on from the volumes and open interests of an earlier run of the session.

        The quotes between the runs were not seen, so trades of that time get no side.
        """
        names = ("volume", "open_interest", "bought", "sold")
        columns = zip(*(quotes[name].tolist() for name in ("key", *names)), strict=True)
        for key, volume, interest, bought, sold in columns:
            self._latched[shard, key] = _Latched(
                volume=volume, open_interest=interest, bought=bought, sold=sold
            )

    def conflate(self, *, now: bool = False) -> None:
        """Keep the newest row of each contract and the newest price.

        :param now: else it is done when enough has come since the last time to be worth it.
        """
        for shard, spots in self._spots.items():
            self._spots[shard] = spots[-1:]
        if not now and self.rows < 2 * self._least + self._flush_rows:
            return
        for shard, rows in self._quotes.items():
            newest = {row[0]: row for row in rows}
            self.conflated += len(rows) - len(newest)
            self._quotes[shard] = sorted(newest.values(), key=lambda row: int(row[3]))
        self.rows = self._least = sum(map(len, self._quotes.values()))

    def flush(self) -> list[tuple[str, Batch]]:
        """What was added since the last flush: (shard, batch), in shard order."""
        received = self._clock()
        batches = []
        for shard in sorted(self._spots):
            quotes, spots = self._quotes[shard], self._spots[shard]
            for start in range(0, max(len(quotes), 1 if spots else 0), self._flush_rows):
                part = quotes[start : start + self._flush_rows]
                news = spots if start == 0 else []
                batches.append((shard, self._batch(shard, received, part, news)))
            self._quotes[shard], self._spots[shard] = [], []
        self.rows = self._least = 0
        return batches

    def _batch(
        self,
        shard: str,
        received: int,
        quotes: list[tuple[Any, ...]],
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
        return Batch(header, np.array(quotes, dtype=QUOTE), np.array(spots, dtype=SPOT))

    def _add_quote(self, update: QuoteUpdate) -> None:
        shard = update.expiry.shard
        waiting = self._quotes.get(shard)
        if waiting is None:
            waiting = self._quotes[shard] = []
            self._spots[shard] = [self._spot] if self._spot else []
        key = (round(update.strike * 1000) << 1) | (update.right == "P")
        held = self._latched.get((shard, key))
        if held is None:
            held = self._latched[shard, key] = _Latched()
        fallen = update.volume < held.volume or update.open_interest < held.open_interest
        self.held_counts += fallen
        held.take(update)
        waiting.append(
            (
                key,
                FLAG_WITHDRAWN if update.withdrawn else 0,
                update.time,
                self._number(update.seq),
                self._spot[2] if self._spot else float("nan"),
                update.bid,
                update.ask,
                update.last,
                update.bid_size,
                update.ask_size,
                held.volume,
                held.open_interest,
                held.bought,
                held.sold,
            )
        )
        self.rows += 1

    def _number(self, seq: int) -> int:
        if seq >= 0:
            return seq
        self._next += 1
        return self._next
