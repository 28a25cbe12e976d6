"""When the streams of a market at a pace have handed over what they tell.

Owns the newest notes of that; must not know HTTP, and reads no clock of its own.
"""

from __future__ import annotations

from collections import deque

_KEPT = 100_000
"""Six streams that tell something 200 times a second fill it in 83 s."""
Note = tuple[int, int]
"""When the newest board that was told was due, and when its lines were written [us, wall time]."""


class WireLog:
    """Notes of every stream, under the shard whose chain it tells; "" for streams of quotes."""

    def __init__(self, kept: int = _KEPT) -> None:
        """Start without one.

        :param kept: how many notes are kept, the newest.
        """
        self._notes: deque[tuple[str, Note]] = deque(maxlen=kept)
        self._last: dict[str, int] = {}
        self.dropped_until_us = 0
        """Notes of boards that were due until then may be missing [us, wall time]."""

    def note(self, shard: str, due_us: int, at_us: int, *, behind: bool) -> None:
        """Note that everything until a board is about to be written.

        :param due_us: when the board was due. :param at_us: now.
        :param behind: the stream has just been opened, or its reader has held it up: what it
            tells could have gone out at any time since the note before, which is what is noted.
        """
        if behind:
            at_us = self._last.get(shard, 0)
        if len(self._notes) == self._notes.maxlen:
            self.dropped_until_us = max(self.dropped_until_us, self._notes[0][1][0])
        self._notes.append((shard, (due_us, at_us)))
        self._last[shard] = at_us

    def since(self, due_us: int) -> dict[str, list[Note]]:
        """The notes of boards that were due from an instant on [us, wall time], by shard."""
        found: dict[str, list[Note]] = {}
        for shard, note in self._notes:
            if note[0] >= due_us:
                found.setdefault(shard, []).append(note)
        return found
