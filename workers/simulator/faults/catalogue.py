"""Every fault there is, by name.

Owns the list; must not let any happen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.errors import UsageError
from common.models import JsonDict
from workers.simulator.faults.connections import (
    Cut,
    DualLogon,
    GoAway,
    Stall,
    StallWithHeartbeats,
    StreamBudget,
    StreamError,
)
from workers.simulator.faults.fault import Fault
from workers.simulator.faults.lines import BadJson, LongLine
from workers.simulator.faults.requests import (
    Expire,
    QuotaForbidden,
    RateLimit,
    Rotate,
    Unauthorized,
    Unavailable,
)
from workers.simulator.faults.rows import Duplicate, Gap, LowerCase, Missing, Reorder, Zeros
from workers.simulator.faults.times import ClockSkew, HalfDay

_KINDS: tuple[type[Fault], ...] = (
    Cut,
    GoAway,
    DualLogon,
    StreamError,
    Stall,
    StallWithHeartbeats,
    StreamBudget,
    Expire,
    Rotate,
    Unauthorized,
    RateLimit,
    QuotaForbidden,
    Unavailable,
    Duplicate,
    Reorder,
    Zeros,
    Missing,
    LowerCase,
    Gap,
    BadJson,
    LongLine,
    ClockSkew,
    HalfDay,
)
FAULTS = {kind.name: kind for kind in _KINDS}


def fault(name: str, arguments: Mapping[str, Any]) -> Fault:
    """A fault with its arguments.

    :raises UsageError: when there is none of that name, or an argument cannot be used.
    """
    kind = FAULTS.get(name)
    if kind is None:
        raise UsageError(f"{name}: no such fault (there are {', '.join(FAULTS)})")
    return kind.of(arguments)


def catalogue() -> list[JsonDict]:
    """Name, meaning and arguments of each."""
    return [
        {"name": name, "about": kind.about(), "arguments": kind.arguments()}
        for name, kind in FAULTS.items()
    ]
