"""What a running platform takes: processor time and memory of all its processes.

Owns adding them up; must not start anything.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Footprint:
    """Of `gex up` and everything that it has started, servers included."""

    share: float
    """Of one processor core [1]."""
    megabytes: float
    """Resident, shared pages counted once (PSS)."""


def footprint(head: psutil.Process, seconds: float) -> Footprint:
    """Measured over some time, memory at its end."""
    before, began = _processor_times(head), time.monotonic()
    time.sleep(seconds)
    after, passed = _processor_times(head), time.monotonic() - began
    used = sum(after.values()) - sum(before.get(pid, 0.0) for pid in after)
    return Footprint(used / passed, _megabytes(head))


def _family(head: psutil.Process) -> list[psutil.Process]:
    return [head, *head.children(recursive=True)]


def _processor_times(head: psutil.Process) -> dict[int, float]:
    """Process → its seconds, with those of children that have ended."""
    found = {}
    for process in _family(head):
        with suppress(psutil.NoSuchProcess):
            found[process.pid] = sum(process.cpu_times()[:4])
    return found


def _megabytes(head: psutil.Process) -> float:
    total = 0
    for process in _family(head):
        with suppress(psutil.NoSuchProcess):
            memory = process.memory_full_info()
            total += getattr(memory, "pss", memory.uss)  # Linux alone counts shared pages once
    return total / 1e6
