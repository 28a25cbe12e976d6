"""Figures of the history: what is read back out of thirty stored days.

Owns measuring them. One day is stored through the store and repeated by the database for the
trading days before it; days and moments are asked for at random.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeVar

import numpy as np

from common.as_of import as_of
from common.bus.codec import Batch, BatchHeader
from common.chain import solve
from common.clock import SECOND, previous_trading_day, session_hours, to_datetime
from common.db import queries
from common.db.connection import Connection, connect, query
from common.db.store import Store
from common.levels import Levels, ShardState, evaluate
from common.market_model import MarketModel
from common.models import QUOTE, SPOT, Expiry, JsonDict, Rows
from common.settings import QuantParameters
from workers.benches.figure import Figure
from workers.benches.sample import DAY
from workers.context import Context

_DAYS, _ASKED = 30, 200
_PERIOD = 10
"""Seconds between two entries of the stored day."""
_CHANGED = 30
"""Contracts that an entry quotes anew; the first one has them all."""
_PATIENCE = 300.0
"""For one statement while the days are made [s]."""
_PARAMETERS = QuantParameters()
_OPEN, _CLOSE = session_hours(DAY)
_EXPIRY = Expiry(DAY)
T = TypeVar("T")
_SERIES = ("quotes", "spots", "entries", "checkpoints", "levels")


def run(context: Context) -> list[Figure]:
    """The figures of reading."""
    url = context.instance.database_url()
    with connect(url, name="bench", timeout_seconds=_PATIENCE) as connection:
        _store_days(context, connection)
        choose = random.Random(7)  # noqa: S311  the same questions in every run
        days = [choose.choice(_days()) for _ in range(_ASKED)]
        moments = [(day, choose.randrange(60, 23_400)) for day in days]
        minute, tick = timedelta(minutes=1), timedelta(microseconds=1)
        buckets = _p95_ms(lambda day: _history(connection, day, minute), days)
        whole = _p95_ms(lambda day: _history(connection, day, tick), days[:20])
        chains = _p95_ms(lambda moment: _moment(connection, *moment), moments)
    rows = _first_chain(MarketModel(symbol="SPY", seed=7, trading_date=DAY))
    memory = _p95_ms(lambda second: _levels(rows, _OPEN + second * SECOND), range(50))
    return [
        _figure("history_p95_ms", buckets, "the same day, each of its levels", whole, 20.0),
        _figure("as_of_p95_ms", chains, "solving and summing the chain in memory", memory, 100.0),
    ]


def _figure(name: str, value: float, beside: str, reference: float, goal: float) -> Figure:
    return Figure(name, value, "ms", {"name": beside, "value": reference, "unit": "ms"}, goal, "<=")


def _p95_ms(ask: Callable[[T], object], questions: Sequence[T]) -> float:
    """The time that one question in twenty exceeds [ms]; the first one, unmeasured, warms up."""
    ask(questions[0])
    times = []
    for question in questions:
        began = time.perf_counter()
        ask(question)
        times.append(1000.0 * (time.perf_counter() - began))
    return float(np.percentile(times, 95))


# --- what is asked ---------------------------------------------------------------------------


def _history(connection: Connection, days_back: int, bucket: timedelta) -> None:
    shift = timedelta(days=days_back)
    span = queries.Span("SPY", to_datetime(_OPEN) - shift, to_datetime(_CLOSE) - shift)
    rows = queries.history(connection, span, bucket=bucket)
    assert sum(row["levels"] for row in rows) == 23_400  # noqa: S101


def _moment(connection: Connection, days_back: int, second: int) -> None:
    at = _OPEN + (second - 86_400 * days_back) * SECOND
    found = as_of(connection, "SPY", at, _PARAMETERS)
    assert found.levels.quality.contracts > 100  # noqa: S101


# --- what is stored --------------------------------------------------------------------------


def _days() -> list[int]:
    """How many days ago each of the stored days was."""
    day, found = DAY, [0]
    while len(found) < _DAYS:
        day = previous_trading_day(day)
        found.append((DAY - day).days)
    return found


def _store_days(context: Context, connection: Connection) -> None:
    """Thirty days."""
    connection.execute(query("empty_history"))
    connection.commit()
    store = Store(lambda: context.database("bench"), software="bench")
    _store_day(store)
    store.close()
    for days in _days()[1:]:
        values = {"days": days, "key": f"SPY:{DAY - timedelta(days=days)}:bench"}
        weeks = {"instants": [to_datetime(_OPEN) - timedelta(days=days)]}
        connection.execute(query("make_partitions"), weeks)
        connection.execute(query("repeat_session"), values)
        for table in _SERIES:
            connection.execute(query(f"repeat_{table}"), values)
        connection.commit()
    connection.execute(query("analyze_history"))  # as autovacuum does within a minute
    connection.commit()


def _store_day(store: Store) -> None:
    model = MarketModel(symbol="SPY", seed=7, trading_date=DAY)
    choose = np.random.default_rng(7)
    chain = _first_chain(model)
    document: JsonDict = {}
    seq = 0
    for number, second in enumerate(range(0, 23_400, _PERIOD), 1):
        at = _OPEN + second * SECOND
        rows = model.quotes(at)[_EXPIRY]
        changed = np.arange(len(rows))
        if number > 1:
            changed = np.sort(choose.choice(len(rows), _CHANGED, replace=False))
        part = rows[changed].copy()
        part["seq"] = np.arange(seq, seq + len(part))
        part["time"] = at
        chain[changed] = part
        seq += len(part) + 1
        spot = np.array([(at, seq - 1, model.spot(at), np.nan)], SPOT)
        header = BatchHeader(
            session=f"SPY:{DAY}:bench",
            epoch=1,
            batch=number,
            received_us=at,
            quotes=len(part),
            spots=1,
        )
        entry = f"{at // 1000}-0"
        store.save_quotes("SPY", _EXPIRY.shard, [(entry, Batch(header, part, spot))])
        store.make_checkpoints()
        if second % 60 == 0:
            document = _document(_levels(chain, at, spot=float(spot["price"][0])))
        store.save_levels(
            [(at + n * SECOND, header.session, _dated(document, entry)) for n in range(_PERIOD)],
            strike_seconds=60.0,
        )


def _document(levels: Levels) -> JsonDict:
    return {**levels.to_json(), "state": "live", "parameters": _PARAMETERS.model_dump()}


def _dated(document: JsonDict, entry: str) -> JsonDict:
    return {**document, "watermark": {_EXPIRY.shard: entry}}


def _first_chain(model: MarketModel) -> Rows:
    rows: Rows = model.quotes(_OPEN)[_EXPIRY].astype(QUOTE)
    return rows


def _levels(rows: Rows, at: int, *, spot: float | None = None) -> Levels:
    solution = solve(quotes=rows, expiry=_EXPIRY, parameters=_PARAMETERS)
    return evaluate(
        symbol="SPY",
        shards=[ShardState(_EXPIRY, rows, solution)],
        spot=float(rows["spot"][0]) if spot is None else spot,
        as_of=at,
        parameters=_PARAMETERS,
        spot_time=at,
        oi_date=DAY,
    )
