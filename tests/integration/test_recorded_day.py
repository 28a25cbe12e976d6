"""A recorded day through the whole pipeline, and what every reader then sees of it."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Platform, gex, platform

pytestmark = pytest.mark.data
RUN_FIELDS = {"published_at", "watermark", "software", "age_seconds"}


@pytest.fixture(scope="module")
def played(recording: Path) -> Iterator[Platform]:
    """The platform after a day was played to its end."""
    arguments = ["--feed", "recording", "--recording", str(recording), "--speed", "max"]
    with platform(*arguments) as running:
        running.wait_for_end()
        yield running


@pytest.fixture(scope="module")
def latest(played: Platform) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(played.redis().get("gex:SPY:latest"))
    return found


def test_plain_redis_cli_reads_the_levels(played: Platform, latest: dict[str, Any]) -> None:
    port = played.status()["redis_url"].rsplit(":", 1)[1].split("/")[0]
    result = subprocess.run(
        ["redis-cli", "-p", port, "HGETALL", "gex:SPY:levels"],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = result.stdout.splitlines()
    fields = dict(zip(lines[::2], lines[1::2], strict=True))
    assert fields["state"] == "ended"
    assert float(fields["net_gex"]) == latest["levels"]["net_gex"]
    assert float(fields["zero_gamma"]) == latest["levels"]["zero_gamma"]
    assert float(fields["call_wall"]) == latest["levels"]["call_wall"]
    assert fields["as_of"] == latest["as_of"]


def test_plain_redis_cli_cannot_write(played: Platform) -> None:
    port = played.status()["redis_url"].rsplit(":", 1)[1].split("/")[0]
    result = subprocess.run(
        ["redis-cli", "-p", port, "SET", "gex:SPY:latest", "{}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "NOPERM" in result.stdout + result.stderr


def test_gex_levels_says_the_same(played: Platform, latest: dict[str, Any]) -> None:
    shown = json.loads(gex(played.state, "levels", "SPY", "--json").stdout)
    assert shown["age_seconds"] >= 0
    assert {k: v for k, v in shown.items() if k != "age_seconds"} == latest


def test_the_database_says_the_same(played: Platform, latest: dict[str, Any]) -> None:
    with played.database() as connection:
        row = connection.execute(
            "SELECT * FROM gex.levels WHERE symbol = 'SPY' ORDER BY time DESC LIMIT 1"
        ).fetchone()
    assert row is not None
    for name in ("net_gex", "net_gex_0dte", "zero_gamma", "call_wall", "put_wall", "regime"):
        assert row[name] == latest["levels"][name], name
    assert row["state"] == "ended"
    assert row["watermark"] == latest["watermark"]
    assert row["result"] == {k: v for k, v in latest.items() if k != "strikes"}


def test_compute_of_the_same_snapshot_agrees(
    played: Platform, latest: dict[str, Any], recording: Path
) -> None:
    result = gex(played.state, "compute", str(recording), "--json")
    assert result.returncode == 0, result.stderr
    computed = json.loads(result.stdout)
    shared = {name: latest[name] for name in computed if name in latest}
    assert set(computed) == set(shared)
    assert shared["quality"]["coverage_flow"] > 0.0  # a snapshot alone holds no trades
    for each in (computed, shared):
        del each["quality"]["coverage_flow"], each["levels"]["net_gex_by_sign"]["flow"]
    assert computed == shared


def test_every_snapshot_has_a_level_that_compute_confirms(
    played: Platform, recording: Path
) -> None:
    with played.database() as connection:
        rows = connection.execute(
            "SELECT time, result FROM gex.levels WHERE symbol = 'SPY' ORDER BY time"
        ).fetchall()
    assert len(rows) > 400
    sample = rows[len(rows) // 2]
    result = gex(
        played.state, "compute", str(recording), "--at", sample["time"].isoformat(), "--json"
    )
    computed = json.loads(result.stdout)
    stored = next(r for r in rows if r["result"]["as_of"] == computed["as_of"])["result"]
    for each in (computed, stored):  # a snapshot alone holds no trades
        del each["levels"]["net_gex_by_sign"]["flow"]
    for name, value in computed["levels"].items():
        if isinstance(value, float):
            assert math.isclose(value, stored["levels"][name], rel_tol=1e-12), name
        else:
            assert value == stored["levels"][name], name


def test_appended_is_processed_is_stored(played: Platform, recording: Path) -> None:
    counters = played.counters()
    with played.database() as connection:
        stored = connection.execute(
            "SELECT (SELECT count(*) FROM gex.quotes) AS quotes,"
            " (SELECT count(*) FROM gex.quotes WHERE NOT withdrawn) AS listed,"
            " (SELECT count(*) FROM gex.greeks) AS greeks,"
            " (SELECT count(*) FROM gex.levels) AS levels"
        ).fetchone()
    assert stored is not None
    assert counters["quotes_appended"] == counters["quotes_processed"] == stored["quotes"]
    assert counters["quotes_stored"] == stored["quotes"]
    assert counters["quotes_late"] == counters["quotes_known"] == 0
    assert stored["listed"] == 11708  # rows of the file
    assert counters["levels_published"] == counters["levels_stored"] == stored["levels"]
    assert counters["invariant_breaches"] == 0


def test_the_profile_is_shown(played: Platform) -> None:
    result = gex(played.state, "profile", "SPY")
    assert result.returncode == 0, result.stderr
    assert "call wall" in result.stdout
    found = json.loads(gex(played.state, "profile", "SPY", "--json").stdout)
    assert found["state"] == "ended"
    assert len(found["strikes"]) > 60


def test_exit_at_end_ends_by_itself_and_leaves_nothing(recording: Path) -> None:
    arguments = ["--feed", "recording", "--recording", str(recording), "--exit-at-end"]
    with platform(*arguments) as running:
        assert running.process.wait(180) == 0, running.said
        assert running.members() == []
        assert "ended" in running.said
