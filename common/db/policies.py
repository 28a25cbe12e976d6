"""How long the history is kept and in which form: the settings put in force.

Owns telling the database; must not hold SQL nor decide what is right: ``gex.apply_policies`` in
``sql/migrations`` does what TimescaleDB or plain PostgreSQL needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from common.db.connection import Connection, query, storage_errors
from common.models import JsonDict
from common.settings import Settings


@dataclass(frozen=True, slots=True)
class Policies:
    """What is wanted; 0 means for ever, or never."""

    keep_days: dict[str, float]
    """Series → days of market time."""
    compress_after_hours: float


def policies_of(settings: Settings) -> Policies:
    """What the settings ask for: prices and what tells of quotes stay as long as the quotes."""
    quotes = settings.keep_quotes_days
    return Policies(
        {
            "quotes": quotes,
            "spots": quotes,
            "entries": quotes,
            "checkpoints": quotes,
            "greeks": settings.keep_greeks_days,
            "levels": settings.keep_levels_days,
            "strike_exposures": settings.keep_strikes_days,
        },
        settings.compress_after_hours,
    )


def apply_policies(connection: Connection, policies: Policies) -> JsonDict:
    """Put the policies in force, make the partitions of this week and the next, drop old ones.

    Applying them again changes nothing.

    :returns: series → what was changed.
    :raises StorageError: when the database is out of reach or lacks the schema.
    """
    values: dict[str, Any] = {
        "keep_days": Jsonb(policies.keep_days),
        "compress_after_hours": policies.compress_after_hours,
    }
    with storage_errors():
        row = connection.execute(query("apply_policies"), values).fetchone()
        connection.commit()
    report: JsonDict = row[0] if row else {}
    return report
