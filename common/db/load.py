"""Putting rows into a table: partitions where they are missing, once what comes twice, and
without the rows that the database refuses.

Owns these three; must not know what the rows mean, nor hold SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import psycopg

from common.clock import to_datetime
from common.db.connection import ANOTHER_SCHEMA, Connection, query
from common.db.deliveries import DAY_US, Sessions
from common.db.rows import Table

REFUSALS = (psycopg.DataError, psycopg.IntegrityError)
T = TypeVar("T")
Times = Sequence[int] | npt.NDArray[np.int64]
"""Market times [us]."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that the database does not take."""

    entry: int
    """Number of its entry among those given."""
    place: int
    """Number of its row within the entry."""
    reason: str


class Loader:
    """COPY and INSERT into the tables of one database, within the transaction that is open."""

    def __init__(self) -> None:
        self.careful = False
        """Whether a part that fails is undone, and tried in another way or by its halves. Else
        it fails the transaction, to be tried again carefully: rarely, so that the savepoints
        cost a transaction nothing as a rule."""
        self._repeating: set[str] = set()

    @property
    def by_parts(self) -> bool:
        """Whether what becomes of rows is to be known of a delivery by itself."""
        return self.careful or bool(self._repeating)

    def load(self, connection: Connection, table: Table, times: Times) -> tuple[int, list[Refused]]:
        """Rows that are new, and those that the database refuses, found by halving."""
        try:
            return self.write(connection, times, lambda: self._copy(connection, table)), []
        except ANOTHER_SCHEMA:
            raise
        except REFUSALS as error:
            if not self.careful:
                raise
            if len(table) == 1:
                reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
                return 0, [Refused(int(table.entries[0]), int(table.places[0]), reason)]
        new, refused = 0, []
        for half in np.array_split(np.arange(len(table)), 2):
            part, bad = self.load(connection, table.take(half), times)
            new += part
            refused += bad
        return new, refused

    def write(self, connection: Connection, times: Times, write: Callable[[], T]) -> T:
        """Write; where that fails for want of a partition, make those of the times and retry."""
        try:
            with self._part(connection):
                return write()
        except psycopg.errors.CheckViolation as error:
            if error.diag.constraint_name or not self.careful:  # a missing partition has no name
                raise
        days = np.unique(np.asarray(times) // DAY_US).tolist()
        instants = [to_datetime(day * DAY_US) for day in days]
        connection.execute(query("make_partitions"), {"instants": instants})
        with self._part(connection):
            return write()

    def _copy(self, connection: Connection, table: Table) -> int:
        """COPY rows; on a unique violation the same rows through a staging table. New rows.

        While what comes is there already, the first attempt is left out.
        """
        if table.name not in self._repeating:
            try:
                with self._part(connection):
                    _copy_in(connection, f"copy_{table.name}", table)
                return len(table)
            except psycopg.errors.UniqueViolation:
                self._repeating.add(table.name)
                if not self.careful:
                    raise
        with self._part(connection):
            connection.execute(query(f"stage_{table.name}"))
            _copy_in(connection, f"copy_staged_{table.name}", table)
            new = connection.execute(query(f"insert_staged_{table.name}")).rowcount
            connection.execute(query(f"empty_staged_{table.name}"))
        if new == len(table):
            self._repeating.discard(table.name)
        return new

    def _part(self, connection: Connection) -> AbstractContextManager[Any]:
        return connection.transaction() if self.careful else nullcontext()


def _copy_in(connection: Connection, name: str, table: Table) -> None:
    with connection.cursor() as cursor, cursor.copy(query(name)) as copy:
        for piece in table.pack():
            copy.write(piece)


def timely(table: Table, sessions: Sessions) -> tuple[Table, list[Refused]]:
    """The rows whose time can be of their session, and the others."""
    fits = sessions.near(table.times, table.entries)
    if fits.all():
        return table, []
    odd = np.flatnonzero(~fits)
    places = zip(table.entries[odd].tolist(), table.places[odd].tolist(), strict=True)
    refused = [Refused(entry, place, "its time is not of its session") for entry, place in places]
    return table.take(np.flatnonzero(fits)), refused
