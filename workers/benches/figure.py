"""A measured figure, and how medians of interleaved rounds are taken.

Owns both; must not measure anything in particular.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of a performance table."""

    id: str
    value: float | None
    """What the goal is about; None when it, or its reference, could not be measured."""
    unit: str
    reference: dict[str, Any] | None
    """``name``, ``value`` and ``unit`` of what was measured beside it in the same run."""
    goal: float | None
    direction: Literal[">=", "<="] = ">="
    own: float | None = None
    """Our own absolute figure behind a ratio, in the reference's unit."""
    reason: str | None = None
    """Why there is nothing to measure here; that is a miss all the same."""

    @property
    def meets(self) -> bool:
        """Whether the goal is met; what could not be measured misses."""
        if self.value is None:
            return False
        if self.goal is None:
            return True
        return self.value >= self.goal if self.direction == ">=" else self.value <= self.goal

    def to_json(self) -> dict[str, Any]:
        """The figure as `gex bench --json` prints it."""
        return {
            "id": self.id,
            "value": self.value,
            "unit": self.unit,
            "reference": self.reference,
            "goal": self.goal,
            "meets": self.meets,
            "own": self.own,
            "reason": self.reason,
        }


def ratio(
    figure_id: str, *, own: float, name: str, reference: float | None, unit: str, goal: float | None
) -> Figure:
    """A figure that is our rate divided by a reference's rate of the same run."""
    if reference is None:
        return Figure(figure_id, None, "ratio", None, goal, own=own)
    beside = {"name": name, "value": reference, "unit": unit}
    return Figure(figure_id, own / reference, "ratio", beside, goal, own=own)


@contextlib.contextmanager
def one_processor(number: int = 0) -> Iterator[None]:
    """Keep to one processor, with all that is started, and so every library's pool of threads to
    one thread.

    :param number: which of those that this process may use, from the first again where it is
        too large.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(before)[number % len(before)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def seconds_of(action: Callable[[], object]) -> float:
    """How long one call takes [s]."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def interleaved(
    actions: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    calls: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of each action; the actions take turns, so that noise hits all alike.

    :param calls: a turn's timed calls, the mean of which is the turn's figure; with more than
        one, a call before them is not timed, so that each action finds its own caches warm.
    :param clock: ``time.process_time`` where what others do on the machine must not count.
    """
    for action in actions.values():
        action()
    times: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            if calls > 1:
                action()
            began = clock()
            for _ in range(calls):
                action()
            times[name].append((clock() - began) / calls)
    return {name: statistics.median(values) for name, values in times.items()}
