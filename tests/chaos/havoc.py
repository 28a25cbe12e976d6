"""Doing to a running platform what a plan says.

Owns the acts and taking them back; must not judge what comes of them.
"""

from __future__ import annotations

import os
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

from common.servers.instance import Instance
from common.servers.supervisor import Supervisor
from common.settings import load_settings

_PATIENCE = 60.0
"""How long a program may take until it runs again [s]."""


@dataclass
class Havoc:
    """Acts on one platform and its broker, one after the other."""

    running: Platform
    served: Simulator
    say: Callable[[str], None]
    supervisor: Supervisor = field(init=False)
    done: Counter[str] = field(default_factory=Counter)
    """What has been done how often."""
    caused: Counter[str] = field(default_factory=Counter)
    """Program → how often it has had to start again."""
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

    def restarts(self) -> dict[str, int]:
        """How often each program was started again, as `gex status` counts it."""
        return {row["name"]: row["restarts"] for row in self.running.status()["programs"]}

    def stop(self, program: str) -> None:
        """Stop a program in order, for good."""
        self.running.control("stop", program)

    def _wait(self, until: float) -> None:
        while (rest := until - time.monotonic()) > 0:
            self.running.check_alive()
            self._stopped.wait(min(rest, 0.5))

    def _do(self, act: Act, began: float, later: list[tuple[float, Callable[[], None]]]) -> None:
        self.say(f"{time.monotonic() - began:6.1f} s  {act}")
        self.done[str(act.what)] += 1
        if act.what is What.CUT:
            self.served.let("cut")
        elif act.what is What.RESTART_REDIS:
            self._running("redis")
            self.caused["redis"] += 1
            self.running.control("stop", "redis")
            self.running.control("start", "redis")
        elif act.what is What.KILL:
            os.kill(self._running(act.program), signal.SIGKILL)
            self.caused[act.program] += 1
        elif act.what is What.PAUSE:
            process = psutil.Process(self._running(act.program))
            process.suspend()
            later.append((time.monotonic() - began + act.lasts, lambda: _go_on(process)))
        else:
            self.running.control("stop", act.program)
            self.caused[act.program] += 1
            again = time.monotonic() - began + act.lasts
            later.append((again, lambda: self.running.control("start", act.program)))

    def _running(self, program: str) -> int:
        """Process id of a program, once it runs."""

        def ask() -> int | None:
            self.running.check_alive()
            found = next((p for p in self.supervisor.programs() if p.name == program), None)
            return found.pid if found and found.state == "RUNNING" else None

        return wait_until(ask, seconds=_PATIENCE, what=f"{program} running")


def _go_on(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):  # killed while it was paused
        process.resume()
