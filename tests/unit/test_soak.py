"""The soak's own judgement: what is wrong, what is right for good, and what it lets happen."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from fakes import PARAMETERS, SHARD, make_batch, make_quotes, make_spots

from common.bus.codec import StateBlob
from common.models import FLAG_WITHDRAWN, Rows
from common.state import advance
from tools.soak import Row, Steps
from tools.soak_truth import COLUMNS, Board, Wrong
from tools.soak_turns import ACROSS, STORM, one_round
from workers.simulator.faults.catalogue import FAULTS, fault

STRIKES = [640.0, 641.0]


def held(rows: Rows, spot: float = 640.5, day: str = SHARD) -> Board:
    """What a worker holds after one batch."""
    batch = make_batch(quotes=rows, spots=make_spots(spot))
    state = advance(StateBlob(), SHARD, [("1-0", batch)], PARAMETERS).state
    return Board.of_states(day, {SHARD: state})


def told(rows: Rows, spot: float = 640.5, day: str = SHARD) -> Board:
    """The same as a simulator says it, among what is not followed."""
    contracts: list[dict[str, Any]] = [
        {"expiration": "2026-08-18", "strike": 1.0, "right": "C"},
        {"expiration": "2026-12-18", "strike": 1.0, "right": "C"},
    ]
    contracts = [{**each, **dict.fromkeys(COLUMNS)} for each in contracts]
    for row in rows:
        key = int(row["key"])
        known = {name: row[name].item() for name in COLUMNS}
        contracts.append(
            {
                "expiration": SHARD,
                "strike": (key >> 1) / 1000,
                "right": "P" if key & 1 else "C",
                **{name: value if value >= 0 else None for name, value in known.items()},
            }
        )
    return Board.of_truth({"trading_date": day, "spot": spot, "contracts": contracts}, 1)


@pytest.fixture
def rows() -> Rows:
    """Two strikes, calls and puts, one price and one count unknown."""
    rows = make_quotes(STRIKES)
    rows["last"] = [np.nan, 1.0, 1.0, 1.0]
    rows["volume"][1] = -1
    return rows


def test_what_is_as_it_was_said_is_right(rows: Rows) -> None:
    assert len(told(rows).contracts) == 4
    assert held(rows).wrong(told(rows)) == []


@pytest.mark.parametrize("column", COLUMNS)
def test_each_number_that_differs_is_named(rows: Rows, column: str) -> None:
    true = told(rows)
    other = rows.copy()
    other[column][2] += 1
    (wrong,) = held(other).wrong(true)
    assert wrong.what.endswith(column)
    assert wrong.held == wrong.true + 1


def test_a_number_that_should_not_be_known_is_wrong(rows: Rows) -> None:
    true = told(rows)
    rows["volume"][1] = 7
    assert [wrong.true for wrong in held(rows).wrong(true)] == [None]


def test_a_contract_that_is_gone_or_withdrawn_or_too_many_is_named(rows: Rows) -> None:
    (missing,) = held(rows[1:]).wrong(told(rows))
    assert (missing.held, missing.true) == ("not there", "listed")
    (spare,) = held(rows).wrong(told(rows[1:]))
    assert (spare.held, spare.true) == ("listed", "not there")
    withdrawn = rows.copy()
    withdrawn["flags"][0] = FLAG_WITHDRAWN
    assert held(withdrawn).wrong(told(rows)) == [missing]


def test_prices_of_the_underlying_and_dates_are_compared(rows: Rows) -> None:
    assert [w.what for w in held(rows).wrong(told(rows, spot=640.51))] == [f"{SHARD} spot"]
    assert [w.what for w in held(rows, day="2026-08-18").wrong(told(rows))] == ["trading date"]
    nothing = Board("", {}, {}).wrong(told(rows))
    assert nothing[1] == Wrong(f"{SHARD} spot", None, 640.5)
    assert len(nothing) == 2 + 4


def test_steps_count_from_the_first_that_is_right_and_stays_so() -> None:
    steps = Steps()
    for at, (as_of, right) in enumerate(
        [("1", False), ("1", True), ("1", False), ("2", False), ("2", True), ("3", True)], 1
    ):
        steps.saw(as_of, right=right, at=float(at))
    assert (steps.right, steps.first, steps.since) == (2, 5.0, "2")
    steps.saw("4", right=False, at=7.0)
    assert steps.right == 2  # the step is not over
    steps.saw("5", right=True, at=8.0)
    assert (steps.right, steps.first, steps.since) == (1, 8.0, "5")


def test_a_round_has_every_fault_and_the_same_seed_the_same_round() -> None:
    turns = one_round(random.Random(3))
    assert {turn.name for turn in turns} == {*FAULTS, STORM, ACROSS}
    assert turns == one_round(random.Random(3)) != one_round(random.Random(4))
    for seed in range(50):
        for turn in one_round(random.Random(seed)):
            for let in turn.faults:
                fault(let.name, let.arguments)  # raises where there is no such argument


def test_a_row_tells_medians() -> None:
    row = Row(turns=3, states=[1.0, 2.0, 9.0], levels=[])
    assert row.as_json()["states_seconds"] == {"median": 2.0, "max": 9.0}
    assert row.as_json()["levels_seconds"] is None
