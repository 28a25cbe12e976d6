"""The feed: which sessions it offers, what it follows, and what its frames say."""

from __future__ import annotations

import asyncio
import json
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest
from broker import Broker, Chunks

from common.clock import SECOND, parse_instant, session_hours
from common.errors import CredentialsError
from common.feeds.frames import FrameWriter, Header, read_header
from common.feeds.playback import RecordingFeed
from common.feeds.tradestation.feed import TradeStationFeed, TradeStationSession
from common.feeds.tradestation.listing import Choice
from common.feeds.tradestation.simulated import CLOCK_HEADER, Announcement
from common.models import (
    MarketClock,
    QuoteUpdate,
    Session,
    SnapshotEnd,
    SpotUpdate,
    Update,
    one_by_one,
)
from common.selection import ExpirationRule

TUESDAY = date(2026, 11, 24)
FRIDAY = date(2026, 11, 27)
NOON = parse_instant("2026-11-24T12:00")
EXPIRATIONS = "/v3/marketdata/options/expirations/SPY"
STRIKES = "/v3/marketdata/options/strikes/SPY"
CHAIN = "/v3/marketdata/stream/options/chains/SPY"
QUOTES = "/v3/marketdata/stream/quotes/SPY"
SPREADS = "/v3/marketdata/options/spreadtypes"


class Time:
    """Wall time that only sleeping moves."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.naps: list[float] = []

    def wall(self) -> int:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += round(seconds * SECOND)
        await asyncio.sleep(0)


def row(strike: int, right: str = "C", day: str = "261124", **fields: Any) -> bytes:
    content = {"Bid": "1.00", "Ask": "1.10", "DailyOpenInterest": 7, **fields}
    return json.dumps({**content, "Legs": [{"Symbol": f"SPY {day}{right}{strike}"}]}).encode()


def lines(*parts: bytes) -> bytes:
    return b"\n".join(parts) + b"\n"


SPOT = lines(b'{"Symbol":"SPY","Bid":"672.11","Ask":"672.13","Last":"672.1"}')
FULL = lines(row(671), row(671, "P"), row(672), row(672, "P"))


def listing(*days: str) -> httpx.Response:
    found = [{"Date": f"{day}T00:00:00Z", "Type": "Weekly"} for day in days]
    return httpx.Response(200, json={"Expirations": found})


@pytest.fixture
def broker(tmp_path: Path) -> Broker:
    made = Broker(tmp_path)
    made.on(SPREADS, httpx.Response(200, json={"SpreadTypes": []}))
    made.on(EXPIRATIONS, listing("2026-11-23", "2026-11-24", "2026-11-25", "2026-11-27"))
    made.on(STRIKES, httpx.Response(200, json={"Strikes": [["671"], ["672"]]}))
    made.on(QUOTES, httpx.Response(200, stream=Chunks(SPOT, None)))
    made.on(CHAIN, httpx.Response(200, stream=Chunks(FULL, None)))
    return made


def make_feed(broker: Broker, time: Time, **options: Any) -> TradeStationFeed:
    return TradeStationFeed(
        broker.client,
        "SPY",
        Choice(ExpirationRule.parse("1")),
        wall=time.wall,
        sleep=time.sleep,
        **options,
    )


def first_session(feed: TradeStationFeed) -> TradeStationSession:
    async def ask() -> TradeStationSession:
        return await anext(feed.sessions())

    return asyncio.run(ask())


def take(
    feed: TradeStationFeed, count: int, *, then: Any = lambda frames: None
) -> list[list[Update]]:
    """The first frames of the first session."""

    async def read() -> list[list[Update]]:
        session = await anext(feed.sessions())
        frames = session.frames()
        found = []
        for _ in range(count):
            found.append(await anext(frames))
            then(found)
        await frames.aclose()  # type: ignore[attr-defined]
        return found

    return asyncio.run(read())


# --- sessions --------------------------------------------------------------------------------


def test_a_session_of_the_real_clock(broker: Broker) -> None:
    session = first_session(make_feed(broker, Time(NOON))).session
    open_us, close_us = session_hours(TUESDAY)
    assert session == Session(
        key="SPY:2026-11-24:tradestation",
        symbol="SPY",
        feed="tradestation",
        trading_date=TUESDAY,
        open_us=open_us,
        close_us=close_us,
        stale_after_us=15 * SECOND,
        source="http://broker.test/v3",
    )


def test_a_simulators_clock_and_source_make_the_session(broker: Broker) -> None:
    clock = MarketClock(NOON, parse_instant("2026-08-19T15:00"), 60.0)
    header = {CLOCK_HEADER: Announcement(clock, "seed-7").header()}
    broker.on(SPREADS, httpx.Response(200, json={}, headers=header))
    broker.on(EXPIRATIONS, listing("2026-08-19"))
    session = first_session(make_feed(broker, Time(NOON))).session
    assert (session.key, session.feed) == ("SPY:2026-08-19:simulator:seed-7", "simulator")
    assert (session.clock, session.stale_after_us) == (clock, 900 * SECOND)


@pytest.mark.parametrize(
    ("now", "day"),
    [
        ("2026-11-24T09:15", TUESDAY),
        ("2026-11-24T15:59:59", TUESDAY),
        ("2026-11-25T16:00", FRIDAY),  # Thanksgiving in between
        ("2026-11-27T12:59:59", FRIDAY),  # closes at 13:00
        ("2026-11-27T13:00", date(2026, 11, 30)),
        ("2026-11-28T11:00", date(2026, 11, 30)),
    ],
)
def test_the_trading_date_that_runs_or_comes_next(broker: Broker, now: str, day: date) -> None:
    broker.on(EXPIRATIONS, listing(day.isoformat()))
    time = Time(parse_instant(now))
    assert first_session(make_feed(broker, time)).session.trading_date == day
    assert time.now >= session_hours(day)[0] - 900 * SECOND
    assert time.now <= max(parse_instant(now), session_hours(day)[0] - 900 * SECOND)


def test_a_host_that_is_away_is_waited_for(broker: Broker) -> None:
    away = httpx.Response(503)
    broker.on(EXPIRATIONS, *[away] * 12, listing("2026-11-24"))
    assert first_session(make_feed(broker, Time(NOON))).session.trading_date == TUESDAY


def test_nothing_listed_yet_is_waited_for(broker: Broker) -> None:
    broker.on(EXPIRATIONS, listing("2026-11-20"), listing("2026-11-24"))
    assert first_session(make_feed(broker, Time(NOON))).chains[0].expiry.expiration == TUESDAY


def test_a_refused_login_is_not_waited_for(broker: Broker) -> None:
    broker.on("/oauth/token", httpx.Response(403, json={"error": "invalid_grant"}))
    with pytest.raises(CredentialsError):
        first_session(make_feed(broker, Time(NOON)))


# --- what is followed ------------------------------------------------------------------------


def test_the_nearest_expirations_from_today_on(broker: Broker) -> None:
    feed = make_feed(broker, Time(NOON))
    feed.choice = Choice(ExpirationRule.parse("2"))
    chains = first_session(feed).chains
    assert [str(chain.expiry.expiration) for chain in chains] == ["2026-11-24", "2026-11-25"]
    assert [chain.contracts for chain in chains] == [4, 4]
    assert chains[0].source.params == {
        "expiration": "11-24-2026",
        "strikeProximity": "1000",
        "enableGreeks": "false",
    }


@pytest.mark.parametrize(
    ("style", "text"), [("YYYY-MM-DD", "2026-11-24"), ("ISO", "2026-11-24T00:00:00Z")]
)
def test_the_spelling_of_dates_is_a_setting(broker: Broker, style: Any, text: str) -> None:
    feed = make_feed(broker, Time(NOON))
    feed.choice = Choice(ExpirationRule.parse("1"), date_format=style)
    first_session(feed)
    assert broker.asked(STRIKES)[0].url.params["expiration"] == text


def test_no_more_streams_than_the_broker_allows(broker: Broker) -> None:
    feed = make_feed(broker, Time(NOON))
    feed.choice = Choice(ExpirationRule.parse("3"), chain_streams=2)
    assert len(first_session(feed).chains) == 2


def test_an_index_has_chains_of_both_roots(broker: Broker) -> None:
    broker.on("/v3/marketdata/options/expirations/$SPX.X", listing("2026-12-18"))
    broker.on("/v3/marketdata/options/expirations/$SPXW.X", listing("2026-11-24", "2026-12-18"))
    for root in ("SPX", "SPXW"):
        broker.on(
            f"/v3/marketdata/options/strikes/${root}.X", httpx.Response(200, json={"Strikes": []})
        )
    feed = make_feed(broker, Time(NOON))
    feed.symbol, feed.choice = "SPX", Choice(ExpirationRule.parse("5"))
    session = first_session(feed)
    assert [chain.expiry.shard for chain in session.chains] == [
        "2026-11-24", "2026-12-18-AM", "2026-12-18",
    ]  # fmt: skip
    assert session.listing.quotes()[0].path == "/marketdata/stream/quotes/%24SPX.X"


# --- frames ----------------------------------------------------------------------------------


def updates(frames: list[list[Update]], kind: type) -> list[Any]:
    return [update for frame in frames for update in one_by_one(frame) if isinstance(update, kind)]


def test_the_first_pass_ends_with_a_snapshot_end(broker: Broker) -> None:
    frames = take(make_feed(broker, Time(NOON)), 2)
    assert updates(frames, SpotUpdate) == [SpotUpdate(NOON, 672.12)]
    assert [(q.strike, q.right) for q in updates(frames, QuoteUpdate)] == [
        (671.0, "C"), (671.0, "P"), (672.0, "C"), (672.0, "P"),
    ]  # fmt: skip
    assert frames[-1][-1] == SnapshotEnd(NOON)
    assert len(updates(frames, SnapshotEnd)) == 1


def test_a_reconnect_merges_and_does_not_begin_anew(broker: Broker) -> None:
    cut = Chunks(FULL, httpx.RemoteProtocolError("cut"))
    again = Chunks(lines(row(672, Bid="1.05")), None)
    broker.on(CHAIN, httpx.Response(200, stream=cut), httpx.Response(200, stream=again))
    feed = make_feed(broker, Time(NOON))
    frames = take(feed, 3)
    assert updates(frames[2:], QuoteUpdate)[0].bid == 1.05
    assert len(updates(frames, SnapshotEnd)) == 1


def test_a_session_ends_a_moment_after_the_close(broker: Broker) -> None:
    close_us = session_hours(TUESDAY)[1]
    time = Time(close_us - 10)

    async def read() -> tuple[list[list[Update]], list[date]]:
        sessions = make_feed(broker, time).sessions()
        session = await anext(sessions)
        frames = []
        async for frame in session.frames():
            frames.append(frame)
            if isinstance(frame[-1], SnapshotEnd):
                time.now = close_us + 3 * SECOND
        broker.on(EXPIRATIONS, listing("2026-11-25"))
        return frames, [session.session.trading_date, (await anext(sessions)).session.trading_date]

    frames, days = asyncio.run(read())
    assert isinstance(frames[-1][-1], SnapshotEnd)
    assert days == [TUESDAY, date(2026, 11, 25)]


def test_a_simulator_that_sets_its_clock_anew_ends_the_session(broker: Broker) -> None:
    time = Time(NOON)
    clocks = [MarketClock(NOON, NOON), MarketClock(NOON, NOON + 60 * SECOND)]
    first, second = (
        httpx.Response(200, json={}, headers={CLOCK_HEADER: Announcement(clock, "x").header()})
        for clock in clocks
    )
    broker.on(SPREADS, first, second)

    async def read() -> list[MarketClock]:
        feed = make_feed(broker, time)
        sessions = feed.sessions()
        session = await anext(sessions)
        async for frame in session.frames():
            if isinstance(frame[-1], SnapshotEnd):
                await feed.client.probe()
        return [session.session.clock, (await anext(sessions)).session.clock]

    assert asyncio.run(read()) == clocks


def test_a_stream_that_is_refused_ends_the_session_with_its_reason(broker: Broker) -> None:
    broker.on(CHAIN, httpx.Response(403, json={"Error": "Forbidden"}))
    with pytest.raises(CredentialsError, match="Forbidden"):
        take(make_feed(broker, Time(NOON)), 9)


def test_a_reader_that_breaks_unexpectedly_ends_the_session_and_is_not_swallowed(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(whole: bytes) -> None:
        raise ZeroDivisionError(whole)

    monkeypatch.setattr("common.feeds.tradestation.streams.Rows", broken)
    with pytest.raises(ZeroDivisionError):
        take(make_feed(broker, Time(NOON)), 9)


# --- recorded and played again -----------------------------------------------------------------


def test_what_was_recorded_plays_as_it_was(broker: Broker, tmp_path: Path) -> None:
    path = tmp_path / "spy.frames.gz"
    time = Time(NOON)
    more = [lines(row(672, Bid="1.01", Volume=n)) for n in range(3)]
    broker.on(CHAIN, httpx.Response(200, stream=Chunks(FULL, *more, None)))
    feed = make_feed(broker, time, tap=lambda session: FrameWriter(path, Header(session=session)))
    live = take(feed, 5, then=lambda _: setattr(time, "now", time.now + SECOND))

    async def replay() -> tuple[Session, list[list[Update]]]:
        async for session in RecordingFeed([path], "SPY").sessions():
            return session.session, [frame async for frame in session.frames()]
        raise AssertionError

    session, played = asyncio.run(replay())
    assert session.replay
    assert session.feed == "recording"
    assert read_header(path).session.key == "SPY:2026-11-24:tradestation"
    flat = [update for frame in live for update in one_by_one(frame)]
    again = [update for frame in played for update in one_by_one(frame)]
    assert [repr(u).partition(", seq=")[0] for u in again] == [
        repr(u).partition(", seq=")[0] for u in flat
    ]
    numbers = [update.seq for update in again if not isinstance(update, SnapshotEnd)]
    assert numbers == list(range(len(numbers)))
