"""The example of docs/actors.md, as a user would add it: one handler, one line."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from harness import ROOT, Platform, gex, platform, state_folder, wait_until

GUIDE = (ROOT / "docs" / "actors.md").read_text(encoding="utf-8")
SETTINGS = {"expirations": "2", "tick_seconds": "0.5", "watchdog_seconds": "6"}
PROGRAM = "spreads"


def example(language: str) -> str:
    """The one block of the guide in a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    return str(found)


@contextmanager
def with_the_example() -> Iterator[Platform]:
    """A platform that was given it."""
    folder = state_folder()
    programs = folder / "programs"
    programs.mkdir()
    (folder / "spreads.py").write_text(example("python"), encoding="utf-8")
    (programs / "spreads.conf").write_text(example("ini"), encoding="utf-8")
    (programs / "typo.conf").write_text(
        "[program:typo]\ncommand=gex worker run spreads:Spraeds\nredirect_stderr=true\n"
        "stdout_logfile=%(ENV_GEX_LOG_DIR)s/typo.log\n",
        encoding="utf-8",
    )
    with platform("--no-dashboard", state=folder, settings=SETTINGS) as running:
        running.levels()
        yield running


def test_the_example_of_the_guide_misses_nothing_and_may_leave() -> None:
    with with_the_example() as running:
        client = running.redis()
        actor = wait_until(lambda: said(running), seconds=60, what="a sign of life")
        assert actor["restarts"] == 0

        stream = sorted(client.smembers("registry:streams"))[-1]
        assert stream.startswith("quotes:SPY:")
        client.xadd(stream, {"h": "rubbish"})
        letters = wait_until(lambda: buried(running), seconds=30, what="a dead letter")
        assert [(each["group"], each["stream"]) for each in letters] == [(PROGRAM, stream)]
        assert letters[0]["reason"].startswith("MalformedEntryError")

        for number in (1, 2):
            seen = counter(client, "spreads_seen")
            os.kill(running.pid_of(PROGRAM), signal.SIGKILL)
            wait_until(
                lambda before=seen: counter(client, "spreads_seen") > before,  # type: ignore[misc]
                seconds=60,
                what="more after a kill",
            )
            restarted(running, number)
        os.kill(running.pid_of(PROGRAM), signal.SIGSTOP)
        restarted(running, 3)
        assert counter(client, f"watchdog_{PROGRAM}") >= 1
        wait_until(lambda: "typo does not run" in running.said, seconds=60, what="its failure")
        assert "names no handler: module 'spreads' has no attribute 'Spraeds'" in running.said

        running.control("stop", "ingest")
        wait_until(lambda: at_rest(running), seconds=60, what="everything read and stored")
        session = json.loads(client.get("session:SPY"))
        found = dict(client.zrange(f"spreads:{session['key']}", 0, -1, withscores=True))
        with running.database() as database:
            rows = database.execute(
                "SELECT expiration, count(*) AS quotes, max(ask - bid) AS widest FROM gex.quotes "
                "WHERE bid > 0 GROUP BY expiration"
            ).fetchall()
        assert len(rows) == 2
        assert {str(row["expiration"]): round(float(row["widest"]), 6) for row in rows} == {
            shard: round(width, 6) for shard, width in found.items()
        }
        assert counter(client, "spreads_seen") == sum(row["quotes"] for row in rows)

        refused = gex(running.state, "worker", "forget", PROGRAM)
        assert refused.returncode == 2
        assert "stop it first" in refused.stderr
        running.control("stop", PROGRAM)
        forgotten = gex(running.state, "worker", "forget", PROGRAM)
        assert forgotten.returncode == 0, forgotten.stderr
        assert {
            group["group"] for row in running.status()["streams"] for group in row["groups"]
        } == {
            "greeks",
            "store",
        }


def test_a_program_that_supervisord_cannot_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "programs").mkdir()
    for text, words in {
        "[program:mine]\nnothing=1\n": "program:mine",
        "[program:mine\n": "mine.conf",
    }.items():
        (tmp_path / "programs" / "mine.conf").write_text(text, encoding="utf-8")
        result = gex(tmp_path, "up", "--for", "1")
        assert result.returncode == 1
        assert words in result.stderr
        assert "For help" not in result.stderr


def test_what_is_no_handler_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "class Nothing:\n    def __init__(self, context): ...\n"
        "class Thief(Nothing):\n    group, exclusive = 'store', False\n"
        "    streams = handle = maintain = rest = close = None\n"
        "number = 3\n",
        encoding="utf-8",
    )
    for target, words in {
        "mine:Nothing": "it has no group, exclusive, streams",
        "mine:Thief": "the platform's own",
        "mine:number": "no class",
        "mine:Other": "docs/actors.md",
        "nowhere:Other": "No module named 'nowhere'",
        "mine": "no class",
    }.items():
        result = gex(tmp_path, "worker", "run", target)
        assert result.returncode == 2, result.stderr
        assert words in result.stderr
    assert "no level" in gex(tmp_path, "worker", "forget", "greeks").stderr


def said(running: Platform) -> dict[str, Any] | None:
    """What `gex status` tells of the example."""
    rows = running.status()["actors"]
    return next((row for row in rows if row["group"] == PROGRAM), None)


def buried(running: Platform) -> list[dict[str, Any]]:
    """Its dead letters."""
    result = gex(running.state, "dead", "list", "--group", PROGRAM, "--json")
    return list(json.loads(result.stdout)) if result.returncode == 0 else []


def restarted(running: Platform, times: int) -> None:
    """Wait until it has said something after so many restarts."""

    def ask() -> bool:
        actor = said(running)
        return actor is not None and actor["restarts"] == times

    wait_until(ask, seconds=60, what=f"restart {times}")


def counter(client: redis.Redis, name: str) -> int:
    """A counter of the symbol."""
    return int(client.hget("counters:SPY", name) or 0)


def at_rest(running: Platform) -> bool:
    """Whether no group has anything before it but levels, which go on."""
    return not any(
        group["lag"] or group["pending"]
        for row in running.status()["streams"]
        if not row["stream"].startswith("levels:")
        for group in row["groups"]
    )
