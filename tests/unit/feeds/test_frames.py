"""Recordings of raw frames: written as they come, read as they were, whatever was cut off."""

from __future__ import annotations

import asyncio
import gzip
import logging
from pathlib import Path

import pytest
from fakes import make_session

from common.errors import InputError
from common.feeds.frames import (
    Frame,
    FrameWriter,
    Header,
    Recorder,
    Rotation,
    is_frames,
    read_frames,
    read_header,
)
from common.feeds.playback import RecordingFeed

LINES = [b'{"Symbol":"SPY","Bid":"1"}', b'{"a":"b c @ !"}', "{'x':'ü'}".encode(), b"@ 1 x"]


class Seconds:
    """A clock that moves when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def write(path: Path) -> FrameWriter:
    writer = FrameWriter(path, Header(session=make_session()))
    writer.lines("quotes SPY", 5, LINES[:2])
    writer.lines("chain SPY 2026-08-19", 7, LINES[2:])
    writer.snapshot_end(7)
    writer.lines("quotes SPY", 9, LINES[:1])
    return writer


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "day.frames.gz"
    writer = write(path)
    writer.close()
    writer.close()
    assert is_frames(path)
    assert read_header(path).session == make_session()
    assert writer.count == 5
    assert list(read_frames(path)) == [
        Frame(5, "quotes SPY", LINES[0]),
        Frame(5, "quotes SPY", LINES[1]),
        Frame(7, "chain SPY 2026-08-19", LINES[2]),
        Frame(7, "chain SPY 2026-08-19", LINES[3]),
        Frame(7, "", b""),
        Frame(9, "quotes SPY", LINES[0]),
    ]


def test_a_killed_recorder_loses_what_it_had_not_flushed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Seconds()
    path = tmp_path / "day.frames.gz"
    writer = FrameWriter(path, Header(session=make_session()), monotonic=clock)
    for second in range(5):
        clock.now = float(second)
        writer.lines("quotes SPY", second, [LINES[0]])
    left_on_disk = path.read_bytes()  # no close: as after a kill
    writer.lines("quotes SPY", 99, [LINES[1]])
    (tmp_path / "killed.gz").write_bytes(left_on_disk)
    assert [frame.time for frame in read_frames(tmp_path / "killed.gz")] == [0, 1, 2, 3, 4]
    assert "ends abruptly" in caplog.text
    writer.close()


def test_a_file_cut_anywhere_gives_whole_lines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    path = tmp_path / "day.frames.gz"
    write(path).close()
    frames, data = list(read_frames(path)), path.read_bytes()
    lengths = set()
    for size in range(len(data) // 2, len(data)):
        path.write_bytes(data[:size])
        if not is_frames(path):
            continue
        found = list(read_frames(path))
        assert found == frames[: len(found)]
        lengths.add(len(found))
    assert len(frames) in lengths


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "day.frames.gz"
    write(path).close()
    text = gzip.decompress(path.read_bytes()).replace(b"7 1 ", b"7 8 ", 1)
    path.write_bytes(gzip.compress(text))
    with pytest.raises(InputError, match="line 6 is damaged"):
        list(read_frames(path))


@pytest.mark.parametrize(
    "content", [b"", b"nothing", gzip.compress(b"x\n", mtime=0), b"\x1f\x8b\x08"]
)
def test_what_is_no_recording(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert not is_frames(path)
    with pytest.raises(InputError, match="no readable recording"):
        read_header(path)


def test_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "day.frames.gz"
    write(path).close()
    text = gzip.decompress(path.read_bytes()).replace(b'"version":1', b'"version":2')
    path.write_bytes(gzip.compress(text))
    with pytest.raises(InputError, match="version 2, this build reads 1"):
        read_header(path)


def test_a_recording_of_another_symbol_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "day.frames.gz"
    write(path).close()
    RecordingFeed([path], "SPY").check()
    with pytest.raises(InputError, match="the name says SPY, not QQQ"):
        RecordingFeed([path], "QQQ").check()


def test_no_recording_is_written_over(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "new" / "folder")
    for _ in range(3):
        recorder.open(make_session())
    names = [writer.path.name for writer in recorder.writers]
    day = make_session().trading_date
    assert names == [f"SPY_{day}.frames.gz", f"SPY_{day}_2.frames.gz", f"SPY_{day}_3.frames.gz"]
    for writer in recorder.writers:
        writer.close()
    with pytest.raises(InputError, match="cannot be written"):
        FrameWriter(recorder.writers[0].path, Header(session=make_session()))


async def played(paths: list[Path]) -> list[list[list[object]]]:
    """The frames of every session that the files give."""
    return [
        [list(map(repr, frame)) async for frame in session.frames()]
        async for session in RecordingFeed(paths, "SPY").sessions()
    ]


def rotated(folder: Path, rotation: Rotation, clock: Seconds) -> list[Path]:
    """A recording of six seconds, a row and a price each."""
    recorder = Recorder(folder, rotation, monotonic=clock, wall=lambda: 5)
    tap = recorder.open(make_session())
    for second in range(6):
        clock.now += 1.0
        row = b'{"Legs":[{"Symbol":"SPY 260819C%d"}],"Bid":"1.%d"}' % (640 + second % 2, second)
        tap.lines("chain SPY 2026-08-19", second * 1_000_000, [row])
        tap.lines("quotes SPY", second * 1_000_000, [b'{"Symbol":"SPY","Last":"64%d"}' % second])
        if second == 1:
            tap.snapshot_end(second * 1_000_000)
    tap.close()
    return [writer.path for writer in recorder.writers]


def test_parts_of_a_recording_are_played_as_one(tmp_path: Path) -> None:
    whole = rotated(tmp_path / "whole", Rotation(), Seconds())
    parts = rotated(tmp_path / "parts", Rotation(seconds=2.0), Seconds())
    small = rotated(tmp_path / "small", Rotation(size=1), Seconds())
    stem = f"SPY_{make_session().trading_date}"
    assert [path.name for path in parts] == [
        f"{stem}.frames.gz",
        f"{stem}.part002.frames.gz",
        f"{stem}.part003.frames.gz",
        f"{stem}.part004.frames.gz",
    ]
    assert sorted(parts) == parts
    assert len(whole) == 1
    assert len(small) == 6
    sessions = asyncio.run(played(whole))
    assert len(sessions) == 1
    assert asyncio.run(played(parts)) == asyncio.run(played(small)) == sessions


def test_parts_that_were_cut_short_are_played_on(tmp_path: Path) -> None:
    parts = rotated(tmp_path, Rotation(size=1), Seconds())
    whole = asyncio.run(played(parts))
    for path in (parts[2], parts[5]):
        path.write_bytes(path.read_bytes()[:-9])  # the end of the last block, and its sum
    assert asyncio.run(played(parts)) == whole


def test_parts_of_other_recordings_are_other_sessions(tmp_path: Path) -> None:
    first = rotated(tmp_path, Rotation(seconds=2.0), Seconds())
    again = rotated(tmp_path, Rotation(), Seconds())
    assert again[0].name.endswith("_2.frames.gz")
    assert len(asyncio.run(played([*first, *again]))) == 2


@pytest.mark.parametrize("named", [[1, 2], [0, 2], [2, 1, 0]])
def test_parts_have_to_be_all_there_and_in_order(tmp_path: Path, named: list[int]) -> None:
    parts = rotated(tmp_path, Rotation(seconds=2.0), Seconds())
    with pytest.raises(InputError, match=r"is part \d of a recording; name all its parts in order"):
        RecordingFeed([parts[number] for number in named], "SPY").check()
