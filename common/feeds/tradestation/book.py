"""Rows of the streams merged into full quotes.

Owns what is known of each contract and of the underlying; must not see bytes or a socket.
An absent field keeps its value, null clears it, zero is zero.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from msgspec import UNSET

from common.feeds.roots import underlying_of
from common.feeds.snapshot import count, price
from common.feeds.tradestation.messages import Row, Value
from common.feeds.tradestation.symbols import Contract, parse_option_symbol, root_of
from common.models import QuoteUpdate, SpotUpdate

_WIDEST_SPOT = 0.02
"""Spread of the underlying, as a share of its middle, beyond which the last trade serves."""
_DECIMALS = 4
_HIGHEST_COUNT = 2_147_483_647


@dataclass(slots=True)
class _Held:
    """What is known of one contract, or of the underlying."""

    bid: float = math.nan
    ask: float = math.nan
    last: float = math.nan
    bid_size: int = -1
    ask_size: int = -1
    volume: int = -1
    open_interest: int = -1


class Book:
    """The latest of every contract of one underlying, and of the underlying itself."""

    def __init__(self, symbol: str) -> None:
        """Start empty; ``symbol`` is the underlying's plain root."""
        self._symbol = symbol
        self._quotes: dict[Contract, _Held] = {}
        self._underlying = _Held()
        self.spot = math.nan
        """The latest price of the underlying [$]."""
        self.refused: Counter[str] = Counter()
        """Rows that could not be used, by reason."""

    def __len__(self) -> int:
        """How many contracts are known."""
        return len(self._quotes)

    def contracts(self) -> list[Contract]:
        """Every contract seen so far."""
        return list(self._quotes)

    def apply(self, row: Row, time: int, seq: int = -1) -> QuoteUpdate | SpotUpdate | None:
        """Merge a row received at ``time`` [us, market time]; what it makes known, if anything.

        :param seq: number of the update, where the source defines an order of its own.
        """
        name = row.name
        contract = parse_option_symbol(name)
        if contract is None:
            return self._apply_underlying(row, name, time, seq)
        held = self._quotes.get(contract)
        if held is None:
            if underlying_of(contract.root) != self._symbol:
                self.refused["foreign"] += 1
                return None
            held = self._quotes[contract] = _Held()
        _merge_prices(held, row)
        if row.BidSize is not UNSET:
            held.bid_size = _count(row.BidSize)
        if row.AskSize is not UNSET:
            held.ask_size = _count(row.AskSize)
        if row.Volume is not UNSET:
            held.volume = _count(row.Volume)
        if row.DailyOpenInterest is not UNSET:
            held.open_interest = _count(row.DailyOpenInterest)
        return QuoteUpdate(
            contract.expiry,
            contract.strike,
            contract.right,
            time,
            held.bid,
            held.ask,
            held.last,
            held.bid_size,
            held.ask_size,
            held.volume,
            held.open_interest,
            False,
            seq,
        )

    def _apply_underlying(self, row: Row, name: str, time: int, seq: int) -> SpotUpdate | None:
        if root_of(name) != self._symbol:
            self.refused["foreign" if name else "spread"] += 1
            return None
        _merge_prices(self._underlying, row)
        spot = _spot_of(self._underlying)
        if not spot > 0.0 or spot == self.spot:
            return None
        self.spot = spot
        return SpotUpdate(time, spot, seq)


@lru_cache(maxsize=1 << 16)
def _price(value: Value) -> float:
    """A price [$] without float noise; NaN for null, bad input for what is no number."""
    parsed = price(value)
    return round(parsed, _DECIMALS) if math.isfinite(parsed) else parsed


def _count(value: Value) -> int:
    return value if type(value) is int and 0 <= value <= _HIGHEST_COUNT else count(value)


def _merge_prices(held: _Held, row: Row) -> None:
    if row.Bid is not UNSET:
        held.bid = _price(row.Bid)
    if row.Ask is not UNSET:
        held.ask = _price(row.Ask)
    if row.Last is not UNSET:
        held.last = _price(row.Last)


def _spot_of(held: _Held) -> float:
    """Middle of a sane quote, else the last trade; NaN when there is neither."""
    middle = 0.5 * (held.bid + held.ask)
    if 0.0 < held.bid <= held.ask and held.ask - held.bid <= _WIDEST_SPOT * middle:
        return round(middle, _DECIMALS + 2)
    return held.last if math.isfinite(held.last) else math.nan
