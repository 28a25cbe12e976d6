"""Which expirations and strikes a rule wants, and how rules are spelled."""

from __future__ import annotations

import math
from datetime import date, timedelta

import pytest
from scipy.special import ndtr

from common.models import Expiry
from common.selection import (
    ExpirationRule,
    Listed,
    StrikeRule,
    Window,
    is_third_friday,
    nearest,
    spread_of_straddle,
    strikes_either_side,
)

TUESDAY = date(2026, 11, 24)
FRIDAY = date(2026, 12, 18)
"""A third one."""
STRIKES = [float(strike) for strike in range(600, 701)]


def listed(*days: date) -> list[Listed]:
    return [Listed(Expiry(day), is_third_friday(day)) for day in days]


def chosen(rule: str, board: list[Listed], day: date = TUESDAY) -> list[str]:
    return [each.expiry.shard for each in ExpirationRule.parse(rule).choose(board, day)]


# --- expirations -----------------------------------------------------------------------------

NEXT = [TUESDAY + timedelta(days=days) for days in (0, 1, 3, 6, 7)]
BOARD = listed(*reversed([*NEXT, FRIDAY, date(2027, 1, 15), date(2027, 1, 29)]))


@pytest.mark.parametrize(
    ("rule", "days"),
    [
        ("1", ["2026-11-24"]),
        ("3", ["2026-11-24", "2026-11-25", "2026-11-27"]),
        ("0dte", ["2026-11-24"]),
        ("0DTE, 2", ["2026-11-24", "2026-11-25"]),
        ("monthlies", ["2026-12-18", "2027-01-15"]),
        ("1 monthly", ["2026-12-18"]),
        ("1monthlies,1", ["2026-12-18", "2026-11-24"]),  # in the order of the terms
        ("0dte,3,monthlies", [
            "2026-11-24", "2026-11-25", "2026-11-27", "2026-12-18", "2027-01-15",
        ]),
    ],
)  # fmt: skip
def test_rules_for_expirations(rule: str, days: list[str]) -> None:
    assert chosen(rule, BOARD) == days


def test_no_contract_of_today_is_none_of_another_day() -> None:
    assert chosen("0dte", listed(*NEXT[1:])) == []


def test_what_settles_at_the_open_is_over_when_the_session_begins() -> None:
    styles = [Listed(Expiry(FRIDAY, style), is_monthly=True) for style in ("AM", "PM")]
    assert chosen("0dte", styles, FRIDAY) == ["2026-12-18"]
    assert chosen("2", styles, FRIDAY) == ["2026-12-18"]
    assert chosen("2", styles, date(2026, 12, 17)) == ["2026-12-18-AM", "2026-12-18"]


def test_an_expiration_is_wanted_until_its_own_early_close() -> None:
    day = date(2026, 11, 27)
    assert chosen("1", listed(day, date(2026, 11, 30)), day) == ["2026-11-27"]


@pytest.mark.parametrize("text", ["", "0", "101", "-1", "2.5", "weekly", "0dte,,2", "0 monthlies"])
def test_what_is_no_rule_for_expirations_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no rule for expirations: 0dte, a number"):
        ExpirationRule.parse(text)


def test_third_fridays_and_the_day_before_a_holiday() -> None:
    assert is_third_friday(date(2026, 11, 20))
    assert not is_third_friday(date(2026, 11, 27))
    assert is_third_friday(date(2026, 6, 18))  # 19 June is Juneteenth
    assert not is_third_friday(date(2026, 6, 19))


# --- strikes -----------------------------------------------------------------------------------


def window(rule: str, spot: float, spread: float = math.nan) -> Window | None:
    return StrikeRule.parse(rule).window(STRIKES, spot, spread)


def test_a_number_of_strikes_either_side() -> None:
    assert window("3", 650.4) == Window(650.4, 648.0, 653.0)
    assert window("60", 650.4) is None  # the whole board
    assert window("60", 690.4) == Window(690.4, 631.0, 700.0)


def test_a_share_of_spot() -> None:
    found = window("2.5%", 640.0)
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(624.0), pytest.approx(656.0))


def test_a_delta_reaches_as_far_as_its_strikes_have_that_delta() -> None:
    spot, spread, least = 650.0, 0.012, 0.02
    found = window(f"delta {least}", spot, spread)
    assert found is not None
    for strike, sign in ((found.low, -1.0), (found.high, 1.0)):
        wide = 1.25 * spread  # wings have more volatility than the money
        delta = ndtr(sign * (math.log(spot / strike) / wide + 0.5 * wide))
        assert delta == pytest.approx(least, rel=0.02)


@pytest.mark.parametrize("spread", [math.nan, 0.0, -1.0])
def test_a_delta_without_a_volatility_wants_the_whole_board(spread: float) -> None:
    assert window("delta 0.02", 650.0, spread) is None


@pytest.mark.parametrize(
    "text", ["", "0", "100001", "-3", "0%", "101%", "delta 0", "delta 0.5", "delta", "all", "1e3"]
)
def test_what_is_no_rule_for_strikes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no rule for strikes"):
        StrikeRule.parse(text)


def test_a_straddle_tells_the_spread_of_the_price() -> None:
    spread = 0.01
    straddle = 650.0 * 2.0 * (2.0 * ndtr(0.5 * spread) - 1.0)  # Black and Scholes, at the money
    assert spread_of_straddle(straddle, 650.0) == pytest.approx(spread, rel=1e-4)


def test_drift_is_a_share_of_the_way_to_the_edge() -> None:
    found = Window(650.0, 600.0, 660.0)
    assert found.drift(650.0) == 0.0
    assert found.drift(655.0) == 0.5
    assert found.drift(637.5) == 0.25
    assert Window(650.0, 650.0, 660.0).drift(649.0) == math.inf
    assert Window(650.0, 650.0, 650.0).drift(650.0) == 0.0


def test_a_union_keeps_its_own_centre_and_drops_nothing() -> None:
    assert Window(655.0, 640.0, 670.0).union(Window(645.0, 630.0, 660.0)) == Window(
        655.0, 630.0, 670.0
    )


def test_either_side_counts_the_longer_side() -> None:
    assert strikes_either_side(STRIKES, Window(650.0, 647.0, 652.0)) == 4
    assert strikes_either_side(STRIKES, Window(650.5, 650.4, 659.0)) == 9
    assert strikes_either_side([], Window(650.5, 650.4, 659.0)) == 1


def test_the_nearest_strike() -> None:
    assert nearest(STRIKES, 650.4) == 650.0
    assert nearest(STRIKES, 650.5) == 650.0
    assert nearest(STRIKES, 9999.0) == 700.0
