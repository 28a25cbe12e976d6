"""The SQL files: named queries and migrations.

Owns reading ``sql/``; must not connect to anything.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache

from common.resources import resource

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_MIGRATION = re.compile(r"^(\d{4})_(\w+)\.sql$")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema; once landed it is never edited."""

    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@cache
def queries() -> dict[str, str]:
    """Name → SQL of every block of ``sql/queries.sql``."""
    parts = _NAME.split((resource("sql") / "queries.sql").read_text(encoding="utf-8"))
    return {name: body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def bootstrap() -> str:
    """What must exist before the first migration."""
    return (resource("sql") / "bootstrap.sql").read_text(encoding="utf-8")


def migrations() -> list[Migration]:
    """Every migration, by version."""
    found = []
    for path in sorted((resource("sql") / "migrations").glob("*.sql")):
        match = _MIGRATION.match(path.name)
        if match:
            text = path.read_text(encoding="utf-8")
            found.append(Migration(int(match.group(1)), match.group(2), text))
    return found
