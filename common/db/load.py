"""Putting rows into a table: partitions where they are missing, once what comes twice, and
without the rows that the database refuses.

Owns these three; must not know what the rows mean, nor hold SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import numpy as np
import psycopg

from common.bus.codec import Batch
from common.clock import to_datetime
from common.db.connection import ANOTHER_SCHEMA, Connection, query
from common.db.rows import DAY_US, Table, entry_values, near
from common.errors import RejectedError
from common.models import Expiry

_REFUSALS = (psycopg.DataError, psycopg.IntegrityError)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that the database does not take."""

    entry: int
    """Number of its entry among those given."""
    place: int
    """Number of its row within the entry."""
    reason: str


class Loader:
    """COPY into the tables of one database."""

    def __init__(self) -> None:
        self._repeating: set[str] = set()

    def load(
        self, connection: Connection, table: Table, instants: list[datetime]
    ) -> tuple[int, list[Refused]]:
        """Rows that are new, and those that the database refuses, found by halving."""
        try:
            return with_partitions(
                connection, (table.name,), instants, lambda: self._copy(connection, table)
            ), []
        except ANOTHER_SCHEMA:
            raise
        except _REFUSALS as error:
            if len(table) == 1:
                reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
                return 0, [Refused(int(table.entries[0]), int(table.places[0]), reason)]
        new, refused = 0, []
        for half in np.array_split(np.arange(len(table)), 2):
            part, bad = self.load(connection, table.take(half), instants)
            new += part
            refused += bad
        return new, refused

    def _copy(self, connection: Connection, table: Table) -> int:
        """COPY rows; on a unique violation the same rows through a staging table. New rows.

        While what comes is there already, the first attempt is left out.
        """
        if table.name not in self._repeating:
            try:
                with connection.transaction():
                    _copy_in(connection, f"copy_{table.name}", table)
                return len(table)
            except psycopg.errors.UniqueViolation:
                self._repeating.add(table.name)
        with connection.transaction():
            connection.execute(query(f"stage_{table.name}"))
            _copy_in(connection, f"copy_staged_{table.name}", table)
            new = connection.execute(query(f"insert_staged_{table.name}")).rowcount
            connection.execute(query(f"empty_staged_{table.name}"))
        if new == len(table):
            self._repeating.discard(table.name)
        return new


def _copy_in(connection: Connection, name: str, table: Table) -> None:
    with connection.cursor() as cursor, cursor.copy(query(name)) as copy:
        for piece in table.pack():
            copy.write(piece)


def insert_rows(
    connection: Connection,
    series: str,
    name: str,
    instants: list[datetime],
    values: dict[str, Any],
) -> int:
    """Run an INSERT of rows of these instants; rows that are new."""
    return with_partitions(
        connection, (series,), instants, lambda: connection.execute(query(name), values)
    ).rowcount


def with_partitions(
    connection: Connection,
    series: tuple[str, ...],
    instants: list[datetime],
    write: Callable[[], T],
) -> T:
    """Write; where that fails for want of a partition, make those of the instants and retry."""
    try:
        with connection.transaction():
            return write()
    except psycopg.errors.CheckViolation as error:
        if error.diag.constraint_name or not instants:  # a missing partition has no name
            raise
    for name in series:
        values = {"series": name, "instants": instants}
        connection.execute(query("make_partitions"), values)
    with connection.transaction():
        return write()


def timely(table: Table, sessions: Sequence[str]) -> tuple[Table, list[Refused]]:
    """The rows whose time can be of their session, and the others.

    :param sessions: key of the session of each entry.
    """
    fits = np.zeros(len(table), np.bool_)
    for key in set(sessions):
        own = np.array([session == key for session in sessions])[table.entries]
        fits |= own & near(table.times, key)
    if fits.all():
        return table, []
    odd = np.flatnonzero(~fits)
    places = zip(table.entries[odd].tolist(), table.places[odd].tolist(), strict=True)
    refused = [Refused(entry, place, "its time is not of its session") for entry, place in places]
    return table.take(np.flatnonzero(fits)), refused


def days_of(times: Any, keys: set[str]) -> list[datetime]:
    """An instant of every day that rows of these sessions may be of."""
    possible = np.any([near(times, key) for key in keys], axis=0)
    return [to_datetime(day * DAY_US) for day in np.unique(times[possible] // DAY_US).tolist()]


def save_entries(
    connection: Connection,
    symbol: str,
    expiry: Expiry,
    entries: Sequence[tuple[str, Batch]],
    sessions: Any,
) -> None:
    """Write down what each entry brought; ``sessions`` are the numbers of theirs."""
    values = entry_values(entries, sessions)
    instants = [to_datetime(at) for at in values["times"]]
    place = {
        "symbol": symbol,
        "expiration": expiry.expiration,
        "settlement": expiry.settlement,
    }
    insert_rows(connection, "entries", "insert_entries", instants, {**values, **place})


def save_spots(
    connection: Connection, symbol: str, batches: Sequence[Batch], sessions: Any
) -> None:
    """Store the prices of the underlying; ``sessions`` are the numbers of the batches'.

    :raises RejectedError: when the time of one cannot be of its session.
    """
    spots = np.concatenate([batch.spots for batch in batches])
    if not len(spots):
        return
    if not all(near(batch.spots["time"], batch.header.session).all() for batch in batches):
        raise RejectedError(f"the time of a price of {symbol} is not of its session")
    values = {
        "symbol": symbol,
        "times": spots["time"].tolist(),
        "sessions": np.repeat(sessions, [len(batch.spots) for batch in batches]).tolist(),
        "seqs": spots["seq"].tolist(),
        "prices": spots["price"].tolist(),
        "prior_closes": spots["prior_close"].tolist(),
    }
    keys = {batch.header.session for batch in batches}
    insert_rows(connection, "spots", "insert_spots", days_of(spots["time"], keys), values)
