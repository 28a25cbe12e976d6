"""Rows of any chain file as one ChainSnapshot.

Owns what every file format shares: reading numbers that may not be numbers, contract symbols
and keys, order, duplicates; must not know any format. Bad rows are counted, never raised.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np

from common.clock import iso_ms
from common.errors import InputError
from common.feeds.roots import OCC_SYMBOL, expiry_of, underlying_of
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
    spot_at: int | None = None
    """Time of the underlying's price [us] where it is not that of the quotes."""


@dataclass(slots=True)
class SnapshotRows:
    """Rows under construction; one call of :meth:`add` per row of the file."""

    unnamed: int = 0
    left_out: int = 0
    _named: list[tuple[Expiry, float, bool]] = field(default_factory=list)
    _quotes: list[tuple[float, ...]] = field(default_factory=list)
    _vendor: list[tuple[float, ...]] = field(default_factory=list)
    _symbols: list[str] = field(default_factory=list)
    _times: list[int] = field(default_factory=list)

    def add_listed(
        self,
        *,
        name: object,
        underlying: str,
        quote: Iterable[object],
        counts: Iterable[object],
        vendor: Iterable[object] = (),
    ) -> None:
        """Take one row that an OCC symbol names; one of another root is left out, counted.

        :param name: the OCC symbol, or what stands in its place. The rest as for :meth:`add`.
        """
        match = OCC_SYMBOL.fullmatch(name) if isinstance(name, str) else None
        if match is None:
            self.unnamed += 1
            return
        root, digits, right, strike = match.groups()
        if underlying_of(root) != underlying:
            self.left_out += 1
            return
        self.add(
            expiry=expiry_of(root, digits),
            strike=int(strike) / 1000.0,
            right=right,
            quote=quote,
            counts=counts,
            vendor=vendor,
            option_symbol=match.group(),
        )

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
        time: int = 0,
    ) -> None:
        """Take one row.

        :param strike: [$]; no positive number: the row is counted as unnamed.
        :param quote: bid, ask, last [$]. :param counts: bid size, ask size, volume, open
            interest. :param vendor: iv, delta, gamma, or nothing.
        :param time: of the quote [us] where the row has one of its own, else 0.
        """
        level = price(strike)
        if expiry is None or right not in {"C", "P"} or not 0.0005 <= level < _HIGHEST_STRIKE:
            self.unnamed += 1
            return
        self._named.append((expiry, level, right == "P"))
        self._quotes.append((*map(price, quote), *map(count, counts)))
        self._vendor.append(tuple(number(value) for value in vendor))
        self._symbols.append(option_symbol)
        self._times.append(time)

    @property
    def first_expiration(self) -> date | None:
        """The earliest expiration of the rows; None without any."""
        return min((expiry.expiration for expiry, _, _ in self._named), default=None)

    @property
    def last_time(self) -> int | None:
        """The latest time that a row has of its own [us]; None without any."""
        return max(self._times, default=0) or None

    def build(
        self, *, symbol: str, as_of: int, spot: float, spot_at: int | None = None
    ) -> FileSnapshot:
        """The snapshot, rows sorted by expiry and key; of a repeated contract the last row."""
        expiries = sorted({expiry for expiry, _, _ in self._named})
        numbers = {expiry: at for at, expiry in enumerate(expiries)}
        index = np.asarray([numbers[expiry] for expiry, _, _ in self._named], dtype=np.int64)
        rows = np.zeros(len(self._named), QUOTE)
        rows["key"] = contract_keys(
            strikes=[strike for _, strike, _ in self._named],
            puts=[put for _, _, put in self._named],
        )
        times = np.asarray(self._times, dtype=np.int64)
        rows["time"], rows["spot"] = np.where(times > 0, times, as_of), spot
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
            spot_at=None if spot_at == as_of else spot_at,
        )

    def _vendor_columns(self, order: np.typing.NDArray[np.intp]) -> dict[str, FloatArray]:
        if not self._vendor or not self._vendor[0]:
            return {}
        columns = np.asarray(self._vendor, dtype=np.float64)[order]
        return dict(zip(VENDOR_COLUMNS, columns.T.copy(), strict=True))


def at_or_before(as_of: int, at_us: int | None) -> int:
    """The time of the one snapshot that a file holds [us], if it is not too late.

    :param at_us: latest market time wanted; None for any [us].
    :raises InputError: when the snapshot is later.
    """
    if at_us is not None and as_of > at_us:
        raise InputError(f"no snapshot at or before --at: the chain is of {iso_ms(as_of)}")
    return as_of


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
