"""Backups: a stored day as Parquet files with checksums and a manifest, and back again.

Owns the layout of an archive; must not know where it lies (common.db.archive) nor hold SQL.

::

    manifest.json                      the days there are, in order
    days/2026-08-19/manifest.json      its files: rows, bytes, SHA-256; written last
    days/2026-08-19/quotes.parquet     … one file a table

A day counts as backed up once every file has been read back, loaded into temporary tables and
found equal to what is stored. Documents are kept as the text that the database gives.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any

import orjson
import psycopg
from psycopg.types.numeric import FloatLoader
from psycopg.types.string import TextLoader

from common.db.archive import Archive
from common.db.connection import Connection, query, storage_errors
from common.db.sql import migrations
from common.errors import ArchiveError, StorageError
from common.models import JsonDict

if TYPE_CHECKING:
    import pyarrow as pa

TABLES = ("sessions quotes spots entries checkpoints greeks levels strike_exposures").split()
_FORMAT = 1
_ROOT = "manifest.json"
_PIECE = 20_000
"""Rows held in memory as Python values at a time."""
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Tally:
    """What was done."""

    days: int
    rows: int
    skipped: int
    """Days that were there already."""


def backup(
    connection: Connection,
    archive: Archive,
    *,
    day: date | None = None,
    tell: Tell = lambda _: None,
) -> Tally:
    """Back up the days that are not in the archive, or have grown since.

    It goes on where an earlier run was stopped: a day is done once its manifest is there.

    :param day: this one alone.
    :raises ArchiveError: when the archive fails, or what it gives back is not what was put in.
    :raises StorageError: when the database fails.
    """
    done = rows = skipped = 0
    for trading_date, sessions in _days(connection, day):
        with storage_errors():
            connection.rollback()
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        try:
            counts = _counts(connection, sessions)
            known = _manifest(archive, trading_date)
            if known and {n: f["rows"] for n, f in known["files"].items()} == counts:
                _list_day(archive, trading_date)
                skipped += 1
                continue
            _back_up_day(connection, archive, trading_date, sessions)
            _list_day(archive, trading_date)
        finally:
            with storage_errors():
                connection.rollback()
                connection.isolation_level = None
        done, rows = done + 1, rows + sum(counts.values())
        tell(f"{trading_date}: {sum(counts.values()):,} rows")
    return Tally(done, rows, skipped)


def restore(
    connection: Connection,
    archive: Archive,
    *,
    day: date | None = None,
    tell: Tell = lambda _: None,
) -> Tally:
    """Bring the days of an archive into a database, a transaction each; again is no harm.

    :param day: this one alone.
    :raises ArchiveError: when a file is missing or damaged, or of another schema.
    :raises StorageError: when the database holds other sessions, or fails.
    """
    root = archive.get(_ROOT)
    if root is None:
        raise ArchiveError("no backup is there: manifest.json is missing")
    wanted = [date.fromisoformat(name) for name in orjson.loads(root)["days"]]
    if day is not None:
        wanted = [found for found in wanted if found == day]
        if not wanted:
            raise ArchiveError(f"the archive holds no {day}")
    done = rows = skipped = 0
    for trading_date in wanted:
        tables = _read_day(archive, trading_date)
        with storage_errors(), connection.transaction():
            new = _is_new(connection, tables["sessions"])
            if new:
                _load(connection, tables)
                connection.execute(query("number_sessions_on"))
        if not new:
            skipped += 1
            continue
        count = sum(table.num_rows for table in tables.values())
        done, rows = done + 1, rows + count
        tell(f"{trading_date}: {count:,} rows")
    return Tally(done, rows, skipped)


# --- a day out -------------------------------------------------------------------------------


def _days(connection: Connection, day: date | None) -> list[tuple[date, list[int]]]:
    with storage_errors():
        rows = connection.execute(query("backup_days"), {"day": day}).fetchall()
        connection.commit()
    return [(trading_date, sessions) for trading_date, sessions in rows]


def _counts(connection: Connection, sessions: list[int]) -> dict[str, int]:
    with storage_errors():
        row = connection.execute(query("day_counts"), {"sessions": sessions}).fetchone()
    return dict(zip(TABLES, row or (), strict=True))


def _back_up_day(
    connection: Connection, archive: Archive, trading_date: date, sessions: list[int]
) -> None:
    files: JsonDict = {}
    for name in TABLES:
        data, rows = _parquet(connection, name, sessions)
        archive.put(_file(trading_date, name), data)
        files[name] = {
            "name": _file(trading_date, name),
            "rows": rows,
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
    manifest = {
        "format": _FORMAT,
        "schema": _schema(),
        "day": trading_date.isoformat(),
        "files": files,
    }
    _try(connection, _checked(archive, manifest), trading_date, sessions)
    archive.put(f"days/{trading_date}/{_ROOT}", orjson.dumps(manifest, option=orjson.OPT_INDENT_2))


def _list_day(archive: Archive, trading_date: date) -> None:
    """Name a day in the archive's own manifest, unless it is."""
    root = orjson.loads(archive.get(_ROOT) or b'{"days": []}')
    days = sorted({*root["days"], trading_date.isoformat()})
    if days != root["days"]:
        archive.put(_ROOT, orjson.dumps({"format": _FORMAT, "days": days}))


def _parquet(connection: Connection, name: str, sessions: list[int]) -> tuple[bytes, int]:
    """The rows of a table that belong to sessions, and how many."""
    import pyarrow as pa  # noqa: PLC0415  slow to import
    import pyarrow.parquet as pq  # noqa: PLC0415

    sink, rows = io.BytesIO(), 0
    with storage_errors(), connection.cursor(name=f"backup_{name}") as cursor:
        cursor.adapters.register_loader("jsonb", TextLoader)
        cursor.adapters.register_loader("numeric", FloatLoader)  # as each was one
        cursor.itersize = _PIECE
        cursor.execute(query(f"backup_{name}"), {"sessions": sessions})
        schema = _arrow_schema(cursor.description or [])
        with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
            while piece := cursor.fetchmany(_PIECE):
                columns = [
                    pa.array(column, type=field.type)
                    for column, field in zip(zip(*piece, strict=True), schema, strict=True)
                ]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema))
                rows += len(piece)
    return sink.getvalue(), rows


def _arrow_schema(columns: Any) -> pa.Schema:
    import pyarrow as pa  # noqa: PLC0415  slow to import

    kinds = {
        "timestamptz": pa.timestamp("us", tz="UTC"),
        "date": pa.date32(),
        "int4": pa.int32(),
        "int8": pa.int64(),
        "_int8": pa.list_(pa.int64()),
        "float8": pa.float64(),
        "numeric": pa.float64(),
        "bool": pa.bool_(),
        "text": pa.string(),
        "jsonb": pa.string(),
    }
    names = {info.oid: info.name for info in psycopg.adapters.types}
    arrays = {info.array_oid: f"_{info.name}" for info in psycopg.adapters.types}
    found = {**arrays, **names}
    return pa.schema([(column.name, kinds[found[column.type_code]]) for column in columns])


def _try(
    connection: Connection, tables: dict[str, pa.Table], trading_date: date, sessions: list[int]
) -> None:
    """Load what was read back beside what is stored, and compare.

    :raises ArchiveError: when they differ.
    """
    with storage_errors():
        connection.execute(query("begin_trial"))
        _copy_all(connection, tables)
        rows = connection.execute(query("trial_differences"), {"sessions": sessions}).fetchall()
    odd = [f"{name} ({number})" for name, number in rows if number]
    if odd:
        raise ArchiveError(f"the backup of {trading_date} does not restore: {', '.join(odd)}")


# --- a day in --------------------------------------------------------------------------------


def _read_day(archive: Archive, trading_date: date) -> dict[str, pa.Table]:
    manifest = _manifest(archive, trading_date)
    if manifest is None:
        raise ArchiveError(f"the manifest of {trading_date} is missing")
    if (manifest["format"], manifest["schema"]) != (_FORMAT, _schema()):
        raise ArchiveError(
            f"the backup of {trading_date} has schema {manifest['schema']}, this build "
            f"{_schema()}; restore it with the build that made it, then run `gex db migrate`"
        )
    return _checked(archive, manifest)


def _checked(archive: Archive, manifest: JsonDict) -> dict[str, pa.Table]:
    """The tables of a manifest's files, read from the archive.

    :raises ArchiveError: when a file is missing, damaged or holds other rows.
    """
    import pyarrow as pa  # noqa: PLC0415  slow to import
    import pyarrow.parquet as pq  # noqa: PLC0415

    tables = {}
    for name, file in manifest["files"].items():
        data = archive.get(file["name"])
        if data is None:
            raise ArchiveError(f"{file['name']} is missing")
        if hashlib.sha256(data).hexdigest() != file["sha256"]:
            raise ArchiveError(f"{file['name']} is damaged: its checksum differs")
        try:
            tables[name] = pq.read_table(io.BytesIO(data))
        except pa.ArrowException as error:
            raise ArchiveError(f"{file['name']} is no Parquet: {error}") from error
        if tables[name].num_rows != file["rows"]:
            raise ArchiveError(f"{file['name']} holds {tables[name].num_rows} rows")
    return tables


def _manifest(archive: Archive, trading_date: date) -> JsonDict | None:
    data = archive.get(f"days/{trading_date}/{_ROOT}")
    try:
        found: JsonDict | None = None if data is None else orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ArchiveError(f"the manifest of {trading_date} is damaged: {error}") from error
    return found


def _is_new(connection: Connection, sessions: pa.Table) -> bool:
    """Whether a day's sessions are to be loaded; false when they are there.

    :raises StorageError: when others stand in their place.
    """
    wanted = dict(
        zip(*(sessions.column(n).to_pylist() for n in ("session_id", "key")), strict=True)
    )
    values = {"sessions": list(wanted), "keys": list(wanted.values())}
    rows: list[Any] = connection.execute(query("known_sessions"), values).fetchall()
    there = dict(rows)
    if there and there != wanted:
        raise StorageError(
            "the database holds other sessions under the numbers or names of this backup; "
            "restore into an empty one"
        )
    return not there


def _load(connection: Connection, tables: dict[str, pa.Table]) -> None:
    import pyarrow.compute as pc  # noqa: PLC0415  slow to import

    days = {
        day
        for name, table in tables.items()
        if name != "sessions"
        for day in pc.unique(pc.cast(table.column("time"), "date32", safe=False)).to_pylist()
    }
    instants = [_midnight(day) for day in sorted(days)]
    connection.execute(query("make_partitions"), {"instants": instants})
    _copy_all(connection, tables)


def _copy_all(connection: Connection, tables: dict[str, pa.Table]) -> None:
    """COPY into the tables of these names: temporary ones where a trial has begun."""
    connection.execute(query("whose_tables"))
    for name, table in tables.items():
        with connection.cursor() as cursor, cursor.copy(query(f"restore_{name}")) as copy:
            for row in _rows(table):
                copy.write_row(row)


def _rows(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    for piece in table.to_batches(max_chunksize=_PIECE):
        yield from zip(*(column.to_pylist() for column in piece.columns), strict=True)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _file(trading_date: date, name: str) -> str:
    return f"days/{trading_date}/{name}.parquet"


def _schema() -> int:
    return max(migration.version for migration in migrations())
