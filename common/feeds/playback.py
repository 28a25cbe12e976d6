"""Recordings as a feed: files of either kind, one session after the other.

Owns telling the kinds apart, by content; must not know their layouts nor pace a replay.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError
from common.feeds.base import FeedSession
from common.feeds.frames import Header, is_frames, read_header
from common.feeds.recording import load_recording, other_symbol, recorded_sessions
from common.feeds.tradestation.replay import ReplayedSession


@dataclass(frozen=True, slots=True)
class RecordingFeed:
    """Recorded series and recorded frames of one symbol, in the order of ``paths``."""

    paths: Sequence[Path]
    symbol: str | None = None

    async def sessions(self) -> AsyncIterator[FeedSession]:
        """Play the files one after the other, a session for each date.

        Parts of one recording, in their order, are one session.

        :raises InputError: when one of them cannot be understood.
        """
        for played in self._sources():
            if isinstance(played, Path):
                series = load_recording(played, symbol=self.symbol)
                for session in recorded_sessions(*series):
                    yield session
            else:
                yield played

    def check(self) -> None:
        """Look at every file, so that a bad one is refused before anything is started.

        :raises InputError: when one of them cannot be understood.
        """
        for played in self._sources():
            if isinstance(played, Path):
                load_recording(played, symbol=self.symbol)

    def _sources(self) -> Iterator[Path | ReplayedSession]:
        """Each recorded series by its path, each recording of frames with all its parts."""
        parts: list[tuple[Path, Header]] = []
        for path in map(Path, self.paths):
            header = read_header(path) if is_frames(path) else None
            if parts and header and header.goes_on_from(parts[-1][1]):
                parts.append((path, header))
                continue
            if parts:
                yield self._replayed(parts)
            parts = [(path, header)] if header else []
            if header is None:
                yield path
        if parts:
            yield self._replayed(parts)

    def _replayed(self, parts: list[tuple[Path, Header]]) -> ReplayedSession:
        path, header = parts[0]
        session = header.session
        if self.symbol and session.symbol != self.symbol.upper():
            raise other_symbol(path, session.symbol, self.symbol)
        if header.part != 1:
            raise InputError(
                f"{path}: is part {header.part} of a recording; name all its parts in order, "
                "from the first one on"
            )
        digest = hashlib.sha256()
        for each, _ in parts:
            digest.update(each.read_bytes())
        return ReplayedSession([each for each, _ in parts], session, digest.hexdigest())
