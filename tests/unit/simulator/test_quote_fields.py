"""Quotes and quote streams: fields, types, snapshots against deltas."""

from __future__ import annotations

import math
from datetime import date
from typing import Any

import orjson
import pytest
from random_day import RandomDay

from common.clock import SECOND, parse_instant
from workers.simulator.desk import Desk
from workers.simulator.model_market import ModelMarket
from workers.simulator.quotes import Quoted, wire_time
from workers.simulator.subscriptions import QuoteSubscription

DAY = date(2026, 11, 20)
AT_US = parse_instant("2026-11-20T11:00:00")


def spy() -> Desk:
    """SPY at eleven."""
    return Desk(ModelMarket(7).day("SPY", DAY), AT_US)


def contract(desk: Desk, name: str) -> Quoted:
    """A contract's quote."""
    return Quoted(name, desk, desk.contracts.places[name])


def taken(subscription: QuoteSubscription) -> list[dict[str, Any]]:
    """What is told now."""
    return [orjson.loads(line) for line in subscription.take()]


def assert_types(quote: dict[str, Any]) -> None:
    """Every number is a string; flags are booleans, restrictions a list."""
    for name, value in quote.items():
        if name == "MarketFlags":
            assert all(type(flag) is bool for flag in value.values())
            assert set(value) == {"IsDelayed", "IsHardToBorrow", "IsBats", "IsHalted"}
        elif name == "Restrictions":
            assert value == []
        else:
            assert isinstance(value, str), name


def test_an_underlyings_quote_is_whole() -> None:
    desk = spy()
    quote = Quoted("SPY", desk, None).fields(percent=True)
    assert_types(quote)
    assert quote["Symbol"] == "SPY"
    number = {
        name: float(quote[name])
        for name in "Open High Low PreviousClose Last Bid Ask Volume Close VWAP NetChange".split()
    }
    assert number["Low"] <= number["Last"] <= number["High"]
    assert number["Low"] <= number["VWAP"] <= number["High"]
    assert number["Bid"] < number["Last"] < number["Ask"]
    assert number["Last"] == number["Close"] == desk.underlying.last
    assert number["Volume"] > 0
    change = number["Last"] - number["PreviousClose"]
    assert number["NetChange"] == pytest.approx(change, abs=1e-4)
    assert quote["TradeTime"] == "2026-11-20T16:00:00Z"


def test_a_contracts_quote_is_what_was_said_of_it() -> None:
    desk = spy()
    quoted = contract(desk, "SPY 261120C700")
    quote = quoted.fields(percent=True)
    assert_types(quote)
    row = desk.said[quoted.place]
    for field, column in [
        ("Bid", "bid"),
        ("Ask", "ask"),
        ("Last", "last"),
        ("BidSize", "bid_size"),
        ("AskSize", "ask_size"),
        ("Volume", "volume"),
        ("DailyOpenInterest", "open_interest"),
    ]:
        assert float(quote[field]) == row[column], field
    assert quote["TradeTime"] <= "2026-11-20T16:00:00Z"
    assert "Delta" not in quote


def test_the_change_is_in_percent_in_snapshots_and_a_fraction_in_streams() -> None:
    quoted = contract(spy(), "SPY 261120P700")
    percent = float(quoted.fields(percent=True)["NetChangePct"])
    fraction = float(quoted.fields(percent=False)["NetChangePct"])
    assert percent == pytest.approx(100.0 * fraction, abs=0.006)
    assert abs(percent) > 1.0


def test_what_is_not_known_is_left_out() -> None:
    desk = Desk(RandomDay(1), 0)
    for place in range(desk.contracts.size):
        quote = Quoted("x", desk, place).fields(percent=True)
        assert ("Last" in quote) == (not math.isnan(desk.said[place]["last"]))
        assert ("Volume" in quote) == (desk.said[place]["volume"] >= 0)
        assert not {"PreviousClose", "NetChange", "NetChangePct"} & set(quote)
    underlying = Quoted("SPY", desk, None).fields(percent=True)
    assert not {"Bid", "Ask", "VWAP", "Volume", "NetChange"} & set(underlying)


def test_the_first_message_is_whole_and_later_ones_are_what_changed() -> None:
    desk = spy()
    names = ["SPY 261120C700", "SPY 261120P700"]
    quoted = [Quoted("SPY", desk, None), *(contract(desk, name) for name in names)]
    subscription = QuoteSubscription(quoted)
    first = taken(subscription)
    assert first == [each.fields(percent=False) for each in quoted]
    merged = {each["Symbol"]: dict(each) for each in first}
    deltas = 0
    for _ in range(60):
        desk.step(desk.at_us + SECOND)
        for delta in taken(subscription):
            known = merged[delta["Symbol"]]
            news = {name: value for name, value in delta.items() if name != "Symbol"}
            assert news
            assert all(known.get(name) != value for name, value in news.items())
            known.update(news)
            deltas += 1
    assert deltas > 60
    desk.step(desk.at_us, everything=True)
    for delta in taken(subscription):
        merged[delta["Symbol"]].update(delta)
    assert list(merged.values()) == [each.fields(percent=False) for each in quoted]


def test_a_symbol_that_names_nothing_is_told_once_among_the_others() -> None:
    subscription = QuoteSubscription([Quoted("SPY", spy(), None)], ["NOSUCH"])
    first = taken(subscription)
    assert first[0] == {"Symbol": "NOSUCH", "Error": "FAILED, INVALID SYMBOL"}
    assert first[1]["Symbol"] == "SPY"
    assert taken(subscription) == []


def test_nobody_asks_for_quotes_of_nothing_but_unknown_symbols() -> None:
    subscription = QuoteSubscription([], ["A", "B"])
    assert [each["Symbol"] for each in taken(subscription)] == ["A", "B"]
    subscription.close()


def test_times_are_written_in_whole_seconds_of_utc() -> None:
    assert wire_time(AT_US + 999_999) == "2026-11-20T16:00:00Z"
