"""Frames between a feed and the ingestor: a queue that costs no task for each of them.

Owns the waiting of both sides; must not look into a frame.
"""

from __future__ import annotations

import asyncio
from collections import deque

from common.models import Update

_FRAMES = 1000
"""What the feed may be ahead; then it waits."""


class Inbox:
    """What the feed has yielded and nobody has batched yet."""

    def __init__(self, stop: asyncio.Event) -> None:
        """:param stop: set when nobody waits any more."""
        self._stop = stop
        self.frames: deque[list[Update]] = deque()
        """In the order in which they came."""
        self._news, self._room = asyncio.Event(), asyncio.Event()

    def wake(self) -> None:
        """Let who waits look around."""
        self._news.set()
        self._room.set()

    async def put(self, frame: list[Update]) -> None:
        """Add a frame, once there is room for it."""
        while len(self.frames) >= _FRAMES and not self._stop.is_set():
            self._room.clear()
            await self._room.wait()
        self.frames.append(frame)
        self._news.set()

    async def wait(self, seconds: float) -> None:
        """Until there is news, or so long."""
        if self._news.is_set():
            return
        timer = asyncio.get_running_loop().call_later(max(0.0, seconds), self._news.set)
        try:  # half of what asyncio.timeout takes, hundreds of times a second
            await self._news.wait()
        finally:
            timer.cancel()

    def take(self) -> list[Update] | None:
        """The frame that came first; None when there is none."""
        if not self.frames:
            self._news.clear()
            return None
        self._room.set()
        return self.frames.popleft()
