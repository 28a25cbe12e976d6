"""Two real beats: one asks, the other waits its turn, and every level is asked for once."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from flow import wait_for_more
from harness import BIN, Platform, environment, platform, wait_until

LEVELS = 4
WAITS = "this one waits"
ASKS = "this beat asks for the levels now"


def second_beat(running: Platform, output: Path) -> subprocess.Popen[bytes]:
    """Another one, as somebody starts it by hand."""
    with output.open("wb") as file:
        return subprocess.Popen(
            [str(BIN / "celery"), *"-A workers.tasks beat --pidfile= --loglevel=WARNING".split()],
            env=environment(running.state, **running.settings),
            stdout=file,
            stderr=file,
            cwd=running.state,
        )


def check_each_level_once(running: Platform) -> None:
    """The recorded levels are a grid: none twice, none older than the one before it."""
    with running.redis().pipeline(transaction=True) as pipe:
        pipe.xrange("levels:SPY")
        pipe.hget("counters:SPY", "levels_published")
        recorded, published = pipe.execute()
    instants = [int(fields["at"]) for _, fields in recorded]
    assert len(instants) >= 3 * LEVELS
    assert instants == sorted(set(instants))
    assert int(published) == len(instants)


def test_a_second_beat_waits_and_succeeds_the_first() -> None:
    with platform(
        settings={"expirations": "1", "lease_seconds": "3", "keep_seconds": "600"}
    ) as running:
        running.levels()
        output = running.state / "second.out"
        second = second_beat(running, output)
        try:
            wait_until(lambda: WAITS in output.read_text(), seconds=30, what="the second to wait")
            wait_for_more(running, "levels_published", LEVELS)
            assert ASKS not in output.read_text()
            first = running.pid_of("beat")
            os.kill(first, signal.SIGSTOP)  # it neither asks nor lets go
            try:
                wait_until(lambda: ASKS in output.read_text(), seconds=30, what="a succession")
                wait_for_more(running, "levels_published", LEVELS)
            finally:
                os.kill(first, signal.SIGCONT)
            wait_for_more(running, "levels_published", LEVELS)
            assert second.poll() is None
            second.send_signal(signal.SIGTERM)
            assert second.wait(30) == 0
            wait_for_more(running, "levels_published", LEVELS)  # the first again, at once
        finally:
            second.kill()
            second.wait(30)
        check_each_level_once(running)
