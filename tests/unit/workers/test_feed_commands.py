"""Which feed serves which symbol, and what the commands' options mean by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.errors import UsageError
from common.feeds.cboe_live import CboeFeed
from common.feeds.tradestation.feed import TradeStationFeed
from common.settings import load_settings
from workers.commands.feeds import by_feed, feed_options, make_feeds
from workers.context import Context


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, so that no .env is read."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def context(folder: Path, **settings: object) -> Context:
    login = {"tradestation_client_id": "key", "tradestation_client_secret": "secret"}
    return Context(load_settings(state_dir=folder, **{**login, **settings}))


def test_each_symbol_gets_its_own_feed(folder: Path) -> None:
    feeds = make_feeds(
        context(folder, symbols="SPY,QQQ,IWM", feed="cboe", feeds="QQQ=tradestation")
    )
    assert {symbol: type(feed) for symbol, feed in feeds.items()} == {
        "SPY": CboeFeed,
        "QQQ": TradeStationFeed,
        "IWM": CboeFeed,
    }
    assert list(feeds) == ["SPY", "QQQ", "IWM"]


def test_the_streams_of_a_login_are_shared_by_its_own_symbols_alone(folder: Path) -> None:
    shared = context(folder, symbols="SPY,QQQ", feed="tradestation", tradestation_streams=4)
    alone = context(
        folder, symbols="SPY,QQQ", feed="cboe", feeds="SPY=tradestation", tradestation_streams=4
    )
    streams = []
    for each in (shared, alone):
        feed = make_feeds(each)["SPY"]
        assert isinstance(feed, TradeStationFeed)
        streams.append(feed.choice.chain_streams)
    assert streams == [1, 3]


def test_what_is_missing_for_one_symbol_is_said(folder: Path) -> None:
    with pytest.raises(UsageError, match="GEX_TRADESTATION_CLIENT_ID"):
        make_feeds(
            context(
                folder,
                symbols="SPY,QQQ",
                feed="cboe",
                feeds="QQQ=tradestation",
                tradestation_client_id="",
            )
        )


def test_a_feed_option_is_one_for_all_or_one_by_symbol(folder: Path) -> None:
    before = {"symbols": "SPY,QQQ", "feeds": "QQQ=cboe"}
    for option, wanted in [
        (None, {"simulator": ("SPY",), "cboe": ("QQQ",)}),
        ("tradestation", {"tradestation": ("SPY", "QQQ")}),
        ("SPY=tradestation", {"tradestation": ("SPY",), "simulator": ("QQQ",)}),
    ]:
        found = context(folder, **{**before, **feed_options(option)})
        assert found.settings.feeds_in_use == wanted
        assert {part.settings.feed: part.settings.symbols for part in by_feed(found)} == wanted


@pytest.mark.parametrize(
    ("options", "chains"),
    [
        ({}, 9),  # one of ten is of quotes
        ({"tradestation_count_quotes": False}, 10),
        ({"near_money": 150}, 8),  # 152 symbols, a hundred a stream
        ({"near_money": 150, "tradestation_max_symbols": 200}, 9),
        ({"symbols": "SPY,QQQ,IWM"}, 2),
    ],
)
def test_what_quotes_leave_of_the_budget_is_for_chains(
    folder: Path, options: dict[str, Any], chains: int
) -> None:
    made = make_feeds(context(folder, **{"symbols": "SPY", "feed": "tradestation", **options}))
    assert isinstance(made["SPY"], TradeStationFeed)
    assert made["SPY"].choice.chain_streams == chains


def test_more_symbols_than_the_budget_has_streams_for_are_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"2 symbols need 2 streams each; .* allows 3"):
        make_feeds(context(folder, symbols="SPY,QQQ", feed="tradestation", tradestation_streams=3))
