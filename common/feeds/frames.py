"""Recordings of raw frames: what a broker's streams sent, line by line, with its time.

Owns the file format, its writer and its reader; must not know what a line means. A gzip
stream whose first line describes the session; then a line each:

``{time} {source} {raw line}``, ``{time} !`` where the first pass over the chain was complete,
and ``@ {source} {name}`` before the first line of a source. Times are market time [us], the
stamp that the quotes got. The stream is flushed every second, so a killed recorder loses no
more than that; a reader takes what is whole. A session that grows too large or too long goes on
in another file, its next part.
"""

from __future__ import annotations

import gzip
import logging
import math
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from common.clock import wall_us
from common.errors import InputError
from common.models import Session

log = logging.getLogger(__name__)
FORMAT = "gex-frames"
VERSION = 1
FLUSH_SECONDS = 1.0


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of a file."""

    session: Session
    part: int = 1
    """Number of the file within its recording."""
    begun: int = 0
    """When the recording began [us, wall time]: the same in all its parts."""
    format: str = FORMAT
    version: int = VERSION

    def goes_on_from(self, other: Header) -> bool:
        """Whether this is the part after another."""
        return self == msgspec.structs.replace(other, part=other.part + 1)


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
    """Writes one file."""

    def __init__(
        self, path: Path, header: Header, *, monotonic: Callable[[], float] = time.monotonic
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
        self._monotonic = monotonic
        self._flushed = self.begun = monotonic()
        self._sources: dict[str, int] = {}
        self.count = 0
        """Lines written so far."""
        described = {"format": FORMAT, **msgspec.structs.asdict(header)}  # is_frames: format first
        self._file.write(msgspec.json.encode(described) + b"\n")
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


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a recording goes on in another file."""

    size: float = math.inf
    """Bytes on disk."""
    seconds: float = math.inf
    """Age of the file."""

    def is_due(self, writer: FrameWriter, now: float) -> bool:
        """Whether a file that holds lines has had enough at ``now`` [s, monotonic]."""
        old = now - writer.begun >= self.seconds
        return writer.count > 0 and (old or writer.size >= self.size)


class Recorder:
    """Opens a recording for each session, and never writes over one."""

    def __init__(
        self,
        folder: Path,
        rotation: Rotation | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], int] = wall_us,
    ) -> None:
        """Nothing is created yet.

        :param rotation: None for one file a session, however large.
        """
        self._folder, self._rotation = folder, rotation or Rotation()
        self._monotonic, self._wall = monotonic, wall
        self.writers: list[FrameWriter] = []
        """Of every file so far, in the order of their beginnings."""

    def open(self, session: Session) -> RecordedParts:
        """Begin the recording of a session.

        :raises InputError: when its file cannot be written.
        """
        name = f"{session.symbol}_{session.trading_date.isoformat()}"
        stem, number = name, 1
        while any(self._folder.glob(f"{stem}.*frames.gz")):
            number += 1
            stem = f"{name}_{number}"
        header = Header(session=session, begun=self._wall())
        return RecordedParts(self._next_file, self._rotation, stem, header, self._monotonic)

    def _next_file(self, stem: str, header: Header) -> FrameWriter:
        part = "" if header.part == 1 else f".part{header.part:03d}"
        path = self._folder / f"{stem}{part}.frames.gz"
        self.writers.append(FrameWriter(path, header, monotonic=self._monotonic))
        return self.writers[-1]


class RecordedParts:
    """One recording, in as many files as it needs; implements the tap of a broker's feed."""

    def __init__(
        self,
        begin: Callable[[str, Header], FrameWriter],
        rotation: Rotation,
        stem: str,
        header: Header,
        monotonic: Callable[[], float],
    ) -> None:
        """Begin the first file.

        :param begin: begins a file, given the recording's name and the file's header.
        """
        self._begin, self._rotation, self._stem = begin, rotation, stem
        self._monotonic, self._looked = monotonic, monotonic()
        self._header, self._writer = header, begin(stem, header)

    def lines(self, source: str, time: int, lines: list[bytes]) -> None:
        """Lines of one stream, received together at ``time`` [us, market time]."""
        now = self._monotonic()
        if now - self._looked >= FLUSH_SECONDS:
            self._looked = now
            if self._rotation.is_due(self._writer, now):
                self._writer.close()
                self._header = msgspec.structs.replace(self._header, part=self._header.part + 1)
                self._writer = self._begin(self._stem, self._header)
        self._writer.lines(source, time, lines)

    def snapshot_end(self, time: int) -> None:
        """The first pass over the chain was complete."""
        self._writer.snapshot_end(time)

    def close(self) -> None:
        """End the recording."""
        self._writer.close()


def is_frames(path: Path) -> bool:
    """Whether a file is such a recording, by its content."""
    try:
        with gzip.open(path, "rb") as file:
            return file.readline(4096).startswith(b'{"format":"' + FORMAT.encode())
    except (OSError, EOFError, zlib.error):
        return False


def read_header(path: Path) -> Header:
    """What a recording's file is of.

    :raises InputError: when the file is missing, damaged or of another version.
    """
    try:
        with gzip.open(path, "rb") as file:
            header = msgspec.json.decode(file.readline(), type=Header)
    except (OSError, EOFError, zlib.error, msgspec.MsgspecError) as error:
        raise InputError(f"{path}: is no readable recording ({error})") from error
    if header.version != VERSION:
        raise InputError(f"{path}: version {header.version}, this build reads {VERSION}")
    return header


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
