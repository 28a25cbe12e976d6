"""The migrations and the writes of levels on a real TimescaleDB engine.

It runs in WebAssembly: one connection, small statements, no COPY.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from harness import BIN

from common.db import migrate, queries
from common.db.connection import Connection, connect
from common.db.store import Store

ENGINE = BIN.parent / "timescale"
NOON = datetime(2026, 8, 19, 16, tzinfo=UTC)


@pytest.fixture(scope="module")
def timescale() -> Iterator[Connection]:
    """A migrated TimescaleDB."""
    assert (ENGINE / ".ready").exists(), "run tools/prepare-tests"
    script = Path(__file__).with_name("timescale.mjs")
    with subprocess.Popen(["node", str(script), str(ENGINE)], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            port = int(server.stdout.readline())
            url = f"postgresql://postgres:postgres@127.0.0.1:{port}/postgres?sslmode=disable"
            with connect(url, name="test") as connection:
                migrate.migrate(connection)
                yield connection
        finally:
            server.kill()


def latest(minute: int, net_gex: float) -> dict[str, Any]:
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
                    "oi_date": str(date(2026, 8, 19))},
        "expirations": [], "watermark": {}, "strikes": [{**strike, **counts}],
    }  # fmt: skip


def test_every_series_is_a_hypertable(timescale: Connection) -> None:
    rows = timescale.execute(
        "SELECT hypertable_name FROM timescaledb_information.hypertables ORDER BY 1"
    ).fetchall()
    assert [row[0] for row in rows] == ["greeks", "levels", "quotes", "spots", "strike_exposures"]
    assert queries.server_facts(timescale)["timescaledb"]


def test_migrating_again_changes_nothing(timescale: Connection) -> None:
    assert migrate.migrate(timescale) == 0
    assert migrate.is_current(migrate.status(timescale))


def test_levels_are_stored_once_and_summed_up_by_minute(timescale: Connection) -> None:
    store = Store(lambda: timescale, software="test")
    key, start = "SPY:2026-08-19:test", int(NOON.timestamp()) * 1_000_000
    rows = [(start + 20_000_000 * n, key, latest(n, float(n))) for n in range(6)]
    assert store.save_levels(rows, strike_seconds=60) == (6, 0)
    assert store.save_levels(rows, strike_seconds=60) == (6, 6)
    minutes = timescale.execute(
        "SELECT time, net_gex, net_gex_low, net_gex_high, levels FROM gex.levels_1m ORDER BY time"
    ).fetchall()
    assert minutes == [
        (NOON, 2.0, 0.0, 2.0, 3),
        (NOON + timedelta(minutes=1), 5.0, 3.0, 5.0, 3),
    ]
    strikes = timescale.execute("SELECT time FROM gex.strike_exposures ORDER BY time").fetchall()
    assert [row[0] for row in strikes] == [NOON, NOON + timedelta(minutes=1)]
    assert queries.latest_level(timescale, "SPY")["net_gex"] == 5.0
    day = queries.level_history(timescale, key, since=NOON, points=2)
    assert [row["net_gex"] for row in day] == [2.0, 4.0, 5.0]
