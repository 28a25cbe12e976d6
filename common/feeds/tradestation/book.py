"""Rows of the streams merged into full quotes.

Owns what is known of each contract and of the underlying; must not see bytes or a socket.
An absent field keeps its value, null clears it, zero is zero.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from msgspec import UNSET

from common.feeds.roots import underlying_of
from common.feeds.snapshot import number, price
from common.feeds.tradestation.columns import LONGEST_NAME, PRESENT, SLOT
from common.feeds.tradestation.messages import Price, Row
from common.feeds.tradestation.rows import Rows, active
from common.feeds.tradestation.symbols import Contract, parse_option_symbol, root_of
from common.models import QuoteColumns, QuoteUpdate, SpotUpdate, Update

MOST_CONTRACTS = 65_536
"""Contracts of one underlying; what names yet another one is refused."""
_WIDEST_SPOT = 0.02
"""Spread of the underlying, as a share of its middle, beyond which the last trade serves."""
_DECIMALS = 4
_NOTHING = (math.nan, math.nan, math.nan, -1.0, -1.0, -1.0, -1.0)
"""What is known of a contract at first."""
_PLACES = 256
"""Rows of a new chain; both it and the table of names double."""


class Book:
    """The latest of every contract of one underlying, and of the underlying itself."""

    def __init__(self, symbol: str) -> None:
        """Start empty; ``symbol`` is the underlying's plain root."""
        self._symbol = symbol
        self._contracts: list[Contract] = []
        self._numbers: dict[Contract, int] = {}
        self._named: dict[str, int] = {}
        """Contracts by name, in each spelling that has come."""
        self._chain = np.tile(_NOTHING, (_PLACES, 1))
        """Bid, ask, last, bid size, ask size, volume, open interest of each; (places, 7)."""
        self._names = np.zeros(4 * _PLACES * SLOT, np.uint8)
        """The names for compiled code."""
        self._head = np.zeros(2)
        """What compiled code is told, and answers."""
        self._bid = self._ask = self._last = self._prior = math.nan
        self.spot = math.nan
        """The latest price of the underlying [$]."""
        self.refused: Counter[str] = Counter()
        """Rows that could not be used, by reason."""

    def __len__(self) -> int:
        """How many contracts are known."""
        return len(self._contracts)

    def contracts(self) -> list[Contract]:
        """Every contract seen so far."""
        return list(self._contracts)

    def apply_all(
        self, rows: Rows, time: int, seq: int = -1, *, aside: Callable[[Row], bool] | None = None
    ) -> list[Update]:
        """Merge rows received together at ``time`` [us, market time]; what they make known.

        :param seq: number of the first update, where the source defines an order of its own.
        :param aside: takes a row of no known contract; false where it is not its.
        """
        updates: list[Update] = []
        merge, place, end, head = active().merge_rows, 0, len(rows.table), self._head
        while place < end:
            head[0] = place
            done = merge(rows.whole, rows.table, self._chain, self._names, head)
            assert done  # noqa: S101
            stop = int(head[0])
            if stop > place:
                merged = rows.table[place:stop, PRESENT:]
                updates.append(QuoteColumns(self._contracts, merged, time, seq))
                seq += stop - place if seq >= 0 else 0
            row = rows.row(stop) if stop < end else None
            if row is not None and not (aside and aside(row)):
                update = self.apply(row, time, seq)
                if update is not None:
                    updates.append(update)
                    seq += 1 if seq >= 0 else 0
            place = stop + 1
        return updates

    def apply(self, row: Row, time: int, seq: int = -1) -> QuoteUpdate | SpotUpdate | None:
        """Merge one row, however it is spelled; what it makes known, if anything."""
        number = self._find(row.name)
        if number is None:
            return self._apply_underlying(row, time, seq)
        held = self._chain[number]
        values = (
            *(value if value is UNSET else _price(value) for value in (row.Bid, row.Ask, row.Last)),
            row.BidSize, row.AskSize, row.Volume, row.DailyOpenInterest,
        )  # fmt: skip
        for place, value in enumerate(values):
            if value is not UNSET:
                held[place] = value
        whole = np.append(number, held)[None]
        return next(iter(QuoteColumns(self._contracts, whole, time, seq)))

    def _find(self, name: str) -> int | None:
        """The number of the contract that this names; None when it is not ours."""
        number = self._named.get(name)
        if number is not None:
            return number
        contract = parse_option_symbol(name)
        if contract is None or underlying_of(contract.root) != self._symbol:
            return None
        number = self._numbers.get(contract)
        if number is None:
            if len(self._contracts) >= MOST_CONTRACTS:
                return None
            number = self._numbers[contract] = len(self._contracts)
            self._contracts.append(contract)
            if number == len(self._chain):
                more = np.tile(_NOTHING, (number, 1))
                self._chain = np.concatenate([self._chain, more])
        self._learn(name, number)
        return number

    def _learn(self, name: str, number: int) -> None:
        """Know a spelling of a contract's name from now on."""
        if len(self._named) >= MOST_CONTRACTS:
            self._named.clear()
            self._names[:] = 0
        elif 2 * len(self._named) >= len(self._names) // SLOT:  # half of the places stay free
            known, self._named = self._named, {}
            self._names = np.zeros(2 * self._names.size, np.uint8)
            for each, which in known.items():
                self._learn(each, which)
        self._named[name] = number
        spelled = name.encode()
        if len(spelled) <= LONGEST_NAME:
            done = active().learn_name(spelled, self._names, np.array([number, 0.0]))
            assert done  # noqa: S101

    def _apply_underlying(self, row: Row, time: int, seq: int) -> SpotUpdate | None:
        if root_of(row.name) != self._symbol:
            self.refused[self._reason(row.name)] += 1
            return None
        self._bid = self._bid if row.Bid is UNSET else _price(row.Bid)
        self._ask = self._ask if row.Ask is UNSET else _price(row.Ask)
        self._last = self._last if row.Last is UNSET else _price(row.Last)
        prior = number(row.PreviousClose)
        spot = self._middle_or_last()
        if not spot > 0.0 or (spot == self.spot and not prior > 0.0):
            return None
        if prior > 0.0:
            self._prior = round(prior, _DECIMALS)
        self.spot = spot
        return SpotUpdate(time, spot, seq, self._prior)

    def _reason(self, name: str) -> str:
        """Why a row of this name is of no use."""
        contract = parse_option_symbol(name)
        if contract is not None and underlying_of(contract.root) == self._symbol:
            return "crowded"
        return "foreign" if name else "spread"

    def _middle_or_last(self) -> float:
        """Middle of a sane quote, else the last trade; NaN when there is neither."""
        middle = 0.5 * (self._bid + self._ask)
        if 0.0 < self._bid <= self._ask and self._ask - self._bid <= _WIDEST_SPOT * middle:
            return round(middle, _DECIMALS + 2)
        return self._last if math.isfinite(self._last) else math.nan


@lru_cache(maxsize=65_536)
def _price(text: Price) -> float:
    """A price without float noise: NaN for null, bad input for no number."""
    parsed = price(text)
    return round(parsed, _DECIMALS) if math.isfinite(parsed) else parsed
