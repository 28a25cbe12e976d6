"""Connections to PostgreSQL, and what their failures are called.

Owns connection options and the wrapping of library errors; must not hold SQL.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from common.db.arrays import Array, ArrayDumper
from common.db.sql import queries
from common.errors import RejectedError, SlowStatementError, StorageError, UsageError

psycopg.adapters.register_dumper(Array, ArrayDumper)
Connection = psycopg.Connection[tuple[Any, ...]]
ANOTHER_SCHEMA = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.InvalidBinaryRepresentation,
    psycopg.errors.BadCopyFileFormat,
)
"""What a server says of rows made for another schema than it has; the rows are not at fault."""


def connect(url: str, *, name: str, timeout_seconds: float = 30.0) -> Connection:
    """An open connection, in transactions.

    :param name: shown in ``pg_stat_activity``.
    A server that falls silent, its machine gone, is given up after half a minute.

    :param timeout_seconds: for one statement; a lock is waited for half as long.
    :raises StorageError: when the server is out of reach or refuses.
    :raises UsageError: when ``url`` is none.
    """
    milliseconds = round(1000 * timeout_seconds)
    try:
        with storage_errors():
            return psycopg.connect(
                url,
                application_name=f"gex-{name}",
                connect_timeout=5,
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=3,
                tcp_user_timeout=30_000,
                options=f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds // 2} "
                "-c timezone=UTC",
            )
    except RejectedError as error:  # its text is not repeated: it may hold the password
        raise UsageError(
            "GEX_DATABASE_URL is no PostgreSQL URL, e.g. postgresql://me:secret@127.0.0.1:5432/gex"
        ) from error


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn the library's errors into those of :mod:`common.errors`.

    :raises SlowStatementError: a statement took longer than it may.
    :raises StorageError: the server is out of reach, has no room or lacks the schema.
    :raises RejectedError: the server refuses the data itself.
    """
    try:
        yield
    except ANOTHER_SCHEMA as error:
        raise StorageError(f"{_line(error)}; run `gex db migrate`") from error
    except psycopg.errors.QueryCanceled as error:
        raise SlowStatementError(f"PostgreSQL: {_line(error)}") from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise StorageError(f"PostgreSQL: {_line(error)}") from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise StorageError(f"PostgreSQL: {_line(error)}; grant this user the rights") from error
    except psycopg.Error as error:
        raise RejectedError(f"PostgreSQL refuses the rows: {_line(error)}") from error


def in_database(url: str, database: str) -> str:
    """The connection string of another database of the same server."""
    return make_conninfo(url, dbname=database)


def query(name: str) -> Any:
    """The SQL of a named query, as psycopg takes it."""
    return queries()[name].encode()


def read_by_index(connection: Connection) -> None:
    """Until the transaction ends, read no table from end to end.

    How few of millions of rows are new the planner cannot know; it would read all of them.
    """
    connection.execute(query("read_by_index"))


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
