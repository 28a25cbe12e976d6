"""Framing: bytes of a stream in, complete lines out.

Owns the splitting of a byte stream on newlines, wherever its chunks begin and end; must not
see a socket nor know what a line means. Lines are complete before they are decoded, so a chunk
may end inside a character.
"""

from __future__ import annotations

LONGEST_LINE = 1 << 20
"""Bytes after which a line without an end is given up."""


class Lines:
    """Follows one stream; feed it chunks, take lines."""

    def __init__(self, *, longest: int = LONGEST_LINE) -> None:
        """Start at the beginning of a stream.

        :param longest: longer lines are skipped up to their end and counted [bytes].
        """
        self._longest = longest
        self._parts: list[bytes] = []
        self._held = 0
        self._skipping = False
        self.oversized = 0
        """Lines that were skipped for their length."""

    def feed(self, chunk: bytes) -> bytes:
        """The lines that ``chunk`` completes in one piece, each with its newline.

        They are not cut apart: whoever decodes them can do so at once, and cheaper.
        """
        end = chunk.rfind(b"\n") + 1
        if not end:
            self._hold(chunk)
            return b""
        whole = chunk if end == len(chunk) else chunk[:end]
        if self._skipping or self._held + len(chunk) > self._longest:
            whole = self._without_long_ones(whole)
        elif self._parts:
            whole = b"".join((*self._parts, whole))
        self._parts, self._held = [], 0
        self._hold(chunk[end:])
        return whole

    def _without_long_ones(self, whole: bytes) -> bytes:
        """The held beginning and what ends it, less the lines that are too long."""
        first, *others = whole.split(b"\n")[:-1]
        first = b"" if self._skipping else b"".join((*self._parts, first))
        self._skipping = False
        return b"".join(line + b"\n" for line in map(self._accepted, (first, *others)) if line)

    def _accepted(self, line: bytes) -> bytes:
        if len(line) > self._longest:
            self.oversized += 1
            return b""
        return line

    def _hold(self, part: bytes) -> None:
        if self._skipping or not part:
            return
        self._parts.append(part)
        self._held += len(part)
        if self._held > self._longest:
            self.oversized += 1
            self._skipping = True
            self._parts, self._held = [], 0


def split(whole: bytes) -> list[bytes]:
    """Whole lines one by one, without ends of line; blank ones are left out."""
    return [line for line in map(bytes.strip, whole.split(b"\n")) if line]
