"""Programs that are alive and do nothing are found by what they do not do, and restarted."""

from __future__ import annotations

import json
import os
import signal

from harness import gex, platform, wait_until


def test_what_stands_still_is_restarted_and_levels_go_on() -> None:
    settings = {"tick_seconds": "0.25", "watchdog_seconds": "6", "lease_seconds": "60"}
    with platform("--no-dashboard", settings=settings) as running:
        running.levels()
        client = running.redis()
        frozen = {name: running.pid_of(name) for name in ("celery", "greeks-0")}
        for name in ("greeks-0", "celery"):
            os.kill(frozen[name], signal.SIGSTOP)
            wait_until(
                lambda n=name: running.pid_of(n) != frozen[n],  # type: ignore[misc]
                seconds=60,
                what=f"another {name}",
            )
            counter = f"watchdog_{name}"
            assert int(client.hget("counters:SPY", counter) or 0) >= 1
            seen = client.hget("gex:SPY:levels", "newest_quote_at")
            wait_until(
                lambda before=seen: (
                    client.hget("gex:SPY:levels", "newest_quote_at")  # type: ignore[misc]
                    not in (None, before)
                ),
                seconds=30,
                what="levels of newer quotes",
            )
        programs = json.loads(gex(running.state, "status", "--json").stdout)["programs"]
        restarts = {row["name"]: row.get("restarts") for row in programs}
        assert restarts["greeks-0"] >= 1
        assert restarts["celery"] >= 1
        assert restarts["store"] == 0
