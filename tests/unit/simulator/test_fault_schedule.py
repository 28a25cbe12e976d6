"""Schedules of faults: what is due when, what is refused, and what a simulator makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from fake_site import MONDAY_AT_11, FakeStream, FakeTimers, fake_site

from common.clock import SECOND, parse_instant
from common.errors import InputError, UsageError
from workers.simulator.faults.catalogue import FAULTS
from workers.simulator.faults.connections import Cut, Stall
from workers.simulator.faults.runner import Runner
from workers.simulator.faults.schedule import InTurn, Moment, Schedule, read_schedule


def written(folder: Path, text: str, seed: int = 0) -> Schedule:
    """The schedule of a file."""
    path = folder / "faults.toml"
    path.write_text(text, encoding="utf-8")
    return read_schedule(str(path), seed)


def moments(seconds: int, *, start: int = MONDAY_AT_11) -> Iterator[Moment]:
    """A moment a second, in real time."""
    for second in range(seconds + 1):
        yield Moment(float(second), start + second * SECOND, start)


def fired(schedule: Schedule, seconds: int) -> list[tuple[int, str]]:
    """(second, name) of all that is due."""
    return [
        (round(moment.elapsed), fault.name)
        for moment in moments(seconds)
        for fault in schedule.due(moment)
    ]


# --- what is due -----------------------------------------------------------------------------


def test_a_fault_comes_some_time_after_the_start_and_again(tmp_path: Path) -> None:
    schedule = written(
        tmp_path,
        """
        [[fault]]
        name = "cut"
        at = "+5s"
        path = "chains"

        [[fault]]
        name = "stall"
        at = "+0.5m"
        every = "10s"
        seconds = 2
        """,
    )
    assert fired(schedule, 55) == [(5, "cut"), (30, "stall"), (40, "stall"), (50, "stall")]


def test_arguments_reach_the_fault(tmp_path: Path) -> None:
    schedule = written(tmp_path, '[[fault]]\nname = "stall"\nat = "+0s"\nseconds = 2.5\n')
    assert schedule.due(Moment(0.0, MONDAY_AT_11, MONDAY_AT_11)) == [Stall(seconds=2.5)]


def test_what_was_missed_comes_once(tmp_path: Path) -> None:
    schedule = written(tmp_path, '[[fault]]\nname = "cut"\nat = "+1s"\nevery = "1s"\n')
    assert schedule.due(Moment(100.5, MONDAY_AT_11, MONDAY_AT_11)) == [Cut()]
    assert schedule.due(Moment(100.9, MONDAY_AT_11, MONDAY_AT_11)) == []
    assert schedule.due(Moment(101.0, MONDAY_AT_11, MONDAY_AT_11)) == [Cut()]


def test_a_fault_comes_at_a_time_of_each_date_in_new_york(tmp_path: Path) -> None:
    schedule = written(tmp_path, '[[fault]]\nname = "cut"\nat = "11:00:10"\nevery = "4s"\n')
    assert fired(schedule, 20) == [(10, "cut"), (14, "cut"), (18, "cut")]
    next_open = parse_instant("2026-11-24T09:30:00")
    later = parse_instant("2026-11-24T11:00:10")
    assert schedule.due(Moment(21.0, later - 1, next_open)) == []
    assert schedule.due(Moment(21.5, later, next_open)) == [Cut()]


def test_a_toml_time_will_do_too(tmp_path: Path) -> None:
    schedule = written(tmp_path, '[[fault]]\nname = "cut"\nat = 11:00:02\n')
    assert fired(schedule, 5) == [(2, "cut")]


def test_a_time_that_was_over_when_the_date_was_taken_up_is_left_out(tmp_path: Path) -> None:
    schedule = written(tmp_path, '[[fault]]\nname = "cut"\nat = "10:59:59"\n')
    assert fired(schedule, 30) == []


def test_all_come_in_turn_in_an_order_that_the_seed_decides() -> None:
    count = len(FAULTS)
    one, same, other = (
        [name for _, name in fired(read_schedule("all:1s", seed), 2 * count - 1)]
        for seed in (1, 1, 2)
    )
    assert one == same
    assert one[:count] != other[:count]
    assert sorted(one[:count]) == sorted(FAULTS)
    assert sorted(one[count:]) == sorted(set(FAULTS) - {"half_day"})
    assert one[count:] != [name for name in one[:count] if name != "half_day"]


def test_all_come_once_a_minute_unless_told_otherwise() -> None:
    assert [second for second, _ in fired(read_schedule("all", 0), 180)] == [60, 120, 180]
    assert isinstance(read_schedule("all:2m", 0), InTurn)


# --- what is refused -------------------------------------------------------------------------

GOOD = '[[fault]]\nname = "cut"\nat = "+1s"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[fault", "no schedule of faults: "),
        ("", r"consists of \[\[fault\]\] entries alone"),
        ("fault = 1", r"consists of \[\[fault\]\] entries alone"),
        ("every = 1\n" + GOOD, r"consists of \[\[fault\]\] entries alone"),
        ("fault = [1]", "fault 1: is no table"),
        (GOOD + '[[fault]]\nat = "+1s"', "fault 2: has no name"),
        (GOOD + '[[fault]]\nname = "explode"', r"fault 2 \(explode\): explode: no such fault"),
        ('[[fault]]\nname = "cut"', r"fault 1 \(cut\): at: neither"),
        ('[[fault]]\nname = "cut"\nat = "noon"', r"fault 1 \(cut\): at: 'noon' is neither"),
        ('[[fault]]\nname = "cut"\nat = "+soon"', "'soon' is no time such as"),
        (GOOD + 'every = "0s"', "'0s' is no time such as"),
        (GOOD + "every = 10", "10 is no time such as"),
        (GOOD + "seconds = 1", r"fault 1 \(cut\): there is no argument 'seconds'"),
        (
            '[[fault]]\nname = "stall"\nat = "+1s"\nseconds = -1',
            r"fault 1 \(stall\): seconds: expected `float` > 0\.0",
        ),
    ],
)
def test_a_bad_schedule_is_one_line_that_names_the_entry(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        written(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_schedule_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.toml: no schedule of faults: No such file"):
        read_schedule(str(tmp_path / "missing.toml"), 0)
    with pytest.raises(UsageError, match="faults 'all:soon': 'soon' is no time such as"):
        read_schedule("all:soon", 0)


# --- at work ---------------------------------------------------------------------------------


def test_what_is_due_happens_and_is_on_record(tmp_path: Path) -> None:
    timers = FakeTimers()
    site = fake_site(timers)
    stream = FakeStream(site, "/v3/marketdata/stream/quotes/SPY")
    runner = Runner(written(tmp_path, GOOD), site, clock=timers)
    runner.look()
    assert stream.done == []
    timers.pass_by(1.0)
    runner.look()
    (record,) = site.faults.as_json()["faults"]
    assert (record["name"], record["cause"], record["affected"]) == ("cut", "schedule", 1)
    assert record["began_at"] == "2026-11-23T16:00:01.000Z"


def test_a_date_gone_to_meanwhile_is_taken_up_where_it_begins(tmp_path: Path) -> None:
    timers = FakeTimers()
    site = fake_site(timers)
    text = '[[fault]]\nname = "cut"\nat = "12:59:00"\n[[fault]]\nname = "expire"\nat = "12:59:50"\n'
    runner = Runner(written(tmp_path, text), site, clock=timers)
    site.exchange.skip_to_early_close(30 * SECOND)
    for _ in range(40):
        runner.look()
        timers.pass_by(1.0)
    assert site.exchange.running.trading_date == date(2026, 11, 27)
    assert [each["name"] for each in site.faults.as_json()["faults"]] == ["expire"]


def test_what_cannot_happen_here_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers = FakeTimers()
    site = fake_site(timers)
    monkeypatch.setattr(site.exchange._timeline, "next_early_close", lambda *_: None)
    text = '[[fault]]\nname = "half_day"\nat = "+0s"\n'
    Runner(written(tmp_path, text), site, clock=timers).look()
    found = site.faults.as_json()
    assert (found["faults_impossible"], found["faults_begun"]) == (1, 0)
