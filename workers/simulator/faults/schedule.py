"""When faults happen by themselves: at instants of a file, or all of them in turn.

Owns the reading of schedules and what is due; must not let anything happen, and reads no clock.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, time
from pathlib import Path
from typing import Any, Protocol

from common.clock import new_york_date, parse_instant
from common.errors import InputError, UsageError
from workers.simulator.faults.catalogue import FAULTS, fault
from workers.simulator.faults.fault import Fault

ALL = "all"
ALL_EVERY_SECONDS = 60.0
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h)")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Moment:
    """What time it is."""

    elapsed: float
    """Since the simulator began [s, real time]."""
    at_us: int
    """[us, market time]"""
    since_us: int
    """Where the running date was begun, or taken up [us, market time]."""


class Schedule(Protocol):
    """Says which faults are due."""

    def due(self, moment: Moment) -> list[Fault]:
        """Those that have become due since the last call, in order."""


@dataclass(slots=True)
class After:
    """A fault some real time after the start, and again at intervals."""

    fault: Fault
    seconds: float
    every: float | None = None
    """[s, real time]"""

    def due(self, moment: Moment) -> list[Fault]:
        """Once for each time that has come; of several that were missed only the last."""
        if moment.elapsed < self.seconds:
            return []
        if self.every is None:
            self.seconds = float("inf")
        else:
            missed = (moment.elapsed - self.seconds) // self.every
            self.seconds += (missed + 1.0) * self.every
        return [self.fault]


@dataclass(slots=True)
class AtTime:
    """A fault at a time of each trading date in New York, and again at intervals."""

    fault: Fault
    at: time
    every: float | None = None
    """[s, real time]"""
    _done: date | None = None
    _repeat: After | None = None

    def due(self, moment: Moment) -> list[Fault]:
        """Once a date, unless the date was taken up after that time."""
        day = new_york_date(moment.at_us)
        instant = parse_instant(f"{day.isoformat()}T{self.at.isoformat()}")
        if self._done != day and moment.since_us <= instant <= moment.at_us:
            self._done = day
            if self.every is not None:
                self._repeat = After(self.fault, moment.elapsed + self.every, self.every)
            return [self.fault]
        return self._repeat.due(moment) if self._repeat else []


@dataclass(slots=True)
class InTurn:
    """Every fault with its own defaults, round after round, each round in an order of its own.

    Faults that move the date come in the first round alone.
    """

    every: float
    """[s, real time]"""
    seed: int
    _waiting: list[Fault] = field(default_factory=list)
    _round: int = 0
    _next: float = field(init=False)

    def __post_init__(self) -> None:
        self._next = self.every

    def due(self, moment: Moment) -> list[Fault]:
        """One whenever its time has come."""
        if moment.elapsed < self._next:
            return []
        self._next += ((moment.elapsed - self._next) // self.every + 1.0) * self.every
        if not self._waiting:
            self._waiting = self._shuffled()
        return [self._waiting.pop()]

    def _shuffled(self) -> list[Fault]:
        kinds = [kind for kind in FAULTS.values() if not (self._round and kind.moves_date)]
        random.Random(f"{self.seed}:{self._round}").shuffle(kinds)  # noqa: S311  no secret
        self._round += 1
        return [kind() for kind in kinds]


@dataclass(frozen=True, slots=True)
class Together:
    """Several schedules as one."""

    parts: Sequence[Schedule]

    def due(self, moment: Moment) -> list[Fault]:
        """What is due of each, in their order."""
        return [each for part in self.parts for each in part.due(moment)]


def read_schedule(text: str, seed: int) -> Schedule:
    """The schedule that a setting names: a TOML file, ``all``, or ``all:`` and an interval.

    :param seed: of the order of ``all``.
    :raises UsageError: when there is no such thing, naming the entry that cannot be used.
    """
    name, _, interval = text.partition(":")
    if name == ALL:
        try:
            return InTurn(_seconds(interval) if interval else ALL_EVERY_SECONDS, seed)
        except UsageError as error:
            raise UsageError(f"faults {text!r}: {error}") from error
    return _read(Path(text).expanduser())


def _read(path: Path) -> Together:
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: no schedule of faults: {reason}") from error
    entries = found.pop("fault", None)
    if found or not isinstance(entries, list) or not entries:
        raise InputError(f"{path}: a schedule of faults consists of [[fault]] entries alone")
    parts: list[Schedule] = []
    for number, entry in enumerate(entries, 1):
        try:
            parts.append(_entry(entry))
        except UsageError as error:
            name = entry.get("name") if isinstance(entry, dict) else None
            label = f"fault {number}" + (f" ({name})" if isinstance(name, str) else "")
            raise InputError(f"{path}: {label}: {error}") from error
    return Together(parts)


def _entry(entry: Any) -> Schedule:
    """One entry; what is neither name nor time is an argument."""
    if not isinstance(entry, dict):
        raise UsageError("is no table")
    arguments = dict(entry)
    name, at, every = (arguments.pop(key, None) for key in ("name", "at", "every"))
    if not isinstance(name, str):
        raise UsageError("has no name")
    wanted = fault(name, arguments)
    interval = None if every is None else _seconds(every)
    if isinstance(at, time):
        return AtTime(wanted, at, interval)
    if not isinstance(at, str):
        raise UsageError('at: neither "+90s" nor "11:02:00" (New York)')
    if at.startswith("+"):
        return After(wanted, _seconds(at[1:], least=0.0), interval)
    try:
        return AtTime(wanted, time.fromisoformat(at), interval)
    except ValueError as error:
        raise UsageError(f'at: {at!r} is neither "+90s" nor "11:02:00" (New York)') from error


def _seconds(text: Any, *, least: float = 0.1) -> float:
    """A time such as ``90s``, ``5m`` or ``1h`` [s].

    :raises UsageError: when it is none, or shorter than ``least``.
    """
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    seconds = float(match[1]) * _UNITS[match[2]] if match else -1.0
    if seconds < least:
        raise UsageError(f'{text!r} is no time such as "90s", "5m" or "1h"')
    return seconds
