"""What has gone quiet without ending, judged by what comes out of it.

Owns the judgement; restarting is supervisord's. A running process proves nothing: Celery
workers have been seen to stay alive and consume nothing after a lost connection
(celery/celery#8030), beat to stop after tens of thousands of ticks (celery/celery#9622).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from common.bus import keys
from common.bus.cache import Cache
from common.bus.memory import Memory
from common.errors import ServiceError

LEVELS = ("celery", "beat")
"""The programs without which there is no level of record."""
_DOUBLINGS = 3
"""How often patience grows: to eight times what it is at first."""


@dataclass(slots=True)
class Watchdog:
    """Looks about once a second at what should have moved since."""

    cache: Cache
    symbols: Sequence[str]
    workers: Sequence[str]
    """Greeks workers, by their consumer's name, which is their program's."""
    patience: float
    """How long something may stand still that should move [s]."""
    memory: Memory
    monotonic: Callable[[], float] = time.monotonic
    others: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Further programs that run an actor, with its group and its consumer's name."""
    _moved: dict[str, tuple[object, float]] = field(default_factory=dict, init=False)
    _stood: dict[str, tuple[object, int]] = field(default_factory=dict, init=False)
    """What stood still: where, and how often it was woken there."""

    def look(self) -> list[str]:
        """Programs that stand still; each is named once, and then has its patience again, twice
        as much each time that it has not moved since: a busy machine starts them slowly, and who
        is restarted before he has begun never begins.

        While Redis is out of reach, or without memory, nothing can be said, and everything has
        its patience anew: a restart would help nobody.
        """
        try:
            if self.memory.share() >= 1.0:
                self.forget()
                return []
            actors = {**{name: (keys.GREEKS_GROUP, name) for name in self.workers}, **self.others}
            quiet = [
                name
                for name, (group, consumer) in actors.items()
                if self._stands(name, self.cache.sign_of_life(group, consumer))
            ]
            ticks = [self._stands(f"levels {s}", self._last_level(s)) for s in self.symbols]
        except ServiceError:
            self.forget()
            return []
        stateless = set(quiet).intersection(self.workers)  # there is no level then, whoever ticks
        if any(ticks) and not stateless:
            quiet += LEVELS
        for name in quiet:
            self._moved.pop(name, None)
        return quiet

    def forget(self) -> None:
        """Give everything its patience anew: something has been restarted."""
        self._moved.clear()

    def _stands(self, name: str, seen: object) -> bool:
        """Whether it is what it was, for longer than patience; None is 'need not move'."""
        now = self.monotonic()
        before, since = self._moved.get(name, (None, now))
        at, times = self._stood.get(name, (None, 0))
        if times and seen is not None and seen != at:
            del self._stood[name]
            times = 0
        if seen is None or seen != before:
            self._moved[name] = (seen, now)
            return False
        if now - since <= self.patience * 2 ** min(times, _DOUBLINGS):
            return False
        self._moved[name] = (seen, now)
        self._stood[name] = (seen, times + 1)
        return True

    def _last_level(self, symbol: str) -> object:
        """The instant of the last level of record, where there should be one every tick."""
        session = self.cache.session(symbol)
        if session is None or session.replay or session.ended or session.first_pass is None:
            return None
        tick = self.cache.tick(symbol)
        return (session.epoch, tick.at if tick and tick.epoch == session.epoch else 0)
