"""Where the borders of a stream's chunks fall: between objects or inside them.

Owns that; what is sent stays the same bytes in the same order.
"""

from __future__ import annotations

import random
from typing import Literal

Chunking = Literal["line", "merged", "split"]
CHUNKINGS: tuple[Chunking, ...] = ("line", "merged", "split")
_LONGEST_PIECE = 900


class Chunker:
    """Cuts lines into chunks."""

    def __init__(self, chunking: Chunking, seed: int = 0) -> None:
        """Cut in one of three ways.

        :param chunking: a chunk a line, one for all of them, or borders at random places.
        """
        self._chunking = chunking
        self._random = random.Random(seed)  # noqa: S311  where to cut, no secret

    def chunks(self, lines: list[bytes]) -> list[bytes]:
        """The chunks of some lines, none of them empty."""
        if self._chunking == "line":
            return lines
        payload = b"".join(lines)
        if self._chunking == "merged":
            return [payload] if payload else []
        pieces, at = [], 0
        while at < len(payload):  # what is left is not copied again and again: it may be megabytes
            size = self._random.randint(1, _LONGEST_PIECE)
            pieces.append(payload[at : at + size])
            at += size
        return pieces
