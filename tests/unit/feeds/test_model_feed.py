"""The simulator's feed: which trading date runs when, and what follows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from typing import TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.clock import (
    SECOND,
    is_trading_day,
    next_trading_day,
    parse_instant,
    session_hours,
)
from common.feeds.base import Feed
from common.feeds.model import MarketModelFeed, ModelSession, default_start
from common.models import (
    MarketClock,
    Session,
    SnapshotEnd,
    Update,
)

SEED = 7
HOUR = 3600 * SECOND
SUNDAY = parse_instant("2026-11-22T15:00:00")
FRIDAY = date(2026, 11, 20)
MONDAY = date(2026, 11, 23)
T = TypeVar("T")


class FakeTime:
    """Wall time that only sleeping moves."""

    def __init__(self, at_us: int = SUNDAY) -> None:
        self.at_us = at_us

    def wall(self) -> int:
        """The fake wall time [us]."""
        return self.at_us

    async def sleep(self, seconds: float) -> None:
        """Pass the time at once."""
        self.at_us += round(seconds * SECOND)


def feed_at(
    time: FakeTime,
    *,
    previous: Session | None = None,
    step_us: int = 250_000,
    symbol: str = "SPY",
    seed: int = SEED,
) -> MarketModelFeed:
    """A feed on fake time."""
    return MarketModelFeed(
        symbol=symbol,
        seed=seed,
        stale_after_us=15 * SECOND,
        step_us=step_us,
        previous=previous,
        wall=time.wall,
        sleep=time.sleep,
    )


async def take(source: AsyncIterator[T], count: int) -> list[T]:
    """The first items of an endless iterator."""
    items: list[T] = []
    async for item in source:
        items.append(item)
        if len(items) == count:
            break
    return items


def first_session(feed: MarketModelFeed) -> ModelSession:
    """The session the feed offers now."""
    return asyncio.run(take(feed.sessions(), 1))[0]


def frames_of(session: ModelSession, count: int) -> list[list[Update]]:
    """The first frames of a session."""
    return asyncio.run(take(session.frames(), count))


def times_of(frame: list[Update]) -> set[int]:
    """The market times of a frame's updates."""
    return {update.time for update in frame}


def stored(day: date, offset_us: int, *, symbol: str = "SPY", seed: int = SEED) -> Session:
    """The record that an earlier run left behind."""
    open_us, close_us = session_hours(day)
    return Session(
        key=f"{symbol}:{day}:simulator:{seed}",
        symbol=symbol,
        feed="simulator",
        trading_date=day,
        open_us=open_us,
        close_us=close_us,
        stale_after_us=SECOND,
        clock=MarketClock(0, offset_us),
        epoch=4,
        ended=False,
    )


# --- which session ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wall", "market"),
    [
        ("2026-11-23T11:07:08", "2026-11-23T11:07:08"),  # the NYSE is open: real time
        ("2026-11-23T09:30:00", "2026-11-23T09:30:00"),
        ("2026-11-23T09:29:59", "2026-11-23T10:00:00"),  # before the open: today, at ten
        ("2026-11-23T16:00:00", "2026-11-23T10:00:00"),  # at the close it is closed
        ("2026-11-22T15:00:00", "2026-11-20T10:00:00"),  # Sunday: Friday
        ("2026-11-26T12:00:00", "2026-11-25T10:00:00"),  # Thanksgiving
        ("2026-11-27T12:59:59", "2026-11-27T12:59:59"),  # the half day after it
        ("2026-11-27T13:00:00", "2026-11-27T10:00:00"),
        ("2026-07-01T03:00:00", "2026-07-01T10:00:00"),  # daylight saving time
    ],
)
def test_first_session_is_open_whatever_the_wall_clock_says(wall: str, market: str) -> None:
    time = FakeTime(parse_instant(wall))
    session = first_session(feed_at(time)).session
    assert time.wall() + session.clock.market_us == parse_instant(market)
    assert session.trading_date == date.fromisoformat(market[:10])
    assert (session.open_us, session.close_us) == session_hours(session.trading_date)


def test_session_record_says_what_it_is() -> None:
    session = first_session(feed_at(FakeTime())).session
    assert session.key == "SPY:2026-11-20:simulator:7"
    assert (session.symbol, session.feed, session.epoch) == ("SPY", "simulator", 0)
    assert session.stale_after_us == 15 * SECOND
    assert not session.replay
    assert not session.resume
    assert not session.ended
    assert Session.from_json(session.to_json()) == session


def test_feed_follows_the_protocol() -> None:
    feed: Feed = feed_at(FakeTime())
    session = asyncio.run(take(feed.sessions(), 1))[0]
    assert session.session.trading_date == FRIDAY


@settings(deadline=None)
@given(st.integers(parse_instant("2016-01-04T00:00"), parse_instant("2027-12-20T00:00")))
def test_default_start_is_always_within_a_session(wall: int) -> None:
    day, offset_us = default_start(wall)
    open_us, close_us = session_hours(day)
    assert open_us <= wall + offset_us < close_us
    assert offset_us % SECOND == 0
    assert offset_us == 0 or 0 <= wall + offset_us - (open_us + HOUR // 2) < SECOND


# --- restarts --------------------------------------------------------------------------------


def test_restart_goes_on_with_a_session_that_has_time_left() -> None:
    before = first_session(feed_at(FakeTime())).session
    later = FakeTime(SUNDAY + 5 * HOUR)
    after = first_session(feed_at(later, previous=before)).session
    assert after == msgspec.structs.replace(before, resume=True)
    session = first_session(feed_at(later, previous=before))
    assert times_of(frames_of(session, 1)[0]) == {parse_instant("2026-11-20T15:00:00")}


def test_restart_applies_the_settings_of_the_new_run() -> None:
    kept = stored(FRIDAY, parse_instant("2026-11-20T12:00:00") - SUNDAY)
    session = first_session(feed_at(FakeTime(), previous=kept)).session
    assert session.stale_after_us == 15 * SECOND
    assert (session.key, session.clock.market_us) == (kept.key, kept.clock.market_us)
    assert session.epoch == 0  # the ingestor numbers its runs


def test_restart_after_the_close_rolls_to_the_next_trading_day() -> None:
    over = first_session(feed_at(FakeTime())).session
    time = FakeTime(SUNDAY + 6 * HOUR)  # exactly at the close
    session = first_session(feed_at(time, previous=over)).session
    assert session.trading_date == MONDAY
    assert time.wall() + session.clock.market_us == session.open_us
    assert not session.resume


def test_restart_rolls_on_from_a_date_ahead_of_the_wall_clock() -> None:
    time = FakeTime(parse_instant("2026-11-23T11:00:00"))  # the NYSE is open
    ahead = stored(date(2026, 11, 25), 40 * 24 * HOUR)
    session = first_session(feed_at(time, previous=ahead)).session
    assert session.trading_date == date(2026, 11, 27)
    assert time.wall() + session.clock.market_us == session.open_us


def test_restart_long_after_starts_where_a_first_session_would() -> None:
    session = first_session(feed_at(FakeTime(), previous=stored(date(2026, 10, 1), 0))).session
    assert session == first_session(feed_at(FakeTime())).session


def test_wall_clock_set_back_before_the_open_reuses_no_date() -> None:
    session = first_session(feed_at(FakeTime(), previous=stored(FRIDAY, -90 * 24 * HOUR))).session
    assert session.trading_date == MONDAY


@pytest.mark.parametrize(
    "other",
    [
        stored(date(2026, 12, 1), 0, symbol="QQQ"),
        stored(date(2026, 12, 1), 0, seed=8),
        msgspec.structs.replace(stored(date(2026, 12, 1), 0), feed="recording"),
    ],
    ids=["symbol", "seed", "feed"],
)
def test_a_session_of_something_else_is_not_gone_on_with(other: Session) -> None:
    assert first_session(feed_at(FakeTime(), previous=other)).session.trading_date == FRIDAY


@settings(deadline=None)
@given(st.lists(st.integers(0, 30 * HOUR), min_size=1, max_size=12))
def test_dates_never_return_however_often_it_restarts(pauses: list[int]) -> None:
    time = FakeTime()
    previous = first_session(feed_at(time)).session
    for pause in pauses:
        time.at_us += pause
        session = first_session(feed_at(time, previous=previous)).session
        if time.wall() + previous.clock.market_us < previous.close_us:
            assert (session.key, session.resume) == (previous.key, True)
            assert session.clock.market_us == previous.clock.market_us
        else:
            assert session.trading_date > previous.trading_date
            assert is_trading_day(session.trading_date)
            assert not session.resume
        assert session.open_us <= time.wall() + session.clock.market_us < session.close_us
        previous = session


# --- one after the other ---------------------------------------------------------------------


def test_frames_end_with_the_close_and_the_next_trading_day_follows() -> None:
    time = FakeTime()
    feed = feed_at(time, step_us=HOUR)

    async def play() -> list[tuple[Session, int, list[list[Update]]]]:
        played = []
        async for each in feed.sessions():
            began = time.wall() + each.session.clock.market_us
            played.append((each.session, began, [frame async for frame in each.frames()]))
            assert time.wall() + each.session.clock.market_us == each.session.close_us
            if len(played) == 4:
                break
        return played

    played = asyncio.run(play())
    days = [FRIDAY, MONDAY, date(2026, 11, 24), date(2026, 11, 25)]
    assert [session.trading_date for session, _, _ in played] == days
    assert [frames[-1][0].time for _, _, frames in played] == [s.close_us for s, _, _ in played]
    assert [began - session.open_us for session, began, _ in played] == [HOUR // 2, 0, 0, 0]
    assert [len(frames) for _, _, frames in played] == [8, 8, 8, 8]
    for _, _, frames in played:
        assert [any(isinstance(u, SnapshotEnd) for u in frame) for frame in frames] == [
            True,
            *[False] * 7,
        ]


def test_a_real_session_is_followed_by_tomorrows() -> None:
    time = FakeTime(parse_instant("2026-11-23T15:00:00"))
    feed = feed_at(time)
    today = first_session(feed).session
    assert first_session(feed).session == msgspec.structs.replace(today, resume=True)
    time.at_us = parse_instant("2026-11-23T16:00:00")
    tomorrow = first_session(feed).session
    assert today.clock.market_us == 0
    assert tomorrow.trading_date == next_trading_day(MONDAY)
    assert time.wall() + tomorrow.clock.market_us == tomorrow.open_us


def test_a_run_that_slept_over_days_still_plays_every_date() -> None:
    time = FakeTime()
    feed = feed_at(time)
    assert first_session(feed).session.trading_date == FRIDAY
    time.at_us += 30 * 24 * HOUR
    assert first_session(feed).session.trading_date == MONDAY
