"""What has come to each session since it was last described.

Owns how far back the next look has to go; must not know what is looked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.clock import to_datetime

_NOTHING = "infinity"
Since = tuple[str | None, str | None]


@dataclass(slots=True)
class _Earliest:
    """Market times [us]; None where nothing came."""

    entries: int | None = None
    levels: int | None = None


class News:
    """Of every session the earliest entry and level that no description includes."""

    def __init__(self) -> None:
        self._told: dict[str, _Earliest] = {}

    def add(self, session: str, *, entries: int | None = None, levels: int | None = None) -> None:
        """Something of this market time [us] came."""
        earliest = self._told.get(session)
        if earliest is not None:
            earliest.entries = _earlier(earliest.entries, entries)
            earliest.levels = _earlier(earliest.levels, levels)

    def any(self, session: str) -> bool:
        """Whether anything came; of one that was never described, nobody knows."""
        return self._told.get(session) != _Earliest()

    def since(self, session: str) -> Since:
        """From when on entries and levels are new, as the database takes it; None: all are."""
        earliest = self._told.get(session)
        return (_text(earliest.entries), _text(earliest.levels)) if earliest else (None, None)

    def told(self, session: str) -> None:
        """It is described with all that has come."""
        self._told[session] = _Earliest()


def _earlier(one: int | None, other: int | None) -> int | None:
    return one if other is None else other if one is None else min(one, other)


def _text(at: int | None) -> str:
    return _NOTHING if at is None else to_datetime(at).isoformat()
