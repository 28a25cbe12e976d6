"""The day so far, from the database.

Owns asking for it in a way that can fail; must not hold SQL nor write anything.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from common.clock import from_datetime, to_datetime
from common.db import queries
from common.db.connection import Connection
from common.errors import GexError, StorageError
from common.models import JsonDict

POINTS = 1000
"""Into how many parts a day is cut; a line has no more points than that, and one."""
_Rows = list[dict[str, Any]]


class History:
    """The stored levels of a session, by one question at a time.

    Each is asked in a thread that may be left behind: a database that hangs costs this page
    its history and nothing else.
    """

    def __init__(self, connect: Callable[[], Connection], *, patience_seconds: float = 5.0) -> None:
        """Connect to nothing yet.

        :param patience_seconds: how long an answer is waited for.
        """
        self._connect, self._patience = connect, patience_seconds
        self._connection: Connection | None = None
        self._turn = threading.Lock()

    def points(self, session: str, since_us: int) -> JsonDict:
        """Columns ``time`` [ms since the epoch], ``state``, ``spot``, ``net_gex``, ``zero_gamma``.

        :param session: key of the session.
        :param since_us: levels after this market time [us].
        :raises StorageError: when the database is out of reach or does not answer in time.
        """
        if not self._turn.acquire(timeout=self._patience):
            raise self._silence()
        answer: Future[_Rows] = Future()
        threading.Thread(
            target=self._answer, args=(answer, session, since_us), name="history", daemon=True
        ).start()
        try:
            return _columns(answer.result(self._patience))
        except TimeoutError as error:
            raise self._silence() from error

    def _answer(self, answer: Future[_Rows], session: str, since_us: int) -> None:
        try:
            answer.set_result(self._ask(session, since_us))
        except GexError as error:
            answer.set_exception(error)
        finally:
            self._turn.release()

    def _ask(self, session: str, since_us: int) -> _Rows:
        connection = self._connection
        if connection is None or connection.closed:
            connection = self._connection = self._connect()
        done = False
        try:
            rows = queries.level_history(
                connection, session, since=to_datetime(since_us), points=POINTS
            )
            done = True
        finally:
            if not done:  # whatever it was, the next question starts afresh
                connection.close()
        return rows

    def _silence(self) -> StorageError:
        return StorageError(f"PostgreSQL has not answered for {self._patience:g} s")


def _columns(rows: _Rows) -> JsonDict:
    return {
        "time": [from_datetime(row["time"]) // 1000 for row in rows],
        "state": [row["state"] for row in rows],
        **{
            name: [_finite(row[name]) for row in rows] for name in ("spot", "net_gex", "zero_gamma")
        },
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
