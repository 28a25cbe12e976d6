"""Rows of the streams merged into full quotes.

Owns what is known of each contract and of the underlying; must not see bytes or a socket.
An absent field keeps its value, null clears it, zero is zero.
"""

from __future__ import annotations

import math
from collections import Counter

from msgspec import UNSET

from common.feeds.roots import underlying_of
from common.feeds.snapshot import count, price
from common.feeds.tradestation.messages import Row
from common.feeds.tradestation.symbols import Contract, parse_option_symbol, root_of
from common.models import QuoteUpdate, SpotUpdate

_WIDEST_SPOT = 0.02
"""Spread of the underlying, as a share of its middle, beyond which the last trade serves."""
_DECIMALS = 4
_PRICES = ("Bid", "Ask", "Last")
_COUNTS = ("BidSize", "AskSize", "Volume", "DailyOpenInterest")


class Book:
    """The latest of every contract of one underlying, and of the underlying itself."""

    def __init__(self, symbol: str) -> None:
        """Start empty; ``symbol`` is the underlying's plain root."""
        self._symbol = symbol
        self._quotes: dict[Contract, list[float]] = {}
        self._underlying = [math.nan, math.nan, math.nan]
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
        contract = parse_option_symbol(row.name)
        if contract is None:
            return self._apply_underlying(row, time, seq)
        if underlying_of(contract.root) != self._symbol:
            self.refused["foreign"] += 1
            return None
        held = self._quotes.get(contract)
        if held is None:
            held = self._quotes[contract] = [math.nan, math.nan, math.nan, -1, -1, -1, -1]
        _merge_prices(held, row)
        for at, name in enumerate(_COUNTS, len(_PRICES)):
            value = getattr(row, name)
            if value is not UNSET:
                held[at] = count(value)
        bid, ask, last, bid_size, ask_size, volume, interest = held
        return QuoteUpdate(
            contract.expiry,
            contract.strike,
            contract.right,
            time,
            bid,
            ask,
            last,
            int(bid_size),
            int(ask_size),
            int(volume),
            int(interest),
            seq=seq,
        )

    def _apply_underlying(self, row: Row, time: int, seq: int) -> SpotUpdate | None:
        if root_of(row.name) != self._symbol:
            self.refused["foreign"] += 1
            return None
        _merge_prices(self._underlying, row)
        spot = _spot_of(*self._underlying)
        if not spot > 0.0 or spot == self.spot:
            return None
        self.spot = spot
        return SpotUpdate(time, spot, seq)


def _merge_prices(held: list[float], row: Row) -> None:
    for at, name in enumerate(_PRICES):
        value = getattr(row, name)
        if value is not UNSET:
            parsed = price(value)
            held[at] = round(parsed, _DECIMALS) if math.isfinite(parsed) else parsed


def _spot_of(bid: float, ask: float, last: float) -> float:
    """Middle of a sane quote, else the last trade; NaN when there is neither."""
    middle = 0.5 * (bid + ask)
    if 0.0 < bid <= ask and ask - bid <= _WIDEST_SPOT * middle:
        return round(middle, _DECIMALS + 2)
    return last if math.isfinite(last) else math.nan
