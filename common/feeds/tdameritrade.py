"""TD Ameritrade's chain JSON, which Schwab's API still answers: maps by expiration and strike.

Owns that layout and its names of contracts; must not touch a file or a socket. Volatility is
in percent, -999 and ``NaN`` stand for numbers that are absent, and every quote has its own time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import Any

from common.errors import InputError
from common.feeds.roots import plain_symbol, settlement_of, underlying_of
from common.feeds.snapshot import FileSnapshot, SnapshotRows, at_or_before, number, price
from common.models import Expiry, JsonDict, Right, Settlement

ABSENT = -999.0
"""What stands for a Greek or a volatility that was not computed."""
_MAPS: tuple[tuple[str, Right], ...] = (("callExpDateMap", "C"), ("putExpDateMap", "P"))
_SETTLEMENTS: dict[str, Settlement] = {"A": "AM", "P": "PM"}
_ROOT = re.compile(r"([A-Z]{1,5}[0-9]?)[ _]*\d{6}[CP]?[\d.]+[CP]?[\d.]*")
_MULTIPLIER = 100.0
_MILLISECOND = 1000
_LATEST = 4_102_444_800_000
"""A time beyond the year 2100 is none [ms]."""
_UNDERLYING_PRICES = ("last", "mark", "close")


def is_tdameritrade(document: object) -> bool:
    """Whether a JSON document is such a chain: at least one map of expirations."""
    return isinstance(document, dict) and any(
        isinstance(document.get(name), dict) for name, _ in _MAPS
    )


def parse_chain(document: JsonDict, *, at_us: int | None, symbol: str | None) -> FileSnapshot:
    """The snapshot of one document for which :func:`is_tdameritrade` holds.

    Its time is that of the newest quote.

    :param at_us: latest market time wanted; the time itself of a document without one [us].
    :param symbol: the underlying, where the document does not tell.
    :raises InputError: without contracts, time, symbol or price, or when it is later.
    """
    symbol = symbol.upper() if symbol else plain_symbol(str(document.get("symbol") or ""))
    if not symbol:
        raise InputError("the chain names no symbol; give --symbol")
    rows = SnapshotRows()
    for expiration, right, row in _contracts(document):
        _add(rows, expiration, right, row, symbol)
    if rows.first_expiration is None:
        raise InputError(f"the chain holds no options on {symbol}{_status(document)}")
    beside = document.get("underlying")
    underlying = beside if isinstance(beside, dict) else {}
    spot = _spot(document, underlying)
    priced_at = max(_time(underlying, name) for name in ("quoteTime", "tradeTime"))
    as_of = rows.last_time or priced_at or at_us
    if as_of is None:
        raise InputError("the chain carries no time; give --at")
    as_of = at_or_before(as_of, at_us)
    return rows.build(symbol=symbol, as_of=as_of, spot=spot, spot_at=priced_at or None)


def _contracts(document: JsonDict) -> Iterator[tuple[date | None, Right, object]]:
    """Expiration, right and row of every contract; a strike may have several."""
    for name, right in _MAPS:
        for label, strikes in _items(document.get(name)):
            try:
                expiration = date.fromisoformat(label[:10])
            except ValueError:
                expiration = None
            for _, rows in _items(strikes):
                for row in rows if isinstance(rows, list) else [rows]:
                    yield expiration, right, row


def _items(value: object) -> Iterator[tuple[str, Any]]:
    """Members of an object; one nameless member where there is none."""
    if isinstance(value, dict):
        yield from value.items()
    elif value is not None:
        yield "", value


def _add(
    rows: SnapshotRows, expiration: date | None, right: Right, row: object, symbol: str
) -> None:
    """Take one contract; adjusted, mini and foreign ones are left out, counted."""
    if not isinstance(row, dict):
        rows.unnamed += 1
        return
    root = _root(row)
    if root is None or expiration is None:
        rows.unnamed += 1
        return
    if underlying_of(root) != symbol or _is_adjusted(row):
        rows.left_out += 1
        return
    style = _SETTLEMENTS.get(str(row.get("settlementType")).strip()) or settlement_of(root)
    iv, delta, gamma = (_greek(row, name) for name in ("volatility", "delta", "gamma"))
    rows.add(
        expiry=Expiry(expiration, style),
        strike=row.get("strikePrice"),
        right=right,
        quote=[_either(row, name, f"{name}Price") for name in ("bid", "ask", "last")],
        counts=[row.get(name) for name in ("bidSize", "askSize", "totalVolume", "openInterest")],
        vendor=(iv / 100.0, delta, gamma),
        option_symbol=str(row["symbol"]),
        time=_time(row, "quoteTimeInLong"),
    )


def _root(row: JsonDict) -> str | None:
    """The root of ``SPXW_051724C5000`` or ``SPXW  240517C05000000``; None without a symbol."""
    match = _ROOT.fullmatch(str(row.get("symbol") or "").strip().upper())
    return match.group(1) if match else None


def _is_adjusted(row: JsonDict) -> bool:
    """Whether the contract delivers anything but 100 shares."""
    multiplier = number(row.get("multiplier", _MULTIPLIER))
    marks = ("nonStandard", "isNonStandard", "mini", "isMini")
    return multiplier != _MULTIPLIER or any(row.get(mark) is True for mark in marks)


def _either(row: JsonDict, name: str, documented: str) -> object:
    """A field by the name it has on the wire, or by the one it is documented under."""
    return row[name] if name in row else row.get(documented)


def _greek(row: JsonDict, name: str) -> float:
    value = number(row.get(name))
    return float("nan") if value == ABSENT else value


def _time(fields: JsonDict, name: str) -> int:
    """Milliseconds since the epoch as microseconds; 0 for anything that is none."""
    value = number(fields.get(name))
    return int(value) * _MILLISECOND if 0.0 < value < _LATEST else 0


def _spot(document: JsonDict, underlying: JsonDict) -> float:
    """The price that the chain was computed at, else what the quote beside it says."""
    named = [underlying.get(name) for name in _UNDERLYING_PRICES]
    for value in (document.get("underlyingPrice"), *named):
        spot = price(value)
        if spot > 0.0:
            return spot
    raise InputError("the chain holds no price of the underlying (underlyingPrice)")


def _status(document: JsonDict) -> str:
    """What the broker said, where it said that something failed."""
    status = document.get("status")
    return f" (status {status})" if isinstance(status, str) and status != "SUCCESS" else ""
