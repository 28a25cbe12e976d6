"""Figures of the storage: rows from batches to committed, against a bare COPY.

Owns measuring them; the reference is a psycopg COPY binary loop of the same rows into a table
of the same columns and key, on the same server in the same run, fsync on.
"""

from __future__ import annotations

import statistics
from typing import Any

from common.bus.codec import Batch
from common.db.connection import Connection, query
from common.db.store import QUOTE_TYPES, Store, quote_rows
from common.models import Expiry
from workers.benches.figure import Figure, ratio, seconds_of
from workers.benches.sample import DAY, batches
from workers.benches.servers import own_servers
from workers.context import Context

_QUOTES, _SIZE, _ENTRIES, _ROUNDS = 50_000, 500, 20, 5


def run() -> list[Figure]:
    """The figures of `gex bench store`."""
    made = batches(_QUOTES, _SIZE)
    groups = [made[i : i + _ENTRIES] for i in range(0, len(made), _ENTRIES)]
    first, again, bare = [], [], []
    with own_servers("postgres") as context:
        for _ in range(_ROUNDS):
            _empty(context)
            first.append(_QUOTES / seconds_of(lambda: _store(context, groups)))
            again.append(_QUOTES / seconds_of(lambda: _store(context, groups)))
            _empty(context)
            bare.append(_QUOTES / _copy(context, groups))
    rate, reference = statistics.median(first), statistics.median(bare)
    return [
        ratio(
            "store_rows",
            own=rate,
            name="psycopg COPY binary loop",
            reference=reference,
            unit="rows/s",
            goal=0.7,
        ),
        ratio(
            "store_replay",
            own=statistics.median(again),
            name="the first pass",
            reference=rate,
            unit="rows/s",
            goal=0.4,
        ),
    ]


def _store(context: Context, groups: list[list[Batch]]) -> None:
    store = Store(lambda: context.database("bench"), software="bench")
    for group in groups:
        store.save_quotes("SPY", DAY.isoformat(), group)
    store.close()


def _copy(context: Context, groups: list[list[Batch]]) -> float:
    """Seconds of the reference: the same rows, made beforehand, straight into the table."""
    with context.database("bench") as connection:
        session = connection.execute(
            query("session_id"),
            {
                "key": "bare",
                "symbol": "SPY",
                "trading_date": DAY,
                "feed": "bench",
                "software": "bench",
            },
        ).fetchone()
        assert session is not None  # noqa: S101
        rows = [
            [row for batch in group for row in quote_rows(batch, session[0], "SPY", Expiry(DAY))]
            for group in groups
        ]
        return seconds_of(lambda: _copy_rows(connection, rows))


def _copy_rows(connection: Connection, groups: list[list[tuple[Any, ...]]]) -> None:
    for rows in groups:
        with connection.cursor() as cursor, cursor.copy(query("copy_quotes")) as copy:
            copy.set_types(QUOTE_TYPES)
            for row in rows:
                copy.write_row(row)
        connection.commit()


def _empty(context: Context) -> None:
    with context.database("bench") as connection:
        connection.execute(query("empty_quotes"))
        connection.commit()
