"""Recorded chain series: a CSV of snapshots of one symbol, read whole or replayed.

Owns that CSV's layout and its replay as a feed; must not pace the replay. ``quote_ts`` (New
York) is the market time; ``fetched_at_et`` only tells fetches of a frozen feed apart.
"""

from __future__ import annotations

import csv
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from io import StringIO
from itertools import pairwise
from pathlib import Path
from statistics import median

from common.clock import SECOND, new_york_date, parse_instant, session_hours
from common.errors import InputError, UsageError
from common.feeds.snapshot import VENDOR_COLUMNS, FileSnapshot, SnapshotRows, number, right_of
from common.feeds.snapshot_updates import Contract, snapshot_updates
from common.feeds.source import SourceFile, read_source
from common.models import (
    Expiry,
    Session,
    SnapshotEnd,
    Update,
)

REQUIRED = ("quote_ts", "spot", "expiry", "type", "strike", "bid", "ask", "volume", "open_interest")
"""Columns without which there are no levels."""
_DEFAULT_CADENCE_US = 300 * SECOND
_NAME = re.compile(r"([A-Za-z]{1,6})_0dte_")


@dataclass(slots=True)
class Fetch:
    """Consecutive rows that one fetch of the recorder wrote."""

    time: int
    """Market time [us]."""
    mark: str
    rows: list[list[str]] = field(default_factory=list)
    unnamed: int = 0


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded series in memory."""

    symbol: str
    columns: dict[str, int]
    fetches: list[Fetch]
    """By market time; a frozen feed repeats one."""

    def snapshots(self) -> Iterator[FileSnapshot]:
        """One snapshot per market time; of a repeated one the last fetch."""
        for at, fetch in enumerate(self.fetches):
            if at + 1 == len(self.fetches) or self.fetches[at + 1].time != fetch.time:
                yield self.snapshot(fetch)

    def snapshot(self, fetch: Fetch) -> FileSnapshot:
        """The chain of one fetch."""
        rows, spot = SnapshotRows(unnamed=fetch.unnamed), float("nan")
        vendor = [self.columns[name] for name in VENDOR_COLUMNS if name in self.columns]
        vendor = vendor if len(vendor) == len(VENDOR_COLUMNS) else []
        for row in fetch.rows:
            price = number(self._cell(row, "spot"))
            spot = price if price > 0.0 and not spot > 0.0 else spot
            rows.add(
                expiry=_expiry(self._cell(row, "expiry")),
                strike=self._cell(row, "strike"),
                right=right_of(self._cell(row, "type")) or "",
                quote=[self._cell(row, name) for name in ("bid", "ask", "last_trade_price")],
                counts=[
                    self._cell(row, name)
                    for name in ("bid_size", "ask_size", "volume", "open_interest")
                ],
                vendor=[row[at] if at < len(row) else "" for at in vendor],
            )
        return rows.build(symbol=self.symbol, as_of=fetch.time, spot=spot)

    def _cell(self, row: list[str], name: str) -> str:
        at = self.columns.get(name, -1)
        return row[at] if 0 <= at < len(row) else ""


def looks_recorded(header: str) -> bool:
    """Whether a CSV header is that of a recorded series, complete or not."""
    names = {name.strip() for name in header.split(",")}
    return len(names & {*REQUIRED, "fetched_at_et", *VENDOR_COLUMNS}) >= len(REQUIRED) // 2 + 1


def read_recording(source: SourceFile, *, symbol: str | None) -> Recording:
    """The series of a file for which :func:`looks_recorded` holds.

    :raises InputError: when a column is missing or the symbol is not known.
    """
    reader = csv.reader(StringIO(source.text().lstrip(), newline=""))
    header = [name.strip() for name in next(reader, [])]
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise InputError(f"{source.path}: column {', '.join(missing)} is missing")
    named = _NAME.match(source.name)
    symbol = symbol or (named.group(1) if named else None)
    if symbol is None:
        raise InputError(f"{source.path}: the file names no symbol; give --symbol")
    columns = {name: at for at, name in enumerate(header)}
    try:
        fetches = _fetches(reader, columns)
    except csv.Error as error:
        raise InputError(f"{source.path}: broken CSV, {error}") from error
    if not fetches:
        raise InputError(f"{source.path}: holds no snapshot")
    return Recording(symbol.upper(), columns, fetches)


def _fetches(reader: Iterator[list[str]], columns: dict[str, int]) -> list[Fetch]:
    """Fetches in order of market time; rows without one are counted with their neighbours."""
    when, fetched = columns["quote_ts"], columns.get("fetched_at_et")
    fetches: list[Fetch] = []
    astray = 0
    for row in reader:
        if not row:
            continue
        text = row[when] if when < len(row) else ""
        mark = f"{row[fetched] if fetched is not None and fetched < len(row) else ''}|{text}"
        if not fetches or fetches[-1].mark != mark:
            time = _time(text)
            if time is None:
                astray += 1
                continue
            fetches.append(Fetch(time, mark, unnamed=astray))
            astray = 0
        fetches[-1].rows.append(row)
    if fetches:
        fetches[-1].unnamed += astray
    return sorted(fetches, key=lambda fetch: fetch.time)


def _time(text: str) -> int | None:
    try:
        return parse_instant(text)
    except UsageError:
        return None


def _expiry(text: str) -> Expiry | None:
    try:
        return Expiry(date.fromisoformat(text.strip()))
    except ValueError:
        return None


def load_recording(path: Path, *, symbol: str | None) -> tuple[SourceFile, Recording]:
    """Read a file that has to be a recorded series.

    :param symbol: the underlying it is played under.
    :raises InputError: when it is none, is damaged, or its name says another symbol.
    """
    source = read_source(path)
    if not looks_recorded(source.text().lstrip().partition("\n")[0]):
        raise InputError(
            f"{path}: is no recorded series (CSV with quote_ts, spot, ...) and no file of "
            "`gex record`"
        )
    named = _NAME.match(source.name)
    if symbol and named and named.group(1).upper() != symbol.upper():
        raise other_symbol(path, named.group(1).upper(), symbol)
    return source, read_recording(source, symbol=symbol)


def other_symbol(path: Path, found: str, wanted: str) -> InputError:
    """The error of a recording that is of another symbol than it is to be played under."""
    return InputError(f"{path}: the name says {found}, not {wanted}; give --symbols {found}")


def recorded_sessions(source: SourceFile, recording: Recording) -> Iterator[RecordedSession]:
    """One session for each date of a series, in order of first appearance."""
    days: dict[date, list[Fetch]] = {}
    for fetch in recording.fetches:
        days.setdefault(new_york_date(fetch.time), []).append(fetch)
    for day, fetches in days.items():
        session = _session(source, recording.symbol, day, fetches)
        yield RecordedSession(session, recording, fetches)


@dataclass(frozen=True, slots=True)
class RecordedSession:
    """One date of one file."""

    session: Session
    recording: Recording
    fetches: list[Fetch]
    counters: Mapping[str, int] = field(default_factory=dict)

    async def frames(self) -> AsyncIterator[list[Update]]:
        """A frame per market time: spot, every contract, what is no longer listed, the end.

        All fetches of a frozen feed are in its frame, each with numbers of its own.
        """
        frame: list[Update] = []
        held: dict[Contract, None] = {}
        seq = 0
        for at, fetch in enumerate(self.fetches):
            updates, held = snapshot_updates(self.recording.snapshot(fetch), held, seq)
            seq += len(updates)
            frame += updates
            if at + 1 == len(self.fetches) or self.fetches[at + 1].time != fetch.time:
                yield [*frame, SnapshotEnd(fetch.time)]
                frame = []


def _session(source: SourceFile, symbol: str, day: date, fetches: list[Fetch]) -> Session:
    times = sorted({fetch.time for fetch in fetches})
    steps = [later - earlier for earlier, later in pairwise(times)]
    cadence = median(steps) if steps else _DEFAULT_CADENCE_US
    try:
        opened, closed = session_hours(day)
    except ValueError as error:
        raise InputError(f"{source.path}: {error}") from error
    return Session(
        key=f"{symbol}:{day.isoformat()}:recording:{source.digest[:12]}",
        symbol=symbol,
        feed="recording",
        trading_date=day,
        open_us=opened,
        close_us=closed,
        stale_after_us=round(3 * cadence),
        replay=True,
        resume=False,
        source=str(source.path),
    )
