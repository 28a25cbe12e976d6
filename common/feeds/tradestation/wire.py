"""Framing: bytes of a stream in, complete lines out.

Owns the splitting of a byte stream on newlines, wherever its chunks begin and end; must not
see a socket nor know what a line means. Lines are split before they are decoded, so a chunk
may end inside a character.
"""

from __future__ import annotations

LONGEST_LINE = 1 << 20
"""Bytes after which a line without an end is given up."""
_PRINTABLE = b"!"
"""Blank lines, and those that begin with white space, sort before."""


class Lines:
    """Splits one stream; feed it chunks, take lines."""

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

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that ``chunk`` completes, without ends of line; blank ones are left out."""
        lines = chunk.split(b"\n")
        end = lines.pop()
        if lines:
            lines[0] = self._finish(lines[0])
            if len(chunk) > self._longest or len(lines[0]) > self._longest:
                lines = list(map(self._accepted, lines))
            if b"\r" in chunk or min(lines) < _PRINTABLE:
                lines = [line for line in map(bytes.strip, lines) if line]
        self._hold(end)
        return lines

    def _finish(self, end: bytes) -> bytes:
        """The held beginning of a line with its end; empty for one that is being skipped."""
        if self._skipping:
            self._skipping = False
            return b""
        line = b"".join((*self._parts, end)).rstrip(b"\r")
        self._parts, self._held = [], 0
        return line

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
