"""Recordings of raw frames: what a broker's streams sent, line by line, with its time.

Owns the file format, its writer and its reader; must not know what a line means. A gzip
stream whose first line describes the session; then a line each:

``{time} {source} {raw line}``, ``{time} !`` where the first pass over the chain was complete,
and ``@ {source} {name}`` before the first line of a source. Times are market time [us], the
stamp that the quotes got. The stream is flushed every second, so a killed recorder loses no
more than that; a reader takes what is whole.
"""

from __future__ import annotations

import gzip
import logging
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from common.errors import InputError
from common.models import Session

log = logging.getLogger(__name__)
FORMAT = "gex-frames"
VERSION = 1
FLUSH_SECONDS = 1.0


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    format: str
    version: int
    session: Session


class Frame(NamedTuple):
    """One line of one stream, or the end of the first pass (no source, no line)."""

    time: int
    source: str
    line: bytes

    @property
    def is_snapshot_end(self) -> bool:
        """Whether the first pass over the chain was complete here."""
        return not self.source


class FrameWriter:
    """Writes one session; implements the tap of a broker's feed."""

    def __init__(
        self, path: Path, session: Session, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Create the file, readable by its owner.

        :raises InputError: when it exists or cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._raw = path.open("xb")
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from error
        self.path = path
        self._file = gzip.GzipFile(fileobj=self._raw, mode="wb", compresslevel=5, filename="")
        self._monotonic, self._flushed = monotonic, monotonic()
        self._sources: dict[str, int] = {}
        self.count = 0
        """Lines written so far."""
        header = _Header(format=FORMAT, version=VERSION, session=session)
        self._file.write(msgspec.json.encode(header) + b"\n")
        self.flush()

    def lines(self, source: str, time: int, lines: list[bytes]) -> None:
        """Lines of one stream, received together at ``time`` [us, market time]."""
        number = self._sources.get(source)
        if number is None:
            number = self._sources[source] = len(self._sources)
            self._file.write(f"@ {number} {source}\n".encode())
        prefix = f"{time} {number} ".encode()
        self._file.write(b"".join(prefix + line + b"\n" for line in lines))
        self.count += len(lines)
        if self._monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def snapshot_end(self, time: int) -> None:
        """The first pass over the chain was complete."""
        self._file.write(f"{time} !\n".encode())

    def flush(self) -> None:
        """Bring what was written to where a reader finds it."""
        self._file.flush()
        self._raw.flush()
        self._flushed = self._monotonic()

    def close(self) -> None:
        """End the file; a second time changes nothing."""
        self._file.close()
        self._raw.close()

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self.path.stat().st_size


class Recorder:
    """Opens a file for each session, and never writes over one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writers: list[FrameWriter] = []

    def open(self, session: Session) -> FrameWriter:
        """The writer of a session's frames.

        :raises InputError: when the file cannot be written.
        """
        name = f"{session.symbol}_{session.trading_date.isoformat()}"
        path, number = self.folder / f"{name}.frames.gz", 1
        while path.exists():
            number += 1
            path = self.folder / f"{name}_{number}.frames.gz"
        self.writers.append(FrameWriter(path, session))
        return self.writers[-1]


def is_frames(path: Path) -> bool:
    """Whether a file is such a recording, by its content."""
    try:
        with gzip.open(path, "rb") as file:
            return file.readline(4096).startswith(b'{"format":"' + FORMAT.encode())
    except (OSError, EOFError, zlib.error):
        return False


def read_session(path: Path) -> Session:
    """The session of a recording.

    :raises InputError: when the file is missing, damaged or of another version.
    """
    try:
        with gzip.open(path, "rb") as file:
            header = msgspec.json.decode(file.readline(), type=_Header)
    except (OSError, EOFError, zlib.error, msgspec.MsgspecError) as error:
        raise InputError(f"{path}: is no readable recording ({error})") from error
    if header.version != VERSION:
        raise InputError(f"{path}: version {header.version}, this build reads {VERSION}")
    return header.session


def read_frames(path: Path) -> Iterator[Frame]:
    """The lines of a recording, in the order of their arrival.

    A recording that was cut short ends where it was last flushed, with a warning.

    :raises InputError: when a line is none of the format.
    """
    sources: dict[bytes, str] = {}
    with gzip.open(path, "rb") as file:
        file.readline()
        for number, line in enumerate(_whole_lines(file, path), 2):
            first, _, rest = line.partition(b" ")
            if first == b"@":
                key, _, name = rest.partition(b" ")
                sources[key] = name.decode()
                continue
            source, _, raw = rest.partition(b" ")
            if not first.isdigit() or (source != b"!" and source not in sources):
                raise InputError(f"{path}: line {number} is damaged")
            yield Frame(int(first), "" if source == b"!" else sources[source], raw)


def _whole_lines(file: gzip.GzipFile, path: Path) -> Iterator[bytes]:
    try:
        for line in file:
            if not line.endswith(b"\n"):
                break
            yield line[:-1]
        else:
            return
    except (EOFError, zlib.error, OSError) as error:
        log.warning("%s: ends abruptly (%s)", path, error)
        return
    log.warning("%s: its last line is not whole", path)
