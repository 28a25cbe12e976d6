"""One beat: the scheduler that asks for nothing while another one does.

Owns who may ask, and how much may wait unanswered; must not know what is asked for. The right
is a lease in Redis, so that a beat that was killed, or stopped and woken up, is succeeded
within the lease and never joined.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any

from celery.beat import Scheduler

from common.bus import keys
from common.bus.client import Client, bus_errors, connect
from common.bus.lock import Lock, name_of_process
from common.errors import ServiceError
from common.servers.instance import Instance
from common.settings import load_settings

log = logging.getLogger(__name__)
_WAIT_SECONDS = 1.0
MOST_WAITING = 60
"""Messages of a queue above which nothing more is asked for: nobody answers."""


class LoneScheduler(Scheduler):  # type: ignore[misc]  # celery has no types
    """Celery's scheduler, under a lease."""

    def __init__(self, app: Any, *args: Any, **options: Any) -> None:
        self._settings = load_settings()
        self.renew_seconds = self._settings.lease_seconds / 3.0
        self._told = ""
        super().__init__(app, *args, **options)

    @cached_property
    def lease(self) -> Lock:
        """Made at the first tick: by then the programs have agreed on their addresses."""
        return Lock(
            connect(Instance(self._settings).redis_url()),
            keys.beat_lock(),
            name=name_of_process(),
            milliseconds=round(1000 * self._settings.lease_seconds),
        )

    @cached_property
    def broker(self) -> Client:
        """Where what is asked for waits."""
        return connect(Instance(self._settings).broker_url())

    def tick(self, *args: Any, **options: Any) -> float:
        """Ask for what is due, if this is the one beat; how long until the next look [s]."""
        try:
            reason = self._why_not()
        except ServiceError as error:
            reason = str(error)
        if reason != self._told:
            log.warning("%s", reason or "this beat asks for the levels now")
            self._told = reason
        if reason:
            return _WAIT_SECONDS
        return min(float(super().tick(*args, **options)), self.renew_seconds)

    def close(self) -> None:
        """The last act: a successor goes on at once."""
        try:
            self.lease.release()
        except ServiceError as error:
            log.warning("%s", error)
        super().close()

    def _why_not(self) -> str:
        """Why nothing is asked for now; empty when it is."""
        holder = self.lease.holder()
        if holder:
            return f"another beat asks for the levels ({holder}); this one waits"
        queues = {entry.options["queue"] for entry in self.schedule.values()}
        with bus_errors():
            waiting = {name: int(self.broker.llen(name)) for name in sorted(queues)}
        long = [f"{name} {length}" for name, length in waiting.items() if length >= MOST_WAITING]
        return f"nobody answers ({', '.join(long)} waiting); nothing is asked for" if long else ""
