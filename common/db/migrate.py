"""Bringing a database to the schema of this build.

Owns applying migrations, once each, under an advisory lock; must not hold SQL.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import psycopg

from common.db.connection import Connection, query, storage_errors
from common.db.sql import Migration, bootstrap, migrations
from common.errors import GexError, StorageError

_TRIES = 5


@dataclass(frozen=True, slots=True)
class Step:
    """A migration and whether the database has it."""

    version: int
    name: str
    applied_at: datetime | None
    changed: bool
    """True when what was applied differs from what this build holds."""


def status(connection: Connection) -> list[Step]:
    """Every migration, of this build or of the database, by version.

    :raises StorageError: when the database is out of reach.
    """
    applied = _applied(connection)
    mine = {migration.version: migration for migration in migrations()}
    steps = []
    for version in sorted(mine | applied):
        migration, record = mine.get(version), applied.get(version)
        name = migration.name if migration else record[0] if record else "?"
        changed = bool(record and (migration is None or migration.checksum != record[1]))
        steps.append(Step(version, name, record[2] if record else None, changed))
    return steps


def is_current(steps: list[Step]) -> bool:
    """Whether every migration is applied, as this build holds it."""
    return all(step.applied_at and not step.changed for step in steps)


def require_current(connection: Connection) -> None:
    """Let nobody write into a schema that is not this build's: half migrated, or another's.

    :raises StorageError: when it is not, or the database is out of reach.
    """
    steps = status(connection)
    if not is_current(steps):
        have = sum(step.applied_at is not None and not step.changed for step in steps)
        raise StorageError(
            f"the database has {have} of {len(steps)} migrations as this build holds them; "
            "run `gex db migrate`"
        )


def migrate(connection: Connection, *, tell: Callable[[str], None] = lambda _: None) -> int:
    """Apply what is missing, each migration in a transaction of its own; how many were.

    A failed migration leaves the database at the one before it; running again goes on there.

    :raises StorageError: when another migrates, history differs, or a migration fails.
    """
    with storage_errors():
        connection.rollback()
        if not _scalar(connection, "try_advisory_lock"):
            connection.rollback()
            raise StorageError("another process migrates this database; try again when it is done")
        connection.commit()
    try:
        return _apply_missing(connection, tell)
    finally:
        with storage_errors():
            connection.rollback()
            connection.execute(query("release_advisory_lock"))
            connection.commit()


def _apply_missing(connection: Connection, tell: Callable[[str], None]) -> int:
    with storage_errors(), connection.transaction():
        connection.execute(bootstrap().encode())
    applied, done = _applied(connection), 0
    for migration in migrations():
        record = applied.get(migration.version)
        if record is None:
            tell(f"migration {migration.version:04d} {migration.name}")
            _apply(connection, migration)
            done += 1
        elif record[1] != migration.checksum:
            raise StorageError(
                f"migration {migration.version:04d} {record[0]} was applied with another text; "
                "this database belongs to another build"
            )
    return done


def _apply(connection: Connection, migration: Migration) -> None:
    """Apply one, again where it deadlocked with who writes or looks after the tables."""
    for _ in range(_TRIES - 1):
        try:
            return _apply_once(connection, migration)
        except StorageError as error:
            reason = error.__cause__.__cause__ if error.__cause__ else None
            if not isinstance(reason, psycopg.errors.DeadlockDetected):
                raise
    return _apply_once(connection, migration)


def _apply_once(connection: Connection, migration: Migration) -> None:
    try:
        with storage_errors(), connection.transaction():
            connection.execute(query("take_your_time"))  # rows of years may be carried over
            connection.execute(migration.text.encode())
            connection.execute(
                query("record_migration"),
                {
                    "version": migration.version,
                    "name": migration.name,
                    "checksum": migration.checksum,
                },
            )
    except GexError as error:
        raise StorageError(
            f"migration {migration.version:04d} {migration.name} failed and was rolled back: "
            f"{error}"
        ) from error


def _applied(connection: Connection) -> dict[int, tuple[str, str, datetime]]:
    with storage_errors():
        if not _scalar(connection, "has_migrations_table"):
            connection.rollback()
            return {}
        rows = connection.execute(query("applied_migrations")).fetchall()
        connection.commit()
    return {version: (name, checksum, at) for version, name, checksum, at in rows}


def _scalar(connection: Connection, name: str) -> object:
    row = connection.execute(query(name)).fetchone()
    return row[0] if row else None
