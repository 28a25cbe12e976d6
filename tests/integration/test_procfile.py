"""The Procfile runs the platform as well as supervisord does."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess

import redis
from harness import BIN, ROOT, environment, gex, state_folder, wait_until


def test_honcho_runs_the_procfile_to_live_levels() -> None:
    state = state_folder()
    output = state / "honcho.out"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [str(BIN / "honcho"), "start", "-f", str(ROOT / "Procfile")],
            env=environment(state),
            stdout=file,
            stderr=file,
            cwd=state,
        )
    try:

        def live() -> bool:
            assert process.poll() is None, output.read_text()
            found = json.loads(gex(state, "status", "--json").stdout or "{}")
            return found.get("symbols", {}).get("SPY", {}).get("state") == "live"

        wait_until(live, seconds=90, what=f"live levels; said:\n{output.read_text()}")
        url = json.loads(gex(state, "status", "--json").stdout)["redis_url"]
        assert redis.Redis.from_url(url).ping()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        shutil.rmtree(state, ignore_errors=True)
