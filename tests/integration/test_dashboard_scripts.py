"""The page's own scripts, each by itself: what they write, judge, shift and merge.

They run in the browser they are made for, without a server; clocks are set by the tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from harness import ROOT
from playwright.sync_api import Browser, Page

ASSETS = ROOT / "workers/dashboard/assets"
PURE = ("format", "clock", "judge", "windows", "figures", "day")
NOW = 1_787_155_200_000  # 2026-08-19 16:00:00 UTC
LATEST = {
    "state": "live",
    "published_at": "2026-08-19T15:59:59.500Z",
    "newest_quote_at": "2026-08-19T15:59:44.000Z",
    "as_of": "2026-08-19T15:59:59.000Z",
}
CLOCK = {"wall_us": NOW * 1000, "market_us": NOW * 1000, "rate": 1.0}
SESSION = {"replay": False, "ended": False, "clock": CLOCK}


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """An empty page with the scripts that need no other."""
    context = browser.new_context(timezone_id="UTC")
    page = context.new_page()
    for name in PURE:
        page.add_script_tag(path=ASSETS / f"{name}.js")
    yield page
    context.close()


# --- what is written ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "written"),
    [
        ("money(4449103732.3)", "+4.45 bn"),
        ("money(-604880000)", "−604.88 m"),
        ("money(999999999)", "+1.00 bn"),
        ("money(1250)", "+1.25 k"),
        ("money(-12)", "−12"),
        ("money(0)", "0"),
        ("money(null)", "–"),
        ("money(NaN)", "–"),
        ("price(6123.456)", "6,123.46"),
        ("price(1234567.5)", "1,234,567.50"),
        ("price(-0.001)", "0.00"),
        ("price(null)", "–"),
        ("strike(720)", "720"),
        ("strike(712.5)", "712.50"),
        ("signed(-3.034)", "−3.03"),
        ("percent(0.921)", "92 %"),
        ("percent(0.2831, 1)", "28.3 %"),
        ("distance(709.18, 717.27)", "−8.09 (−1.13 %)"),
        ("distance(null, 717.27)", ""),
        ("age(-300)", "0.0 s"),
        ("age(420)", "0.4 s"),
        ("age(9960)", "10 s"),
        ("age(59600)", "1 m 00 s"),
        ("age(125000)", "2 m 05 s"),
        ("age(3725000)", "1 h 02 m"),
        ("age(NaN)", "–"),
        ("newYork(Date.parse('2026-08-19T16:00:07Z'))", "12:00:07"),
        ("newYork(Date.parse('2026-12-01T15:00:00Z'))", "10:00:00"),
        ("date('2026-11-24')", "Tue, 24 Nov 2026"),
        ("day('2026-11-24')", "24 Nov"),
    ],
)
def test_a_number_is_written(page: Page, call: str, written: str) -> None:
    assert page.evaluate(f"() => gex.format.{call}") == written


@pytest.mark.parametrize(("day", "hours"), [("2026-08-19", -4), ("2026-12-01", -5)])
def test_new_york_is_so_far_from_utc(page: Page, day: str, hours: int) -> None:
    shift = page.evaluate(f"() => gex.format.newYorkShift(Date.parse('{day}T15:00:00.250Z'))")
    assert shift == hours * 3_600_000


# --- the server's time -------------------------------------------------------------------------

CLOCKS = """([wall, steady, then]) => {
  const [now, run] = [Date.now, performance.now];
  try {
    Date.now = () => wall;
    performance.now = () => steady;
    gex.clock.learn(1_000_000, 20);
    Date.now = () => wall + then[0];
    performance.now = () => steady + then[1];
    return gex.clock.now();
  } finally {
    [Date.now, performance.now] = [now, run];
  }
}"""


@pytest.mark.parametrize(
    ("passed", "found"),
    [
        ((3000, 3000), 1_003_020),
        ((3000, 0), 1_003_020),  # the machine slept: only the wall clock ran on
        ((-3_600_000, 3000), 1_003_020),  # the wall clock was set back
        ((3_600_000, 3000), 4_600_020),  # set forward: too old is the safe mistake
    ],
)
def test_time_goes_on_whatever_is_done_to_a_clock(
    page: Page, passed: tuple[int, int], found: int
) -> None:
    for wall in (0, NOW, NOW + 10**9):  # whatever the browser believes
        assert page.evaluate(CLOCKS, [wall, 77, list(passed)]) == found


def test_a_slow_answer_says_too_little_about_the_time(page: Page) -> None:
    moved = page.evaluate(
        "() => { gex.clock.learn(5000, 0); gex.clock.learn(90000, 1500); return gex.clock.now(); }"
    )
    assert 5000 <= moved < 15_000


# --- what may be believed ----------------------------------------------------------------------


def view(**changes: Any) -> dict[str, Any]:
    """What is known while all is well, half a second after a level."""
    latest = {**LATEST, **changes.pop("latest", {})}
    session = {**SESSION, **changes.pop("session", {})}
    answer = {"period_ms": 1000, "replay_period_ms": 60_000, "latest": latest, "session": session}
    known = {"answer": answer, "level": {"latest": latest}, "trouble": None, "heard": NOW}
    return {**known, **changes}


def nothing_now(level: Any) -> dict[str, Any]:
    """The server answers, but nothing is published."""
    known = view(level=level)
    known["answer"]["latest"] = None
    return known


@pytest.mark.parametrize(
    ("known", "later", "state", "fresh", "reason"),
    [
        (view(), 0, "live", True, ""),
        (view(), 2400, "live", True, ""),
        (view(), 2600, "stale", False, "since 15:59:59 (3.1 s): no newer level comes"),
        (view(trouble="gone"), 2000, "live", True, ""),
        (view(trouble="gone"), 2600, "no connection", False, "since 16:00:00 (2.6 s): gone"),
        (view(trouble="gone", heard=None), 0, "no connection", False, "gone"),
        (view(latest={"state": "stale"}), 0, "stale", False, "since 11:59:44 New York"),
        (view(latest={"state": "closed"}), 10**8, "closed", True, "the session is over"),
        (view(latest={"state": "ended"}), 10**8, "ended", True, "has been played"),
        (view(latest={"state": "closed"}, trouble="gone"), 5000, "no connection", False, "gone"),
        (view(session={"replay": True}), 170_000, "live", True, "a recording is played"),
        (view(session={"replay": True}), 180_000, "stale", False, "no newer level comes"),
        (nothing_now({"latest": LATEST}), 0, "stale", False, "the level has expired"),
        (nothing_now(None), 0, "no fresh level", False, "gex doctor"),
        (view(answer=None, level=None, heard=None), 0, "connecting", False, ""),
    ],
)
def test_the_banner_says_what_may_be_believed(  # noqa: PLR0917  the columns of the table
    page: Page, known: dict[str, Any], later: int, state: str, fresh: bool, reason: str
) -> None:
    found = page.evaluate("([view, now]) => gex.judge(view, now)", [known, NOW + later])
    assert (found["name"], found["fresh"]) == (state, fresh)
    assert reason in found["why"]
    assert (found["tone"] in ("good", "warn", "idle")) == (fresh or state == "connecting")


def test_market_time_runs_on_only_in_a_session_that_runs(page: Page) -> None:
    ask = "([view, now]) => gex.marketNow(view, now)"
    as_of = page.evaluate(f"() => Date.parse('{LATEST['as_of']}')")
    fast = {"clock": {**CLOCK, "market_us": (NOW - 5000) * 1000, "rate": 10.0}}
    assert page.evaluate(ask, [view(), NOW + 2000]) == NOW + 2000
    assert page.evaluate(ask, [view(session=fast), NOW + 2000]) == NOW - 5000 + 20_000
    assert page.evaluate(ask, [view(session={"ended": True}), NOW]) == as_of
    assert page.evaluate(ask, [view(session={"replay": True}), NOW]) == as_of


# --- what is drawn -----------------------------------------------------------------------------


def test_a_view_moves_in_steps_and_reaches_what_is_near(page: Page) -> None:
    around = "([at, points]) => gex.windows.around(at, 8, points, 30)"
    assert page.evaluate(around, [700.4, []]) == page.evaluate(around, [700.9, []]) == [692, 708]
    assert page.evaluate(around, [701.1, []]) == [694, 710]
    low, high = page.evaluate(around, [700, [715, 1000]])
    assert low < 685
    assert 715 < high < 730


def test_a_range_stands_still_while_the_reader_has_zoomed(page: Page) -> None:
    found = page.evaluate(
        """() => {
          const { windows } = gex;
          const seen = [];
          const ask = (topic, wanted) =>
            seen.push([windows.revision('c', topic), windows.range('c', 'x', wanted)]);
          ask('A', [0, 1]);
          ask('A', [1, 2]);
          windows.moved('c');
          ask('A', [2, 3]);
          windows.reset('c');
          ask('A', [3, 4]);
          windows.moved('c');
          ask('B', [4, 5]);
          return seen;
        }"""
    )
    ranges = [each[1] for each in found]
    assert ranges == [[0, 1], [1, 2], [1, 2], [3, 4], [4, 5]]
    revisions = [each[0] for each in found]
    assert revisions[0] == revisions[1] == revisions[2]
    assert len(set(revisions)) == 3


def test_labels_do_not_cover_one_another(page: Page) -> None:
    places = [100, 101, 99, 300]
    shifts = page.evaluate("(places) => gex.figures.spread(places)", places)
    moved = sorted(place + shift for place, shift in zip(places, shifts, strict=True))
    gaps = [high - low for low, high in pairwise(moved)]
    assert min(gaps) > 15
    assert shifts[3] == 0
    row = page.evaluate("() => gex.figures.beside([30, 200], [100, 80], 320)")
    assert row[0] == {"anchor": "left", "down": 0}, "no room to the left of it"
    assert row[1]["anchor"] == "left"
    met = page.evaluate("() => gex.figures.beside([30, 60], [100, 80], 320)")
    assert met[1]["down"] > met[0]["down"]


def test_a_curve_is_filled_up_to_its_zeros(page: Page) -> None:
    x, y = page.evaluate("() => gex.figures.withZeros([1, 2, 3, 4], [-1, 1, null, 2])")
    assert (x, y) == ([1, 1.5, 2, 4], [-1, 0, 1, 2])
    x, _ = page.evaluate("() => gex.figures.withZeros([1, 2, 3, 4, 5], [1, 1, 1, 1, 1], [3, 3])")
    assert x == [2, 3, 4]


LOOK = {"text": "#000", "widths": {"curve": 600}, "heights": {"strikes": 400}, "panel": "#fff"}
STRIKES = [
    {"strike": 700, "call_gex": 3.0, "put_gex": -1.0, "net_gex": 2.0},
    {"strike": 701, "call_gex": -3.0, "put_gex": -1.0, "net_gex": -4.0},
]


def test_bars_of_one_sign_are_stacked(page: Page) -> None:
    profile = {"spot": 700.2, "strikes": STRIKES, "zero_gamma": None, "call_wall": 701}
    latest = {"session": "s", "spot": 700.2, "levels": {"expected_move": 5.0}}
    level = {"latest": latest, "profile": profile}
    figure = page.evaluate("([level, look]) => gex.figures.strikes(level, look)", [level, LOOK])
    calls, puts, net = figure["data"]
    assert (calls["x"], puts["x"], net["x"]) == ([3, -3], [-1, -1], [2, -4])
    assert puts["base"] == [0, -3], "short everything: the puts go on where the calls end"
    labels = [note["text"] for note in figure["layout"]["annotations"]]
    assert labels == ["spot <b>700.20</b>", "call wall <b>701</b>"]


# --- the day -----------------------------------------------------------------------------------

DAY = """(steps) => {
  gex.day.follow(null);
  const add = (time, spot, state = 'live') => gex.day.add({
    session: 's', state, as_of: new Date(time).toISOString(), spot,
    levels: { net_gex: spot, zero_gamma: null },
  });
  const take = (times, from) => gex.day.take({
    time: times, state: times.map(() => 'live'), spot: times, net_gex: times, zero_gamma: times,
  }, from);
  eval(steps);
  return gex.day.state.points.map((point) => point.time);
}"""


def test_stored_levels_and_seen_ones_are_one_line(page: Page) -> None:
    steps = "add(5000, 1); add(6000, 1); add(6000, 1); add(5500, 1); take([1000, 3000, 5000], 0);"
    assert page.evaluate(DAY, steps) == [1000, 3000, 5000, 6000]
    assert page.evaluate("() => gex.day.from()") == 5000
    more = steps + "take([6000, 7000, 8000], 5000); add(9000, 1);"
    assert page.evaluate(DAY, more) == [1000, 3000, 5000, 6000, 7000, 8000, 9000]


def test_a_long_day_is_asked_for_anew(page: Page) -> None:
    steps = "for (let n = 1; n <= 2500; n += 1) add(1000 * n, 1);"
    assert len(page.evaluate(DAY, steps)) == 2500
    assert page.evaluate("() => gex.day.from()") == 0
    assert page.evaluate(DAY, steps + "take([1000, 2_000_000], 0);")[:3] == [
        1000, 2_000_000, 2_001_000,
    ]  # fmt: skip


def test_another_session_starts_an_empty_day(page: Page) -> None:
    page.evaluate(DAY, "add(5000, 1);")
    page.evaluate("() => gex.day.follow('other')")
    assert page.evaluate("() => gex.day.state.points") == []


def test_where_nothing_was_published_nothing_is_drawn(page: Page) -> None:
    steps = (
        "for (let n = 0; n < 10; n += 1) add(1000 * n, 1);"
        "for (let n = 60; n < 70; n += 1) add(1000 * n, 1, 'stale');"
    )
    page.evaluate(DAY, steps)
    figure = page.evaluate("(look) => gex.day.figure(look, 1000)", LOOK)
    lines = {len(trace["y"]): trace for trace in figure["data"][1:]}
    (line,) = lines.values()
    assert line["y"].count(None) == 1
    assert line["y"].index(None) == 10
    assert line["connectgaps"] is False
    outline = figure["data"][0]
    assert 0 in outline["y"], "the hole is not filled either"
    (quiet,) = figure["layout"]["shapes"]
    assert quiet["x1"] - quiet["x0"] == 9000


def test_a_history_that_is_out_of_reach_is_said(page: Page) -> None:
    page.evaluate(DAY, "add(5000, 1);")
    assert page.evaluate("() => gex.day.note()") == ""
    page.evaluate(f"() => gex.day.fail('PostgreSQL: gone', {NOW})")
    page.evaluate(f"() => gex.day.fail('PostgreSQL: gone', {NOW + 5000})")
    assert page.evaluate("() => gex.day.note()") == (
        "history is out of reach since 16:00:00: PostgreSQL: gone."
        " Only what this page has seen is drawn."
    )
    assert page.evaluate(DAY, "add(1, 1); take([1000], 0);")
    assert page.evaluate("() => gex.day.note()") == ""
