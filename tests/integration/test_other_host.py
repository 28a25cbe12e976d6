"""A Greeks worker of another host: it is given the address of Redis, and shares the work."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import redis
from flow import check_nothing_lost, wait_for_more
from harness import GEX, Servers, environment, platform, state_folder, wait_until

NAME = "elsewhere"
QUOTES = 500


def a_worker(folder: Path, redis_url: str) -> subprocess.Popen[bytes]:
    """As it is started there: no other setting, nothing of the instance within reach."""
    given = environment(folder, redis_url=redis_url)
    wanted = {"GEX_STATE_DIR", "GEX_REDIS_URL"}
    there = {
        name: value
        for name, value in given.items()
        if name in wanted or not name.startswith("GEX_")
    }
    with (folder / "worker.out").open("wb") as file:
        return subprocess.Popen(
            [GEX, "worker", "greeks", "--name", NAME],
            env=there,
            stdout=file,
            stderr=file,
            cwd=folder,
        )


def holders(client: redis.Redis) -> set[str]:
    """Who holds a shard now."""
    found = {client.hget(key, "name") for key in client.scan_iter("lease:SPY:*")}
    return {str(name) for name in found if name}


def test_a_worker_of_another_host_needs_the_address_of_redis_alone(own_servers: Servers) -> None:
    url = own_servers.redis_url.replace("/0", "/5")
    client = redis.Redis.from_url(url, decode_responses=True)
    client.flushdb()
    folder = state_folder()
    settings = {"redis_url": url, "expirations": "2"}
    try:
        with platform(settings=settings) as running:
            running.levels()
            worker = a_worker(folder, url)
            try:
                wait_until(
                    lambda: holders(client) == {"greeks-0", NAME},
                    seconds=120,
                    what="both to hold shards",
                )
                wait_for_more(running, "quotes_processed", QUOTES)
                running.control("stop", "greeks:greeks-0")
                wait_until(lambda: holders(client) == {NAME}, seconds=30, what="it to hold all")
                wait_for_more(running, "quotes_processed", QUOTES)
                wait_for_more(running, "levels_published", 3)
                assert running.levels()["state"] == "live"
                running.control("start", "greeks:greeks-0")
                wait_until(lambda: len(holders(client)) == 2, seconds=60, what="shares again")
                worker.send_signal(signal.SIGTERM)
                assert worker.wait(30) == 0
                wait_until(lambda: holders(client) == {"greeks-0"}, seconds=30, what="all back")
                wait_for_more(running, "quotes_processed", QUOTES)
            finally:
                worker.kill()
                worker.wait(30)
            check_nothing_lost(running)
        assert not (folder / "postgres").exists()
        assert not list((folder / "redis").iterdir())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        client.flushdb()
