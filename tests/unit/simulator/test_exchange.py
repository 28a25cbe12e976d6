"""The market in motion: steps, closes, the next date."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import date

import pytest

from common.clock import SECOND, parse_instant, session_hours
from common.errors import UsageError
from common.feeds.tradestation.simulated import Announcement
from workers.simulator.desk import Desk
from workers.simulator.exchange import Exchange
from workers.simulator.market import Places
from workers.simulator.model_market import ModelMarket
from workers.simulator.timeline import Running, Timeline

SEED = 7
HOUR = 3600 * SECOND
STEP = 250_000
SUNDAY = parse_instant("2026-11-22T15:00:00")
MONDAY_AT_11 = parse_instant("2026-11-23T11:00:00")
FRIDAY = date(2026, 11, 20)  # the date simulated on that Sunday, from 10:00 on
MARKET = ModelMarket(SEED, ["AAPL"])


class Enough(Exception):  # noqa: N818  not an error
    """Raised by the fake clock to end a test."""


class FakeTime:
    """Wall time that only sleeping moves; it may oversleep or wake early."""

    def __init__(self, at_us: int, *, until_us: int) -> None:
        self.at_us, self._until_us = at_us, until_us
        self.sleeps: list[float] = []
        self.error: Callable[[int], int] = lambda asked: asked

    def wall(self) -> int:
        """The fake wall time [us]."""
        return self.at_us

    async def sleep(self, seconds: float) -> None:
        """Pass the time at once."""
        if self.at_us >= self._until_us:
            raise Enough
        self.sleeps.append(seconds)
        self.at_us += self.error(round(seconds * SECOND))


class Steps:
    """Remembers the market times at which a desk spoke."""

    def __init__(self) -> None:
        self.times: list[int] = []
        self.places: list[int] = []

    def notice(self, desk: Desk, places: Places, *, moved: bool) -> None:
        """Hear of a step."""
        del moved
        self.times.append(desk.at_us)
        self.places.append(places.size)


def exchange(time: FakeTime, *, rate: float = 1.0, step_us: int = STEP, pause: int = 0) -> Exchange:
    """The model's market on fake time."""
    plan = Timeline(MARKET.dates, rate=rate, pause_us=pause * SECOND)
    return Exchange(MARKET, plan, step_us=step_us, wall=time.wall, sleep=time.sleep)


def follow(market: Exchange, symbol: str = "SPY") -> Steps:
    """Listen to a desk."""
    steps, desk = Steps(), market.desk(symbol)
    assert desk is not None
    desk.listeners.add(steps)
    return steps


def play(market: Exchange) -> None:
    """Until the fake clock has had enough."""
    with pytest.raises(Enough):
        asyncio.run(market.run())


# --- steps -----------------------------------------------------------------------------------


def test_steps_lie_on_a_grid_of_market_time() -> None:
    begin = MONDAY_AT_11 + 123_456
    time = FakeTime(begin, until_us=MONDAY_AT_11 + 5 * STEP)
    market = exchange(time)
    assert market.at_us == MONDAY_AT_11
    steps = follow(market)
    play(market)
    assert steps.times == [MONDAY_AT_11 + n * STEP for n in range(1, 6)]
    assert time.wall() == MONDAY_AT_11 + 5 * STEP


def test_a_timer_that_rings_early_is_waited_for_again() -> None:
    time = FakeTime(MONDAY_AT_11, until_us=MONDAY_AT_11 + 2 * STEP)
    time.error = lambda asked: max(asked - 1000, asked // 2, 1)
    market = exchange(time)
    steps = follow(market)
    play(market)
    assert steps.times == [MONDAY_AT_11 + STEP, MONDAY_AT_11 + 2 * STEP]
    assert time.wall() == MONDAY_AT_11 + 2 * STEP


def test_steps_missed_by_a_busy_process_are_left_out() -> None:
    time = FakeTime(MONDAY_AT_11, until_us=MONDAY_AT_11 + 20 * SECOND)
    time.error = lambda asked: asked + 10 * SECOND + 1
    market = exchange(time)
    steps = follow(market)
    play(market)
    assert steps.times == [MONDAY_AT_11 + 10 * SECOND + STEP, MONDAY_AT_11 + 20 * SECOND + 2 * STEP]


def test_every_step_yields_to_the_event_loop_even_when_late() -> None:
    time = FakeTime(MONDAY_AT_11, until_us=MONDAY_AT_11 + 3 * SECOND)
    time.error = lambda asked: asked + SECOND
    market = exchange(time)
    steps = follow(market)
    play(market)
    assert len(time.sleeps) == len(steps.times) == 3
    assert all(0 <= seconds <= 0.25 for seconds in time.sleeps)


def test_accelerated_time_makes_longer_steps() -> None:
    time = FakeTime(SUNDAY, until_us=SUNDAY + 3 * STEP)
    market = exchange(time, rate=40.0)
    steps = follow(market)
    first = parse_instant("2026-11-20T10:00:00")
    play(market)
    assert steps.times == [first + n * 40 * STEP for n in range(1, 4)]


def test_a_desk_that_nobody_follows_rests_until_it_is_asked() -> None:
    time = FakeTime(MONDAY_AT_11, until_us=MONDAY_AT_11 + 8 * STEP)
    market = exchange(time)
    desk = market.desk("SPY")
    assert desk is not None
    play(market)
    assert desk.at_us == MONDAY_AT_11
    assert market.desk("SPY") is desk
    assert desk.at_us == market.at_us == MONDAY_AT_11 + 8 * STEP


# --- the close and the next date -------------------------------------------------------------


def test_dates_follow_each_other_after_the_pause() -> None:
    time = FakeTime(SUNDAY, until_us=SUNDAY + 20 * HOUR)
    market = exchange(time, step_us=HOUR, pause=60)
    rolls: list[tuple[date, int, int]] = []
    closes: list[int] = []
    steps = [follow(market)]

    def rolled() -> None:
        closes.append(steps[-1].times[-1])
        rolls.append((market.running.trading_date, market.at_us, time.wall()))
        steps.append(follow(market))

    market.on_roll = rolled
    play(market)
    monday, tuesday = date(2026, 11, 23), date(2026, 11, 24)
    first = SUNDAY + 6 * HOUR + 60 * SECOND
    second = first + 6 * HOUR + HOUR // 2 + 60 * SECOND
    assert rolls[:2] == [
        (monday, session_hours(monday)[0], first),
        (tuesday, session_hours(tuesday)[0], second),
    ]
    assert closes[:2] == [session_hours(FRIDAY)[1], session_hours(monday)[1]]


@pytest.mark.parametrize("closed", [False, True])
def test_somebody_may_go_to_the_next_early_close_at_any_time(closed: bool) -> None:
    time = FakeTime(SUNDAY, until_us=SUNDAY + 8 * HOUR)
    market = exchange(time, step_us=60 * SECOND, pause=HOUR // SECOND)
    leave_at = SUNDAY + (6 * HOUR + HOUR // 2 if closed else HOUR)
    half, next_day = date(2026, 11, 27), date(2026, 11, 30)
    rolls: list[tuple[date, int]] = []
    market.on_roll = lambda: rolls.append((market.running.trading_date, time.wall()))

    def error(asked: int) -> int:
        if time.wall() >= leave_at and not rolls:
            assert market.closed == closed
            market.skip_to_early_close(600 * SECOND)
        return asked

    time.error = error
    play(market)
    (first, went), (second, rolled) = rolls
    assert (first, second) == (half, next_day)
    assert leave_at <= went < leave_at + 60 * SECOND
    assert rolled == went + 600 * SECOND + HOUR


def test_a_market_without_an_early_close_ahead_refuses_to_go_there() -> None:
    market = exchange(FakeTime(MONDAY_AT_11, until_us=MONDAY_AT_11))
    market._timeline.next_early_close = lambda *_: None  # type: ignore[method-assign]
    with pytest.raises(UsageError, match="no date that closes early"):
        market.skip_to_early_close(SECOND)
    assert market.running.trading_date == date(2026, 11, 23)


def test_a_clock_that_is_off_stays_so_on_the_next_date() -> None:
    market = exchange(FakeTime(MONDAY_AT_11, until_us=MONDAY_AT_11))
    market.tell_time(5 * SECOND)
    market.skip_to_early_close(SECOND)
    told = Announcement.parse(market.header)
    assert told is not None
    assert told.clock.market_us == market.running.clock.market_us + 5 * SECOND


def test_the_header_says_the_clock_of_the_date_that_runs() -> None:
    time = FakeTime(SUNDAY, until_us=SUNDAY + 7 * HOUR)
    market = exchange(time, step_us=HOUR)
    before = Announcement.parse(market.header)
    assert before == Announcement(market.running.clock, "7")
    play(market)
    after = Announcement.parse(market.header)
    assert after == Announcement(market.running.clock, "7")
    assert before is not None
    assert after is not None
    assert after.clock != before.clock


def test_each_date_is_remembered_before_anybody_hears_of_it() -> None:
    time = FakeTime(SUNDAY, until_us=SUNDAY + 7 * HOUR)
    remembered: list[Running] = []
    plan = Timeline(MARKET.dates)
    market = Exchange(
        MARKET, plan, remember=remembered.append, step_us=HOUR, wall=time.wall, sleep=time.sleep
    )
    heard: list[int] = []
    market.on_roll = lambda: heard.append(len(remembered))
    play(market)
    assert [each.trading_date for each in remembered] == [FRIDAY, date(2026, 11, 23)]
    assert heard == [2]


def test_a_restart_goes_on_in_the_same_market_time() -> None:
    time = FakeTime(SUNDAY, until_us=SUNDAY)
    first = exchange(time)
    time.at_us += HOUR
    again = Exchange(MARKET, Timeline(MARKET.dates), previous=first.running, wall=time.wall)
    assert again.now() == first.now()
    assert again.at_us == parse_instant("2026-11-20T11:00:00")


def test_the_last_step_leaves_nothing_unsaid() -> None:
    close = session_hours(FRIDAY)[1]
    time = FakeTime(SUNDAY, until_us=SUNDAY + 6 * HOUR + 1)
    market = exchange(time, step_us=7 * SECOND, pause=60)
    time.at_us = SUNDAY + 6 * HOUR - 60 * SECOND
    market.at_us = close - 60 * SECOND
    steps, desk = follow(market), market.desk("SPY")
    assert desk is not None
    play(market)
    assert steps.times[-1] == close
    rows = desk.day.board(close).rows
    for name in ("bid", "ask", "bid_size", "ask_size", "volume", "open_interest"):
        assert (desk.said[name] == rows[name]).all()


# --- who is there ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "symbol", "root"),
    [
        ("SPY", "SPY", "SPY"),
        (" spy ", "SPY", "SPY"),
        ("$SPXW.X", "SPX", "SPXW"),
        ("$spx.x", "SPX", "SPX"),
        ("AAPL", "AAPL", "AAPL"),  # named by the settings
    ],
)
def test_chains_are_found_by_tradestations_names(name: str, symbol: str, root: str) -> None:
    found = exchange(FakeTime(SUNDAY, until_us=SUNDAY)).chain(name)
    assert found is not None
    assert (found[0].contracts.symbol, found[1]) == (symbol, root)


@pytest.mark.parametrize("name", ["SPX", "SPXW", "$SPY.X", "NOSUCH", "", "$$", "SPY 261120C670"])
def test_names_of_no_chain(name: str) -> None:
    assert exchange(FakeTime(SUNDAY, until_us=SUNDAY)).chain(name) is None


def test_quotes_are_found_by_tradestations_names() -> None:
    market = exchange(FakeTime(SUNDAY, until_us=SUNDAY))
    for asked, name in [("spy", "SPY"), ("$SPX.X", "$SPX.X"), ("qqq", "QQQ")]:
        found = market.quoted(asked)
        assert found is not None
        assert (found.name, found.place) == (name, None)
    contract = market.quoted("spy 261120c670.00")
    assert contract is not None
    assert contract.name == "SPY 261120C670"
    assert contract.place == contract.desk.contracts.places["SPY 261120C670"]


@pytest.mark.parametrize(
    "name", ["SPX", "$SPY.X", "$SPXW.X", "NOSUCH", "SPY 261120C1", "SPY 261121C670", "SPX 261120C1"]
)
def test_names_of_no_quote(name: str) -> None:
    assert exchange(FakeTime(SUNDAY, until_us=SUNDAY)).quoted(name) is None
