"""Cboe's chain JSON in both layouts: roots, settlement, time, what is left out."""

from __future__ import annotations

import math

import pytest

from common.clock import iso_ms, parse_instant
from common.errors import InputError
from common.feeds.cboe import is_cboe, parse_chain
from common.feeds.roots import settlement_of, underlying_of
from common.models import Expiry, key_puts, key_strikes


def option(name, **changes):
    row = {"option": name, "bid": 1.0, "ask": 1.1, "open_interest": 10.0, "volume": 2.0}
    return {**row, "iv": 0.2, "delta": 0.5, "gamma": 0.02, "bid_size": 3.0, **changes}


def document(*options, **data):
    return {
        "timestamp": "2026-08-19 15:00:20",
        "data": {
            "options": list(options),
            "symbol": "SPY",
            "current_price": 750.0,
            "last_trade_time": "2026-08-19T10:44:58",
            **data,
        },
    }


def parse(document, at_us=None, symbol=None):
    return parse_chain(document, at_us=at_us, symbol=symbol)


def test_a_contract():
    found = parse(document(option("SPY260819P00750500", bid=2.5)))
    assert (found.symbol, found.spot) == ("SPY", 750.0)
    assert found.expiries == [Expiry(parse_date("2026-08-19"))]
    quote = found.quotes[0]
    assert (quote["bid"], quote["ask"], quote["open_interest"]) == (2.5, 1.1, 10)
    assert (quote["volume"], quote["bid_size"], quote["ask_size"]) == (2, 3, -1)
    assert quote["time"] == found.as_of
    assert key_strikes(found.quotes["key"]).tolist() == [750.5]
    assert key_puts(found.quotes["key"]).tolist() == [True]
    assert {name: column.tolist() for name, column in found.vendor.items()} == {
        "iv": [0.2],
        "delta": [0.5],
        "gamma": [0.02],
    }
    assert found.option_symbols == ["SPY260819P00750500"]


@pytest.mark.parametrize(
    ("close", "change", "before"), [(750.0, -3.4, 753.4), (750.0, None, None), (None, 1.0, None)]
)
def test_the_close_before(close, change, before):
    found = parse(document(option("SPY260819C00750000"), close=close, price_change=change))
    assert found.prior_close == before or (before is None and math.isnan(found.prior_close))


def parse_date(text):
    from datetime import date

    return date.fromisoformat(text)


@pytest.mark.parametrize(
    ("root", "underlying", "settlement"),
    [
        ("SPX", "SPX", "AM"),
        ("SPXW", "SPX", "PM"),
        ("RUT", "RUT", "AM"),
        ("RUTW", "RUT", "PM"),
        ("NDX", "NDX", "AM"),
        ("NDXP", "NDX", "PM"),
        ("VIX", "VIX", "AM"),
        ("VIXW", "VIX", "AM"),
        ("XSP", "XSP", "PM"),
        ("SPY", "SPY", "PM"),
        ("AAPL", "AAPL", "PM"),
    ],
)
def test_the_root_decides(root, underlying, settlement):
    assert (underlying_of(root), settlement_of(root)) == (underlying, settlement)


def test_both_settlements_of_one_date_are_two_expiries():
    rows = [option("SPXW260821C07500000"), option("SPX260821C07500000")]
    found = parse(document(*rows, symbol="^SPX"))
    assert found.symbol == "SPX"
    assert {expiry.settlement for expiry in found.expiries} == {"AM", "PM"}
    assert (
        len({tuple(pair) for pair in zip(found.expiry_index, found.quotes["key"], strict=True)})
        == 2
    )


def test_adjusted_roots_are_left_out_and_counted():
    rows = [
        option("SPY260819C00750000"),
        option("SPY1260819C00750000"),
        option("QQQ260819C00500000"),
    ]
    found = parse(document(*rows))
    assert (found.quotes.size, found.left_out, found.unnamed) == (1, 2, 0)


def test_rows_that_name_no_contract_are_counted():
    bad = [
        option("nonsense"),
        option("SPY269919C00750000"),
        {"bid": 1.0},
        7,
        option("SPY260819C00000000"),
    ]
    found = parse(document(option("SPY260819C00750000"), *bad))
    assert (found.quotes.size, found.unnamed) == (1, 5)


def test_prices_that_are_none():
    row = option("SPY260819C00750000", bid="abc", ask=None, open_interest=-4, iv="x", volume="12")
    quote = parse(document(row)).quotes[0]
    assert quote["bid"] == -math.inf
    assert math.isnan(quote["ask"])
    assert (quote["open_interest"], quote["volume"]) == (-1, 12)
    assert math.isnan(parse(document(row)).vendor["iv"][0])


def test_the_last_row_of_a_repeated_contract_counts():
    found = parse(document(*(option("SPY260819C00750000", bid=bid) for bid in (1.0, 2.0))))
    assert (found.quotes["bid"].tolist(), found.left_out) == ([2.0], 1)


def test_rows_are_sorted_by_expiry_and_key():
    names = ["SPY260821C00750000", "SPY260819P00751000", "SPY260819C00751000", "SPY260819P00750000"]
    found = parse(document(*map(option, names)))
    assert found.option_symbols == [names[3], names[2], names[1], names[0]]


@pytest.mark.parametrize(
    ("traded", "made", "as_of"),
    [
        ("2026-08-19T10:44:58", "2026-08-19 15:00:20", "2026-08-19T14:44:58.000Z"),  # in session
        ("2026-08-19T15:59:58", "2026-08-19 20:05:00", "2026-08-19T19:59:58.000Z"),  # not yet over
        ("2026-08-19T15:59:58", "2026-08-19 20:16:00", "2026-08-19T20:00:00.000Z"),  # over
        ("2026-08-19T16:14:58", "2026-08-19 22:00:00", "2026-08-19T20:14:58.000Z"),
        ("2026-08-21T15:59:59", "2026-08-23 11:28:23", "2026-08-21T20:00:00.000Z"),  # weekend
        ("2026-11-27T12:59:59", "2026-11-27 19:00:00", "2026-11-27T18:00:00.000Z"),  # early close
        (None, "2026-08-19 15:00:20", "2026-08-19T14:45:20.000Z"),
        (None, "2026-08-19 20:14:00", "2026-08-19T19:59:00.000Z"),
        (None, "2026-08-19 20:15:00", "2026-08-19T20:00:00.000Z"),
        (None, "2026-08-20 12:00:00", "2026-08-19T20:00:00.000Z"),  # before the open
        (None, "2026-08-22 15:00:00", "2026-08-21T20:00:00.000Z"),  # weekend
        ("2026-08-20T08:12:00", "2026-08-20 12:28:00", "2026-08-19T20:00:00.000Z"),
        ("2026-08-19T10:44:58", None, "2026-08-19T14:44:58.000Z"),
    ],
)
def test_market_time(traded, made, as_of):
    given = document(option("SPY261218C00750000"), last_trade_time=traded)
    given["timestamp"] = made
    assert iso_ms(parse(given).as_of) == as_of


def test_a_chain_later_than_asked_for():
    given = document(option("SPY260819C00750000"))
    assert parse(given, at_us=parse_instant("2026-08-19T12:00")).quotes.size == 1
    with pytest.raises(InputError, match="no snapshot at or before"):
        parse(given, at_us=parse_instant("2026-08-19T10:00"))


def test_the_flat_layout_needs_a_time_and_takes_its_symbol_from_the_roots():
    given = {"current_price": 750.0, "options": [option("SPY260821C00750000", bid=None, ask=None)]}
    with pytest.raises(InputError, match="give --at"):
        parse(given)
    found = parse(given, at_us=parse_instant("2026-08-19T12:00"))
    assert (found.symbol, iso_ms(found.as_of)) == ("SPY", "2026-08-19T16:00:00.000Z")
    assert math.isnan(found.quotes["bid"][0])


def test_what_a_chain_must_hold():
    with pytest.raises(InputError, match="current_price"):
        parse(document(option("SPY260819C00750000"), current_price=None))
    with pytest.raises(InputError, match="give --symbol"):
        parse({"current_price": 1.0, "options": []}, at_us=0)
    with pytest.raises(InputError, match="no options on QQQ"):
        parse(document(option("SPY260819C00750000")), symbol="QQQ")


def test_what_is_no_chain():
    for other in ([], {}, {"data": []}, {"options": [{"strike": 1}]}, {"callExpDateMap": {}}, 5):
        assert not is_cboe(other)
