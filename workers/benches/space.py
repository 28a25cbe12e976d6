"""Figure of the room that quotes take on disk.

Owns measuring it: a recorded day goes through the store, and TimescaleDB compresses it; plain
PostgreSQL does not, so there is nothing to measure there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common.bus.codec import Batch
from common.db import queries
from common.db.connection import Connection, query
from common.db.store import Store
from common.resources import project_root
from workers.benches.figure import Figure
from workers.benches.sample import DAY, recorded
from workers.context import Context

_GOAL = 25.0


def run(context: Context) -> list[Figure]:
    """The figure of the room; what the history bench has stored goes."""
    with context.database("bench") as connection:
        if queries.server_facts(connection)["timescaledb"] is None:
            plain = _quotes(connection)["bytes"] / _rows(connection)
            return [
                _missing(
                    "no TimescaleDB: plain PostgreSQL does not compress "
                    f"({plain:.0f} bytes here); set GEX_DATABASE_URL to a server that has it"
                )
            ]
        day = _recorded_day(context)
        if day is None:
            return [_missing("no recorded day: name one in GEX_RECORDING")]
        connection.execute(query("empty_history"))
        connection.commit()
        _store(context, day)
        connection.execute(query("compress_quotes"))
        connection.commit()
        found, rows = _quotes(connection), _rows(connection)
    before, after = (found[f"bytes_{when}_compression"] / rows for when in ("before", "after"))
    beside = {"name": "before compression", "value": before, "unit": "bytes"}
    return [Figure("bytes_per_quote", after, "bytes", beside, _GOAL, "<=")]


def _missing(reason: str) -> Figure:
    return Figure("bytes_per_quote", None, "bytes", None, _GOAL, "<=", reason=reason)


def _recorded_day(context: Context) -> Path | None:
    """The recording that the settings name, else the day that a clone's tests read."""
    if context.settings.recording:
        return Path(context.settings.recording)
    root = project_root()
    day = root.parent / f"shared/data/intraday/spy_0dte_{DAY}.csv.gz" if root else None
    return day if day is not None and day.is_file() else None


def _store(context: Context, day: Path) -> None:
    store = Store(lambda: context.database("bench"), software="bench")
    shards: dict[str, list[tuple[str, Batch]]] = {}
    for number, (shard, batch) in enumerate(recorded(day), 1):
        shards.setdefault(shard, []).append((f"{number}-0", batch))
    for shard, entries in shards.items():
        store.save_quotes("SPY", shard, entries)
    store.close()


def _quotes(connection: Connection) -> dict[str, Any]:
    """What is said of the room of the quotes."""
    return {row["series"]: row for row in queries.storage_report(connection)}["quotes"]


def _rows(connection: Connection) -> int:
    row = connection.execute(query("count_quotes")).fetchone()
    connection.commit()
    return int(row[0] if row else 0)
