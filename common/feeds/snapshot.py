"""Rows of any chain file as one ChainSnapshot.

Owns what every file format shares: reading numbers that may not be numbers, contract keys,
order, duplicates; must not know any format. Bad rows are counted, never raised.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.models import QUOTE, ChainSnapshot, Expiry, FloatArray, Right, contract_keys

BAD_PRICE = float("-inf")
"""What stands for a price that is no number: the quote is bad input, not merely absent."""
VENDOR_COLUMNS = ("iv", "delta", "gamma")
_HIGHEST_STRIKE = 2_147_483.0
_HIGHEST_COUNT = 2_147_483_647
_ABSENT = {"", "nan", "null", "none", "-", "--", "n/a"}


class FileSnapshot(ChainSnapshot, frozen=True, kw_only=True):
    """A chain snapshot with what its file could not contribute."""

    unnamed: int = 0
    """Rows that name no contract (strike, right or expiration is no such thing)."""
    left_out: int = 0
    """Contracts of adjusted or foreign roots, and earlier rows of a repeated contract."""


@dataclass(slots=True)
class SnapshotRows:
    """Rows under construction; one call of :meth:`add` per row of the file."""

    unnamed: int = 0
    left_out: int = 0
    _named: list[tuple[Expiry, float, bool]] = field(default_factory=list)
    _quotes: list[tuple[float, ...]] = field(default_factory=list)
    _vendor: list[tuple[float, ...]] = field(default_factory=list)
    _symbols: list[str] = field(default_factory=list)

    def add(
        self,
        *,
        expiry: Expiry | None,
        strike: object,
        right: str,
        quote: Iterable[object],
        counts: Iterable[object],
        vendor: Iterable[object] = (),
        option_symbol: str = "",
    ) -> None:
        """Take one row.

        :param strike: [$]; no positive number: the row is counted as unnamed.
        :param quote: bid, ask, last [$]. :param counts: bid size, ask size, volume, open
            interest. :param vendor: iv, delta, gamma, or nothing.
        """
        level = price(strike)
        if expiry is None or right not in {"C", "P"} or not 0.0005 <= level < _HIGHEST_STRIKE:
            self.unnamed += 1
            return
        self._named.append((expiry, level, right == "P"))
        self._quotes.append((*map(price, quote), *map(count, counts)))
        self._vendor.append(tuple(number(value) for value in vendor))
        self._symbols.append(option_symbol)

    def build(self, *, symbol: str, as_of: int, spot: float) -> FileSnapshot:
        """The snapshot, rows sorted by expiry and key; of a repeated contract the last row."""
        expiries = sorted({expiry for expiry, _, _ in self._named})
        numbers = {expiry: at for at, expiry in enumerate(expiries)}
        index = np.asarray([numbers[expiry] for expiry, _, _ in self._named], dtype=np.int64)
        rows = np.zeros(len(self._named), QUOTE)
        rows["key"] = contract_keys(
            strikes=[strike for _, strike, _ in self._named],
            puts=[put for _, _, put in self._named],
        )
        rows["time"], rows["spot"] = as_of, spot
        rows["seq"] = np.arange(rows.size)
        names = ("bid", "ask", "last", "bid_size", "ask_size", "volume", "open_interest")
        for name, column in zip(names, zip(*self._quotes, strict=True), strict=False):
            rows[name] = column
        order = np.lexsort((rows["seq"], rows["key"], index))
        key, where = rows["key"][order], index[order]
        repeated = (key[1:] == key[:-1]) & (where[1:] == where[:-1])
        order = order[np.append(~repeated, True)] if order.size else order
        return FileSnapshot(
            symbol=symbol,
            as_of=as_of,
            spot=spot,
            expiries=expiries,
            expiry_index=index[order],
            quotes=rows[order],
            vendor=self._vendor_columns(order),
            option_symbols=[self._symbols[at] for at in order.tolist()],
            unnamed=self.unnamed,
            left_out=self.left_out + int(np.count_nonzero(repeated)),
        )

    def _vendor_columns(self, order: np.typing.NDArray[np.intp]) -> dict[str, FloatArray]:
        if not self._vendor or not self._vendor[0]:
            return {}
        columns = np.asarray(self._vendor, dtype=np.float64)[order]
        return dict(zip(VENDOR_COLUMNS, columns.T.copy(), strict=True))


def number(value: Any) -> float:
    """A float, NaN for anything that is none."""
    parsed = price(value)
    return parsed if math.isfinite(parsed) else math.nan


def price(value: Any) -> float:
    """A float; NaN for nothing, :data:`BAD_PRICE` for something that is no finite number."""
    if type(value) is float or type(value) is int:
        return float(value) if math.isfinite(value) else BAD_PRICE
    if value is None:
        return math.nan
    try:
        parsed = float(value) if isinstance(value, str) else BAD_PRICE
    except ValueError:
        return math.nan if value.strip().lower() in _ABSENT else BAD_PRICE
    return parsed if math.isfinite(parsed) or math.isnan(parsed) else BAD_PRICE


def count(value: Any) -> int:
    """A number of contracts; -1 for anything that is none."""
    parsed = number(value)
    return min(int(parsed), _HIGHEST_COUNT) if parsed >= 0.0 else -1


def right_of(text: str) -> Right | None:
    """C or P of ``C``, ``call``, ``P``, ``put`` in any case; None for anything else."""
    match text.strip().upper():
        case "C" | "CALL":
            return "C"
        case "P" | "PUT":
            return "P"
        case _:
            return None
