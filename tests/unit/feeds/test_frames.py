"""Recordings of raw frames: written as they come, read as they were, whatever was cut off."""

from __future__ import annotations

import gzip
import logging
from pathlib import Path

import pytest
from fakes import make_session

from common.errors import InputError
from common.feeds.frames import (
    Frame,
    FrameWriter,
    Recorder,
    is_frames,
    read_frames,
    read_session,
)
from common.feeds.playback import RecordingFeed

LINES = [b'{"Symbol":"SPY","Bid":"1"}', b'{"a":"b c @ !"}', "{'x':'ü'}".encode(), b"@ 1 x"]


class Seconds:
    """A clock that moves when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def write(path: Path) -> FrameWriter:
    writer = FrameWriter(path, make_session())
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
    assert read_session(path) == make_session()
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
    writer = FrameWriter(path, make_session(), monotonic=clock)
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


@pytest.mark.parametrize("content", [b"", b"nothing", gzip.compress(b"x\n"), b"\x1f\x8b\x08"])
def test_what_is_no_recording(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert not is_frames(path)
    with pytest.raises(InputError, match="no readable recording"):
        read_session(path)


def test_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "day.frames.gz"
    write(path).close()
    text = gzip.decompress(path.read_bytes()).replace(b'"version":1', b'"version":2')
    path.write_bytes(gzip.compress(text))
    with pytest.raises(InputError, match="version 2, this build reads 1"):
        read_session(path)


def test_a_recording_of_another_symbol_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "day.frames.gz"
    write(path).close()
    RecordingFeed([path], "SPY").check()
    with pytest.raises(InputError, match="the name says SPY, not QQQ"):
        RecordingFeed([path], "QQQ").check()


def test_no_recording_is_written_over(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "new" / "folder")
    names = [recorder.open(make_session()).path.name for _ in range(3)]
    day = make_session().trading_date
    assert names == [f"SPY_{day}.frames.gz", f"SPY_{day}_2.frames.gz", f"SPY_{day}_3.frames.gz"]
    for writer in recorder.writers:
        writer.close()
    with pytest.raises(InputError, match="cannot be written"):
        FrameWriter(recorder.writers[0].path, make_session())
