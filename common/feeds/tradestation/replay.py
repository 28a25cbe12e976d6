"""Recorded frames of TradeStation's streams as a feed.

Owns turning them into the updates that they gave live; must not pace them. The same lines, the
same merge and the same stamps, so the same updates.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import msgspec

from common.clock import SECOND
from common.feeds.frames import Frame, read_frames
from common.feeds.roots import INDEXES
from common.feeds.tradestation.beside import Beside
from common.feeds.tradestation.book import Book
from common.feeds.tradestation.messages import Malformed, Row, parse
from common.models import Session, SnapshotEnd, Update

GROUP_US = SECOND
"""Lines of one second of market time are one frame [us]."""


@dataclass(slots=True)
class ReplayedSession:
    """One recorded session, in one file or in several parts."""

    paths: list[Path]
    recorded: Session
    digest: str
    """Of the files: replays of the same files are one history."""
    counters: Counter[str] = field(default_factory=Counter)

    @property
    def session(self) -> Session:
        """The session's record: the recorded one, as a replay."""
        recorded = self.recorded
        return msgspec.structs.replace(
            recorded,
            key=f"{recorded.symbol}:{recorded.trading_date}:recording:{self.digest[:12]}",
            feed="recording",
            replay=True,
            resume=False,
            source=os.pathsep.join(map(str, self.paths)),
            epoch=0,
            ended=False,
            first_pass=None,
        )

    async def frames(self) -> AsyncIterator[list[Update]]:
        """A frame per second of market time; the first pass ends with a ``SnapshotEnd``.

        :raises InputError: when a file turns out to be damaged.
        """
        book, seq = Book(self.recorded.symbol), 0
        beside = Beside(self.recorded.symbol, INDEXES, self.counters)
        group: list[Update] = []
        second = -1
        for frame in chain.from_iterable(map(read_frames, self.paths)):
            if frame.time // GROUP_US != second:
                if group:
                    yield group
                group, second = [], frame.time // GROUP_US
            if frame.is_snapshot_end:
                yield [*group, SnapshotEnd(frame.time)]
                group = []
                continue
            row = self._row(frame)
            if row is None:
                continue
            if beside.take(row):
                group += beside.news(frame.time)
                continue
            update = book.apply(row, frame.time, seq)
            if update is not None:
                seq += 1
                group.append(update)
        if group:
            yield group
        self.counters["refused_rows"] = sum(book.refused.values())

    def _row(self, frame: Frame) -> Row | None:
        message = parse(frame.line)
        if isinstance(message, Row):
            self.counters["rows"] += 1
            return message
        if isinstance(message, Malformed):
            self.counters["malformed_lines"] += 1
        return None
