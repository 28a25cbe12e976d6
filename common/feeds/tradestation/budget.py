"""How many streams one login may hold open, shared by every process of an instance.

Owns the slots: one lock file each, locked for as long as its stream is followed. A process
that dies gives its slots back, because the kernel releases its locks.
"""

from __future__ import annotations

import fcntl
import logging
from collections import Counter
from pathlib import Path
from typing import IO

from common.feeds.schedule import Sleep

log = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0
"""Between two looks for a free slot [s]."""


class Slot:
    """The right to one open stream."""

    def __init__(self, handle: IO[bytes]) -> None:
        """Hold an open file that is locked."""
        self._handle = handle

    def release(self) -> None:
        """Give it back; doing so twice is as good as once."""
        self._handle.close()


class StreamBudget:
    """The slots of one login."""

    def __init__(self, folder: Path, streams: int) -> None:
        """Nothing is locked before :meth:`take`.

        :param folder: of the lock files; whoever shares it shares the slots.
        :param streams: how many may be open at once.
        """
        self._folder, self._streams = folder, streams

    def take(self) -> Slot | None:
        """A slot, or None when all are taken, by this process or another."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for number in range(self._streams):
            handle = (self._folder / f"{number:03d}.lock").open("ab")
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.close()
            else:
                return Slot(handle)
        return None

    async def wait(self, what: str, counters: Counter[str], sleep: Sleep) -> Slot:
        """A slot, however long it takes; that there was none at first is said and counted.

        :param what: the stream it is for.
        """
        slot = self.take()
        if slot is None:
            counters["budget_waits"] += 1
            log.warning(
                "%s waits: all %d streams of the login are in use (GEX_TRADESTATION_STREAMS)",
                what, self._streams,
            )  # fmt: skip
        while slot is None:
            await sleep(_LOOK_SECONDS)
            slot = self.take()
        return slot
