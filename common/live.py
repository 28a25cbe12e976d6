"""Provisional levels: what the chain says right after a batch, before the record does.

Owns when one is due and what is in it; must not know leases or streams. The record is the
tick's (:mod:`common.tick`): on the grid, stored, one writer. A provisional level has the same
JSON with ``"provisional": true`` and lasts three ticks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from common.bus.cache import ChainView
from common.clock import iso_ms, whole_ms
from common.clock import wall_us as wall_clock
from common.models import JsonDict, Session
from common.publication import is_whole, labels_of, levels_at, present_chain
from common.settings import QuantParameters


@dataclass(slots=True)
class LivePace:
    """Lets one task have a share of a process, and no more."""

    share: float
    """Of the process' time [1]; 0 is never."""
    monotonic: Callable[[], float] = time.monotonic
    _not_before: float = field(default=float("-inf"), init=False)

    def wait(self) -> float | None:
        """Seconds until it may run again; None when it never may."""
        return max(0.0, self._not_before - self.monotonic()) if self.share > 0.0 else None

    def ran(self, began: float) -> None:
        """Note that it ran from ``began`` [s, monotonic] until now."""
        now = self.monotonic()
        self._not_before = now + (now - began) * (1.0 / self.share - 1.0)


@dataclass(frozen=True, slots=True)
class LiveLevels:
    """Makes provisional levels."""

    parameters: QuantParameters
    software: str
    wall_us: Callable[[], int] = wall_clock
    _said: JsonDict = field(init=False)
    """The parameters, as a level tells them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_said", self.parameters.model_dump())

    def document(self, session: Session, chain: ChainView) -> JsonDict | None:
        """The level of this moment as JSON; None when there is none.

        There is none in a replay, after the end, before the first whole chain and without a
        price of the underlying.
        """
        present = present_chain(chain, session)
        if session.replay or session.ended or not is_whole(session, present):
            return None
        now = self.wall_us()
        at = whole_ms(session.clock.market(now))
        if at >= session.close_us:
            return None
        levels = levels_at(session, present, self.parameters, at)
        if levels is None:
            return None
        return {
            **levels.to_json(),
            **labels_of(session, present, at),
            "published_at": iso_ms(now),
            "software": self.software,
            "parameters": self._said,
            "provisional": True,
        }


def differences(live: JsonDict, record: JsonDict) -> list[str]:
    """Names of the published parts in which two levels of one instant differ.

    Both rest on the same states and the same instant, so there must be none.
    """
    parts = ("spot", "sign", "levels", "strikes", "expirations", "quality")
    return [name for name in parts if _said(live[name]) != _said(record[name])]


def _said(part: object) -> object:
    """A part without what may have changed between the two."""
    if not isinstance(part, dict):
        return part
    return {name: value for name, value in part.items() if name != "conflated"}
