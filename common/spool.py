"""Stream entries in files: what waits for the database when Redis must not hold it.

Owns the files of one store worker: whole records, each on the disk before it counts as
written, read in the order in which they were written. A record that was torn by a crash is cut
off; its entries were never acknowledged, so they come again. Must not know Redis nor the
database.
"""

from __future__ import annotations

import fcntl
import logging
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from common.errors import SpoolError

log = logging.getLogger(__name__)
_HEAD = struct.Struct(">4sIII")
"""Magic, length and CRC-32 of what follows, number of entries."""
_MAGIC = b"GXS1"
_SUFFIX = ".spool"
FILE_BYTES = 16 * 2**20
"""A file is closed at this size, so that disk space comes back in steps of it."""


class Place(NamedTuple):
    """Where a record begins."""

    file: int = 0
    offset: int = 0


class _Payload(msgspec.Struct, array_like=True):
    stream: str
    entries: list[tuple[str, dict[bytes, bytes]]]


@dataclass(frozen=True, slots=True)
class Record:
    """Entries of one stream that were written together."""

    stream: str
    entries: list[tuple[str, dict[bytes, bytes]]]
    """(id, fields) of each."""
    after: Place
    """Where the next one begins."""


class Spool:
    """The spool of one store worker; one process at a time."""

    def __init__(self, folder: Path, *, max_bytes: int, file_bytes: int = FILE_BYTES) -> None:
        """Touch nothing yet.

        :param max_bytes: what may lie on the disk.
        """
        self._folder, self._max, self._file_bytes = folder, max_bytes, file_bytes
        self._sizes: dict[int, int] = {}
        self._at = Place()
        self._tail: int | None = None
        self._lock: int | None = None
        self.entries = 0
        """Entries that wait."""
        self.cut_bytes = 0
        """What was not whole, and was cut off or put aside."""
        self.last: frozenset[tuple[str, str]] = frozenset()
        """(stream, id) of the last record that a predecessor wrote: whether it came to
        acknowledge them nobody knows."""

    @property
    def size(self) -> int:
        """What waits [bytes]."""
        return sum(self._sizes.values()) - (self._at.offset if self._at.file in self._sizes else 0)

    def open(self, start: Place) -> None:
        """Take possession of the files and look at what waits.

        :param start: what lies before this has been loaded.
        :raises SpoolError: when the folder cannot be used, or another process has it.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._scan(start)
        except OSError as error:
            raise SpoolError(f"the spool {self._folder} cannot be used: {error}") from error

    def write(self, stream: str, entries: list[tuple[str, dict[bytes, bytes]]]) -> None:
        """Have entries on the disk when this returns.

        :raises SpoolError: when the spool is full or the disk refuses; nothing was written.
        """
        payload = msgspec.msgpack.encode(_Payload(stream, entries))
        head = _HEAD.pack(_MAGIC, len(payload), zlib.crc32(payload), len(entries))
        if self.size + len(head) + len(payload) > self._max:
            raise SpoolError(
                f"the spool is full: {self.size / 2**20:.0f} of {self._max / 2**20:.0f} MB "
                "wait for the database (GEX_SPOOL_MAX_MB)"
            )
        number = max(self._sizes, default=self._at.file + 1)
        if self._sizes.get(number, 0) >= self._file_bytes:
            number += 1
        try:
            self._append(number, head + payload)
        except OSError as error:
            raise SpoolError(f"the spool {self._folder}: {error}") from error
        self._sizes[number] = self._sizes.get(number, 0) + len(head) + len(payload)
        self.entries += len(entries)

    def first(self) -> Record | None:
        """The record that has waited longest; None when nothing waits.

        :raises SpoolError: when the disk refuses.
        """
        while self._sizes:
            number = min(self._sizes)
            if self._at.file != number:
                self._at = Place(number, 0)
            try:
                with self._path(number).open("rb") as file:
                    file.seek(self._at.offset)
                    found = _read(file.read(_HEAD.size), file.read)
            except OSError as error:
                raise SpoolError(f"the spool {self._folder}: {error}") from error
            if found is not None:
                payload, length, _ = found
                return Record(
                    payload.stream, payload.entries, Place(number, self._at.offset + length)
                )
            self._put_aside(number)
        return None

    def done(self, record: Record) -> None:
        """Have done with the first record."""
        self._at = record.after
        self.entries -= len(record.entries)
        if self._at.offset >= self._sizes[self._at.file]:
            self._drop(self._at.file)
            self._path(self._at.file).unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the files."""
        for descriptor in (self._tail, self._lock):
            if descriptor is not None:
                os.close(descriptor)
        self._tail = self._lock = None

    # --- files ------------------------------------------------------------------------------

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:010d}{_SUFFIX}"

    def _scan(self, start: Place) -> None:
        numbers = sorted(int(path.stem) for path in self._folder.glob(f"*{_SUFFIX}"))
        for number in [n for n in numbers if n < start.file]:
            self._path(number).unlink()
        self._at = start
        present = [number for number in numbers if number >= start.file]
        for number in present:
            begin = start.offset if number == start.file else 0
            end = begin
            for length, count, ids in self._records(number, begin, whole=number == present[-1]):
                end += length
                self.entries += count
                self.last = ids
            size = self._path(number).stat().st_size
            if end < size and number == present[-1]:
                log.error("%s: %d bytes are no whole record and are cut", self._folder, size - end)
                os.truncate(self._path(number), end)
                self.cut_bytes += size - end
                size = end
            if size > begin:
                self._sizes[number] = size
            else:
                self._path(number).unlink()

    def _records(
        self, number: int, offset: int, *, whole: bool
    ) -> Iterator[tuple[int, int, frozenset[tuple[str, str]]]]:
        """(length, entries, what is in it) of each record; what is in it where ``whole``."""
        with self._path(number).open("rb") as file:
            file.seek(offset)
            while True:
                head = file.read(_HEAD.size)
                if whole:
                    found = _read(head, file.read)
                    if found is None:
                        return
                    payload, length, count = found
                    yield length, count, frozenset((payload.stream, e[0]) for e in payload.entries)
                    continue
                if len(head) < _HEAD.size or head[:4] != _MAGIC:
                    return
                _, size, _, count = _HEAD.unpack(head)
                file.seek(size, os.SEEK_CUR)
                yield _HEAD.size + size, count, frozenset()

    def _append(self, number: int, data: bytes) -> None:
        path, size = self._path(number), self._sizes.get(number, 0)
        if self._tail is None or not size:
            if self._tail is not None:
                os.close(self._tail)
            self._tail = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            _sync_folder(self._folder)
        try:
            written = 0
            while written < len(data):
                written += os.write(self._tail, data[written:])
            os.fsync(self._tail)
        except OSError:
            os.ftruncate(self._tail, size)
            raise

    def _put_aside(self, number: int) -> None:
        """What cannot be read is kept for people; the next file goes on."""
        path, left = self._path(number), self._sizes[number] - self._at.offset
        log.error("%s: %d bytes cannot be read and are put aside", path, left)
        self.cut_bytes += left
        self._drop(number)
        path.rename(path.with_suffix(".damaged"))
        self.entries = sum(
            count for n in self._sizes for _, count, _ in self._records(n, 0, whole=False)
        )

    def _drop(self, number: int) -> None:
        """Forget a file; nothing more is written to it."""
        if number == max(self._sizes) and self._tail is not None:
            os.close(self._tail)
            self._tail = None
        del self._sizes[number]
        self._at = Place(number, self._at.offset)


def _read(head: bytes, read: Callable[[int], bytes]) -> tuple[_Payload, int, int] | None:
    """A record, its length and how many entries it has; None where it is not whole."""
    if len(head) < _HEAD.size:
        return None
    magic, size, checksum, count = _HEAD.unpack(head)
    if magic != _MAGIC:
        return None
    data = read(size)
    if len(data) < size or zlib.crc32(data) != checksum:
        return None
    return msgspec.msgpack.decode(data, type=_Payload), _HEAD.size + size, count


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
