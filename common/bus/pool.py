"""A connection pool that hands a connection out again without looking at its socket.

redis-py's own polls the socket and reports to its metrics around each command: a quarter of the
processor time that calling a small script takes. Whoever uses connections many times a second
learns of a lost one from the command itself: it is tried again, or what it was for is.
"""

from __future__ import annotations

import os
import time
from typing import Any

import redis

_TRUSTED = 1.0
"""A connection is looked at when it has not been used for so long [s]."""


class QuickPool(redis.ConnectionPool):
    """redis-py's pool, to which what is given back shortly before counts as in use."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._kept: list[tuple[Any, float]] = []
        self._kept_by = os.getpid()

    def get_connection(self, *args: Any, **options: Any) -> Any:
        """A connection that nobody else has until it is released."""
        if self._kept_by != os.getpid():  # a fork's connections are its parent's
            self._kept, self._kept_by = [], os.getpid()
        try:
            connection, since = self._kept.pop()
        except IndexError:
            return super().get_connection(*args, **options)
        if time.monotonic() - since > _TRUSTED:
            super().release(connection)
            return super().get_connection(*args, **options)
        return connection

    def release(self, connection: Any) -> None:
        """Give a connection back; one that was given back already is not."""
        if any(connection is kept for kept, _ in self._kept):
            return
        if connection.is_connected and connection.pid == os.getpid():
            self._kept.append((connection, time.monotonic()))
        else:
            super().release(connection)
