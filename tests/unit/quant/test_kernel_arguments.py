"""Compiled kernels look at what they are given before they read it: anything else is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from synthetic_chain import AT, EXPIRY, PARAMETERS, SPOT, chain

from common.chain import solve
from common.latches import Latches
from common.levels import ShardState, evaluate
from common.quant import kernels
from common.quant.machine_code import MachineCode
from common.state import merged

NAMES = (
    *("board", "book", "latch", "merge", "strikes", "tally", "walls"),
    *("_ceiling", "_grid", "_roots", "_shares", "_solve"),
)


@pytest.fixture(scope="module")
def calls() -> dict[str, tuple[Callable[..., bool], tuple[Any, ...]]]:
    """Each kernel and what a level, or a merge, calls it with."""
    kernels.use("compiled")
    whole = kernels.active()
    assert isinstance(whole, MachineCode)
    found: dict[str, tuple[Callable[..., bool], tuple[Any, ...]]] = {}

    def noting(name: str) -> Callable[..., bool]:
        def call(*given: Any) -> bool:
            found[name] = getattr(whole, name), given
            return found[name][0](*given)

        return call

    kernels._Choice.kernels = replace(whole, **{name: noting(name) for name in NAMES})
    rows = chain()
    rows["bid"][:4] = 0.0  # some contracts that do not count
    solution = solve(quotes=rows, expiry=EXPIRY, parameters=PARAMETERS)
    states = [ShardState(EXPIRY, rows, solution)]
    evaluate(symbol="SPY", shards=states, spot=SPOT, as_of=AT, parameters=PARAMETERS)
    merged(rows, rows[:3].copy())
    latches = Latches()
    places = np.array([latches.place("2026-08-19", key) for key in (2, 3, 4)])
    latches.take(places, np.ones((3, 7)))
    kernels.use("compiled")
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_kernel_refuses_what_is_not_as_it_should_be(
    name: str, calls: dict[str, tuple[Callable[..., bool], tuple[Any, ...]]]
) -> None:
    kernel, given = calls[name]
    assert kernel(*given)
    assert not kernel(*given[:-1])
    assert not kernel(*given, given[-1])
    for place, good in enumerate(given):
        for bad in wrong(good):
            assert not kernel(*given[:place], bad, *given[place + 1 :]), (place, type(bad))
    assert kernel(*given)


def wrong(good: Any) -> list[Any]:
    """What looks a little like an argument."""
    if not isinstance(good, np.ndarray):
        return [None, 1, "1.0", np.ones(1)]
    other = np.zeros(good.shape, np.float32 if good.dtype != np.float32 else np.float64)
    fewer = np.ascontiguousarray(good[:-1])
    backwards = [good[::-1]] if len(good) > 1 else []  # one item is in order either way
    return [None, 1.0, good.tolist(), other, fewer, *backwards, good[None], good.astype(object)]
