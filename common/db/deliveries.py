"""What the store is given: the entries of streams, those of one kind together.

Owns what belongs to which entry, delivery and session; must not write anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from common.bus.codec import Batches, Results
from common.bus.entries import id_order
from common.clock import SECOND
from common.db.arrays import Array, array, instant_array
from common.errors import RejectedError
from common.models import BoolArray, Expiry, JsonDict

DAY_US = 86_400 * SECOND
FAR_DAYS = 32
"""An instant further from its session's date is no market time of it."""
_NEVER = np.iinfo(np.int64).min
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Quotes:
    """Entries of the stream of an expiry."""

    symbol: str
    shard: str
    ids: Sequence[str]
    batches: Batches


@dataclass(frozen=True, slots=True)
class Greeks:
    """Entries of a symbol's stream of Greeks."""

    symbol: str
    results: Results


@dataclass(frozen=True, slots=True)
class Levels:
    """Published levels, a list of (market time [us], session key, ``latest`` JSON)."""

    levels: Sequence[tuple[int, str, JsonDict]]


Delivery = Quotes | Greeks | Levels


@dataclass(frozen=True, slots=True)
class Sessions:
    """The sessions of entries."""

    keys: Sequence[str]
    """Each once."""
    which: Numbers
    """Place of each entry's among them."""
    numbers: Numbers
    """In the database, of each entry's."""
    noons: Numbers
    """Noon of its date [us], of each entry's."""

    @classmethod
    def of(cls, keys: Sequence[str], number: Callable[[str], int]) -> Self:
        """Those of entries, by the keys of these."""
        distinct = list(dict.fromkeys(keys))
        which = places(keys, distinct)
        numbers = np.array([number(key) for key in distinct], np.int64)
        noons = np.array([session_noon(key) for key in distinct], np.int64)
        return cls(distinct, which, numbers[which], noons[which])

    def near(self, times: Numbers, entries: Numbers) -> BoolArray:
        """Whether instants [us] can be market times of their entries' sessions."""
        noons = self.noons[entries]
        found: BoolArray = times >= noons - FAR_DAYS * DAY_US
        found &= times <= noons + FAR_DAYS * DAY_US
        return found


@dataclass(frozen=True, slots=True)
class QuoteEntries:
    """Quotes of several deliveries, in order; all but the first three are of each entry."""

    symbols: Sequence[str]
    """Of each delivery."""
    expiries: Sequence[Expiry]
    """Of each delivery."""
    batches: Batches
    delivery: Numbers
    """Place of its delivery."""
    sizes: Numbers
    """How many quotes."""
    sessions: Sessions

    @classmethod
    def of(cls, given: Sequence[Quotes], number: Callable[[str], int]) -> Self:
        """Deliveries together.

        :param number: session key → its number in the database.
        """
        batches = given[0].batches if len(given) == 1 else Batches.of(q.batches for q in given)
        return cls(
            [one.symbol for one in given],
            [Expiry.from_shard(one.shard) for one in given],
            batches,
            np.repeat(np.arange(len(given)), [len(one.ids) for one in given]),
            np.array([header.quotes for header in batches.headers], np.int64),
            Sessions.of([header.session for header in batches.headers], number),
        )

    def values(self, ids: Sequence[str]) -> tuple[dict[str, Any], Numbers]:
        """Columns of ``gex.entries`` and ``gex.spots``; the time of each entry [us].

        :raises RejectedError: when the time of a price cannot be of its session.
        """
        headers, quotes, spots = self.batches.headers, self.batches.quotes, self.batches.spots
        spot_sizes = np.array([header.spots for header in headers], np.int64)
        by_spot = np.repeat(np.arange(len(headers)), spot_sizes)
        if not self.sessions.near(spots["time"], by_spot).all():
            raise RejectedError("the time of a price of the underlying is not of its session")
        by_quote = np.repeat(np.arange(len(headers)), self.sizes)
        near = self.sessions.near(quotes["time"], by_quote)
        times = np.maximum(
            _most(np.where(near, quotes["time"], _NEVER), self.sizes),
            _most(spots["time"], spot_sizes),
        )
        times[times == _NEVER] = self.sessions.noons[times == _NEVER]
        orders = np.array([id_order(entry_id) for entry_id in ids], np.int64)
        empty, without = self.sizes == 0, spot_sizes == 0
        columns: dict[str, Any] = {
            "times": instant_array(times),
            "sessions": array(self.sessions.numbers, ">i4"),
            "deliveries": array(self.delivery + 1, ">i4"),
            "entry_ms": array(orders[:, 0], ">i8"),
            "entry_n": array(orders[:, 1], ">i8"),
            "epochs": array([header.epoch for header in headers], ">i8"),
            "batches": array([header.batch for header in headers], ">i8"),
            "resets": array([header.reset for header in headers], "?"),
            "quotes": array(self.sizes, ">i4"),
            "first_seqs": array(-_most(-quotes["seq"], self.sizes), ">i8", empty),
            "last_seqs": array(_most(quotes["seq"], self.sizes), ">i8", empty),
            "spot_seqs": array(_most(spots["seq"], spot_sizes), ">i8", without),
            "received": instant_array(np.array([header.received_us for header in headers])),
        }
        return {**columns, **self._spots(by_spot), **self._names()}, times

    def _spots(self, entries: Numbers) -> dict[str, Array]:
        spots = self.batches.spots
        return {
            "spot_times": instant_array(spots["time"]),
            "spot_sessions": array(self.sessions.numbers[entries], ">i4"),
            "spot_deliveries": array(self.delivery[entries] + 1, ">i4"),
            "seqs": array(spots["seq"], ">i8"),
            "prices": array(spots["price"], ">f8"),
            "prior_closes": array(spots["prior_close"], ">f8"),
        }

    def _names(self) -> dict[str, list[Any]]:
        return {
            "symbols": list(self.symbols),
            "shards": [expiry.shard for expiry in self.expiries],
            "expirations": [expiry.expiration for expiry in self.expiries],
            "settlements": [expiry.settlement for expiry in self.expiries],
        }


@dataclass(frozen=True, slots=True)
class GreekEntries:
    """Greeks of several deliveries, in order; the last four are of each entry."""

    symbols: Sequence[str]
    """Of each delivery."""
    results: Results
    shards: Sequence[str]
    """Each once."""
    shard: Numbers
    """Place of its shard among them."""
    delivery: Numbers
    """Place of its delivery."""
    sizes: Numbers
    """How many rows."""
    sessions: Sessions

    @classmethod
    def of(cls, given: Sequence[Greeks], number: Callable[[str], int]) -> Self:
        """Deliveries together.

        :param number: session key → its number in the database.
        """
        results = given[0].results if len(given) == 1 else Results.of(g.results for g in given)
        headers = results.headers
        shards = list(dict.fromkeys(header.shard for header in headers))
        return cls(
            [one.symbol for one in given],
            results,
            shards,
            places([header.shard for header in headers], shards),
            np.repeat(np.arange(len(given)), [len(one.results.headers) for one in given]),
            np.array([header.rows for header in headers], np.int64),
            Sessions.of([header.session for header in headers], number),
        )


@lru_cache(64)
def session_noon(session: str) -> int:
    """Noon UTC of the trading date in a session's key [us]."""
    day = date.fromisoformat(session.split(":")[1])
    return (day.toordinal() - date(1970, 1, 1).toordinal()) * DAY_US + DAY_US // 2


def places(values: Sequence[str], among: Sequence[str]) -> Numbers:
    """Where each value stands among some."""
    known = {value: place for place, value in enumerate(among)}
    return np.array([known[value] for value in values], np.int64)


def _most(values: Numbers, sizes: Numbers) -> Numbers:
    """The largest value of each group; one that nothing can be of a group without any."""
    found = np.full(len(sizes), _NEVER)
    filled = sizes > 0
    if len(values):
        found[filled] = np.maximum.reduceat(values, (np.cumsum(sizes) - sizes)[filled])
    return found
