"""The exchange calendar, time to settlement, and wall time.

Owns New York time, which no other module touches, and every answer to 'what time is it';
must not read settings. Instants are integer microseconds since the Unix epoch, UTC.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from functools import lru_cache
from typing import cast
from zoneinfo import ZoneInfo

from common.errors import UsageError
from common.models import Expiry

NEW_YORK = ZoneInfo("America/New_York")
SECOND = 1_000_000
"""Microseconds in a second."""
YEAR_SECONDS = 365.0 * 86400.0
_EPOCH = datetime.fromtimestamp(0, UTC)
_OPEN = clock_time(9, 30)
_CLOSE = clock_time(16, 0)
_EARLY_CLOSE = clock_time(13, 0)


def wall_us() -> int:
    """Wall time [us since the epoch]."""
    return time.time_ns() // 1000


def to_datetime(at_us: int) -> datetime:
    """The aware UTC datetime of an instant."""
    return _EPOCH + timedelta(microseconds=at_us)


def from_datetime(at: datetime) -> int:
    """The instant of an aware datetime [us].

    :raises ValueError: when ``at`` has no time zone.
    """
    if at.tzinfo is None:
        raise ValueError("a datetime without a time zone names no instant")
    return (at - _EPOCH) // timedelta(microseconds=1)


def iso_ms(at_us: int) -> str:
    """An instant as ISO 8601 UTC with milliseconds: ``2026-08-19T13:33:04.000Z``."""
    minute, rest = divmod(at_us, 60 * SECOND)
    second, us = divmod(rest, SECOND)
    return f"{_iso_minute(minute)}:{second:02d}.{us // 1000:03d}Z"


@lru_cache(maxsize=256)
def _iso_minute(minute: int) -> str:
    """``2026-08-19T13:33``; a level names several instants of the same few minutes."""
    return to_datetime(minute * 60 * SECOND).replace(tzinfo=None).isoformat(timespec="minutes")


def whole_ms(at_us: int) -> int:
    """The instant that :func:`iso_ms` tells [us]; a level is of one that is told in full, so
    that whoever types it gets that level."""
    return at_us - at_us % 1000


def parse_instant(text: str, *, naive_zone: ZoneInfo = NEW_YORK) -> int:
    """The instant [us] of an ISO 8601 text; without an offset it is New York time.

    :raises UsageError: when ``text`` is no ISO 8601 date and time.
    """
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise UsageError(f"{text!r} is no ISO 8601 time, e.g. 2026-08-19T14:30:00-04:00") from error
    return from_datetime(at if at.tzinfo else at.replace(tzinfo=naive_zone))


def new_york_date(at_us: int) -> date:
    """The New York calendar date of an instant."""
    return to_datetime(at_us).astimezone(NEW_YORK).date()


def new_york_time(at_us: int) -> str:
    """An instant as New York wall time for people: ``14:30:05``."""
    return to_datetime(at_us).astimezone(NEW_YORK).strftime("%H:%M:%S")


@lru_cache(maxsize=256)
def _closed_days(year: int) -> frozenset[date]:
    return frozenset(_exchange()(years=year))


@lru_cache(maxsize=1)
def _exchange() -> Callable[..., Iterable[date]]:
    """The library's NYSE without the 300 modules of other markets that its package imports.

    They would cost every process 8 MB and 70 ms.
    """
    package = "holidays.financial"
    spec = None if package in sys.modules else importlib.util.find_spec(package)
    if spec is not None:
        sys.modules[package] = importlib.util.module_from_spec(spec)  # not executed
    try:
        module = importlib.import_module(f"{package}.ny_stock_exchange")
    finally:
        if spec is not None:
            del sys.modules[package]
    return cast(Callable[..., Iterable[date]], module.NewYorkStockExchange)


@lru_cache(maxsize=256)
def _half_days(year: int) -> frozenset[date]:
    return frozenset(_exchange()(years=year, categories=("half_day",)))


def is_trading_day(day: date) -> bool:
    """Whether the NYSE opens on ``day``."""
    return day.weekday() < 5 and day not in _closed_days(day.year)


def previous_trading_day(day: date) -> date:
    """The last trading day before ``day``."""
    day -= timedelta(days=1)
    while not is_trading_day(day):
        day -= timedelta(days=1)
    return day


def next_trading_day(day: date) -> date:
    """The first trading day after ``day``."""
    day += timedelta(days=1)
    while not is_trading_day(day):
        day += timedelta(days=1)
    return day


def session_hours(day: date) -> tuple[int, int]:
    """Open and close of the cash session of a trading day [us].

    Early closes (13:00 New York) are included.

    :raises ValueError: when the exchange is closed on ``day``.
    """
    if not is_trading_day(day):
        raise ValueError(f"{day} is no trading day of the NYSE")
    close = _EARLY_CLOSE if day in _half_days(day.year) else _CLOSE
    return _instant(day, _OPEN), _instant(day, close)


@lru_cache(maxsize=4096)
def settlement_us(expiry: Expiry) -> int:
    """The instant an expiry settles [us]: the open for AM style, the close for PM style.

    An expiration on a day without trading (the Saturdays of old monthlies, a Good Friday)
    settles with the trading day before it.
    """
    day = expiry.expiration
    if not is_trading_day(day):
        day = previous_trading_day(day)
    opened, closed = session_hours(day)
    return opened if expiry.settlement == "AM" else closed


def _instant(day: date, at: clock_time) -> int:
    return from_datetime(datetime.combine(day, at, tzinfo=NEW_YORK))
