"""One entry of a stream as its readers have it: whole, damaged, or to be buried.

Owns how damaged entries are told from whole ones; must not know commands, nor what one means.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from common.errors import MalformedEntriesError, MalformedEntryError

T = TypeVar("T")


class Entry(msgspec.Struct, frozen=True):
    """One entry of a stream as it was delivered."""

    id: str
    fields: dict[bytes, bytes]
    delivered: bool = True
    """False for one that was read ahead of its delivery: it is no pending entry of anybody."""


@dataclass(frozen=True, slots=True)
class Burial:
    """An entry on its way to the dead letters, and why."""

    entry: Entry
    reason: str
    trace: str = ""
    deliveries: int = 1

    @classmethod
    def of(cls, entry: Entry, error: Exception, deliveries: int = 1) -> Burial:
        """What an error makes of an entry."""
        return cls(entry, _reason(error), _trace(error), deliveries)

    @classmethod
    def of_damaged(
        cls, entries: Sequence[Entry], damaged: Mapping[str, MalformedEntryError]
    ) -> list[Burial]:
        """Those of these entries that are damaged (id → what is wrong with it); where the reason
        is the same the traceback is that of the first, for it takes as long as a hundred whole
        entries."""
        found, traces = [], dict[str, str]()
        for entry in entries:
            if entry.id in damaged:
                error = damaged[entry.id]
                reason = _reason(error)
                if reason not in traces:
                    traces[reason] = _trace(error)
                found.append(cls(entry, reason, traces[reason]))
        return found


class Sorted(msgspec.Struct, Generic[T], frozen=True):
    """Entries, and which of them can be read."""

    whole: list[tuple[str, T]]
    """Id and content."""
    damaged: Mapping[str, MalformedEntryError]
    """Id → what is wrong with it."""


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _trace(error: Exception) -> str:
    return "".join(traceback.format_exception(error))


def id_order(entry_id: str) -> tuple[int, int]:
    """Sort key of a stream entry id."""
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)


def age_of(entry_id: str | None) -> float | None:
    """How long ago an entry was appended [s]: its id begins with Redis' time [ms]."""
    return None if entry_id is None else round(time.time() - id_order(entry_id)[0] / 1000.0, 3)


def sort_out(entries: Sequence[Entry], decode: Callable[[dict[bytes, bytes]], T]) -> Sorted[T]:
    """What each entry holds, by a function that raises MalformedEntryError for its fields."""
    whole, damaged = [], {}
    for entry in entries:
        try:
            whole.append((entry.id, decode(entry.fields)))
        except MalformedEntryError as error:
            damaged[entry.id] = error
    return Sorted(whole, damaged)


def decoded(entries: Sequence[Entry], decode: Callable[[dict[bytes, bytes]], T]) -> list[T]:
    """What each entry holds, where all of them can be read.

    :raises MalformedEntriesError: naming every entry that cannot be decoded, and no other.
    """
    found = sort_out(entries, decode)
    if found.damaged:
        raise MalformedEntriesError(found.damaged)
    return [content for _, content in found.whole]
