"""A recorder killed in the middle of a session, and what its files are good for."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from harness import GEX, environment, gex, platform, state_folder, wait_until
from simulated import simulator
from test_tradestation import login

from common.clock import SECOND, wall_us
from common.feeds.frames import FLUSH_SECONDS, read_frames, read_header

SYNC_SECONDS = 1.0
"""Between two steps of the simulator and for a chunk to be written, at the most."""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Path], int]]:
    """The files of a recorder that was killed, and when [us, wall time]."""
    folder, state = tmp_path_factory.mktemp("recorded"), state_folder()
    with simulator() as served:
        settings = {**login(served), "expirations": "2", "record_rotate_mb": "0.15"}
        process = subprocess.Popen(
            [GEX, "record", "--out", str(folder)],
            env=environment(state, **settings),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=state,
        )
        try:
            wait_until(
                lambda: len(list(folder.iterdir())) >= 3, seconds=90, what="three parts of it"
            )
            began = time.monotonic()
            wait_until(lambda: time.monotonic() - began > 2.5, seconds=5, what="some more of it")
        finally:
            process.send_signal(signal.SIGKILL)
            at = wall_us()
            process.wait(30)
        yield sorted(folder.iterdir()), at
        shutil.rmtree(state, ignore_errors=True)


def test_a_killed_recorder_loses_at_most_its_last_flush(killed: tuple[list[Path], int]) -> None:
    paths, at = killed
    headers = [read_header(path) for path in paths]
    assert [header.part for header in headers] == list(range(1, len(paths) + 1))
    frames = list(chain.from_iterable(map(read_frames, paths)))
    times = [frame.time for frame in frames]
    assert times == sorted(times)
    assert sum(frame.is_snapshot_end for frame in frames) == 1
    lost = (at - headers[0].session.clock.wall(times[-1])) / SECOND
    assert 0.0 <= lost <= FLUSH_SECONDS + SYNC_SECONDS


def test_levels_of_its_files_are_the_same_at_any_speed_with_any_number_of_workers(
    killed: tuple[list[Path], int],
) -> None:
    paths, _ = killed
    recording = ":".join(map(str, paths))
    levels = []
    for speed, workers in (("max", "1"), ("max", "3"), ("4", "3")):
        settings = {
            "feed": "recording",
            "recording": recording,
            "speed": speed,
            "greeks_workers": workers,
            "replay_tick_seconds": "1",
        }
        with platform("--no-dashboard", settings=settings) as running:
            assert running.wait_for_end()["feed"] == "recording"
            with running.database() as connection:
                rows = connection.execute(
                    "SELECT (result - 'published_at' - 'watermark')::text AS level"
                    " FROM gex.levels ORDER BY time"
                ).fetchall()
        levels.append([row["level"] for row in rows])
    assert len(levels[0]) >= 5
    assert levels[0] == levels[1] == levels[2]


def test_a_part_without_those_before_it_is_refused(
    killed: tuple[list[Path], int], tmp_path: Path
) -> None:
    paths, _ = killed
    refused = gex(tmp_path, "replay", str(paths[1]), str(paths[2]))
    assert refused.returncode != 0
    assert "is part 2 of a recording; name all its parts in order" in refused.stderr
