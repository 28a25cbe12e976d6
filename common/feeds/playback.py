"""Recordings as a feed: files of either kind, one session after the other.

Owns telling the kinds apart, by content; must not know their layouts nor pace a replay.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.feeds.base import FeedSession
from common.feeds.frames import is_frames, read_session
from common.feeds.recording import load_recording, other_symbol, recorded_sessions
from common.feeds.tradestation.replay import ReplayedSession


@dataclass(frozen=True, slots=True)
class RecordingFeed:
    """Recorded series and recorded frames of one symbol, in the order of ``paths``."""

    paths: Sequence[Path]
    symbol: str | None = None

    async def sessions(self) -> AsyncIterator[FeedSession]:
        """Play the files one after the other, a session for each date.

        :raises InputError: when one of them cannot be understood.
        """
        for path in map(Path, self.paths):
            if is_frames(path):
                yield self._replayed(path)
            else:
                for session in recorded_sessions(*load_recording(path, symbol=self.symbol)):
                    yield session

    def check(self) -> None:
        """Look at every file, so that a bad one is refused before anything is started.

        :raises InputError: when one of them cannot be understood.
        """
        for path in map(Path, self.paths):
            if is_frames(path):
                self._replayed(path)
            else:
                load_recording(path, symbol=self.symbol)

    def _replayed(self, path: Path) -> ReplayedSession:
        session = read_session(path)
        if self.symbol and session.symbol != self.symbol.upper():
            raise other_symbol(path, session.symbol, self.symbol)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return ReplayedSession(path, session, digest)
