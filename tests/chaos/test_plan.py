"""The plan of a chaos run: the same for the same seed, everything in it, over before the end."""

from __future__ import annotations

import pytest
from plan import KILLED, Act, What, plan

SEEDS = range(200)


def test_a_seed_is_a_plan() -> None:
    assert plan(7, 60, reclaim=3) == plan(7, 60, reclaim=3)
    assert len({tuple(plan(seed, 60, reclaim=3)) for seed in SEEDS}) == len(SEEDS)


@pytest.mark.parametrize("seconds", [20.0, 60.0, 600.0])
def test_everything_happens_and_is_over_before_the_end(seconds: float) -> None:
    for seed in SEEDS:
        acts = plan(seed, seconds, reclaim=3)
        assert acts == sorted(acts)
        assert {act.what for act in acts} == set(What)
        assert {act.program for act in acts if act.what is What.KILL} == set(KILLED)
        assert all(0.0 <= act.at <= act.at + act.lasts < seconds for act in acts)


def test_postgresql_is_away_for_half_a_minute_and_a_pause_outlasts_the_reclaim_time() -> None:
    for seed in SEEDS:
        acts = plan(seed, 60, reclaim=3)
        assert [act.lasts for act in acts if act.what is What.STOP_POSTGRES] == [30.0]
        assert all(act.lasts > 4.0 for act in acts if act.what is What.PAUSE)


def test_a_longer_run_has_more_of_it() -> None:
    assert len(plan(1, 60, reclaim=3)) == len(KILLED) + 4
    assert len(plan(1, 600, reclaim=3)) == 100


def test_an_act_says_what_it_is() -> None:
    assert str(Act(1.0, What.KILL, "store")) == "kill store"
    assert str(Act(1.0, What.PAUSE, "greeks-1", 4.25)) == "pause greeks-1 for 4.2 s"
