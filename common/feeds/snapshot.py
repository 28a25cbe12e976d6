"""Rows of any chain file as one ChainSnapshot.

Owns what every file format shares: reading numbers that may not be numbers, contract symbols
and keys, order, duplicates; must not know any format. Bad rows are counted, never raised.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from common.clock import iso_ms
from common.errors import InputError
from common.feeds.roots import OCC_SYMBOL, expiry_of, underlying_of
from common.models import QUOTE, ChainSnapshot, Expiry, FloatArray, Right, contract_keys

BAD_PRICE = float("-inf")
"""What stands for a price that is no number: the quote is bad input, not merely absent."""
VENDOR_COLUMNS = ("iv", "delta", "gamma")
_PRICES = ("bid", "ask", "last")
_COUNTS = ("bid_size", "ask_size", "volume", "open_interest")
_HIGHEST_STRIKE = 2_147_483.0
HIGHEST_COUNT = 2_147_483_647
"""Where counts end: they are kept in 32 bits."""
_LARGEST = sys.float_info.max
_ABSENT = {"", "nan", "null", "none", "-", "--", "n/a"}


class FileSnapshot(ChainSnapshot, frozen=True, kw_only=True):
    """A chain snapshot with what its file could not contribute."""

    unnamed: int = 0
    """Rows that name no contract (strike, right or expiration is no such thing)."""
    left_out: int = 0
    """Contracts of adjusted or foreign roots, and earlier rows of a repeated contract."""
    spot_at: int | None = None
    """Time of the underlying's price [us] where it is not that of the quotes."""
    prior_close: float = math.nan
    """The last close before the session of the quotes [$]."""


@dataclass(slots=True)
class SnapshotRows:
    """Rows under construction; one call of :meth:`add` per row of the file.

    Cells are kept as they stand in the file and become numbers a column at a time.
    """

    unnamed: int = 0
    left_out: int = 0
    _named: list[tuple[Expiry, float, bool, int, str]] = field(default_factory=list)
    _cells: list[tuple[object, ...]] = field(default_factory=list)

    def add_listed(
        self,
        *,
        name: object,
        underlying: str,
        quote: Iterable[object],
        counts: Iterable[object],
        vendor: Iterable[object] = (),
        strike: float | None = None,
    ) -> None:
        """Take one row that an OCC symbol names; one of another root is left out, counted.

        :param name: the OCC symbol, or what stands in its place. :param strike: what the row
            itself says it is [$]; another one than the symbol's: the row is counted as unnamed.
        """
        match = OCC_SYMBOL.fullmatch(name) if isinstance(name, str) else None
        if match is None:
            self.unnamed += 1
            return
        root, digits, right, milli = match.groups()
        if underlying_of(root) != underlying:
            self.left_out += 1
            return
        level = int(milli) / 1000.0
        self.add(
            expiry=expiry_of(root, digits),
            strike=level if strike is None or strike == level else None,
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
            interest. :param vendor: iv, delta, gamma, or nothing; the same in every row.
        :param time: of the quote [us] where the row has one of its own, else 0.
        """
        level = price(strike)
        if expiry is None or right not in {"C", "P"} or not 0.0005 <= level < _HIGHEST_STRIKE:
            self.unnamed += 1
            return
        self._named.append((expiry, level, right == "P", time, option_symbol))
        self._cells.append((*quote, *counts, *vendor))

    @property
    def first_expiration(self) -> date | None:
        """The earliest expiration of the rows; None without any."""
        return min((expiry.expiration for expiry, *_ in self._named), default=None)

    @property
    def last_time(self) -> int | None:
        """The latest time that a row has of its own [us]; None without any."""
        return max((time for *_, time, _ in self._named), default=0) or None

    def build(
        self,
        *,
        symbol: str,
        as_of: int,
        spot: float,
        spot_at: int | None = None,
        prior_close: float = math.nan,
    ) -> FileSnapshot:
        """The snapshot, rows sorted by expiry and key; of a repeated contract the last row."""
        named = list(zip(*self._named, strict=True)) or [()] * 5
        expiries = sorted(set(named[0]))
        numbers = {expiry: at for at, expiry in enumerate(expiries)}
        index = np.asarray([numbers[expiry] for expiry in named[0]], dtype=np.int64)
        columns = list(zip(*self._cells, strict=True))
        rows = np.zeros(len(self._named), QUOTE)
        rows["key"] = contract_keys(strikes=named[1], puts=named[2])
        times = np.asarray(named[3], dtype=np.int64)
        rows["time"], rows["spot"] = np.where(times > 0, times, as_of), spot
        rows["seq"] = np.arange(rows.size)
        for name, column in zip(_PRICES, columns, strict=False):
            rows[name] = prices(column)
        for name, column in zip(_COUNTS, columns[len(_PRICES) :], strict=False):
            rows[name] = counts(column)
        order = np.lexsort((rows["seq"], rows["key"], index))
        key, where = rows["key"][order], index[order]
        repeated = (key[1:] == key[:-1]) & (where[1:] == where[:-1])
        order = order[np.append(~repeated, True)] if order.size else order
        vendor = zip(VENDOR_COLUMNS, columns[len(_PRICES) + len(_COUNTS) :], strict=False)
        return FileSnapshot(
            symbol=symbol,
            as_of=as_of,
            spot=spot,
            prior_close=prior_close,
            expiries=expiries,
            expiry_index=index[order],
            quotes=rows[order],
            vendor={name: numbers_of(column)[order] for name, column in vendor},
            option_symbols=[named[4][at] for at in order.tolist()],
            unnamed=self.unnamed,
            left_out=self.left_out + int(np.count_nonzero(repeated)),
            spot_at=None if spot_at == as_of else spot_at,
        )


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
        return float(value) if abs(value) <= _LARGEST else BAD_PRICE
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
    return min(int(parsed), HIGHEST_COUNT) if parsed >= 0.0 else -1


def prices(values: Sequence[object]) -> FloatArray:
    """Each value as :func:`price` reads it; (n,)."""
    plain = set(map(type, values)) <= {float, int, str}
    try:
        found = list(map(float, cast("Sequence[str]", values))) if plain else []
    except (ValueError, OverflowError):
        plain = False
    column = np.asarray(found if plain else list(map(price, values)), dtype=np.float64)
    return np.where(np.isinf(column), BAD_PRICE, column)


def numbers_of(values: Sequence[object]) -> FloatArray:
    """Each value as :func:`number` reads it; (n,)."""
    column = prices(values)
    return np.where(np.isfinite(column), column, np.nan)


def counts(values: Sequence[object]) -> npt.NDArray[np.int64]:
    """Each value as a number of contracts; -1 for anything that is none; (n,)."""
    column = numbers_of(values)
    with np.errstate(invalid="ignore"):
        known = column >= 0.0
    return np.where(known, np.minimum(np.nan_to_num(column), HIGHEST_COUNT), -1).astype(np.int64)


def right_of(text: str) -> Right | None:
    """C or P of ``C``, ``call``, ``P``, ``put`` in any case; None for anything else."""
    match text.strip().upper():
        case "C" | "CALL":
            return "C"
        case "P" | "PUT":
            return "P"
        case _:
            return None
