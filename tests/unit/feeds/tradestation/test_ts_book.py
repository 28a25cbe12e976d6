"""Rows merged into full quotes, whatever their spelling."""

from __future__ import annotations

import math
from datetime import date
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.feeds.snapshot import BAD_PRICE
from common.feeds.tradestation.book import Book
from common.feeds.tradestation.messages import Row, parse
from common.feeds.tradestation.symbols import (
    chain_symbols,
    option_symbol,
    parse_option_symbol,
    quote_symbol,
    root_of,
)
from common.models import Expiry, QuoteUpdate, SpotUpdate

NOON = 1_795_452_000_000_000


def row(fields: dict[str, Any]) -> Row:
    parsed = parse(msgspec.json.encode(fields))
    assert isinstance(parsed, Row)
    return parsed


def option(name: str = "SPY 261124C672", **fields: Any) -> Row:
    return row({"Legs": [{"Symbol": name, "Ratio": 1}], **fields})


def quote(book: Book, message: Row, time: int = NOON) -> QuoteUpdate:
    update = book.apply(message, time)
    assert isinstance(update, QuoteUpdate)
    return update


def test_a_full_chain_row() -> None:
    update = quote(
        Book("SPY"),
        option(
            Bid="1.03", Ask="1.05", Last="1.04", BidSize=95, AskSize=120, Volume=18250,
            DailyOpenInterest=7421, Delta="0.52",
        ),
    )  # fmt: skip
    assert update == QuoteUpdate(
        Expiry(date(2026, 11, 24)), 672.0, "C", NOON, 1.03, 1.05, 1.04, 95, 120, 18250, 7421
    )


def test_quotes_and_chain_rows_of_one_contract_are_one() -> None:
    book = Book("SPY")
    quote(book, option(Bid="1.03", Ask="1.05", Volume=10))
    update = quote(book, row({"Symbol": "spy 261124c672", "Bid": "1.04", "Volume": "12"}), NOON + 5)
    assert (update.bid, update.ask, update.volume, update.time) == (1.04, 1.05, 12, NOON + 5)
    assert len(book) == 1


@pytest.mark.parametrize("absent", [None, "", "NaN", "-", "null"])
def test_what_stands_for_no_number(absent: object) -> None:
    update = quote(Book("SPY"), option(Bid=absent, Ask="0.01", BidSize=absent, Volume=absent))
    assert math.isnan(update.bid)
    assert (update.bid_size, update.volume) == (-1, -1)


def test_a_price_that_is_none_is_bad_input_and_not_absent() -> None:
    assert quote(Book("SPY"), option(Bid="abc", Ask="1")).bid == BAD_PRICE


def test_float_noise_is_rounded_away() -> None:
    assert quote(Book("SPY"), option(Bid="589.39001", Ask="589.3949999")).bid == 589.39


def test_rows_of_another_underlying_are_counted() -> None:
    book = Book("SPY")
    assert book.apply(option("QQQ 261124C600", Bid="1"), NOON) is None
    assert book.apply(row({"Symbol": "QQQ", "Last": "600"}), NOON) is None
    assert book.refused == {"foreign": 2}


def test_a_row_of_several_legs_is_no_contract_and_counted() -> None:
    book = Book("SPY")
    legs = [{"Symbol": "SPY 261124C672"}, {"Symbol": "SPY 261124C673"}]
    assert book.apply(row({"Legs": legs, "Bid": "1"}), NOON) is None
    assert book.refused == {"spread": 1}


def test_index_options_of_both_roots_belong_to_the_index() -> None:
    book = Book("SPX")
    assert quote(book, option("SPXW 261218C6720", Bid="1")).expiry.settlement == "PM"
    assert quote(book, option("SPX 261218C6720", Bid="1")).expiry.settlement == "AM"
    assert len(book) == 2
    assert book.apply(row({"Symbol": "$SPX.X", "Last": "6701.5"}), NOON) == SpotUpdate(NOON, 6701.5)


def test_spot_is_the_middle_of_a_sane_quote_else_the_last_trade() -> None:
    book = Book("SPY")
    assert book.apply(row({"Symbol": "SPY", "Last": "672.12"}), 1) == SpotUpdate(1, 672.12)
    assert book.apply(row({"Symbol": "SPY", "Bid": "672.13", "Ask": "672.15"}), 2) == SpotUpdate(
        2, 672.14
    )
    assert book.apply(row({"Symbol": "SPY", "Volume": "5"}), 3) is None  # nothing new of the price
    assert book.apply(row({"Symbol": "SPY", "Bid": "1.00"}), 4) == SpotUpdate(4, 672.12)  # insane
    assert book.apply(row({"Symbol": "SPY", "Bid": "672.2", "Ask": "672.1"}), 5) is None  # crossed


def test_the_prior_close_comes_with_the_price_of_the_underlying() -> None:
    book = Book("SPY")
    assert book.apply(row({"Symbol": "SPY", "PreviousClose": "668.45"}), 1) is None  # no price yet
    first = row({"Symbol": "SPY", "Last": "672.12", "PreviousClose": "668.4500001"})
    assert book.apply(first, 2) == SpotUpdate(2, 672.12, prior_close=668.45)
    assert book.apply(row({"Symbol": "SPY", "Last": "672.5"}), 3) == SpotUpdate(
        3, 672.5, prior_close=668.45
    )
    late = row({"Symbol": "SPY", "PreviousClose": "669"})
    assert book.apply(late, 4) == SpotUpdate(4, 672.5, prior_close=669.0)
    for nothing in ("0", "", None, "NaN"):
        said = book.apply(row({"Symbol": "SPY", "PreviousClose": nothing}), 5)
        assert said is None


def test_an_underlying_without_a_price_says_nothing() -> None:
    book = Book("SPY")
    assert book.apply(row({"Symbol": "SPY", "Bid": "0", "Ask": None, "Last": "x"}), 1) is None
    assert math.isnan(book.spot)


@given(
    st.dates(date(2000, 1, 1), date(2099, 12, 31)),
    st.integers(1, 99_999_999),
    st.sampled_from("CP"),
    st.sampled_from(["SPY", "AAPL", "SPXW", "VIX"]),
)
def test_option_symbols_round_trip(day: date, milli: int, right: Any, root: str) -> None:
    strike = milli / 1000
    settlement = "AM" if root == "VIX" else "PM"
    name = option_symbol(root, Expiry(day), strike, right)
    for spelling in (name, name.lower(), f"  {name}  "):
        found = parse_option_symbol(spelling)
        assert found is not None
        assert found == (root, Expiry(day, settlement), strike, right)


@pytest.mark.parametrize(
    ("strike", "name"),
    [(672.0, "SPY 261123C672"), (167.5, "SPY 261123C167.5"), (0.5, "SPY 261123C.5")],
)
def test_the_shortest_form(strike: float, name: str) -> None:
    assert option_symbol("SPY", Expiry(date(2026, 11, 23)), strike, "C") == name


@pytest.mark.parametrize(
    "text", ["", "SPY", "SPY 261123X672", "SPY 261399C672", "SPY 261123C", "SPY 261123C0", "$SPX.X"]
)
def test_what_is_no_option_symbol(text: str) -> None:
    assert parse_option_symbol(text) is None


def test_names_of_underlyings() -> None:
    assert (quote_symbol("SPY"), quote_symbol("SPX")) == ("SPY", "$SPX.X")
    assert chain_symbols("SPY") == ["SPY"]
    assert chain_symbols("SPX") == ["$SPX.X", "$SPXW.X"]
    assert [root_of(name) for name in ("spy", "$SPXW.X", " QQQ ")] == ["SPY", "SPXW", "QQQ"]
