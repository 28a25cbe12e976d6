"""Cboe's delayed quotes as a feed: polled politely, honest about their age."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from datetime import date
from typing import Any

import httpx
import orjson
import pytest

from common.clock import SECOND, parse_instant
from common.feeds.cboe_live import CLOCK, CboeFeed, CboeSession
from common.models import QuoteUpdate, SnapshotEnd, SpotUpdate, Update
from common.selection import ExpirationRule

NOON = parse_instant("2026-11-24T12:00")
DELAY = 900 * SECOND
URL = "https://quotes.test/options"
Reply = httpx.Response | Exception


def option(name: str, bid: float = 1.0, interest: int = 10) -> dict[str, Any]:
    return {"option": name, "bid": bid, "ask": bid + 0.1, "open_interest": interest, "volume": 5}


def document(at: str, *options: dict[str, Any], spot: float = 672.0) -> dict[str, Any]:
    return {
        "timestamp": at.replace("T", " "),
        "data": {
            "symbol": "SPY",
            "current_price": spot,
            "close": spot,
            "price_change": 1.25,
            "last_trade_time": at,
            "options": list(options),
        },
    }


def chain(at: str, **changes: Any) -> dict[str, Any]:
    names = ("SPY261124C00672000", "SPY261124P00672000", "SPY261127C00672000", "SPY261123C00672000")
    return document(at, *(option(name, **changes) for name in names))


class Host:
    """Answers polls from a script; time moves by the sleeps alone."""

    def __init__(self, *replies: Reply, now: int = NOON) -> None:
        self.replies, self.now = list(replies), now
        self.requests: list[httpx.Request] = []
        self.slept: list[float] = []
        self.feed = CboeFeed(
            httpx.AsyncClient(transport=httpx.MockTransport(self.answer)),
            "SPY",
            URL,
            expirations=ExpirationRule.parse("1"),
            wall=lambda: self.now,
            sleep=self.sleep,
        )

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += round(seconds * SECOND)
        await asyncio.sleep(0)

    def frames(
        self, count: int, *, until: Callable[[], bool] = lambda: False
    ) -> tuple[CboeSession, list[list[Update]]]:
        """The first frames of the first session."""

        async def read() -> tuple[CboeSession, list[list[Update]]]:
            session = await anext(self.feed.sessions())
            found: list[list[Update]] = []
            async for frame in session.frames():
                found.append(frame)
                if len(found) == count:
                    break
            return session, found

        return asyncio.run(read())


def ok(content: dict[str, Any], **headers: str) -> httpx.Response:
    return httpx.Response(200, content=orjson.dumps(content), headers=headers)


def test_a_session_runs_a_quarter_of_an_hour_behind() -> None:
    session, frames = Host(ok(chain("2026-11-24T11:44:30"))).frames(1)
    record = session.session
    assert (record.key, record.feed) == ("SPY:2026-11-24:cboe", "cboe")
    assert record.clock.market(NOON) == NOON - DELAY
    assert frames[0][-1] == SnapshotEnd(parse_instant("2026-11-24T11:44:30"))


def test_quotes_bear_the_time_they_are_of() -> None:
    _, frames = Host(ok(chain("2026-11-24T11:44:30"))).frames(1)
    at = parse_instant("2026-11-24T11:44:30")
    assert frames[0][0] == SpotUpdate(at, 672.0, prior_close=670.75)
    assert {update.time for update in frames[0]} == {at}


def test_the_nearest_expirations_are_followed_and_settled_ones_are_not() -> None:
    _, frames = Host(ok(chain("2026-11-24T11:44:30"))).frames(1)
    quotes = [update for update in frames[0] if isinstance(update, QuoteUpdate)]
    assert {quote.expiry.expiration for quote in quotes} == {date(2026, 11, 24)}
    assert [quote.right for quote in quotes] == ["C", "P"]


def test_polls_are_conditional() -> None:
    first = ok(chain("2026-11-24T11:44:30"), ETag='"a"', **{"Last-Modified": "Tue, 24 Nov"})
    host = Host(first, httpx.Response(304), ok(chain("2026-11-24T11:46:00", bid=2.0)))
    session, frames = host.frames(2)
    asked = [
        (r.headers.get("If-None-Match"), r.headers.get("If-Modified-Since")) for r in host.requests
    ]
    assert asked == [(None, None), ('"a"', "Tue, 24 Nov"), ('"a"', "Tue, 24 Nov")]
    assert session.counters["not_modified"] == 1
    assert host.slept == [15.0, 15.0]
    assert [frame[-1].time for frame in frames] == [
        parse_instant("2026-11-24T11:44:30"),
        parse_instant("2026-11-24T11:46:00"),
    ]


def test_a_chain_that_is_not_new_is_not_said_again() -> None:
    same, newer = chain("2026-11-24T11:44:30"), chain("2026-11-24T11:45:30")
    session, frames = Host(ok(same), ok(same), ok(newer)).frames(2)
    assert len(frames) == 2
    assert session.counters["repeated"] == 1


def test_a_contract_that_is_gone_is_withdrawn() -> None:
    fewer = document("2026-11-24T11:46:00", option("SPY261124C00672000"))
    _, frames = Host(ok(chain("2026-11-24T11:44:30")), ok(fewer)).frames(2)
    gone = [u for u in frames[1] if isinstance(u, QuoteUpdate) and u.withdrawn]
    assert [(each.strike, each.right) for each in gone] == [(672.0, "P")]


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.ConnectError("no"),
        httpx.Response(503),
        httpx.Response(403, text="<html>"),
        httpx.Response(200, text="{"),
        httpx.Response(200, text="[]"),
        ok({"data": {"options": [], "symbol": "SPY"}}),
    ],
)
def test_trouble_at_the_host_is_waited_out(trouble: Reply) -> None:
    host = Host(trouble, trouble, ok(chain("2026-11-24T11:44:30")))
    session, frames = host.frames(1)
    assert len(frames) == 1
    assert session.counters["failures"] == 2
    assert all(pause >= 15.0 for pause in host.slept)


def test_a_session_ends_with_the_delayed_close() -> None:
    host = Host(ok(chain("2026-11-24T15:59:59")), now=parse_instant("2026-11-24T16:14:40"))
    _, frames = host.frames(99)
    assert len(frames) == 1
    assert CLOCK.market(host.now) >= parse_instant("2026-11-24T16:00")


@pytest.mark.parametrize(("symbol", "file"), [("SPY", "SPY.json"), ("SPX", "_SPX.json")])
def test_an_index_has_an_underscore(symbol: str, file: str) -> None:
    host = Host(httpx.Response(304))
    host.feed.symbol = symbol
    assert host.feed.address == f"{URL}/{file}"


@pytest.mark.data
def test_a_real_document_is_a_frame(market_data: Any) -> None:
    path = market_data / "cboe_json" / "spy_cboe_2022-07-12_1857et.json.gz"
    body = gzip.decompress(path.read_bytes())
    host = Host(httpx.Response(200, content=body), now=parse_instant("2022-07-12T16:10"))
    _, frames = host.frames(1)
    quotes = [update for update in frames[0] if isinstance(update, QuoteUpdate)]
    assert len(quotes) > 100
    assert {quote.expiry.expiration for quote in quotes} == {date(2022, 7, 13)}
