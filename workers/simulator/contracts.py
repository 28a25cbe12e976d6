"""The contracts of one underlying on one trading date, under TradeStation's names.

Owns their order, which every array of the simulator follows, and the part of a chain row that
never changes; must not know prices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import orjson

from common.feeds.roots import INDEXES, settlement_of
from common.feeds.tradestation.symbols import (
    chain_symbols,
    option_symbol,
    parse_option_symbol,
    root_of,
)
from common.models import BoolArray, Expiry, FloatArray, key_puts, key_strikes

Keys = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Contracts:
    """Parallel columns, one row a contract; by expiry, then strike, the call first."""

    symbol: str
    """Plain root of the underlying."""
    expiries: tuple[Expiry, ...]
    """Ascending."""
    expiry_index: npt.NDArray[np.int64]
    """Contract → index into ``expiries``."""
    keys: Keys
    strikes: FloatArray
    """[$]"""
    puts: BoolArray
    names: list[str]
    """Option symbols."""
    tails: list[bytes]
    """End of each contract's chain row: side, strikes, legs and a newline."""
    places: dict[str, int]
    """Option symbol → row."""

    @classmethod
    def of(cls, symbol: str, listed: Mapping[Expiry, Keys]) -> Contracts:
        """The contracts of an underlying.

        :param listed: keys of each expiry, ascending.
        """
        expiries = tuple(sorted(listed))
        keys = np.concatenate([listed[expiry] for expiry in expiries])
        sizes = [listed[expiry].size for expiry in expiries]
        index = np.repeat(np.arange(len(expiries)), sizes)
        strikes, puts = key_strikes(keys), key_puts(keys)
        roots = [chain_root(symbol, expiry) for expiry in expiries]
        names = [
            option_symbol(roots[at], expiries[at], strike, "P" if put else "C")
            for at, strike, put in zip(index.tolist(), strikes.tolist(), puts.tolist(), strict=True)
        ]
        tails = [
            _tail(name, expiries[at], symbol in INDEXES)
            for name, at in zip(names, index.tolist(), strict=True)
        ]
        places = {name: place for place, name in enumerate(names)}
        return cls(symbol, expiries, index, keys, strikes, puts, names, tails, places)

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.names)

    def expiries_of(self, root: str) -> list[Expiry]:
        """The expiries of an option root, ascending."""
        return [each for each in self.expiries if chain_root(self.symbol, each) == root]

    def of_expiry(self, expiry: Expiry) -> BoolArray:
        """True for the contracts of an expiry."""
        mask: BoolArray = self.expiry_index == self.expiries.index(expiry)
        return mask

    def place(self, name: str) -> int | None:
        """The row of an option symbol in any spelling; None when it is none of these."""
        contract = parse_option_symbol(name)
        if contract is None:
            return None
        root, expiry, strike, right = contract
        return self.places.get(option_symbol(root, expiry, strike, right))


def chain_root(symbol: str, expiry: Expiry) -> str:
    """The root under which an underlying's options of an expiry are listed: SPX → SPXW."""
    roots = map(root_of, chain_symbols(symbol))
    return next((root for root in roots if settlement_of(root) == expiry.settlement), symbol)


def _tail(name: str, expiry: Expiry, is_index: bool) -> bytes:
    contract = parse_option_symbol(name)
    strike = f"{contract.strike:.10g}" if contract else ""
    side = "Put" if contract and contract.right == "P" else "Call"
    fixed = {
        "Side": side,
        "Strikes": [strike],
        "Legs": [
            {
                "Symbol": name,
                "Ratio": 1,
                "StrikePrice": strike,
                "Expiration": f"{expiry.expiration}T00:00:00Z",
                "OptionType": side,
                "AssetType": "IndexOption" if is_index else "StockOption",
            }
        ],
    }
    return orjson.dumps(fixed, option=orjson.OPT_APPEND_NEWLINE)[1:]
