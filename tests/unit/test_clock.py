"""The exchange calendar against a second source, settlement, instants and their texts."""

from __future__ import annotations

import warnings
from datetime import UTC, date, datetime, timedelta, timezone

import exchange_calendars  # type: ignore[import-untyped]  # it carries no types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.clock import (
    NEW_YORK,
    SECOND,
    from_datetime,
    is_trading_day,
    iso_ms,
    new_york_date,
    new_york_time,
    next_trading_day,
    parse_instant,
    previous_trading_day,
    session_hours,
    settlement_us,
    to_datetime,
)
from common.errors import UsageError
from common.models import Expiry

HOUR = 3600 * SECOND
FIRST, LAST = date(2015, 1, 1), date(2027, 12, 31)
DAYS = [FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1)]
INSTANTS = st.integers(0, from_datetime(datetime(2100, 1, 1, tzinfo=UTC)))

Hours = dict[date, tuple[int, int]]


@pytest.fixture(scope="module")
def nyse() -> Hours:
    """Open and close [us] of every session, from exchange_calendars."""
    with warnings.catch_warnings():  # its own use of pandas, none of ours
        warnings.simplefilter("ignore")
        calendar = exchange_calendars.get_calendar("XNYS", start=str(FIRST), end=str(LAST))
        schedule = calendar.schedule
    return {
        day.date(): (from_datetime(opened.to_pydatetime()), from_datetime(closed.to_pydatetime()))
        for day, opened, closed in zip(
            schedule.index, schedule["open"], schedule["close"], strict=True
        )
    }


# --- the calendar ----------------------------------------------------------------------------


def test_trading_days_agree_with_a_second_calendar(nyse: Hours) -> None:
    assert len(nyse) > 3200
    assert [day for day in DAYS if is_trading_day(day)] == list(nyse)


def test_hours_agree_with_a_second_calendar(nyse: Hours) -> None:
    ours = {day: session_hours(day) for day in nyse}
    assert ours == nyse
    early = [day for day, (opened, closed) in ours.items() if closed - opened == 3.5 * HOUR]
    assert 20 < len(early) < 50
    assert all(closed - opened in (3.5 * HOUR, 6.5 * HOUR) for opened, closed in ours.values())


@pytest.mark.parametrize(
    ("day", "opened", "closed"),
    [
        ("2026-03-06", "14:30", "21:00"),  # the last session in winter time
        ("2026-03-09", "13:30", "20:00"),  # and the first in summer time
        ("2026-10-30", "13:30", "20:00"),
        ("2026-11-02", "14:30", "21:00"),
        ("2026-11-27", "14:30", "18:00"),  # the day after Thanksgiving
        ("2026-12-24", "14:30", "18:00"),
        ("2025-07-03", "13:30", "17:00"),
    ],
)
def test_hours_follow_daylight_saving_and_early_closes(day: str, opened: str, closed: str) -> None:
    hours = tuple(parse_instant(f"{day}T{at}Z") for at in (opened, closed))
    assert session_hours(date.fromisoformat(day)) == hours


@pytest.mark.parametrize(
    "day",
    [
        "2026-11-26",  # Thanksgiving
        "2026-11-28",  # a Saturday
        "2026-04-03",  # Good Friday
        "2026-07-03",  # Independence Day, observed
        "2025-01-09",  # a day of mourning
        "2026-06-19",  # Juneteenth
    ],
)
def test_no_hours_on_a_day_without_trading(day: str) -> None:
    assert not is_trading_day(date.fromisoformat(day))
    with pytest.raises(ValueError, match=f"{day} is no trading day of the NYSE"):
        session_hours(date.fromisoformat(day))


def test_new_years_day_on_a_saturday_is_not_observed_on_the_friday() -> None:
    assert is_trading_day(date(2021, 12, 31))


def test_next_and_previous_skip_weekends_and_holidays() -> None:
    assert next_trading_day(date(2026, 11, 25)) == date(2026, 11, 27)
    assert next_trading_day(date(2026, 11, 27)) == date(2026, 11, 30)
    assert previous_trading_day(date(2026, 11, 27)) == date(2026, 11, 25)
    assert previous_trading_day(date(2026, 11, 30)) == date(2026, 11, 27)
    assert next_trading_day(date(2026, 12, 31)) == date(2027, 1, 4)
    assert previous_trading_day(date(2027, 1, 3)) == date(2026, 12, 31)


@settings(deadline=None)
@given(st.dates(FIRST, LAST))
def test_next_and_previous_are_inverse_on_trading_days(day: date) -> None:
    after, before = next_trading_day(day), previous_trading_day(day)
    assert before < day < after
    assert is_trading_day(after)
    assert is_trading_day(before)
    between = [before + timedelta(days=n) for n in range(1, (after - before).days)]
    assert [each for each in between if is_trading_day(each)] == [day] * is_trading_day(day)
    if is_trading_day(day):
        assert previous_trading_day(after) == next_trading_day(before) == day


# --- settlement ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shard", "settles"),
    [
        ("2026-08-21", "2026-08-21T16:00-04:00"),
        ("2026-08-21-AM", "2026-08-21T09:30-04:00"),
        ("2026-12-18", "2026-12-18T16:00-05:00"),
        ("2026-12-18-AM", "2026-12-18T09:30-05:00"),
        ("2026-11-27", "2026-11-27T13:00-05:00"),  # early close
        ("2026-11-27-AM", "2026-11-27T09:30-05:00"),
        ("2015-01-17", "2015-01-16T16:00-05:00"),  # a monthly dated on the Saturday after
        ("2015-01-17-AM", "2015-01-16T09:30-05:00"),
        ("2022-04-15", "2022-04-14T16:00-04:00"),  # a third Friday that was Good Friday
        ("2022-04-15-AM", "2022-04-14T09:30-04:00"),
        ("2026-11-28", "2026-11-27T13:00-05:00"),  # a Saturday after an early close
    ],
)
def test_settlement_is_the_open_or_close_of_the_last_trading_day(shard: str, settles: str) -> None:
    assert settlement_us(Expiry.from_shard(shard)) == parse_instant(settles)


# --- instants --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-08-19T14:30:00-04:00", "2026-08-19T18:30:00.000Z"),
        ("2026-08-19T14:30:00Z", "2026-08-19T14:30:00.000Z"),
        ("2026-08-19T14:30:00", "2026-08-19T18:30:00.000Z"),  # New York where none is said
        ("2026-12-18T14:30:00", "2026-12-18T19:30:00.000Z"),
        ("  2026-08-19 14:30:05.123456+02:00\n", "2026-08-19T12:30:05.123Z"),
        ("20260819T143000Z", "2026-08-19T14:30:00.000Z"),
        ("2026-08-19", "2026-08-19T04:00:00.000Z"),
        ("2026-11-01T01:30:00", "2026-11-01T05:30:00.000Z"),  # the first of the two 01:30
        ("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
    ],
)
def test_texts_of_instants(text: str, utc: str) -> None:
    assert iso_ms(parse_instant(text)) == utc


@pytest.mark.parametrize(
    "text", ["", "now", "14:30", "2026-13-01T00:00", "1787149800", "19.8.2026"]
)
def test_what_is_no_instant_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no ISO 8601 time, e\.g\. 2026") as caught:
        parse_instant(text)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_naive_texts_can_be_of_another_zone() -> None:
    utc = parse_instant("2026-08-19T14:30:00Z")
    assert parse_instant("2026-08-19T10:30:00", naive_zone=NEW_YORK) == utc


@settings(deadline=None)
@given(INSTANTS)
def test_iso_ms_round_trip(at_us: int) -> None:
    text = iso_ms(at_us)
    assert len(text) == 24
    assert parse_instant(text) == at_us - at_us % 1000
    assert iso_ms(parse_instant(text)) == text


@settings(deadline=None)
@given(INSTANTS, INSTANTS)
def test_iso_ms_sorts_as_time_does(one: int, other: int) -> None:
    if one <= other:
        assert iso_ms(one) <= iso_ms(other)


@settings(deadline=None)
@given(INSTANTS, st.integers(-14 * 60, 14 * 60))
def test_datetimes_round_trip_in_any_zone(at_us: int, minutes: int) -> None:
    at = to_datetime(at_us)
    assert at.tzinfo is UTC
    assert from_datetime(at) == at_us
    assert from_datetime(at.astimezone(timezone(timedelta(minutes=minutes)))) == at_us


def test_a_naive_datetime_names_no_instant() -> None:
    naive = datetime(2026, 8, 19, 14, 30)  # noqa: DTZ001  that is the point
    with pytest.raises(ValueError, match="without a time zone"):
        from_datetime(naive)


@pytest.mark.parametrize(
    ("utc", "day", "time"),
    [
        ("2026-08-20T03:59:59.999Z", "2026-08-19", "23:59:59"),
        ("2026-08-20T04:00:00Z", "2026-08-20", "00:00:00"),
        ("2026-12-19T04:59:59Z", "2026-12-18", "23:59:59"),
        ("2026-11-01T06:30:00Z", "2026-11-01", "01:30:00"),
    ],
)
def test_new_york_date_and_time(utc: str, day: str, time: str) -> None:
    at_us = parse_instant(utc)
    assert new_york_date(at_us) == date.fromisoformat(day)
    assert new_york_time(at_us) == time
