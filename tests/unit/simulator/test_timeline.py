"""Which trading date runs when, and what follows it."""

from __future__ import annotations

from datetime import date

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.clock import SECOND, is_trading_day, next_trading_day, parse_instant, session_hours
from common.errors import UsageError
from common.models import MarketClock
from workers.simulator.recorded_market import RecordedDates
from workers.simulator.timeline import Dates, Running, Timeline, TradingDays

SEED = 7
HOUR = 3600 * SECOND
PAUSE = 10 * SECOND
SUNDAY = parse_instant("2026-11-22T15:00:00")
FRIDAY = date(2026, 11, 20)
MONDAY = date(2026, 11, 23)


def timeline(*, rate: float = 1.0, start: str | None = None) -> Timeline:
    """The market model's."""
    start_us = parse_instant(start) if start else None
    return Timeline(TradingDays(SEED), rate=rate, pause_us=PAUSE, start_us=start_us)


def stored(day: date, market: str, *, wall: int = SUNDAY, source: str = str(SEED)) -> Running:
    """What an earlier run wrote down: it was ``market`` at ``wall``."""
    return Running(source, day, MarketClock(wall, parse_instant(market)))


def market_of(running: Running, wall: int) -> int:
    """Market time."""
    return running.clock.market(wall)


# --- which date ------------------------------------------------------------------------------


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
    now = parse_instant(wall)
    running = timeline().begin(None, now)
    assert market_of(running, now) == parse_instant(market)
    assert running.trading_date == date.fromisoformat(market[:10])
    assert timeline().hours(running) == session_hours(running.trading_date)


def test_the_model_offers_dates_as_the_protocol_says() -> None:
    dates: Dates = TradingDays(SEED)
    assert dates.source == "7"
    assert dates.hours(date(2026, 11, 26)) is None
    assert dates.after(FRIDAY) == MONDAY


@given(st.integers(parse_instant("2016-01-04T00:00"), parse_instant("2027-12-20T00:00")))
def test_first_session_is_always_within_its_hours(wall: int) -> None:
    running = timeline().begin(None, wall)
    open_us, close_us = session_hours(running.trading_date)
    market = market_of(running, wall)
    assert open_us <= market < close_us
    assert market in (wall, open_us + HOUR // 2)


def test_accelerated_time_runs_at_its_rate() -> None:
    running = timeline(rate=60.0).begin(None, SUNDAY)
    assert market_of(running, SUNDAY + SECOND) - market_of(running, SUNDAY) == 60 * SECOND


def test_a_start_that_is_asked_for_wins_over_what_was_written_down() -> None:
    asked = timeline(start="2026-08-19T15:59:00")
    running = asked.begin(stored(FRIDAY, "2026-11-20T12:00"), SUNDAY)
    assert running.trading_date == date(2026, 8, 19)
    assert market_of(running, SUNDAY) == parse_instant("2026-08-19T19:59:00+00:00")


@pytest.mark.parametrize("start", ["2026-11-22T12:00", "2026-11-20T09:29", "2026-11-27T13:00"])
def test_a_start_out_of_hours_is_refused(start: str) -> None:
    with pytest.raises(UsageError, match="lies in no session"):
        timeline(start=start)


# --- restarts --------------------------------------------------------------------------------


def test_restart_goes_on_with_a_session_that_has_time_left() -> None:
    before = timeline().begin(None, SUNDAY)
    assert timeline().begin(before, SUNDAY + 5 * HOUR) == before


def test_restart_at_another_speed_goes_on_at_the_same_market_time() -> None:
    before = timeline().begin(None, SUNDAY)
    later = SUNDAY + HOUR
    after = timeline(rate=10.0).begin(before, later)
    assert (after.trading_date, after.clock.rate) == (before.trading_date, 10.0)
    assert market_of(after, later) == market_of(before, later)


def test_restart_in_the_pause_after_the_close_stays_with_the_date() -> None:
    over = timeline().begin(None, SUNDAY)  # 10:00, so the close is six hours on
    assert timeline().begin(over, SUNDAY + 6 * HOUR + PAUSE - 1) == over


def test_restart_after_the_pause_rolls_to_the_next_trading_day() -> None:
    over = timeline().begin(None, SUNDAY)
    wall = SUNDAY + 6 * HOUR + PAUSE
    running = timeline().begin(over, wall)
    assert running.trading_date == MONDAY
    assert market_of(running, wall) == session_hours(MONDAY)[0]


def test_restart_rolls_on_from_a_date_ahead_of_the_wall_clock() -> None:
    wall = parse_instant("2026-11-23T11:00:00")  # the NYSE is open
    ahead = stored(date(2026, 11, 25), "2026-11-25T10:00", wall=wall - 10 * HOUR)
    running = timeline().begin(ahead, wall)
    assert running.trading_date == date(2026, 11, 27)
    assert market_of(running, wall) == session_hours(running.trading_date)[0]


def test_restart_long_after_starts_where_a_first_session_would() -> None:
    old = stored(date(2026, 10, 1), "2026-10-01T10:00", wall=SUNDAY - 1000 * HOUR)
    assert timeline().begin(old, SUNDAY) == timeline().begin(None, SUNDAY)


def test_wall_clock_set_back_before_the_open_reuses_no_date() -> None:
    ahead = stored(FRIDAY, "2026-11-20T10:00", wall=SUNDAY + 1000 * HOUR)
    assert timeline().begin(ahead, SUNDAY).trading_date == MONDAY


@pytest.mark.parametrize(
    "other",
    [
        stored(date(2026, 12, 1), "2026-12-01T10:00", source="8"),
        stored(date(2026, 12, 1), "2026-12-01T10:00", source="recording-0123"),
        stored(date(2026, 11, 26), "2026-11-26T10:00"),  # no trading day
    ],
    ids=["seed", "recording", "holiday"],
)
def test_a_session_of_something_else_is_not_gone_on_with(other: Running) -> None:
    assert timeline().begin(other, SUNDAY) == timeline().begin(None, SUNDAY)


@settings(deadline=None)
@given(st.lists(st.integers(0, 30 * HOUR), min_size=1, max_size=12))
def test_dates_never_return_however_often_it_restarts(pauses: list[int]) -> None:
    wall = SUNDAY
    previous = timeline().begin(None, wall)
    for pause in pauses:
        wall += pause
        running = timeline().begin(previous, wall)
        open_us, close_us = session_hours(running.trading_date)
        if market_of(previous, wall) < session_hours(previous.trading_date)[1] + PAUSE:
            assert running == previous
        else:
            assert running.trading_date > previous.trading_date
            assert is_trading_day(running.trading_date)
        assert open_us <= market_of(running, wall) < close_us + PAUSE
        previous = running


# --- one after the other ---------------------------------------------------------------------


def test_the_next_trading_day_begins_when_the_pause_is_over() -> None:
    wall = parse_instant("2026-11-23T15:00:00")
    plan = timeline()
    today = plan.begin(None, wall)
    over = parse_instant("2026-11-23T16:00:00") + PAUSE
    assert plan.ends_at(today) == over
    assert not plan.is_over(today, over - 1)
    assert plan.is_over(today, over)
    tomorrow = plan.following(today, over)
    assert tomorrow is not None
    assert tomorrow.trading_date == next_trading_day(MONDAY)
    assert market_of(tomorrow, over) == session_hours(tomorrow.trading_date)[0]


def test_what_is_written_down_is_read_back() -> None:
    running = timeline(rate=7.5).begin(None, SUNDAY)
    assert msgspec.json.decode(msgspec.json.encode(running), type=Running) == running


# --- recordings ------------------------------------------------------------------------------

DAY = date(2026, 8, 19)
FIRST, LAST = parse_instant("2026-08-19T09:33:04"), parse_instant("2026-08-19T16:00:00")


def recorded(*, once: bool = False, more: bool = False) -> Timeline:
    """The timeline of a recording of one date, or of two."""
    hours = {DAY: (FIRST, LAST)}
    if more:
        hours[date(2026, 8, 20)] = (FIRST + 24 * HOUR, LAST + 24 * HOUR)
    return Timeline(RecordedDates("recording-0123", hours), pause_us=PAUSE, once=once)


def test_a_recording_begins_at_its_first_snapshot_whatever_the_wall_clock_says() -> None:
    running = recorded().begin(None, SUNDAY)
    assert (running.trading_date, running.name) == (DAY, "recording-0123")
    assert market_of(running, SUNDAY) == FIRST


def test_a_recording_of_two_dates_plays_both_then_begins_again_under_another_name() -> None:
    plan, wall = recorded(more=True), SUNDAY
    running = plan.begin(None, wall)
    played = []
    for _ in range(4):
        played.append((running.trading_date.day, running.name))
        wall = plan.ends_at(running)
        following = plan.following(running, wall)
        assert following is not None
        assert plan.begin(running, wall) == following  # a restart finds the same
        running = following
    assert played == [
        (19, "recording-0123"),
        (20, "recording-0123"),
        (19, "recording-0123-2"),
        (20, "recording-0123-2"),
    ]


def test_once_stays_at_the_end_of_the_last_date_restarts_included() -> None:
    plan = recorded(once=True, more=True)
    first = plan.begin(None, SUNDAY)
    second = plan.following(first, plan.ends_at(first))
    assert second is not None
    late = plan.ends_at(second) + 1000 * HOUR
    assert plan.following(second, late) is None
    assert not plan.is_over(second, late)
    assert plan.begin(second, late) == second


def test_a_start_in_a_recording_lies_between_first_snapshot_and_close() -> None:
    dates = RecordedDates("recording-0123", {DAY: (FIRST, LAST)})
    with pytest.raises(UsageError, match="lies in no session"):
        Timeline(dates, start_us=FIRST - 1)
    with pytest.raises(UsageError, match="lies in no session"):
        Timeline(dates, start_us=LAST)
    running = Timeline(dates, start_us=LAST - 1).begin(None, SUNDAY)
    assert market_of(running, SUNDAY) == LAST - 1


def test_the_next_early_close_is_the_day_after_thanksgiving() -> None:
    plan = timeline(rate=10.0)
    before = plan.begin(None, SUNDAY)
    found = plan.next_early_close(before, 60 * SECOND, SUNDAY)
    assert found is not None
    assert found.trading_date == date(2026, 11, 27)
    assert found.clock.wall(session_hours(found.trading_date)[1]) == SUNDAY + 60 * SECOND
    assert (found.clock.rate, found.round) == (10.0, before.round)
    after = plan.next_early_close(found, 3600 * SECOND, SUNDAY)
    assert after is not None
    assert after.trading_date == date(2026, 12, 24)
    assert after.clock.market(SUNDAY) == session_hours(after.trading_date)[0]  # no earlier


def test_a_recording_of_whole_days_has_no_early_close() -> None:
    plan = recorded(more=True)
    assert plan.next_early_close(plan.begin(None, SUNDAY), SECOND, SUNDAY) is None
