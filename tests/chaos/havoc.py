"""Doing to a running platform what a plan says.

Owns the acts and taking them back; must not judge what comes of them.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import psutil
from harness import Platform, wait_until
from plan import Act, What
from simulated import Simulator

from common.bus.cache import Cache
from common.errors import ServiceError
from common.servers.instance import Instance
from common.servers.supervisor import Program, Supervisor
from common.settings import load_settings

_SPAWNED = re.compile(r"spawned: '([^']+)' with pid")
STARTED_AS = {"store": "store-0"}
"""Programs that call themselves otherwise."""
_PATIENCE = 60.0
"""How long a program may take until it runs again and has said so [s]."""


@dataclass
class Havoc:
    """Acts on one platform and its broker, one after the other."""

    running: Platform
    served: Simulator
    cache: Cache
    say: Callable[[str], None]
    supervisor: Supervisor = field(init=False)
    done: Counter[str] = field(default_factory=Counter)
    """What has been done how often."""
    _ready: dict[str, int] = field(default_factory=dict)
    """Program → id of the process that was up, and counted, when it was last looked at."""
    _stopped: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.supervisor = Supervisor(Instance(load_settings(state_dir=self.running.state)))

    def follow(self, acts: list[Act], seconds: float) -> None:
        """Do what is planned at its instants and take it back; returns when time is over."""
        began = time.monotonic()
        later: list[tuple[float, Callable[[], None]]] = [
            (act.at, lambda a=act: self._do(a, began, later))  # type: ignore[misc]
            for act in acts
        ]
        while later:
            later.sort(key=lambda each: each[0])
            at, step = later.pop(0)
            self._wait(began + at)
            step()
        self._wait(began + seconds)

    def spawned(self) -> Counter[str]:
        """How often supervisord has started each program, by its own log."""
        text = (self.running.state / "logs" / "supervisord.log").read_text(encoding="utf-8")
        return Counter(_SPAWNED.findall(text))

    def counted(self) -> dict[str, int]:
        """How often each program was started, as the platform counts it."""
        starts = self.cache.starts()
        return {name: starts.get(STARTED_AS.get(name, name), 0) for name in self.spawned()}

    def stop(self, program: str) -> None:
        """Stop a program in order, for good."""
        self.running.control("stop", program)

    def _wait(self, until: float) -> None:
        while (rest := until - time.monotonic()) > 0:
            self._look()
            self._stopped.wait(min(rest, 0.5))

    def _do(self, act: Act, began: float, later: list[tuple[float, Callable[[], None]]]) -> None:
        self.say(f"{time.monotonic() - began:6.1f} s  {act}")
        self.done[str(act.what)] += 1
        if act.what is What.CUT:
            self.served.let("cut")
        elif act.what is What.RESTART_REDIS:
            self._running("redis")
            self.running.control("stop", "redis")
            self.running.control("start", "redis")
        elif act.what is What.KILL:
            os.kill(self._running(act.program), signal.SIGKILL)
        elif act.what is What.PAUSE:
            process = psutil.Process(self._running(act.program))
            process.suspend()
            later.append((time.monotonic() - began + act.lasts, lambda: _go_on(process)))
        else:
            self.running.control("stop", act.program)
            again = time.monotonic() - began + act.lasts
            later.append((again, lambda: self.running.control("start", act.program)))

    def _running(self, program: str) -> int:
        """Process id of a program, once it runs and its start has been counted."""

        def ask() -> Program | None:
            found = self._look().get(program)
            return found if found and found.pid == self._ready.get(program) else None

        return wait_until(ask, seconds=_PATIENCE, what=f"{program} running and counted").pid

    def _look(self) -> dict[str, Program]:
        """The programs that run, and remember those whose starts are all counted."""
        self.running.check_alive()
        found = {p.name: p for p in self.supervisor.programs() if p.state == "RUNNING"}
        with suppress(ServiceError):  # while Redis is away, none is counted and any may be hit
            counted, spawned = self.counted(), self.spawned()
            for name, program in found.items():
                if counted[name] == spawned[name]:
                    self._ready[name] = program.pid
        return found


def _go_on(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):  # killed while it was paused
        process.resume()
