"""The user's own Redis and PostgreSQL in place of the embedded ones."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
import redis
from harness import Servers, platform

pytestmark = pytest.mark.data


def test_urls_replace_the_embedded_servers(
    own_servers: Servers, database_url: str, recording: Path
) -> None:
    settings = {
        "redis_url": own_servers.redis_url.replace("/0", "/4"),
        "database_url": database_url,
    }
    client = redis.Redis.from_url(settings["redis_url"], decode_responses=True)
    client.flushdb()
    arguments = ["--feed", "recording", "--recording", str(recording), "--exit-at-end"]
    with platform(*arguments, settings=settings) as running:
        assert running.process.wait(180) == 0, running.said
        assert "yours (GEX_REDIS_URL)" in running.said
        assert "yours (GEX_DATABASE_URL)" in running.said
        assert not (running.state / "postgres").exists()
        assert not list((running.state / "redis").iterdir())
    levels = client.hgetall("gex:SPY:levels")
    assert levels["state"] == "ended"
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "SELECT net_gex, zero_gamma FROM gex.levels ORDER BY time DESC LIMIT 1"
        ).fetchone()
    assert row == (float(levels["net_gex"]), float(levels["zero_gamma"]))
