"""Reading the history.

Owns the reads; must not hold SQL nor write anything.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from psycopg.rows import dict_row

from common.db.connection import Connection, query, storage_errors


def latest_level(connection: Connection, symbol: str) -> dict[str, Any] | None:
    """The last stored level of a symbol with its session, or None."""
    rows = _rows(connection, "latest_level", {"symbol": symbol})
    return rows[0] if rows else None


def level_history(
    connection: Connection, session: str, *, since: datetime, points: int
) -> list[dict[str, Any]]:
    """The stored levels of a session after an instant, in order: time, state, spot [$],
    net_gex [$ of delta per 1 % move], zero_gamma [$].

    Where there are many, the time between is cut into ``points`` equal parts and the last
    level of each is kept: every row is a level that was published.

    :param session: its key.
    :param points: at most one row more than this comes back.
    """
    values = {"session": session, "since": since, "points": points}
    return _rows(connection, "level_history", values)


def stored_counts(connection: Connection, symbol: str) -> list[dict[str, Any]]:
    """Rows stored by session: key, quotes, spots, greeks, levels."""
    return _rows(connection, "stored_counts", {"symbol": symbol})


def server_facts(connection: Connection) -> dict[str, Any]:
    """Version of the server and of TimescaleDB (None without it), database and its size."""
    return _rows(connection, "server_facts", {})[0]


def storage_report(connection: Connection) -> list[dict[str, Any]]:
    """Each series: ``kind`` (hypertable or partitions), ``parts`` and ``bytes``, and on
    TimescaleDB the bytes of what is compressed, before and after."""
    return _rows(connection, "storage_report", {})


def _rows(connection: Connection, name: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    with storage_errors(), connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(query(name), values).fetchall()
        connection.commit()
        return rows
