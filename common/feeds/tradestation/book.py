"""Rows of the streams merged into full quotes.

Owns what is known of each contract and of the underlying; must not see bytes or a socket.
An absent field keeps its value, null clears it, zero is zero.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from msgspec import UNSET

from common.feeds.roots import underlying_of
from common.feeds.snapshot import number, price
from common.feeds.tradestation.messages import Price, Row
from common.feeds.tradestation.symbols import Contract, parse_option_symbol, root_of
from common.models import QuoteUpdate, SpotUpdate

MOST_CONTRACTS = 65_536
"""Contracts of one underlying; what names yet another one is refused."""
_MOST_TEXTS = 65_536
_WIDEST_SPOT = 0.02
"""Spread of the underlying, as a share of its middle, beyond which the last trade serves."""
_DECIMALS = 4
_PRICES: dict[Price, float] = {}
"""Price as the wire spells it → [$]: the same texts come again and again."""


@dataclass(slots=True)
class _Held:
    """The latest of one contract."""

    quote: QuoteUpdate


class Book:
    """The latest of every contract of one underlying, and of the underlying itself."""

    def __init__(self, symbol: str) -> None:
        """Start empty; ``symbol`` is the underlying's plain root."""
        self._symbol = symbol
        self._held: dict[Contract, _Held] = {}
        self._named: dict[str, _Held] = {}
        """The same by name, in each spelling that has come."""
        self._bid = self._ask = self._last = self._prior = math.nan
        self.spot = math.nan
        """The latest price of the underlying [$]."""
        self.refused: Counter[str] = Counter()
        """Rows that could not be used, by reason."""

    def __len__(self) -> int:
        """How many contracts are known."""
        return len(self._held)

    def contracts(self) -> list[Contract]:
        """Every contract seen so far."""
        return list(self._held)

    def apply(self, row: Row, time: int, seq: int = -1) -> QuoteUpdate | SpotUpdate | None:
        """Merge a row received at ``time`` [us, market time]; what it makes known, if anything.

        :param seq: number of the update, where the source defines an order of its own.
        """
        made = self.apply_all([row], time, seq)
        return made[0] if made else None

    def apply_all(
        self, rows: list[Row], time: int, seq: int = -1
    ) -> list[QuoteUpdate | SpotUpdate]:
        """Merge rows received together; what they make known, all of the same number."""
        named, prices = self._named, _PRICES
        updates: list[QuoteUpdate | SpotUpdate] = []
        for row in rows:
            try:
                held = named[legs[0].Symbol if (legs := row.Legs) else row.Symbol]  # type: ignore[index]
                last = held.quote
                held.quote = quote = QuoteUpdate(
                    last.expiry,
                    last.strike,
                    last.right,
                    time,
                    last.bid if (text := row.Bid) is UNSET else prices[text],
                    last.ask if (text := row.Ask) is UNSET else prices[text],
                    last.last if (text := row.Last) is UNSET else prices[text],
                    last.bid_size if (size := row.BidSize) is UNSET else size,
                    last.ask_size if (size := row.AskSize) is UNSET else size,
                    last.volume if (size := row.Volume) is UNSET else size,
                    last.open_interest if (size := row.DailyOpenInterest) is UNSET else size,
                    False,
                    seq,
                )
            except KeyError:  # a name or a price that has not come in this spelling yet
                update = self._apply_new(row, time, seq)
                if update is not None:
                    updates.append(update)
            else:
                updates.append(quote)
        return updates

    def _apply_new(self, row: Row, time: int, seq: int) -> QuoteUpdate | SpotUpdate | None:
        """Merge a row after learning how it spells its name and its prices."""
        _learn(row)
        if self._find(row.name, time) is not None:
            return self.apply(row, time, seq)
        return self._apply_underlying(row, time, seq)

    def _find(self, name: str, time: int) -> _Held | None:
        """What is held of the contract that a new spelling names; None when it is not ours."""
        contract = parse_option_symbol(name)
        if contract is None or underlying_of(contract.root) != self._symbol:
            return None
        held = self._held.get(contract)
        if held is None:
            if len(self._held) >= MOST_CONTRACTS:
                return None
            empty = QuoteUpdate(contract.expiry, contract.strike, contract.right, time)
            held = self._held[contract] = _Held(empty)
        if len(self._named) >= _MOST_TEXTS:
            self._named.clear()
        self._named[name] = held
        return held

    def _apply_underlying(self, row: Row, time: int, seq: int) -> SpotUpdate | None:
        if root_of(row.name) != self._symbol:
            self.refused[self._reason(row.name)] += 1
            return None
        self._bid = self._bid if row.Bid is UNSET else _PRICES[row.Bid]
        self._ask = self._ask if row.Ask is UNSET else _PRICES[row.Ask]
        self._last = self._last if row.Last is UNSET else _PRICES[row.Last]
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


def _learn(row: Row) -> None:
    """Read the prices of a row, without float noise: NaN for null, bad input for no number."""
    if len(_PRICES) >= _MOST_TEXTS:
        _PRICES.clear()
    for text in (row.Bid, row.Ask, row.Last):
        parsed = price(text)
        _PRICES[text] = round(parsed, _DECIMALS) if math.isfinite(parsed) else parsed
