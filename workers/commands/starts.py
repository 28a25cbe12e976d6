"""Counting the starts of the programs that cannot count their own: the servers, the pages.

Owns telling one start from another; must not start anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from common.bus.cache import Cache
from common.errors import ServiceError
from common.servers.supervisor import Program

FOR_OTHERS = ("redis", "postgres", "upkeep", "flower", "dashboard", "simulator")
"""Programs that do not count their own starts as the workers do."""


@dataclass(slots=True)
class Starts:
    """Looks about once a second at which process a program is."""

    cache: Cache
    instance: str
    """The run of the instance that starts are counted in."""
    _counted: dict[str, int] = field(default_factory=dict, init=False)
    """Program → id of the process that was counted last."""

    def look(self, programs: Iterable[Program]) -> None:
        """Count every process that is new; while Redis is away they are counted later."""
        for program in programs:
            new = program.pid and program.pid != self._counted.get(program.name)
            if program.name not in FOR_OTHERS or not new:
                continue
            try:
                self.cache.note_start(program.name, instance=self.instance)
            except ServiceError:
                return
            self._counted[program.name] = program.pid
