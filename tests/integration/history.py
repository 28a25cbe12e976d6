"""A history for tests: emptied, filled with batches, levels and answers that are easy to check."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from common.bus.codec import Batch, BatchHeader, Result, ResultHeader
from common.clock import SECOND, session_hours
from common.db.connection import Connection
from common.models import GREEKS, QUOTE, SPOT, Rows, contract_keys

NOON = datetime(2026, 8, 19, 16, tzinfo=UTC)
NOON_US = int(NOON.timestamp()) * SECOND
DAY = date(2026, 8, 19)
SHARD = DAY.isoformat()
OPEN, CLOSE = session_hours(DAY)
KEY = "SPY:2026-08-19:test"
SERIES = ["quotes", "spots", "entries", "checkpoints", "greeks", "levels", "strike_exposures"]


def empty(connection: Connection) -> None:
    """Delete every row of the history."""
    connection.execute(
        "TRUNCATE gex.quotes, gex.spots, gex.entries, gex.checkpoints, gex.greeks, gex.levels,"
        " gex.strike_exposures, gex.sessions CASCADE"
    )
    connection.commit()


def quotes(count: int, *, seq: int = 0, time: int = NOON_US, **columns: Any) -> Rows:
    """Quotes of 50 strikes' calls and puts in turn; nulls of every kind among them."""
    number = np.arange(seq, seq + count)
    rows = np.zeros(count, QUOTE)
    rows["key"] = contract_keys(strikes=600.0 + number // 2 % 50, puts=number % 2)
    rows["time"], rows["seq"] = time + number, number
    rows["spot"], rows["bid"], rows["ask"] = 640.25, number / 8, number / 8 + 0.01
    rows["last"] = np.where(number % 3, np.nan, 1.5)
    rows["bid_size"], rows["ask_size"] = np.where(number % 5, 7, -1), 9
    rows["volume"], rows["open_interest"] = number, np.where(number % 7, 100, -1)
    rows["bid"][number % 11 == 0] = np.nan
    rows["bought"], rows["sold"] = number % 17, number % 19
    rows["flags"] = number % 13 == 0
    for name, value in columns.items():
        rows[name] = value
    return rows


def batch(rows: Rows, *, number: int = 1, epoch: int = 1, key: str = KEY, **header: Any) -> Batch:
    """A batch of these quotes, with one price."""
    at = int(rows["time"].max()) if len(rows) else NOON_US
    spots = np.array([(at, 1_000_000 * epoch + number, 640.25, 639.5)], SPOT)
    made = BatchHeader(
        session=key,
        epoch=epoch,
        batch=number,
        received_us=NOON_US + 5,
        quotes=len(rows),
        spots=1,
        **header,
    )
    return Batch(made, rows, spots)


def entries(count: int, size: int, *, first: int = 0) -> list[tuple[str, Batch]]:
    """Entries of ``size`` quotes, one millisecond after another."""
    return [
        (f"{1000 + n}-0", batch(quotes(size, seq=n * size), number=n + 1))
        for n in range(first, first + count)
    ]


def result(rows: int, *, seq: int = 0) -> Result:
    """Greeks of some contracts, some without an IV."""
    made = np.zeros(rows, GREEKS)
    number = np.arange(seq, seq + rows)
    made["key"] = contract_keys(strikes=600.0 + number // 2, puts=number % 2)
    made["time"], made["seq"] = NOON_US, number
    made["status"], made["side"] = number % 4, np.where(number % 4, b"", b"C")
    made["iv"] = np.where(number % 4, np.nan, 0.2)
    made["delta"] = made["gamma"] = made["iv"]
    header = ResultHeader(
        session=KEY, epoch=1, shard=SHARD, rows=rows, basis=1.0, forward_source="parity",
        last_id="1-0",
    )  # fmt: skip
    return Result(header, made)


def latest(minute: float, net_gex: float) -> dict[str, Any]:
    """What subscribers would get at some minutes after noon."""
    names = (
        "net_gex_0dte zero_gamma call_wall put_wall expected_move dex vex cex net_volume_gex atm_iv"
    )
    at = NOON + timedelta(minutes=minute)
    strike = {"strike": 640.0, "call_gex": net_gex, "put_gex": 0.0, "net_gex": net_gex}
    counts = dict.fromkeys(("call_oi", "put_oi", "call_volume", "put_volume"), 5)
    return {
        "symbol": "SPY", "state": "live", "sign": "index", "spot": 640.0, "as_of": at.isoformat(),
        "levels": {**dict.fromkeys(names.split(), 1.0), "net_gex": net_gex, "regime": "positive",
                   "max_pain": {"2026-08-19": 640.0}},
        "quality": {"coverage_oi": 0.8, "coverage_gamma": 0.9, "oldest_quote_at": None,
                    "oi_date": DAY.isoformat()},
        "expirations": [], "watermark": {}, "strikes": [{**strike, **counts}],
    }  # fmt: skip


def levels(count: int, *, start: datetime = NOON) -> list[tuple[int, str, dict[str, Any]]]:
    """Levels every twenty seconds, of net GEX 0, 1, 2 …"""
    first, key = int(start.timestamp()) * SECOND, f"SPY:{start.date()}:test"
    return [(first + 20 * SECOND * n, key, latest(n / 3, float(n))) for n in range(count)]


def count(connection: Connection, *series: str) -> list[int]:
    """Rows of each series."""
    found = []
    for name in series:
        row = connection.execute(f"SELECT count(*) FROM gex.{name}".encode()).fetchone()  # noqa: S608
        found.append(row[0] if row else 0)
    connection.commit()
    return found


def all_rows(connection: Connection, series: str) -> list[tuple[Any, ...]]:
    """Every row of a series, in one order."""
    rows: Sequence[tuple[Any, ...]] = connection.execute(
        f"SELECT * FROM gex.{series} t ORDER BY t::text".encode()  # noqa: S608
    ).fetchall()
    connection.commit()
    return list(rows)
