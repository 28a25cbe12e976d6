"""A file of market data on disk: its bytes, its text, its fingerprint.

Owns reading, decompression and the one-line errors of both; must not know any format.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError

_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that was read to its end."""

    path: Path
    content: bytes
    """Decompressed."""
    digest: str
    """SHA-256 of the bytes on disk, hexadecimal."""

    @property
    def name(self) -> str:
        """The file name, for messages."""
        return self.path.name

    def text(self) -> str:
        """The content as UTF-8, with or without a byte order mark.

        :raises InputError: when it is no text.
        """
        try:
            return self.content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{self.path}: neither JSON nor CSV (it is no UTF-8 text)") from error


def read_source(path: Path) -> SourceFile:
    """Read a file; gzip is recognised by its first bytes, not by its name.

    :raises InputError: when there is no such file, it may not be read, is no file, is empty,
        or its compressed stream is damaged or ends early.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: is a directory, name a file in it") from error
    except PermissionError as error:
        raise InputError(f"{path}: no permission to read it") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    content = _decompressed(path, raw) if raw.startswith(_GZIP_MAGIC) else raw
    if not content.strip():
        raise InputError(f"{path}: is empty")
    return SourceFile(path, content, hashlib.sha256(raw).hexdigest())


def _decompressed(path: Path, raw: bytes) -> bytes:
    try:
        return gzip.decompress(raw)
    except EOFError as error:
        raise InputError(f"{path}: the gzip stream is truncated; fetch the file again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: the gzip stream is damaged ({error})") from error
