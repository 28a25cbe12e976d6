"""The history on both of its engines: plain PostgreSQL, and TimescaleDB in WebAssembly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from history import KEY, NOON, SERIES, SHARD, empty, latest, levels
from psycopg.types.json import Jsonb

from common.db import migrate, queries
from common.db.connection import Connection, connect
from common.db.policies import Policies, apply_policies
from common.db.store import Store
from common.db.writing import Saved
from workers.benches.sample import recorded

FOREVER = Policies(dict.fromkeys(SERIES, 0.0), 0.0)


def put_levels(connection: Connection, count: int, *, start: datetime = NOON) -> None:
    """Store levels of every twenty seconds."""
    store = Store(lambda: connection, software="test")
    assert store.save_levels(levels(count, start=start), strike_seconds=60) == Saved(count)


def table(history: Connection, name: str) -> list[tuple[Any, ...]]:
    """All rows of an aggregate, in order, without the number of the session."""
    found = history.execute(f"SELECT * FROM gex.{name} ORDER BY time".encode())  # noqa: S608
    names = [column.name for column in found.description or ()]
    rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    history.commit()
    return [tuple(v for k, v in row.items() if k != "session_id") for row in rows]


def jobs(history: Connection) -> dict[tuple[str, str], dict[str, Any]]:
    """TimescaleDB's policies: (series, what) → its configuration."""
    rows = history.execute(
        "SELECT hypertable_name, proc_name, config FROM timescaledb_information.jobs"
        " WHERE hypertable_schema = 'gex'"
    ).fetchall()
    history.commit()
    return {(name, kind.removeprefix("policy_")): config for name, kind, config in rows}


# --- the schema ------------------------------------------------------------------------------


def test_every_series_is_kept_as_its_engine_keeps_series(history: Connection) -> None:
    apply_policies(history, FOREVER)
    report = queries.storage_report(history)
    assert [row["series"] for row in report] == SERIES
    kind = "hypertable" if queries.server_facts(history)["timescaledb"] else "partitions"
    assert {row["kind"] for row in report} == {kind}
    assert all(row["bytes"] > 0 for row in report)


def test_migrating_again_changes_nothing(history: Connection) -> None:
    assert migrate.migrate(history) == 0
    assert migrate.is_current(migrate.status(history))


def test_both_engines_have_the_same_columns(partitioned: Connection, timescale: Connection) -> None:
    def columns(connection: Connection) -> list[tuple[Any, ...]]:
        rows = connection.execute(
            "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod)"
            " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0"
            " WHERE relnamespace = 'gex'::regnamespace AND relkind IN ('r', 'p', 'v')"
            " AND NOT c.relispartition ORDER BY 1, a.attnum"
        ).fetchall()
        connection.commit()
        return rows

    found = columns(partitioned)
    assert {"levels_1m", "levels_5m", "strike_exposures_1m", "strike_exposures_5m", *SERIES} < {
        row[0] for row in found
    }
    assert columns(timescale) == found


# --- levels and their aggregates -------------------------------------------------------------


def test_levels_are_stored_once_and_summed_up_by_minute(history: Connection) -> None:
    put_levels(history, 6)
    again = Store(lambda: history, software="test").save_levels(levels(6), strike_seconds=60)
    assert again == Saved(6, 6)
    minute = timedelta(minutes=1)
    # time, symbol, spot, net gex: last, low, high; zero gamma, walls, levels
    assert table(history, "levels_1m") == [
        (NOON, "SPY", 640.0, 2.0, 0.0, 2.0, 1.0, 1.0, 1.0, 3),
        (NOON + minute, "SPY", 640.0, 5.0, 3.0, 5.0, 1.0, 1.0, 1.0, 3),
    ]
    assert table(history, "levels_5m") == [(NOON, "SPY", 640.0, 5.0, 0.0, 5.0, 1.0, 1.0, 1.0, 6)]
    assert table(history, "strike_exposures_1m") == [
        (NOON, "SPY", 640.0, 0.0, 0.0, 0.0, 5, 5, 5, 5, 1),
        (NOON + minute, "SPY", 640.0, 3.0, 0.0, 3.0, 5, 5, 5, 5, 1),
    ]
    assert table(history, "strike_exposures_5m") == [
        (NOON, "SPY", 640.0, 3.0, 0.0, 3.0, 5, 5, 5, 5, 2)
    ]
    last = queries.latest_level(history, "SPY")
    assert last is not None
    assert last["net_gex"] == 5.0
    day = queries.level_history(history, KEY, since=NOON, points=2)
    assert [row["net_gex"] for row in day] == [2.0, 4.0, 5.0]


def test_what_is_materialised_and_what_is_not_yet_make_one_aggregate(
    timescale: Connection,
) -> None:
    empty(timescale)
    put_levels(timescale, 6)
    timescale.autocommit = True
    timescale.execute("CALL refresh_continuous_aggregate('gex.levels_1m', NULL, NULL)")
    timescale.autocommit = False
    before = table(timescale, "levels_1m")
    later = NOON + timedelta(minutes=30)
    put_levels(timescale, 3, start=later)
    assert table(timescale, "levels_1m") == [
        *before,
        (later, "SPY", 640.0, 2.0, 0.0, 2.0, 1.0, 1.0, 1.0, 3),
    ]


# --- size ------------------------------------------------------------------------------------


@pytest.mark.data
def test_a_recorded_quote_takes_few_bytes_once_compressed(
    recording: Path, plain: Connection, timescale: Connection, database_url: str
) -> None:
    """Stored by the store on one engine, carried over to the other as it takes no COPY."""
    empty(timescale)
    day = [batch for _, batch in recorded(recording)]
    store = Store(lambda: connect(database_url, name="store"), software="test")
    saved = store.save_quotes("SPY", SHARD, [(f"{n}-0", b) for n, b in enumerate(day, 1)])
    store.close()
    assert saved.rows > 11_000
    rows = plain.execute("SELECT to_jsonb(q) FROM gex.quotes q ORDER BY seq").fetchall()
    documents = [row[0] for row in rows]
    for start in range(0, len(documents), 100):
        timescale.execute(
            "INSERT INTO gex.quotes SELECT * FROM jsonb_populate_recordset(NULL::gex.quotes, %s)",
            (Jsonb(documents[start : start + 100]),),
        )
        timescale.commit()
    before = timescale.execute("SELECT * FROM gex.quotes ORDER BY seq").fetchall()
    timescale.execute("SELECT compress_chunk(c) FROM show_chunks('gex.quotes') c")
    timescale.commit()
    assert timescale.execute("SELECT * FROM gex.quotes ORDER BY seq").fetchall() == before
    report = {row["series"]: row for row in queries.storage_report(timescale)}["quotes"]
    raw = report["bytes_before_compression"] / saved.rows
    small = report["bytes_after_compression"] / saved.rows
    print(f"bytes per quote: {raw:.1f} before compression, {small:.1f} after")  # noqa: T201
    assert raw > 5 * small
    assert small <= 25.0


# --- policies --------------------------------------------------------------------------------


def weeks(connection: Connection, series: str) -> list[str]:
    """The partitions of a series by the date they begin."""
    rows = connection.execute(
        "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
        " WHERE inhparent = ('gex.' || %s)::regclass ORDER BY 1",
        (series,),
    ).fetchall()
    connection.commit()
    return [row[0].removeprefix(f"{series}_") for row in rows]


def test_old_partitions_go_and_new_ones_come(partitioned: Connection) -> None:
    now = datetime.now(UTC)
    old, recent = now - timedelta(days=60), now - timedelta(days=10)
    put_levels(partitioned, 3, start=old)
    put_levels(partitioned, 3, start=recent)
    assert len(weeks(partitioned, "levels")) == 2
    apply_policies(partitioned, FOREVER)
    kept = weeks(partitioned, "levels")
    assert len(kept) == 4, "this week and the next are there before anyone writes"
    days = {**FOREVER.keep_days, "levels": 30.0}
    report = apply_policies(partitioned, Policies(days, 0.0))
    assert report["levels"] == {"made": 0, "dropped": [f"levels_{kept[0]}"]}
    assert weeks(partitioned, "levels") == kept[1:]
    row = partitioned.execute("SELECT min(time) FROM gex.levels").fetchone()
    assert row is not None
    assert row[0].date() == recent.date()
    assert apply_policies(partitioned, Policies(days, 0.0))["levels"] == {"made": 0, "dropped": []}


def test_policies_follow_the_settings(timescale: Connection) -> None:
    apply_policies(timescale, FOREVER)
    assert {kind for _, kind in jobs(timescale)} == {"refresh_continuous_aggregate"}
    days = {**FOREVER.keep_days, "quotes": 400.0, "levels": 100.0}
    wanted = Policies(days, 36.0)
    changed = apply_policies(timescale, wanted)
    assert changed["quotes"] == {"keep": "9600:00:00", "compress_after": "36:00:00"}
    found = jobs(timescale)
    assert found["quotes", "retention"]["drop_after"] == "9600:00:00"
    assert {name for name, kind in found if kind == "compression"} == set(SERIES)
    assert found["levels_1m", "refresh_continuous_aggregate"]["start_offset"] is not None
    assert not any(apply_policies(timescale, wanted).values()), "again: nothing to change"
    assert jobs(timescale) == found
    assert apply_policies(timescale, Policies(days, 12.0))["quotes"] == {
        "compress_after": "12:00:00"
    }
    apply_policies(timescale, FOREVER)


def test_compressed_rows_are_the_same_rows(timescale: Connection) -> None:
    empty(timescale)
    put_levels(timescale, 30)
    before = timescale.execute("SELECT * FROM gex.levels ORDER BY time").fetchall()
    strikes = table(timescale, "strike_exposures")
    timescale.execute("SELECT compress_chunk(c) FROM show_chunks('gex.levels') c")
    timescale.execute("SELECT compress_chunk(c) FROM show_chunks('gex.strike_exposures') c")
    timescale.commit()
    assert timescale.execute("SELECT * FROM gex.levels ORDER BY time").fetchall() == before
    assert table(timescale, "strike_exposures") == strikes
    report = {row["series"]: row for row in queries.storage_report(timescale)}
    assert report["levels"]["bytes_after_compression"] > 0
    late = [(int(NOON.timestamp()) * 1_000_000 + 5_000_000, KEY, latest(0, 0.5))]
    store = Store(lambda: timescale, software="test")
    assert store.save_levels(late, strike_seconds=60) == Saved(1), "a late row still fits in"
    assert store.save_levels(late, strike_seconds=60) == Saved(1, 1)


def test_retention_drops_what_is_old(timescale: Connection) -> None:
    empty(timescale)
    put_levels(timescale, 3, start=datetime.now(UTC) - timedelta(days=60))
    recent = datetime.now(UTC) - timedelta(days=1)
    put_levels(timescale, 3, start=recent)
    apply_policies(timescale, Policies({**FOREVER.keep_days, "levels": 30.0}, 0.0))
    timescale.autocommit = True
    timescale.execute(
        "DO $$ DECLARE job integer; BEGIN SELECT job_id INTO job FROM timescaledb_information.jobs"
        " WHERE hypertable_name = 'levels' AND proc_name = 'policy_retention';"
        " CALL run_job(job); END $$"
    )
    timescale.autocommit = False
    rows = timescale.execute("SELECT min(time) FROM gex.levels").fetchone()
    assert rows is not None
    assert rows[0].date() == recent.date()
    apply_policies(timescale, FOREVER)
