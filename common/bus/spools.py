"""What the store workers have spooled, and how far it has been loaded.

Owns the records of it in Redis; must not touch the files. How far goes with the counters in
one transaction, so a record that is loaded twice is counted once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common.bus import keys
from common.bus.client import Client, bus_errors, text


@dataclass(frozen=True, slots=True)
class Spooled:
    """What one store worker says of its spool."""

    entries: int = 0
    size: int = 0
    """[bytes]"""
    max_size: int = 0
    """[bytes]"""
    since: float = 0.0
    """Wall time since when something waits [s]; 0 where nothing does."""
    error: str = ""
    """Why it takes nothing more; empty while it does."""


class Spools:
    """The spools of every store worker of one Redis."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def place(self, consumer: str) -> tuple[int, int]:
        """(file, offset) before which everything has been loaded."""
        with bus_errors():
            row: Any = self._client.hmget(keys.spool(consumer), "file", "offset")
        return int(row[0] or 0), int(row[1] or 0)

    def loaded(
        self, consumer: str, place: tuple[int, int], symbol: str, counts: Mapping[str, int]
    ) -> None:
        """Count what a record has come to, and note that it is loaded."""
        with bus_errors(), self._client.pipeline(transaction=True) as pipe:
            pipe.hset(keys.spool(consumer), mapping={"file": place[0], "offset": place[1]})
            for name, value in counts.items():
                pipe.hincrby(keys.counters(symbol), name, value)
            pipe.execute()

    def note(self, consumer: str, said: Spooled) -> None:
        """Say how a spool stands."""
        fields: dict[Any, Any] = {
            "entries": said.entries,
            "bytes": said.size,
            "max_bytes": said.max_size,
            "since": said.since,
            "error": said.error,
        }
        with bus_errors():
            self._client.hset(keys.spool(consumer), mapping=fields)

    def all(self) -> dict[str, Spooled]:
        """Store worker → its spool, for those that ever had something in it."""
        prefix = keys.spool("")
        found = {}
        with bus_errors():
            for key in sorted(self._client.scan_iter(f"{prefix}*")):
                row: Any = self._client.hgetall(key)
                said = {text(name): text(value) for name, value in row.items()}
                found[text(key).removeprefix(prefix)] = Spooled(
                    int(said.get("entries", 0)),
                    int(said.get("bytes", 0)),
                    int(said.get("max_bytes", 0)),
                    float(said.get("since", 0.0)),
                    said.get("error", ""),
                )
        return found
