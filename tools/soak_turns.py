"""Which faults a soak lets happen, in which order and with which arguments.

Owns that choice, the same for the same seed; must not let anything happen. A round has every
fault of the simulator once, alone or with what makes it bite, and some of them several at once.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from workers.simulator.faults.catalogue import FAULTS

STORM = "several at once"
ACROSS = "across a close"
"""A date closes early and the next one begins while something else goes wrong."""
_STORMS, _STORM_OF = 2, 4
"""A round has so many, of so many faults."""
_PATHS = ("", "", "stream/options/chains", "stream/quotes")
Arguments = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Let:
    """One fault to let happen."""

    name: str
    arguments: Arguments

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{name}={each}" for name, each in self.arguments.items())])


@dataclass(frozen=True, slots=True)
class Turn:
    """What happens before the platform may recover."""

    name: str
    """Under which it is reported."""
    faults: tuple[Let, ...]


def one_round(chance: random.Random) -> list[Turn]:
    """Every fault and some storms, shuffled; those that move the date come last."""
    turns = [Turn(name, _alone(name, chance)) for name in FAULTS if name != "half_day"]
    for _ in range(_STORMS):
        names = chance.sample(_QUICK, _STORM_OF)
        turns.append(Turn(STORM, tuple(let for name in names for let in _alone(name, chance))))
    chance.shuffle(turns)
    return [*turns, Turn("half_day", _alone("half_day", chance)), Turn(ACROSS, _across(chance))]


def _across(chance: random.Random) -> tuple[Let, ...]:
    """A date that closes in a few seconds, and a fault that begins before and may outlast it."""
    name = chance.choice(_LASTING)
    first, *others = _alone(name, chance)
    arguments = {**first.arguments, "seconds": round(chance.uniform(4.0, 25.0), 1)}
    before = round(chance.uniform(4.0, 8.0), 1)
    return (Let("half_day", {"before": before}), Let(name, arguments), *others)


def _alone(name: str, chance: random.Random) -> tuple[Let, ...]:
    """A fault with arguments by lot, and what lets it bite."""
    arguments = _ARGUMENTS.get(name, _nothing)(chance)
    others = tuple(Let(other, {}) for other in _BITES.get(name, ()))
    return (Let(name, arguments), *others)


def _nothing(chance: random.Random) -> Arguments:
    del chance
    return {}


def _somewhere(chance: random.Random) -> Arguments:
    return {"path": chance.choice(_PATHS)}


def _a_while(chance: random.Random) -> Arguments:
    return {"seconds": round(chance.uniform(1.5, 8.0), 1)}


def _somewhere_a_while(chance: random.Random) -> Arguments:
    return {**_somewhere(chance), **_a_while(chance)}


def _go_away(chance: random.Random) -> Arguments:
    return {**_somewhere(chance), "form": chance.choice(("status", "error"))}


def _stall(chance: random.Random) -> Arguments:
    """Short, or longer than the client's patience with silence."""
    return {**_somewhere(chance), "seconds": chance.choice((3.0, 8.0, 26.0))}


def _heartbeats(chance: random.Random) -> Arguments:
    """Short, or longer than the client's patience with heartbeats alone."""
    return {**_somewhere(chance), "seconds": chance.choice((5.0, 12.0, 66.0))}


def _stream_budget(chance: random.Random) -> Arguments:
    return {**_a_while(chance), "most": chance.randrange(4), "after": 0.5}


def _unauthorized(chance: random.Random) -> Arguments:
    return {**_a_while(chance), "count": chance.randint(1, 3)}


def _quota_forbidden(chance: random.Random) -> Arguments:
    return {"count": 1, "form": chance.choice(("json", "text")), **_somewhere(chance)}


def _unavailable(chance: random.Random) -> Arguments:
    path = chance.choice(("marketdata", "marketdata", "oauth"))
    return {**_a_while(chance), "status": chance.choice((500, 502, 503, 504)), "path": path}


def _zeros(chance: random.Random) -> Arguments:
    fields = chance.choice(("Volume,DailyOpenInterest", "Bid,Ask,BidSize,AskSize", "Last,Bid"))
    share = chance.choice((1.0, 0.3))
    return {**_somewhere_a_while(chance), "fields": fields, "share": share}


def _missing(chance: random.Random) -> Arguments:
    form = chance.choice(("absent", "null", "empty", "nan"))
    return {**_somewhere_a_while(chance), "form": form, "share": chance.choice((0.5, 1.0))}


def _duplicate(chance: random.Random) -> Arguments:
    return {**_somewhere_a_while(chance), "times": chance.randint(2, 5)}


def _gap(chance: random.Random) -> Arguments:
    return {**_somewhere_a_while(chance), "share": chance.choice((0.2, 0.5, 1.0))}


def _bad_json(chance: random.Random) -> Arguments:
    return {**_somewhere(chance), "count": chance.choice((7, 70))}


def _long_line(chance: random.Random) -> Arguments:
    return {**_somewhere(chance), "megabytes": chance.choice((2.0, 10.0))}


def _clock_skew(chance: random.Random) -> Arguments:
    return {**_a_while(chance), "skew": chance.choice((-30.0, -3.0, 3.0, 30.0))}


def _half_day(chance: random.Random) -> Arguments:
    return {"before": round(chance.uniform(12.0, 25.0), 1)}


_ARGUMENTS: dict[str, Callable[[random.Random], Arguments]] = {
    "cut": _somewhere,
    "go_away": _go_away,
    "stream_error": _somewhere,
    "dual_logon": _somewhere,
    "stall": _stall,
    "stall_with_heartbeats": _heartbeats,
    "stream_budget": _stream_budget,
    "unauthorized": _unauthorized,
    "rate_limit": _a_while,
    "quota_forbidden": _quota_forbidden,
    "unavailable": _unavailable,
    "duplicate": _duplicate,
    "reorder": _somewhere_a_while,
    "zeros": _zeros,
    "missing": _missing,
    "lower_case": _somewhere_a_while,
    "gap": _gap,
    "bad_json": _bad_json,
    "long_line": _long_line,
    "clock_skew": _clock_skew,
    "half_day": _half_day,
}
_BITES: dict[str, tuple[str, ...]] = {
    "expire": ("go_away",),
    "rotate": ("go_away",),
    "unauthorized": ("go_away",),
    "rate_limit": ("go_away",),
    "quota_forbidden": ("go_away",),
    "unavailable": ("expire", "go_away"),
}
"""Faults of requests are noticed when streams are opened anew."""
_QUICK = sorted(
    FAULTS.keys() - {"half_day", "dual_logon", "quota_forbidden", "stall_with_heartbeats"}
)
"""Those that do not end in a pause of a minute."""
_LASTING = sorted(
    name
    for name, kind in FAULTS.items()
    if "seconds" in kind.__struct_fields__ and name not in ("quota_forbidden", "unauthorized")
)
"""Those that may outlast a close."""
