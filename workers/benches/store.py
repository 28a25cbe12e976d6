"""Figures of the store worker: rows from stream to committed.

Owns measuring them; the references are a bare psycopg COPY binary loop and executemany of the
same rows into the same table, on the same server in the same run, fsync and synchronous_commit
on; executemany skips what is there, as the worker does.
What is read back is measured in workers.benches.history, the room it takes in .space.
"""

from __future__ import annotations

import statistics
from typing import Any

from common.bus import keys
from common.bus.producer import Producer
from common.bus.streams import Streams
from common.db.connection import Connection, query
from common.db.store import Store
from workers.actor import Actor
from workers.benches import history, space
from workers.benches.figure import Figure, ratio, seconds_of
from workers.benches.sample import DAY, batches
from workers.benches.servers import own_servers
from workers.context import Context
from workers.handling import Policy
from workers.store import ROUND_BYTES, StoreHandler

_QUOTES, _SIZE, _ROUNDS = 200_000, 500, 6
_WARM_UP = 1
"""Rounds that do not count: a new server makes files for its log, one that has run for a while
uses them again."""
_EXECUTEMANY = 10_000
"""Quotes of a round of executemany, which is slow."""
_TYPES = (
    "timestamptz int4 int8 text date text float8 text numeric numeric numeric int4 int4 int4 int4 "
    "numeric bool int4 int4"
).split()
_Row = tuple[Any, ...]


def run() -> list[Figure]:
    """The figures of `gex bench store`."""
    with own_servers("redis", "postgres") as context:
        return [*_write(context), *history.run(context), *space.run(context)]


def _write(context: Context) -> list[Figure]:
    rates: dict[str, list[float]] = {name: [] for name in ("first", "again", "copy", "executemany")}
    rows: list[_Row] = []
    for number in range(_ROUNDS):
        if number == _WARM_UP:
            rates = {name: [] for name in rates}
        _empty(context)
        rates["first"].append(_work(context))
        rates["again"].append(_work(context))
        rows = rows or _stored(context)
        _empty(context)
        rates["copy"].append(_reference(context, rows, _copy))
        _empty(context)
        rates["executemany"].append(_reference(context, rows[:_EXECUTEMANY], _executemany))
    rate = {name: statistics.median(values) for name, values in rates.items()}

    def figure(name: str, own: str, reference: str, text: str, goal: float) -> Figure:
        return ratio(
            name, own=rate[own], name=text, reference=rate[reference], unit="rows/s", goal=goal
        )

    return [
        figure("store_rows", "first", "copy", "psycopg COPY binary loop", 0.7),
        figure("store_vs_executemany", "first", "executemany", "psycopg executemany", 8.0),
        figure("store_replay", "again", "first", "the first pass", 0.4),
    ]


def _work(context: Context) -> float:
    """Rows per second of a store worker that finds everything in the stream.

    It has connected and stored one entry before, which does not count with the references either.
    """
    client = context.redis()
    client.flushdb()
    producer = Producer(client, "SPY", 1)
    first, *others = batches(_QUOTES, _SIZE)
    producer.append(DAY.isoformat(), first)
    store, beside = (Store(lambda: context.database("bench"), software="bench") for _ in range(2))
    handler = StoreHandler(client, store, beside=beside, strike_seconds=60.0, keep_seconds=60.0)
    actor = Actor(Streams(client), handler, "bench", Policy(small_bytes=ROUND_BYTES))

    def work_through(entries: int) -> None:
        while actor.handled < entries:
            actor.step()

    work_through(1)
    beside.save([])
    for batch in others:
        producer.append(DAY.isoformat(), batch)
    seconds = seconds_of(lambda: work_through(1 + len(others)))
    counters: Any = client.hgetall(keys.counters("SPY"))
    assert int(counters[b"quotes_stored"]) == _QUOTES  # noqa: S101
    handler.close()
    return len(others) * _SIZE / seconds


def _stored(context: Context) -> list[_Row]:
    with context.database("bench") as connection:
        return connection.execute(query("quote_rows")).fetchall()


def _reference(context: Context, rows: list[_Row], write: Any) -> float:
    """Rows per second, committed as often as the worker commits."""
    step = _SIZE * Policy().batch
    groups = [rows[start : start + step] for start in range(0, len(rows), step)]
    with context.database("bench") as connection:
        return len(rows) / seconds_of(lambda: write(connection, groups))


def _copy(connection: Connection, groups: list[list[_Row]]) -> None:
    for rows in groups:
        with connection.cursor() as cursor, cursor.copy(query("copy_quotes")) as copy:
            copy.set_types(_TYPES)
            for row in rows:
                copy.write_row(row)
        connection.commit()


def _executemany(connection: Connection, groups: list[list[_Row]]) -> None:
    names = (
        "time session_id seq symbol expiration settlement strike right bid ask last bid_size "
        "ask_size volume open_interest spot withdrawn bought sold"
    ).split()
    for rows in groups:
        values = [dict(zip(names, row, strict=True)) for row in rows]
        with connection.cursor() as cursor:
            cursor.executemany(query("insert_quote"), values)
        connection.commit()


def _empty(context: Context) -> None:
    """No quotes, and nothing left for a checkpoint to write while somebody else is measured."""
    with context.database("bench") as connection:
        connection.execute(query("empty_quotes"))
        connection.commit()
        if connection.execute(query("may_checkpoint")).fetchone() == (True,):
            connection.execute(query("checkpoint"))
        connection.commit()
