"""Migrations against a real server."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest
from harness import ROOT, gex, state_folder, wait_until

from common.db import migrate, queries
from common.db.connection import Connection, connect
from common.db.sql import migrations
from common.errors import StorageError
from common.servers.postgres_server import wheel_folder

PG_DUMP = wheel_folder() / "pginstall/bin/pg_dump"


def dump(url: str) -> str:
    """The schema of a database as SQL, without what differs from server to server."""
    text = subprocess.run(
        [
            str(PG_DUMP),
            "--schema-only",
            "--schema=gex",
            "--no-owner",
            "--no-privileges",
            "--restrict-key=gex",
            "-d",
            url,
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    lines = [
        line
        for line in text.splitlines()
        if line and not line.startswith(("--", "SET ", "SELECT pg_catalog.set_config", "\\"))
    ]
    return "\n".join(lines) + "\n"


def open_database(url: str) -> Connection:
    return connect(url, name="test")


def test_the_schema_file_is_all_migrations(embedded_url: str) -> None:
    with open_database(embedded_url) as connection:
        assert migrate.migrate(connection) == len(migrations())
    header = "-- The whole schema: what all migrations make (checked by a test; do not edit).\n"
    found = header + dump(embedded_url)
    path = ROOT / "sql/schema.sql"
    if os.environ.get("GEX_WRITE_SCHEMA"):
        path.write_text(found)
    assert path.read_text() == found


def test_the_schema_file_makes_the_same_database(embedded_url: str) -> None:
    with psycopg.connect(embedded_url) as connection:
        connection.execute((ROOT / "sql/schema.sql").read_bytes())
    body = (ROOT / "sql/schema.sql").read_text().split("\n", 1)[1]
    assert dump(embedded_url) == body


def test_migrating_again_changes_nothing(database_url: str) -> None:
    with open_database(database_url) as connection:
        migrate.migrate(connection)
        assert migrate.migrate(connection) == 0
        assert migrate.is_current(migrate.status(connection))


def test_migrations_at_the_same_time_are_applied_once(database_url: str) -> None:
    def run(_: int) -> int | str:
        with open_database(database_url) as connection:
            try:
                return migrate.migrate(connection)
            except StorageError as error:
                return str(error)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(run, range(4)))
    assert answers.count(len(migrations())) == 1
    assert all(a in (0, len(migrations())) or "another process" in str(a) for a in answers)


def test_a_partition_that_two_want_at_once_is_made_once(embedded_url: str) -> None:
    wanted = "SELECT gex.make_partitions('quotes', ARRAY[timestamptz '2031-08-19'])"

    def make() -> int:
        with open_database(embedded_url) as connection:
            row = connection.execute(wanted).fetchone()
            assert row is not None
            return int(row[0])

    with open_database(embedded_url) as first:
        migrate.migrate(first)
        assert first.execute(wanted).fetchone() == (1,)
        with ThreadPoolExecutor(1) as pool, open_database(embedded_url) as watch:
            second = pool.submit(make)
            waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            wait_until(
                lambda: watch.execute(waiting).fetchone() == (1,), seconds=10, what="the second"
            )
            first.commit()
            assert second.result(10) == 0


def test_a_failed_migration_leaves_the_one_before(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = replace(
        migrations()[-1], version=9000, name="broken", text="CREATE TABLE gex.half (); SELECT 1/0;"
    )
    monkeypatch.setattr(migrate, "migrations", lambda: [*migrations(), broken])
    with open_database(database_url) as connection:
        with pytest.raises(StorageError, match="9000 broken failed and was rolled back"):
            migrate.migrate(connection)
        row = connection.execute("SELECT to_regclass('gex.half')").fetchone()
        assert row == (None,)
        assert not migrate.is_current(migrate.status(connection))
    monkeypatch.undo()
    with open_database(database_url) as connection:
        assert migrate.migrate(connection) == 0


@pytest.mark.parametrize("version", [2, 7])
def test_rows_of_an_earlier_schema_are_taken_along(
    version: int, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compressed ones too, where the server compresses."""
    monkeypatch.setattr(migrate, "migrations", lambda: migrations()[:version])
    read = (
        'SELECT time, session_id, seq, symbol, expiration, settlement, strike, "right",'
        " bid::float8, ask::float8, last::float8, bid_size, ask_size, volume, open_interest,"
        " spot::float8, withdrawn FROM gex.quotes ORDER BY seq"
    )
    with open_database(database_url) as connection:
        assert migrate.migrate(connection) == version
        connection.execute(
            "INSERT INTO gex.sessions (key, symbol, trading_date, feed)"
            " VALUES ('SPY:2026-08-19:test', 'SPY', '2026-08-19', 'test')"
        )
        if version > 2:
            connection.execute(
                "SELECT gex.make_partitions('quotes', array_agg(timestamptz '2026-08-19 14:00Z'"
                " + n * interval '1 day')), gex.make_partitions('spots', array_agg("
                "timestamptz '2026-08-19 14:00Z' + n * interval '1 day'))"
                " FROM generate_series(0, 29) n"
            )
        connection.execute(
            "INSERT INTO gex.quotes SELECT timestamptz '2026-08-19 14:00Z' + n * interval '1 day',"
            " 1, n, 'SPY', '2026-08-19', 'PM', 640, 'C', n / 100.0, nullif(n, 3), n / 3::float8,"
            " n, n, n, n, 640.1 + n, false, now() FROM generate_series(0, 29) n"
        )
        connection.execute(
            "INSERT INTO gex.spots SELECT time, session_id, seq, symbol, 1 FROM gex.quotes"
        )
        if version > 2 and queries.server_facts(connection)["timescaledb"]:
            connection.execute("SELECT compress_chunk(c) FROM show_chunks('gex.quotes') c")
        before = connection.execute(read).fetchall()
        connection.commit()
        monkeypatch.undo()
        assert migrate.migrate(connection) == len(migrations()) - version
        assert connection.execute(read).fetchall() == before
        row = connection.execute(
            "SELECT count(*), to_regnamespace('gex_before') FROM gex.spots"
        ).fetchone()
        assert row == (30, None)
    assert "quotes_before" not in dump(database_url)


def test_another_build_is_recognised(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_database(database_url) as connection:
        migrate.migrate(connection)
        edited = [replace(one, text=one.text + "-- edited") for one in migrations()]
        monkeypatch.setattr(migrate, "migrations", lambda: edited)
        with pytest.raises(StorageError, match="belongs to another build"):
            migrate.migrate(connection)


def test_status_tells_the_truth_by_its_exit_code(database_url: str) -> None:
    state = state_folder()
    settings = {"database_url": database_url}
    before = gex(state, "db", "status", settings=settings)
    assert before.returncode == 1
    assert "run `gex db migrate`" in before.stderr
    assert gex(state, "db", "migrate", settings=settings).returncode == 0
    assert gex(state, "db", "status", settings=settings).returncode == 0
