"""Cboe's delayed option chain, ``delayed_quotes/options/<SYMBOL>.json``, old and new layout.

Owns the JSON layout and the meaning of option roots; must not touch a file or a socket.
"""

from __future__ import annotations

import re
from collections import Counter
from zoneinfo import ZoneInfo

from common.clock import SECOND, new_york_date, parse_instant, previous_trading_day, session_hours
from common.clock import is_trading_day as trades_on
from common.errors import InputError, UsageError
from common.feeds.roots import OCC_SYMBOL, expiry_of, underlying_of
from common.feeds.snapshot import VENDOR_COLUMNS, FileSnapshot, SnapshotRows, number
from common.models import JsonDict

FEED_DELAY_US = 15 * 60 * SECOND
_UTC = ZoneInfo("UTC")


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
    as_of = _as_of(document, data, at_us)
    spot = number(data.get("current_price"))
    if not spot > 0.0:
        raise InputError("the chain holds no price of the underlying (current_price)")
    symbol = _symbol(document, data, options, symbol)
    rows = SnapshotRows()
    for row in options:
        _add(rows, row, symbol)
    if options and rows.left_out == len(options):
        raise InputError(f"the chain holds no options on {symbol}")
    return rows.build(symbol=symbol, as_of=as_of, spot=spot)


def _add(rows: SnapshotRows, row: object, symbol: str) -> None:
    """Take one contract; other roots (SPY1 after a corporate action) are left out, counted."""
    name = row.get("option") if isinstance(row, dict) else None
    match = OCC_SYMBOL.fullmatch(name) if isinstance(name, str) else None
    if match is None or not isinstance(row, dict):
        rows.unnamed += 1
        return
    root, digits, right, strike = match.groups()
    if underlying_of(root) != symbol:
        rows.left_out += 1
        return
    rows.add(
        expiry=expiry_of(root, digits),
        strike=int(strike) / 1000.0,
        right=right,
        quote=(row.get("bid"), row.get("ask"), row.get("last_trade_price")),
        counts=(
            row.get("bid_size"),
            row.get("ask_size"),
            row.get("volume"),
            row.get("open_interest"),
        ),
        vendor=[row.get(column) for column in VENDOR_COLUMNS],
        option_symbol=match.group(),
    )


def _symbol(document: JsonDict, data: JsonDict, options: list[object], wanted: str | None) -> str:
    """The underlying's plain root: what was asked for, what the file says, what most roots say."""
    if wanted:
        return wanted.upper()
    for stated in (data.get("symbol"), document.get("symbol")):
        plain = re.sub(r"[^A-Z0-9]", "", str(stated or "").upper())
        if plain:
            return underlying_of(plain)
    names = (row.get("option") for row in options if isinstance(row, dict))
    matches = (OCC_SYMBOL.fullmatch(name) for name in names if isinstance(name, str))
    roots = Counter(underlying_of(match.group(1)) for match in matches if match)
    if not roots:
        raise InputError("the chain names no symbol; give --symbol")
    return roots.most_common(1)[0][0]


def _as_of(document: JsonDict, data: JsonDict, at_us: int | None) -> int:
    """Market time: the underlying's last trade, moved to the close once that has passed.

    ``timestamp`` is when the file was made, 15 minutes later in a session and days later over
    a weekend; prices and Greeks are of the last trade.
    """
    made = _instant(document.get("timestamp"), _UTC)
    traded = _instant(data.get("last_trade_time"), None)
    if traded is None and made is None:
        if at_us is None:
            raise InputError("the chain carries no time; give --at")
        return at_us
    as_of = traded if traded is not None else made
    assert as_of is not None  # noqa: S101  one of the two is there
    if made is not None:
        day = new_york_date(as_of)
        close = session_hours(day if trades_on(day) else previous_trading_day(day))[1]
        if as_of < close <= made - FEED_DELAY_US:
            as_of = close
    if at_us is not None and as_of > at_us:
        raise InputError("no snapshot at or before --at: the chain is later")
    return as_of


def _instant(value: object, zone: ZoneInfo | None) -> int | None:
    if not isinstance(value, str) or not value:
        return None
    try:
        return parse_instant(value, naive_zone=zone) if zone else parse_instant(value)
    except UsageError:
        return None
