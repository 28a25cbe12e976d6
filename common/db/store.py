"""Writing the history: quotes, Greeks, prices and levels, once each whatever comes twice.

Owns the writes; must not hold SQL nor know where rows come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from itertools import repeat
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from common.bus.codec import Batch, Result
from common.clock import to_datetime
from common.db.connection import Connection, query, storage_errors
from common.levels_json import front_max_pain
from common.models import (
    FLAG_WITHDRAWN,
    Expiry,
    JsonDict,
    Rows,
    Session,
    Status,
    key_puts,
    key_strikes,
)

QUOTE_TYPES = (
    "timestamptz int4 int8 text date text float8 text float8 float8 float8 int4 int4 int4 int4 "
    "float8 bool timestamptz"
).split()
"""Column types of ``copy_quotes``."""
_GREEK_TYPES = (
    "timestamptz int4 int8 text date text float8 text text text float8 float8 float8 float8 text"
).split()
_EPOCH = to_datetime(0)
_LABELS = {int(status): status.label for status in Status}


class Store:
    """The history in one database; keeps one connection and makes it anew after an outage."""

    def __init__(self, connect: Callable[[], Connection], *, software: str) -> None:
        self._connect = connect
        self._software = software
        self._connection: Connection | None = None
        self._sessions: dict[str, int] = {}

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def save_quotes(self, symbol: str, shard: str, batches: Sequence[Batch]) -> tuple[int, int]:
        """Store quote batches of one expiry; (rows, rows that were there before)."""
        expiry = Expiry.from_shard(shard)

        def write(connection: Connection) -> tuple[int, int]:
            rows: list[tuple[Any, ...]] = []
            for batch in batches:
                session = self._session(connection, batch.header.session)
                rows.extend(quote_rows(batch, session, symbol, expiry))
                self._save_spots(connection, batch, session, symbol)
            return len(rows), len(rows) - _copy(connection, "quotes", QUOTE_TYPES, rows)

        return self._transaction(write)

    def save_greeks(self, symbol: str, results: Sequence[Result]) -> tuple[int, int]:
        """Store Greeks; (rows, rows that were there before)."""

        def write(connection: Connection) -> tuple[int, int]:
            rows: list[tuple[Any, ...]] = []
            for result in results:
                session = self._session(connection, result.header.session)
                rows.extend(_greek_rows(result, session, symbol))
            return len(rows), len(rows) - _copy(connection, "greeks", _GREEK_TYPES, rows)

        return self._transaction(write)

    def save_levels(
        self, levels: Sequence[tuple[int, str, JsonDict]], *, strike_seconds: float
    ) -> tuple[int, int]:
        """Store published levels, a list of (market time [us], session key, ``latest`` JSON).

        :param strike_seconds: cadence at which strikes are kept [s].
        :returns: (rows, rows that were there before).
        """

        def write(connection: Connection) -> tuple[int, int]:
            new = 0
            for at, key, result in levels:
                session = self._session(connection, key)
                row = _level_row(at, session, result)
                new += connection.execute(query("insert_level"), row).rowcount
                connection.execute(
                    query("insert_strikes"),
                    {
                        "time": row["time"],
                        "session_id": session,
                        "symbol": row["symbol"],
                        "strikes": Jsonb(result["strikes"]),
                        "cadence": timedelta(seconds=strike_seconds),
                    },
                )
            return len(levels), len(levels) - new

        return self._transaction(write)

    def describe_session(self, session: Session) -> None:
        """Add what the session record says to its row, if the row is there."""
        values = {
            "key": session.key,
            "open_at": to_datetime(session.open_us),
            "close_at": to_datetime(session.close_us),
            "source": session.source,
        }

        def write(connection: Connection) -> tuple[int, int]:
            connection.execute(query("describe_session"), values)
            return 0, 0

        self._transaction(write)

    def _transaction(self, write: Callable[[Connection], tuple[int, int]]) -> tuple[int, int]:
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
            self._sessions.clear()
        done = False
        try:
            with storage_errors(), self._connection.transaction():
                result = write(self._connection)
            done = True
        finally:
            if not done:
                self._sessions.clear()  # a session made in the lost transaction is not there
                if self._connection.broken or self._connection.closed:
                    self.close()
        return result

    def _session(self, connection: Connection, key: str) -> int:
        known = self._sessions.get(key)
        if known is not None:
            return known
        symbol, trading_date, feed = key.split(":")[:3]
        row = connection.execute(
            query("session_id"),
            {
                "key": key,
                "symbol": symbol,
                "trading_date": date.fromisoformat(trading_date),
                "feed": feed,
                "software": self._software,
            },
        ).fetchone()
        if row is None:  # made by another transaction since the statement began
            raise psycopg.OperationalError("the session row is being made elsewhere")
        self._sessions[key] = row[0]
        return int(row[0])

    @staticmethod
    def _save_spots(connection: Connection, batch: Batch, session: int, symbol: str) -> None:
        if len(batch.spots):
            connection.execute(
                query("insert_spots"),
                {
                    "session_id": session,
                    "symbol": symbol,
                    "times": [to_datetime(at) for at in batch.spots["time"].tolist()],
                    "seqs": batch.spots["seq"].tolist(),
                    "prices": batch.spots["price"].tolist(),
                },
            )


def _copy(connection: Connection, table: str, types: list[str], rows: list[tuple[Any, ...]]) -> int:
    """COPY rows; on a unique violation the same rows through a staging table. New rows."""
    if not rows:
        return 0
    try:
        with connection.transaction():
            _copy_rows(connection, f"copy_{table}", types, rows)
        return len(rows)
    except psycopg.errors.UniqueViolation:
        connection.execute(query(f"stage_{table}"))
        _copy_rows(connection, f"copy_staged_{table}", types, rows)
        return connection.execute(query(f"insert_staged_{table}")).rowcount


def _copy_rows(
    connection: Connection, name: str, types: list[str], rows: list[tuple[Any, ...]]
) -> None:
    with connection.cursor() as cursor, cursor.copy(query(name)) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)


def quote_rows(
    batch: Batch, session: int, symbol: str, expiry: Expiry
) -> Iterable[tuple[Any, ...]]:
    """The rows of ``gex.quotes`` of a batch, in the order of QUOTE_TYPES."""
    rows = batch.quotes
    return zip(
        *_contract_columns(rows, session, symbol, expiry),
        *(_present(rows[name]) for name in ("bid", "ask", "last")),
        *(_counted(rows[n]) for n in ("bid_size", "ask_size", "volume", "open_interest")),
        _present(rows["spot"]),
        ((rows["flags"] & FLAG_WITHDRAWN) != 0).tolist(),
        repeat(to_datetime(batch.header.received_us)),
        strict=False,  # what is repeated has no end
    )


def _greek_rows(result: Result, session: int, symbol: str) -> Iterable[tuple[Any, ...]]:
    rows, header = result.rows, result.header
    expiry = Expiry.from_shard(header.shard)
    return zip(
        *_contract_columns(rows, session, symbol, expiry),
        [_LABELS.get(status, str(status)) for status in rows["status"].tolist()],
        [side.decode() for side in rows["side"].tolist()],
        *(_present(rows[name]) for name in ("iv", "delta", "gamma")),
        repeat(header.basis if header.basis == header.basis else None),
        repeat(header.forward_source),
        strict=False,
    )


def _contract_columns(rows: Rows, session: int, symbol: str, expiry: Expiry) -> list[Iterable[Any]]:
    """time, session_id, seq, symbol, expiration, settlement, strike, right; built by columns."""
    return [
        [_EPOCH + timedelta(0, 0, at) for at in rows["time"].tolist()],
        repeat(session),
        rows["seq"].tolist(),
        repeat(symbol),
        repeat(expiry.expiration),
        repeat(expiry.settlement),
        key_strikes(rows["key"]).tolist(),
        ["P" if put else "C" for put in key_puts(rows["key"]).tolist()],
    ]


def _level_row(at: int, session: int, result: JsonDict) -> dict[str, Any]:
    levels, quality = result["levels"], result["quality"]
    kept = {name: value for name, value in result.items() if name != "strikes"}
    names = (
        "net_gex net_gex_0dte zero_gamma call_wall put_wall expected_move dex vex cex "
        "net_volume_gex atm_iv regime"
    ).split()
    return {
        **{name: levels[name] for name in names},
        "time": to_datetime(at),
        "session_id": session,
        "symbol": result["symbol"],
        "state": result["state"],
        "sign": result["sign"],
        "spot": result["spot"],
        "max_pain": front_max_pain(result),
        "coverage_oi": quality["coverage_oi"],
        "coverage_gamma": quality["coverage_gamma"],
        "oldest_quote_at": quality["oldest_quote_at"],
        "oi_date": quality["oi_date"],
        "result": Jsonb(kept),
        "watermark": Jsonb(result["watermark"]),
    }


def _present(column: Rows | Any) -> list[float | None]:
    return [value if value == value else None for value in column.tolist()]  # noqa: PLR0124  NaN


def _counted(column: Any) -> list[int | None]:
    return [value if value >= 0 else None for value in column.tolist()]
