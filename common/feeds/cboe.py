"""Cboe's delayed option chain, ``delayed_quotes/options/<SYMBOL>.json``, old and new layout.

Owns the JSON layout and what Cboe's delay makes of time; must not touch a file or a socket.
"""

from __future__ import annotations

import math
from typing import NamedTuple
from zoneinfo import ZoneInfo

from common.clock import (
    SECOND,
    is_trading_day,
    new_york_date,
    parse_instant,
    previous_trading_day,
    session_hours,
)
from common.errors import InputError, UsageError
from common.feeds.roots import OCC_SYMBOL, main_underlying, plain_symbol
from common.feeds.snapshot import (
    VENDOR_COLUMNS,
    FileSnapshot,
    SnapshotRows,
    at_or_before,
    number,
)
from common.models import JsonDict

FEED_DELAY_US = 15 * 60 * SECOND
_UTC = ZoneInfo("UTC")


class MarketTimes(NamedTuple):
    """What a delayed chain is of [us]."""

    quotes: int
    price: int
    """The price of the underlying; later than the quotes before the open."""


def is_cboe(document: object) -> bool:
    """Whether a JSON document is such a chain: a list ``options`` of rows with ``option``."""
    if not isinstance(document, dict):
        return False
    data = document.get("data", document)
    options = data.get("options") if isinstance(data, dict) else None
    if not isinstance(options, list):
        return False
    return not options or any(isinstance(row, dict) and "option" in row for row in options)


def parse_chain(document: JsonDict, *, at_us: int | None, symbol: str | None) -> FileSnapshot:
    """The snapshot of one document for which :func:`is_cboe` holds.

    :param at_us: latest market time wanted; the time itself of a document without one [us].
    :param symbol: the underlying, where the document and its roots do not tell.
    :raises InputError: without time, symbol or spot, or when it is later than ``at_us``.
    """
    data: JsonDict = document.get("data", document)
    options = data["options"]
    times = _times(document, data, at_us)
    as_of = at_or_before(times.quotes, at_us)
    spot = number(data.get("current_price"))
    if not spot > 0.0:
        raise InputError("the chain holds no price of the underlying (current_price)")
    symbol = _symbol(document, data, options, symbol)
    rows = SnapshotRows()
    for row in options:
        _add(rows, row, symbol)
    if options and rows.left_out == len(options):
        raise InputError(f"the chain holds no options on {symbol}")
    return rows.build(
        symbol=symbol,
        as_of=as_of,
        spot=spot,
        spot_at=times.price,
        prior_close=_prior_close(data),
    )


def _prior_close(data: JsonDict) -> float:
    """The close before the session of the quotes [$]; NaN where the document does not say.

    ``prev_day_close`` names it until the close only, and this session's own after it.
    """
    before = number(data.get("close")) - number(data.get("price_change"))
    return round(before, 4) if before > 0.0 else math.nan


def _add(rows: SnapshotRows, row: object, symbol: str) -> None:
    """Take one contract; other roots (SPY1 after a corporate action) are left out, counted."""
    if not isinstance(row, dict):
        rows.unnamed += 1
        return
    rows.add_listed(
        name=row.get("option"),
        underlying=symbol,
        quote=(row.get("bid"), row.get("ask"), row.get("last_trade_price")),
        counts=(
            row.get("bid_size"),
            row.get("ask_size"),
            row.get("volume"),
            row.get("open_interest"),
        ),
        vendor=[row.get(column) for column in VENDOR_COLUMNS],
    )


def _symbol(document: JsonDict, data: JsonDict, options: list[object], wanted: str | None) -> str:
    """The underlying's plain root: what was asked for, what the file says, what most roots say."""
    if wanted:
        return wanted.upper()
    for stated in (data.get("symbol"), document.get("symbol")):
        plain = plain_symbol(str(stated or ""))
        if plain:
            return plain
    names = (row.get("option") for row in options if isinstance(row, dict))
    matches = (OCC_SYMBOL.fullmatch(name) for name in names if isinstance(name, str))
    main = main_underlying(match.group(1) for match in matches if match)
    if main is None:
        raise InputError("the chain names no symbol; give --symbol")
    return main


def _times(document: JsonDict, data: JsonDict, at_us: int | None) -> MarketTimes:
    """``timestamp`` is when the file was made, ``last_trade_time`` the underlying's."""
    made = _instant(document.get("timestamp"), _UTC)
    traded = _instant(data.get("last_trade_time"), None)
    if made is None and traded is None:
        if at_us is None:
            raise InputError("the chain carries no time; give --at")
        return MarketTimes(at_us, at_us)
    return market_times(made=made, traded=traded)


def market_times(*, made: int | None, traded: int | None) -> MarketTimes:
    """When the quotes of a delayed chain, and the price beside them, are of.

    A chain is delivered 15 minutes late, and days later over a weekend: its quotes are of the
    underlying's last trade where that is told, of the close once that has passed, and of the
    close before while the session has not begun, when an ETF's price is already moving.

    :param made: when the file was made [us]. :param traded: the underlying's last trade [us];
        one of the two must be there.
    """
    price = traded if traded is not None else (made or 0) - FEED_DELAY_US
    fed = made - FEED_DELAY_US if made is not None else price
    day = new_york_date(price)
    if not is_trading_day(day):
        close = session_hours(previous_trading_day(day))[1]
        return MarketTimes(close, close)
    opened, close = session_hours(day)
    if price < opened:
        return MarketTimes(session_hours(previous_trading_day(day))[1], price)
    if price < close <= fed or (traded is None and price > close):
        return MarketTimes(close, close)
    return MarketTimes(price, price)


def _instant(value: object, zone: ZoneInfo | None) -> int | None:
    if not isinstance(value, str) or not value:
        return None
    try:
        return parse_instant(value, naive_zone=zone) if zone else parse_instant(value)
    except UsageError:
        return None
