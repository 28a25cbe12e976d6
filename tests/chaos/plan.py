"""What goes wrong when, of a chaos run: a pure function of its seed and its length.

Owns the choice of acts and their instants; must not let anything happen, and reads no clock.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum


class What(StrEnum):
    """What can be done to a running platform."""

    KILL = "kill"
    """SIGKILL a program."""
    RESTART_REDIS = "restart redis"
    """Stop Redis in order and start it again."""
    STOP_POSTGRES = "stop postgres"
    """Stop PostgreSQL in order, and start it again after a while."""
    CUT = "cut the feed"
    """Close every stream of the broker in the middle of whatever it says."""
    PAUSE = "pause"
    """SIGSTOP a worker, and SIGCONT it after a while."""


@dataclass(frozen=True, slots=True, order=True)
class Act:
    """One thing that is done."""

    at: float
    """Since the load began [s]."""
    what: What
    program: str = ""
    lasts: float = 0.0
    """How long until it is taken back [s]."""

    def __str__(self) -> str:
        lasting = f" for {self.lasts:.1f} s" if self.lasts else ""
        return f"{self.what} {self.program}".strip() + lasting


KILLED = ("ingest", "greeks-0", "greeks-1", "store", "celery", "beat", "redis")
"""Each is killed at least once in a run."""
PAUSED = ("greeks-0", "greeks-1", "store")
"""One of them is paused at least once."""
OUTAGE = 30.0
"""How long PostgreSQL is away [s]; half of a run that is shorter than twice that."""
EVERY = 6.0
"""Between two acts, in the mean [s]; a short run has one of each whatever it comes to."""


def plan(seed: int, seconds: float, *, reclaim: float) -> list[Act]:
    """The acts of a run in their order; all is taken back before the run's end.

    :param seconds: length of the run [s].
    :param reclaim: after which the entries of a silent worker are taken over [s]; a pause
        lasts longer.
    """
    chance = random.Random(f"{seed}:{seconds}")
    acts = [_kill(chance, seconds, program) for program in KILLED]
    acts.append(Act(_instant(chance, seconds), What.RESTART_REDIS))
    acts.append(Act(_instant(chance, seconds), What.CUT))
    acts.append(_pause(chance, seconds, reclaim))
    outage = min(OUTAGE, seconds / 2.0)
    acts.append(Act(_instant(chance, seconds, outage), What.STOP_POSTGRES, "postgres", outage))
    while len(acts) < seconds / EVERY:
        acts.append(_any(chance, seconds, reclaim))
    return sorted(acts)


def _any(chance: random.Random, seconds: float, reclaim: float) -> Act:
    what = chance.choice([What.KILL] * 4 + [What.RESTART_REDIS, What.CUT, What.PAUSE])
    if what is What.KILL:
        return _kill(chance, seconds, chance.choice(KILLED))
    if what is What.PAUSE:
        return _pause(chance, seconds, reclaim)
    return Act(_instant(chance, seconds), what)


def _kill(chance: random.Random, seconds: float, program: str) -> Act:
    return Act(_instant(chance, seconds), What.KILL, program)


def _pause(chance: random.Random, seconds: float, reclaim: float) -> Act:
    lasts = min(reclaim + chance.uniform(1.0, 3.0), 0.8 * seconds)
    return Act(_instant(chance, seconds, lasts), What.PAUSE, chance.choice(PAUSED), lasts)


def _instant(chance: random.Random, seconds: float, lasts: float = 0.0) -> float:
    """When to begin something that is over before the end [s]."""
    return chance.uniform(0.0, 0.95 * seconds - lasts)
