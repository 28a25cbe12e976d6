"""Redis at its memory bound: what the database does not take is spooled, quotes are conflated,
and nothing ends; all of it is counted, and all of it passes."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import redis
from flow import check_nothing_lost, counted, wait_for_more
from harness import Platform, gex, platform, wait_until

BOUND_MB = 24
PATIENCE = 10
"""After which what stands still is restarted [s]."""


def findings(running: Platform) -> dict[str, dict[str, Any]]:
    """What `gex doctor` says, by check."""
    said = gex(running.state, "doctor", "--json", settings=running.settings)
    return {each["check"]: each for each in json.loads(said.stdout)["findings"]}


def restarts(running: Platform) -> dict[str, int]:
    return {row["name"]: row["restarts"] for row in running.status()["programs"]}


def spooled(running: Platform) -> int:
    return sum(row["entries"] for row in running.status()["spools"])


def tighten(client: redis.Redis, share: float) -> None:
    """Set the bound so that what is used is this share of it."""
    info: Any = client.info("memory")
    client.config_set("maxmemory", int(info["used_memory"] / share))


def test_an_absent_database_is_spooled_for_and_gets_everything_in_the_end() -> None:
    settings = {
        "expirations": "2",
        "redis_maxmemory_mb": str(BOUND_MB),
        "spool_share": "0.25",
    }
    with platform(settings=settings) as running:
        running.levels()
        wait_for_more(running, "quotes_stored", 1)  # the schema is there
        running.control("stop", "postgres")
        client = running.redis()
        wait_until(
            lambda: int(client.hget("spool:store-0", "entries") or 0),
            seconds=90,
            what="spooled entries",
        )
        assert "wait for the database" in findings(running)["spool"]["detail"]
        os.kill(running.pid_of("store"), signal.SIGKILL)
        wait_for_more(running, "levels_published", 5)
        wait_for_more(running, "entries_spooled", 20)
        info: Any = client.info("memory")
        assert info["used_memory"] < 0.6 * info["maxmemory"]
        assert running.levels()["state"] == "live"
        running.control("start", "postgres")
        wait_until(lambda: not spooled(running), seconds=60, what="the spool to be loaded")
        counters = check_nothing_lost(running)
        assert counters["entries_unspooled"] == counters["entries_spooled"] > 20
        assert findings(running)["spool"]["ok"]


def test_a_full_redis_degrades_in_order_and_recovers() -> None:
    with platform(settings={"expirations": "2", "watchdog_seconds": str(PATIENCE)}) as running:
        running.levels()
        client = running.redis()
        for _ in range(50):  # so that a few per cent are some megabytes
            client.rpush("foreign", "x" * 2**20)
        assert running.levels()["conflated"] == "false"
        tighten(client, 0.85)
        wait_until(lambda: running.levels()["conflated"] == "true", seconds=20, what="a flag")
        latest = json.loads(client.get("gex:SPY:latest"))
        assert latest["quality"]["conflated"] is True
        wait_for_more(running, "quotes_conflated_ingest", 10)
        assert "newest quote" in findings(running)["redis memory"]["detail"]
        wait_for_more(running, "quotes_appended", 10)

        tighten(client, 0.92)
        wait_until(lambda: said(running, "nothing is appended"), seconds=20, what="a hold")
        before = counted(running, "quotes_appended")
        wait_for_more(running, "levels_published", 3)
        assert counted(running, "quotes_appended") == before

        alive = {name: row["pid"] for name, row in programs(running).items()}
        os.kill(alive["celery"], signal.SIGSTOP)
        broker = redis.Redis.from_url(running.status()["broker_url"])
        wait_until(lambda: broker.llen("gex"), seconds=20, what="a tick that waits")
        tighten(client, 1.05)
        os.kill(alive["celery"], signal.SIGCONT)  # to a broker that takes nothing in
        assert findings(running)["redis memory"]["detail"].endswith("nothing more is taken in")
        (lease, *_) = client.keys("lease:SPY:*")
        renewed = int(client.hget(lease, "until")) + 1000 * (PATIENCE + 3)
        wait_until(
            lambda: int(client.hget(lease, "until")) > renewed, seconds=60, what="a lease renewed"
        )
        tighten(client, 0.3)
        wait_until(lambda: running.levels()["conflated"] == "false", seconds=30, what="no flag")
        wait_for_more(running, "quotes_appended", 100)
        assert {name: row["pid"] for name, row in programs(running).items()} == alive
        assert not any(restarts(running).values())
        counters = check_nothing_lost(running)
        assert counters["conflations"] == 1


def programs(running: Platform) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in running.status()["programs"]}


def said(running: Platform, text: str) -> bool:
    return text in (running.state / "logs" / "ingest.log").read_text(encoding="utf-8")
