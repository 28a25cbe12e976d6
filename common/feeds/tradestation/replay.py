"""Recorded frames of TradeStation's streams as a feed.

Owns turning them into the updates that they gave live; must not pace them. The same lines, the
same merge and the same stamps, so the same updates.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from itertools import chain, groupby
from pathlib import Path

import msgspec

from common.clock import SECOND
from common.feeds.frames import Frame, read_frames
from common.feeds.roots import INDEXES
from common.feeds.tradestation.beside import Beside
from common.feeds.tradestation.book import Book
from common.feeds.tradestation.messages import Malformed
from common.feeds.tradestation.rows import Rows
from common.models import Session, SnapshotEnd, Update, one_by_one

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
        frames = chain.from_iterable(map(read_frames, self.paths))
        for (time, is_end), together in groupby(frames, lambda f: (f.time, f.is_snapshot_end)):
            if time // GROUP_US != second:
                if group:
                    yield group
                group, second = [], time // GROUP_US
            if is_end:
                yield [*group, SnapshotEnd(time)]
                group = []
                continue
            rows = self._rows(together)
            updates = book.apply_all(rows, time, seq, aside=beside.take)
            seq += sum(1 for _ in one_by_one(updates))
            group += [*beside.news(time), *updates]
        if group:
            yield group
        self.counters["refused_rows"] = sum(book.refused.values())

    def _rows(self, frames: Iterable[Frame]) -> Rows:
        """The data of lines that came at the same time."""
        rows = Rows(b"".join(frame.line + b"\n" for frame in frames))
        self.counters["rows"] += len(rows)
        malformed = sum(1 for control in rows.controls if isinstance(control, Malformed))
        self.counters["malformed_lines"] += malformed
        return rows
