"""Faults that happen by themselves: to `gex simulator`, and under `gex up`."""

from __future__ import annotations

from pathlib import Path

import httpx
from harness import gex, platform, wait_until
from simulated import simulator

from common.servers.instance import Instance
from common.settings import load_settings

_SCHEDULE = """
[[fault]]
name = "go_away"
at = "+0.5s"
every = "1s"
form = "error"

[[fault]]
name = "stall"
at = "11:00:02"
seconds = 1
"""


def test_what_a_schedule_lets_happen_is_on_record(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text(_SCHEDULE)
    with simulator("--start", "2026-11-20T11:00", "--faults", str(path)) as served:
        state = served.wait_for(
            lambda s: s["faults_begun"] >= 4 and not s["faults_active"], seconds=20, what="faults"
        )
        stall = next(each for each in state["faults"] if each["name"] == "stall")
        assert "2026-11-20T16:00:02.000Z" <= stall["began_at"] < "2026-11-20T16:00:02.9"
        assert "2026-11-20T16:00:03.000Z" <= stall["ended_at"] < "2026-11-20T16:00:03.9"
        assert {each["cause"] for each in state["faults"]} == {"schedule"}
        farewell = next(each for each in state["faults"] if each["name"] == "go_away")
        assert farewell["arguments"] == {"path": "", "form": "error"}
        described = served.client.get("/_simulator/faults").json()["faults"]
        assert {"stall", "go_away"} < {each["name"] for each in described}


def test_the_platforms_own_simulator_takes_a_schedule(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text(_SCHEDULE)
    settings = {"simulator_faults": str(path), "expirations": "1"}
    with platform("--no-dashboard", settings=settings) as running:
        running.levels()
        wait_until(
            lambda: running.counters().get("feed_go_aways", 0) >= 4, seconds=60, what="farewells"
        )
        url = Instance(load_settings(state_dir=running.state)).simulator_url()
        state = httpx.get(f"{url}/_simulator/state").json()
        assert state["faults_begun"] >= 2


def test_a_schedule_that_cannot_be_ends_the_start_with_one_line(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text(_SCHEDULE + '\n[[fault]]\nname = "stall"\nat = "+1s"\nsecond = 1\n')
    for command in ("up", "simulator"):
        result = gex(tmp_path, command, settings={"simulator_faults": str(path)})
        assert result.returncode == 2
        (line,) = result.stderr.splitlines()
        assert line.endswith("fault 3 (stall): there is no argument 'second'")
        assert str(path) in line
