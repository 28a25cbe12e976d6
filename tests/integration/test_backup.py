"""Backups to a folder and to a server that speaks S3, and what comes back of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pyarrow as pa
import pytest
from harness import gex, state_folder
from history import SHARD, all_rows, entries, latest, levels, result
from moto.server import ThreadedMotoServer
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from common.db import backup as backup_module
from common.db import migrate
from common.db.archive import Archive, Bucket, Folder, open_archive
from common.db.backup import TABLES, Tally, backup, restore
from common.db.connection import Connection, connect
from common.db.store import CHECKPOINT_ROWS, Store
from common.errors import ArchiveError, StorageError, UsageError
from common.settings import load_settings

OTHER_KEY = "SPY:2026-08-20:test"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The endpoint of an S3 server with a bucket called 'history'."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=endpoint, **keys()).create_bucket(Bucket="history")
    yield endpoint
    server.stop()


def keys() -> dict[str, str]:
    """Any will do."""
    return {
        "aws_access_key_id": "me",
        "aws_secret_access_key": "secret",
        "region_name": "us-east-1",
    }


@pytest.fixture(params=["folder", "bucket"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Archive:
    """An empty archive of either kind."""
    if request.param == "folder":
        return Folder(tmp_path / "archive")
    settings = load_settings(
        backup_endpoint_url=request.getfixturevalue("s3"),
        backup_access_key="me",
        backup_secret_key="secret",
    )
    return open_archive(f"s3://history/{request.node.name}", settings)


@pytest.fixture
def filled(database_url: str, plain: Connection) -> Connection:
    """A history of two days of everything."""
    store = Store(lambda: connect(database_url, name="store"), software="test")
    store.save_quotes("SPY", SHARD, entries(60, 100))
    assert CHECKPOINT_ROWS <= 6000
    assert store.make_checkpoints() == 1
    store.save_greeks("SPY", [result(10)])
    odd = latest(0, 1e-7)
    odd["levels"]["dex"], odd["spot"] = 1e22, 0.1 + 0.2
    at, _, _ = levels(1)[0]
    store.save_levels([*levels(9), (at + 7, OTHER_KEY, odd)], strike_seconds=60)
    store.close()
    return plain


@pytest.fixture
def second(database_url: str) -> Iterator[Connection]:
    """Another database on the same server, migrated and empty."""
    name = f"{conninfo_to_dict(database_url)['dbname']}_2"
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
        admin.execute(f'CREATE DATABASE "{name}"'.encode())
        with connect(make_conninfo(database_url, dbname=name), name="second") as connection:
            migrate.migrate(connection)
            yield connection
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def everything(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    return {name: all_rows(connection, name) for name in TABLES}


# --- there and back --------------------------------------------------------------------------


def test_a_restored_history_equals_the_one_backed_up(
    archive: Archive, filled: Connection, second: Connection
) -> None:
    before = everything(filled)
    assert all(before.values())
    rows = sum(map(len, before.values()))
    assert backup(filled, archive) == Tally(2, rows, 0)
    assert restore(second, archive) == Tally(2, rows, 0)
    assert everything(second) == before
    assert restore(second, archive) == Tally(0, 0, 2), "again is no harm"
    assert everything(second) == before


def test_a_restored_history_goes_on(tmp_path: Path, filled: Connection, second: Connection) -> None:
    backup(filled, Folder(tmp_path))
    restore(second, Folder(tmp_path))
    store = Store(lambda: second, software="test")
    at, _, document = levels(1)[0]
    store.save_levels([(at, "SPY:2026-08-21:test", document)], strike_seconds=60)
    row = second.execute("SELECT count(DISTINCT session_id) FROM gex.sessions").fetchone()
    assert row == (3,)


def test_only_what_is_new_or_has_grown_is_backed_up_again(
    archive: Archive, filled: Connection, second: Connection
) -> None:
    backup(filled, archive)
    assert backup(filled, archive) == Tally(0, 0, 2)
    at, _, document = levels(1)[0]
    store = Store(lambda: filled, software="test")
    store.save_levels([(at + 9, OTHER_KEY, document)], strike_seconds=60)
    again = backup(filled, archive)
    assert (again.days, again.skipped) == (1, 1)
    restore(second, archive)
    assert everything(second) == everything(filled)


def test_one_day_goes_there_and_back_alone(
    tmp_path: Path, filled: Connection, second: Connection
) -> None:
    day = date(2026, 8, 20)
    assert backup(filled, Folder(tmp_path), day=day).days == 1
    assert restore(second, Folder(tmp_path), day=day).days == 1
    keys_there = second.execute("SELECT key FROM gex.sessions").fetchall()
    assert keys_there == [(OTHER_KEY,)]
    with pytest.raises(ArchiveError, match="holds no 2026-08-19"):
        restore(second, Folder(tmp_path), day=date(2026, 8, 19))


# --- interruptions and damage ----------------------------------------------------------------


class Failing(Folder):
    """A folder whose disk is full after some files."""

    def __init__(self, path: Path, files: int) -> None:
        super().__init__(path)
        self._left = files

    def put(self, name: str, data: bytes) -> None:
        """Write while there is room."""
        if not self._left:
            raise ArchiveError("no space left")
        self._left -= 1
        super().put(name, data)


@pytest.mark.parametrize("files", [0, 3, 8, 9, 12])
def test_a_backup_that_was_stopped_goes_on_where_it_was(
    files: int, tmp_path: Path, filled: Connection, second: Connection
) -> None:
    with pytest.raises(ArchiveError, match="no space left"):
        backup(filled, Failing(tmp_path, files))
    done = backup(filled, Folder(tmp_path))
    assert done.days + done.skipped == 2
    assert done.skipped == (1 if files > len(TABLES) else 0)
    restore(second, Folder(tmp_path))
    assert everything(second) == everything(filled)


class Forgetful(Folder):
    """A folder that gives back another byte than it was given."""

    def get(self, name: str) -> bytes | None:
        """With the last byte turned round."""
        data = super().get(name)
        return data if data is None or name.endswith(".json") else data[:-1] + b"?"


def test_an_archive_that_changes_what_it_is_given_fails_the_backup(
    tmp_path: Path, filled: Connection
) -> None:
    with pytest.raises(ArchiveError, match=r"sessions.parquet is damaged"):
        backup(filled, Forgetful(tmp_path))
    assert not (tmp_path / "manifest.json").exists()


def test_a_backup_that_does_not_restore_fails(
    tmp_path: Path, filled: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = backup_module._rows

    def short(table: pa.Table) -> Iterator[tuple[Any, ...]]:
        return rows(table.slice(1) if "bid" in table.column_names else table)

    monkeypatch.setattr(backup_module, "_rows", short)
    with pytest.raises(ArchiveError, match=r"does not restore: quotes \(1\)"):
        backup(filled, Folder(tmp_path))
    assert not (tmp_path / "manifest.json").exists()
    monkeypatch.undo()
    assert backup(filled, Folder(tmp_path)).days == 2


@pytest.mark.parametrize("damage", ["cut", "missing", "no manifest", "newer"])
def test_a_damaged_backup_restores_nothing_of_its_day(
    damage: str, tmp_path: Path, filled: Connection, second: Connection
) -> None:
    backup(filled, Folder(tmp_path))
    day = tmp_path / "days/2026-08-19"
    path = day / "quotes.parquet"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "missing":
        path.unlink()
    elif damage == "no manifest":
        (day / "manifest.json").unlink()
    else:
        manifest = json.loads((day / "manifest.json").read_text())
        (day / "manifest.json").write_text(json.dumps({**manifest, "schema": 9000}))
    with pytest.raises(ArchiveError, match=r"damaged|missing|has schema 9000"):
        restore(second, Folder(tmp_path))
    assert not any(everything(second).values())


def test_an_empty_archive_is_no_backup(archive: Archive, second: Connection) -> None:
    with pytest.raises(ArchiveError, match="no backup is there"):
        restore(second, archive)


def test_other_sessions_are_not_mixed_with_a_backups(
    tmp_path: Path, filled: Connection, second: Connection
) -> None:
    backup(filled, Folder(tmp_path))
    at, _, document = levels(1)[0]
    Store(lambda: second, software="test").save_levels(
        [(at, "QQQ:2026-08-19:test", document)], strike_seconds=60
    )
    with pytest.raises(StorageError, match="restore into an empty one"):
        restore(second, Folder(tmp_path))
    assert [row[1] for row in all_rows(second, "sessions")] == ["QQQ:2026-08-19:test"]


def test_a_bucket_that_is_not_there_is_one_clear_line(s3: str, filled: Connection) -> None:
    client = boto3.client("s3", endpoint_url=s3, **keys())
    with pytest.raises(ArchiveError, match=r"s3://nowhere/days.*NoSuchBucket"):
        backup(filled, Bucket(client, "nowhere", ""))


@pytest.mark.parametrize("url", ["", "ftp://host/x", "s3://"])
def test_what_names_no_archive_is_bad_usage(url: str) -> None:
    with pytest.raises(UsageError):
        open_archive(url, load_settings())


# --- the commands ----------------------------------------------------------------------------


def test_the_commands_do_it(s3: str, filled: Connection, second: Connection) -> None:
    state = state_folder()
    settings = {
        "database_url": _url(filled),
        "backup_url": "s3://history/commands",
        "backup_endpoint_url": s3,
        "backup_access_key": "me",
        "backup_secret_key": "secret",
    }
    out = gex(state, "backup", "--json", settings=settings)
    assert out.returncode == 0, out.stderr
    assert json.loads(out.stdout)["days"] == 2
    back = gex(state, "restore", settings={**settings, "database_url": _url(second)})
    assert back.returncode == 0, back.stderr
    assert "2 days restored" in back.stdout
    assert everything(second) == everything(filled)
    nowhere = gex(state, "restore", "s3://history/none", settings=settings)
    assert nowhere.returncode == 1
    assert "no backup is there" in nowhere.stderr


def _url(connection: Connection) -> str:
    return connection.info.dsn
