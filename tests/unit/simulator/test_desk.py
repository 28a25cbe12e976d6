"""One truth for everybody: what was sent adds up to what was said, whoever reads when."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from random_day import FAR, NEAR, RandomDay

from common.clock import SECOND, parse_instant
from workers.simulator.admin import truth
from workers.simulator.desk import Desk
from workers.simulator.model_market import ModelMarket
from workers.simulator.quotes import Quoted
from workers.simulator.subscriptions import ChainSubscription, QuoteSubscription, Subscription

_WIRE = {
    "bid": "Bid",
    "ask": "Ask",
    "last": "Last",
    "bid_size": "BidSize",
    "ask_size": "AskSize",
    "volume": "Volume",
    "open_interest": "DailyOpenInterest",
}


def everything(desk: Desk, *, greeks: bool = True) -> ChainSubscription:
    """A reader of every contract."""
    return ChainSubscription(desk, np.ones(desk.contracts.size, np.bool_), greeks=greeks)


class Reader:
    """What a client has put together from what it was sent."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.rows: dict[str, dict[str, Any]] = {}
        self.quotes: dict[str, dict[str, Any]] = {}

    def read(self) -> list[dict[str, Any]]:
        """Take what is pending; rows replace, quotes are merged."""
        objects = [orjson.loads(line) for line in self.subscription.take()]
        for each in objects:
            if "Legs" in each:
                self.rows[each["Legs"][0]["Symbol"]] = each
            else:
                self.quotes.setdefault(each["Symbol"], {}).update(each)
        return objects


def true_rows(desk: Desk) -> dict[str, dict[str, Any]]:
    """The truth, by symbol."""
    return {row["symbol"]: row for row in truth(desk)["contracts"]}


def assert_rows_true(rows: dict[str, dict[str, Any]], desk: Desk) -> None:
    """Every row says what is true, and lacks what is not known."""
    true = true_rows(desk)
    for symbol, row in rows.items():
        for name, field in _WIRE.items():
            told = row.get(field)
            assert (None if told is None else float(told)) == true[symbol][name], (symbol, name)


actions = st.lists(
    st.one_of(
        st.integers(1, 4).map(lambda n: ("pass", n)), st.integers(0, 3).map(lambda n: ("read", n))
    ),
    max_size=30,
)


@settings(deadline=None)
@given(seed=st.integers(0, 1000), late=st.integers(0, 5), actions=actions)
def test_the_sum_of_the_sent_rows_is_the_truth_at_any_step(
    seed: int, late: int, actions: list[tuple[str, int]]
) -> None:
    desk = Desk(RandomDay(seed, listed_late=late), 0)
    windows = [
        np.ones(desk.contracts.size, np.bool_),
        desk.contracts.of_expiry(NEAR),
        desk.contracts.of_expiry(FAR) & desk.contracts.puts,
    ]
    readers = [
        Reader(ChainSubscription(desk, window, greeks=bool(at % 2)))
        for at, window in enumerate(windows)
    ]
    readers.append(Reader(QuoteSubscription([Quoted("SPY", desk, None), Quoted("C", desk, 0)])))
    for action, number in actions:
        if action == "pass":
            for _ in range(number):
                desk.step(desk.at_us + 1)
        else:
            readers[number].read()
            assert_rows_true(readers[number].rows, desk)
    true = true_rows(desk)
    for reader, window in zip(readers, windows, strict=False):
        reader.read()
        names = {desk.contracts.names[place] for place in np.flatnonzero(window)}
        assert set(reader.rows) == names & set(true)
        assert_rows_true(reader.rows, desk)
        assert reader.read() == []
    readers[-1].read()
    assert float(readers[-1].quotes["SPY"]["Last"]) == desk.underlying.last


@settings(deadline=None)
@given(seed=st.integers(0, 1000), steps=st.integers(0, 30))
def test_after_the_close_the_truth_is_what_the_market_shows(seed: int, steps: int) -> None:
    day = RandomDay(seed, listed_late=3)
    desk = Desk(day, 0)
    for _ in range(steps):
        desk.step(desk.at_us + 1)
    desk.step(desk.at_us + 5, everything=True)
    shown = day.board(desk.at_us)
    assert desk.underlying.last == shown.underlying.last
    for name in _WIRE:
        assert np.array_equal(desk.said[name], shown.rows[name], equal_nan=True)


def test_the_model_says_bid_and_ask_at_once_and_the_rest_in_turn() -> None:
    day = ModelMarket(7).day("SPY", NEAR.expiration)
    start = parse_instant("2026-11-20T11:00:00")
    desk = Desk(day, start)
    reader = Reader(everything(desk, greeks=False))
    assert len(reader.read()) == desk.contracts.size
    since = np.full(desk.contracts.size, start)
    waits = [0]
    for at_us in range(start + 250_000, start + 45 * 250_000, 250_000):
        desk.step(at_us)
        sent = reader.read()
        assert len(sent) < desk.contracts.size
        shown = day.board(at_us).rows
        said = desk.said
        assert np.array_equal(said["bid"], shown["bid"])
        assert np.array_equal(said["ask"], shown["ask"])
        assert (said["volume"] <= shown["volume"]).all()
        since[said["volume"] == shown["volume"]] = at_us
        waits.append(int(np.max(at_us - since)))
    assert 0 < max(waits) <= 20 * 250_000  # a volume alone waits for its turn, and no longer
    assert_rows_true(reader.rows, desk)


def test_nothing_new_is_not_told() -> None:
    day = ModelMarket(7).day("SPY", NEAR.expiration)
    close = parse_instant("2026-11-20T16:00:00")
    desk = Desk(day, close)
    reader = Reader(everything(desk))
    reader.read()
    desk.step(close, everything=True)
    assert reader.read() == []


def test_a_slow_reader_gets_the_newest_rows_once_and_the_rest_is_counted() -> None:
    desk = Desk(ModelMarket(7).day("SPY", NEAR.expiration), parse_instant("2026-11-20T11:00:00"))
    slow, prompt = Reader(everything(desk)), Reader(everything(desk))
    slow.read()
    prompt.read()
    sent = 0
    for _ in range(40):
        desk.step(desk.at_us + SECOND)
        sent += len(prompt.read())
    rows = slow.read()
    assert len(rows) <= desk.contracts.size < sent
    assert slow.subscription.conflated == sent - len(rows)
    assert prompt.subscription.conflated == 0
    assert_rows_true(slow.rows, desk)


def test_a_closed_subscription_hears_nothing() -> None:
    desk = Desk(RandomDay(1), 0)
    chain, quotes = everything(desk), QuoteSubscription([Quoted("SPY", desk, None)])
    for each in (chain, quotes):
        each.take()
        each.close()
    assert desk.listeners == set()
    desk.step(3, everything=True)
    assert chain.take() == []
    assert quotes.take() == []


def test_the_session_so_far_shows_in_a_row() -> None:
    day = RandomDay(3)
    desk = Desk(day, 12)
    lasts = [day.board(at).rows["last"] for at in range(13)]
    rows = {row["Legs"][0]["Symbol"]: row for row in Reader(everything(desk)).read()}
    for place, name in enumerate(desk.contracts.names):
        traded = [float(last[place]) for last in lasts if not math.isnan(last[place])]
        row = rows[name]
        if traded:
            assert float(row["Open"]) == traded[0]
            assert (float(row["High"]), float(row["Low"])) == (max(traded), min(traded))
        else:
            assert not {"Open", "High", "Low", "Last"} & set(row)
