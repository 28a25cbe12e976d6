"""Where the borders of a stream's chunks fall: between objects or inside them.

Owns that; what is sent stays the same bytes in the same order.
"""

from __future__ import annotations

import random
from typing import Literal

from common.errors import UsageError

Chunking = Literal["line", "merged", "split"] | int
"""A chunk a line, one for all of them, borders anywhere, or at most so many lines a chunk."""
CHUNKINGS: tuple[Chunking, ...] = ("line", "merged", "split")
_LONGEST_PIECE = 900
_MOST_LINES = 1_000_000


def chunking_of(text: str) -> Chunking:
    """What an option names.

    :raises UsageError: when it is none.
    """
    found = next((each for each in CHUNKINGS if each == text), None)
    if found is not None:
        return found
    if text.isascii() and text.isdecimal() and 0 < int(text) <= _MOST_LINES:
        return int(text)
    names = ", ".join(map(str, CHUNKINGS))
    raise UsageError(f"--chunking: {text!r} is none of {names} and no number of lines")


class Chunker:
    """Cuts lines into chunks."""

    def __init__(self, chunking: Chunking, seed: int = 0) -> None:
        """Cut in one of these ways."""
        self._chunking = chunking
        self._random = random.Random(seed)  # noqa: S311  where to cut, no secret

    def chunks(self, lines: list[bytes]) -> list[bytes]:
        """The chunks of some lines, none of them empty."""
        if self._chunking == "line":
            return lines
        if isinstance(self._chunking, int):
            size = self._chunking
            return [b"".join(lines[at : at + size]) for at in range(0, len(lines), size)]
        payload = b"".join(lines)
        if self._chunking == "merged":
            return [payload] if payload else []
        pieces, at = [], 0
        while at < len(payload):  # what is left is not copied again and again: it may be megabytes
            size = self._random.randint(1, _LONGEST_PIECE)
            pieces.append(payload[at : at + size])
            at += size
        return pieces
