"""The store worker when Redis fills up: entries into files, and into the database from there.

Owns when that is done; must not know what an entry means. Below the mark nothing changes: the
entries of an absent database wait in Redis. Above it what has waited goes to fsynced files and
is acknowledged, so that Redis stays bounded whatever the database does. While anything is
spooled, what follows goes behind it, so the database gets everything in order.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

from common.bus import keys
from common.bus.entries import Burial, Entry, id_order
from common.bus.memory import Memory
from common.bus.spools import Spooled, Spools
from common.bus.streams import Streams
from common.errors import BusError, ServiceError, SpoolError, StorageError
from common.spool import Place, Record, Spool
from workers.handling import Outcome, Round, TogetherHandler
from workers.mailbox import Deliveries

log = logging.getLogger(__name__)
_SLICE_SECONDS = 0.25
"""Of a round that may go into loading [s]."""
_RETRY_SECONDS = 2.0
"""Before an absent database is asked again [s]."""
_WAITED_SECONDS = 2.0
"""Entries older than this wait for the store worker, and not for others [s]."""


class Trimming(TogetherHandler, Protocol):
    """A handler that can drop what everyone has acknowledged."""

    def trim(self, *, keep_seconds: float) -> None:
        """Drop it, except what is younger than this [s]."""


class SpoolingHandler:
    """A store worker's handler with a spool beside it."""

    group = keys.STORE_GROUP
    exclusive = False

    def __init__(
        self,
        inner: Trimming,
        spool: Spool,
        *,
        spools: Spools,
        streams: Streams,
        memory: Memory,
        consumer: str,
        mark: float,
        max_bytes: int,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """:param mark: share of the memory bound from which on it spools [1]."""
        self._inner, self._spool = inner, spool
        self._spools, self._bus, self._memory = spools, streams, memory
        self._consumer, self._mark, self._max_bytes = consumer, mark, max_bytes
        self._wall, self._monotonic = wall, monotonic
        self._away = False
        self._retry_at = 0.0
        self._since = 0.0
        self._error = ""
        self._said = Spooled()

    def streams(self) -> list[str]:
        """What the inner handler reads."""
        return self._inner.streams()

    def handle(self, stream: str, entries: list[Entry]) -> Outcome:
        """Store the entries, or spool them.

        :raises ServiceError: neither is possible; the entries stay pending.
        """
        known = [entry for entry in entries if (stream, entry.id) in self._spool.last]
        if known:  # spooled by a predecessor that died before it could acknowledge them
            entries = [entry for entry in entries if entry not in known]
            outcome = self.handle(stream, entries) if entries else Outcome()
            counts = dict(outcome.counts)
            counts["entries_spooled"] = counts.get("entries_spooled", 0) + len(known)
            return Outcome(counts)
        full = self._memory.share() >= self._mark
        if self._spool.entries or (full and (self._away or self._has_waited(entries))):
            return self._put(stream, entries)
        try:
            outcome = self._inner.handle(stream, entries)
        except StorageError:
            self._away = True
            if not full:
                raise
            return self._put(stream, entries)
        self._away = False
        return outcome

    def handle_together(self, deliveries: Deliveries) -> Round:
        """Store the deliveries of a round in one step, while nothing is or may have to be spooled.

        :raises ServiceError: that is not possible; the entries stay pending.
        """
        if self._spool.entries or self._memory.share() >= self._mark:
            return Round(deliveries)
        last = self._spool.last
        if any((stream, entry.id) in last for stream, entries in deliveries for entry in entries):
            return Round(deliveries)
        try:
            done = self._inner.handle_together(deliveries)
        except StorageError:
            self._away = True
            raise
        self._away = False
        return done

    def maintain(self) -> None:
        """The inner handler's duties; where Redis is full, trimming comes first and is strict."""
        full = self._memory.share() >= self._mark
        if full or self._spool.entries:
            self._inner.trim(keep_seconds=0.0)
        self._note()
        if self._away and (full or self._spool.entries):
            return  # its other duties need the database
        try:
            self._inner.maintain()
        except StorageError as error:
            self._away = True
            if not full and not self._spool.entries:
                raise
            log.warning("%s; Redis is at %.0f %%", error, 100 * self._memory.share())

    def rest(self) -> float | None:
        """Load what is spooled, a slice at a time."""
        began = self._monotonic()
        if not self._spool.entries or began < self._retry_at:
            return self._inner.rest()
        try:
            while self._monotonic() - began < _SLICE_SECONDS:
                record = self._spool.first()
                if record is None:
                    break
                counts = self._load(record)
                self._spools.loaded(
                    self._consumer, record.after, keys.stream_symbol(record.stream), counts
                )
                self._spool.done(record)
                self._away = False
        except StorageError as error:
            self._away = True
            self._retry_at = self._monotonic() + _RETRY_SECONDS
            log.warning("%s; %d entries are spooled", error, self._spool.entries)
            return _RETRY_SECONDS
        if self._spool.entries:
            return 0.0
        log.warning("everything that was spooled is in the database")
        self._note()
        return self._inner.rest()

    def close(self) -> None:
        """What is spooled stays, and is loaded at the next start."""
        self._note()
        self._spool.close()
        self._inner.close()

    def open(self) -> None:
        """Take possession of the spool.

        :raises SpoolError: when another process has it, or the disk refuses.
        :raises BusError: when Redis is out of reach.
        """
        self._spool.open(Place(*self._spools.place(self._consumer)))
        if self._spool.entries or self._spool.cut_bytes:
            log.warning(
                "%d entries are spooled (%d bytes); %d bytes were cut",
                *(self._spool.entries, self._spool.size, self._spool.cut_bytes),
            )

    def _has_waited(self, entries: list[Entry]) -> bool:
        """Whether the store worker is what fills Redis: it is behind with these."""
        return self._wall() - id_order(entries[0].id)[0] / 1000.0 > _WAITED_SECONDS

    def _put(self, stream: str, entries: list[Entry]) -> Outcome:
        if not self._spool.entries:
            self._since = self._wall()
            log.warning(
                "Redis is at %.0f %% of its memory and the database is %s: spooling",
                100 * self._memory.share(),
                "away" if self._away else "behind",
            )
        try:
            self._spool.write(stream, [(entry.id, entry.fields) for entry in entries])
        except SpoolError as error:
            if str(error) != self._error:
                log.error("%s", error)
            self._error = str(error)
            self.rest()  # no round ends before there is room
            raise
        self._error = ""
        return Outcome({"entries_spooled": len(entries)})

    def _load(self, record: Record) -> dict[str, int]:
        """The counters of a record that is in the database now; what it refuses is buried."""
        entries = [Entry(entry_id, fields) for entry_id, fields in record.entries]
        counts = {"entries_unspooled": len(entries)}
        try:
            _add(counts, self._inner.handle(record.stream, entries))
        except ServiceError:
            raise
        except Exception:  # noqa: BLE001  the actor's isolation of poison, for what is no longer pending
            for entry in entries:
                try:
                    _add(counts, self._inner.handle(record.stream, [entry]))
                except ServiceError:
                    raise
                except Exception as error:  # noqa: BLE001
                    burials = [Burial.of(entry, error)]
                    self._bus.bury(self.group, record.stream, burials, whole=False)
        return counts

    def _note(self) -> None:
        """Say how it stands, where that has changed."""
        waits = self._spool.entries
        since = self._since or self._wall() if waits else 0.0
        self._since = since
        said = Spooled(waits, self._spool.size, self._max_bytes, since, self._error)
        if said == self._said:
            return
        try:
            self._spools.note(self._consumer, said)
        except BusError as error:
            log.warning("%s", error)
            return
        self._said = said


def _add(counts: dict[str, int], outcome: Outcome) -> None:
    for name, value in outcome.counts.items():
        counts[name] = counts.get(name, 0) + value
