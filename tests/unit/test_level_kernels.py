"""Whole levels by the compiled kernels and by plain numpy: the same document."""

from __future__ import annotations

import math
from datetime import date
from typing import Any

import numpy as np
import pytest
from synthetic_chain import AT, EXPIRY, PARAMETERS, SPOT, chain

from common.chain import solve
from common.clock import SECOND, settlement_us
from common.levels import ShardState, evaluate
from common.models import FLAG_WITHDRAWN, Expiry, JsonDict, Rows
from common.quant import kernels

EXPIRIES = (EXPIRY, Expiry(date(2026, 8, 20)), Expiry(date(2026, 8, 21), "AM"))


SIZE = 1e10
"""The largest sum of sizes, [$ of delta]."""


def spoilt(rows: Rows, random: np.random.Generator, share: float) -> Rows:
    """With the faults of a feed, and with trades of both sides."""
    rows = rows[random.random(len(rows)) >= share]

    def some() -> np.ndarray:
        return np.flatnonzero(random.random(len(rows)) < share)

    for name in ("bid", "ask", "spot"):
        rows[name][some()] = random.choice([np.nan, 0.0, -1.0, np.inf])
    for name in ("volume", "open_interest"):
        rows[name][some()] = -1
    for name in ("bought", "sold"):
        rows[name] = random.integers(0, 4, len(rows)) * random.integers(0, 2, len(rows))
    rows["flags"][some()] = FLAG_WITHDRAWN
    rows["time"][some()] -= 2000 * SECOND
    rows["time"] -= random.integers(0, 800, len(rows)) * SECOND
    return rows


def document(seed: int, name: kernels.Name, **changes: Any) -> JsonDict:
    kernels.use(name)
    random = np.random.default_rng(seed)
    states = []
    for expiry in EXPIRIES[: 1 + seed % 3]:
        rows = spoilt(chain(expiry=expiry), random, 0.02 * (seed % 9))
        solution = solve(quotes=rows, expiry=expiry, parameters=PARAMETERS)
        vendor = {name: random.random(len(rows)) for name in ("iv", "delta", "gamma")}
        states.append(ShardState(expiry, rows, solution, vendor))
    given: dict[str, Any] = {"spot": SPOT, "as_of": AT, "parameters": PARAMETERS, **changes}
    return evaluate(symbol="SPY", shards=states, **given).to_json(contracts=True)


def alike(one: Any, other: Any, scale: float) -> bool:
    """Equal but for rounding: of a number, or of the sum of sizes that it comes from."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[k], other[k], scale) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other, [scale] * len(one)))
    if isinstance(one, float) and isinstance(other, float):
        near = math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12 * scale)
        return near or (math.isnan(one) and math.isnan(other))
    return bool(one == other)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"parameters": PARAMETERS.model_copy(update={"sign": "flow"})},
        {"parameters": PARAMETERS.model_copy(update={"walls_at": "prior_close"})},
        {"source": "vendor"},
        {"as_of": settlement_us(EXPIRY) + SECOND},
        {"spot_time": AT + 600 * SECOND},
        {"spot": float("nan")},
    ],
)
@pytest.mark.parametrize("seed", range(12))
def test_the_same_document(seed: int, changes: dict[str, Any]) -> None:
    plain, compiled = (document(seed, name, **changes) for name in ("plain", "compiled"))
    assert plain.keys() == compiled.keys()
    for part in plain:
        assert alike(plain[part], compiled[part], SIZE), part


def test_the_seeds_meet_what_they_are_for() -> None:
    found = [document(seed, "compiled") for seed in range(12)]
    rejected = {reason for each in found for reason in each["quality"]["rejected"]}
    assert rejected >= {"stale", "no_bid", "bad_input"}
    assert any(each["quality"]["parity_outliers"] for each in found)
    assert any(each["levels"]["net_gex_by_sign"]["flow"] for each in found)
    assert len({len(each["expirations"]) for each in found}) == 3
