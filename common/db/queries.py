"""Reading the history.

Owns the reads; must not hold SQL nor write anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from common.db.connection import Connection, query, read_by_index, storage_errors
from common.models import JsonDict


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


@dataclass(frozen=True, slots=True)
class Span:
    """Of which levels a history is asked."""

    symbol: str
    since: datetime
    until: datetime
    """Exclusive."""
    session: str | None = None
    """Key; None is every session of the symbol."""


def history(connection: Connection, span: Span, *, bucket: timedelta) -> list[dict[str, Any]]:
    """The levels of a span by time buckets: ``time`` (start of the bucket), ``session``,
    ``feed``, the last ``spot`` [$], ``net_gex`` [$ of delta per 1 % move], ``zero_gamma``,
    ``call_wall`` and ``put_wall`` [$] in it, ``net_gex_low`` and ``net_gex_high``, and how many
    ``levels`` it holds.

    It reads the levels themselves, by their key: aggregates of TimescaleDB know a day that was
    replayed only once they are refreshed.

    :param bucket: its length.
    """
    values = {
        "symbol": span.symbol,
        "session": span.session,
        "since": span.since,
        "until": span.until,
        "first_day": (span.since - timedelta(days=1)).date(),
        "last_day": (span.until + timedelta(days=1)).date(),
    }
    return _rows(connection, "history_buckets", {**values, "bucket": bucket})


def last_day(connection: Connection, symbol: str, session: str | None) -> date | None:
    """The last trading date of which a session is stored, or None."""
    rows = _rows(connection, "last_day", {"symbol": symbol, "session": session})
    found: date | None = rows[0]["max"]
    return found


def level_at(
    connection: Connection, symbol: str, *, at: datetime, trading_date: date, session: str | None
) -> dict[str, Any] | None:
    """The last level published at or before an instant with its session, or None.

    :param session: its key; None takes the session of the date that was stored last.
    """
    values = {"symbol": symbol, "at": at, "trading_date": trading_date, "session": session}
    rows = _rows(connection, "level_at", values)
    return rows[0] if rows else None


def chain_marks(
    connection: Connection, session_id: int, *, watermark: JsonDict, until: datetime | None
) -> list[dict[str, Any]]:
    """How far each shard's state had come: the ``epoch``, the ``low`` and ``high`` seq of its
    quotes and the ``spot_seq`` of its newest price; null where the entry is not stored.

    :param watermark: shard → id of the last entry included.
    :param until: entries that follow are included too up to this market time.
    """
    values = {"session_id": session_id, "watermark": Jsonb(watermark), "until": until}
    return _rows(connection, "chain_marks", values)


def chain_quotes(connection: Connection, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The newest quote of every contract of a shard through a seq, by strike, call first.

    :param values: ``session_id``, ``expiration``, ``settlement``, ``low`` and ``high`` seq, and
        the times (``since``, ``until``) between which all rows of the session are.
    """
    with storage_errors(), connection.cursor(binary=True) as cursor:
        read_by_index(connection)
        rows = cursor.execute(query("chain_quotes"), values).fetchall()
        connection.commit()
        return rows


def spots_between(connection: Connection, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Prices of the underlying from seq ``first`` through ``last``, in the order of SPOT."""
    return [tuple(row.values()) for row in _rows(connection, "spots_between", values)]


def storage_report(connection: Connection) -> list[dict[str, Any]]:
    """Each series: ``kind`` (hypertable or partitions), ``parts`` and ``bytes``, and on
    TimescaleDB the bytes of what is compressed, before and after."""
    return _rows(connection, "storage_report", {})


def _rows(connection: Connection, name: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    with storage_errors(), connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(query(name), values).fetchall()
        connection.commit()
        return rows
