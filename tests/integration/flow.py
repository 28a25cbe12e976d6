"""What tests ask of a platform under load: that it moves on, and that nothing was lost."""

from __future__ import annotations

from harness import Platform, has_stored_all, wait_until


def counted(running: Platform, name: str) -> int:
    return int(running.redis().hget("counters:SPY", name) or 0)


def wait_for_more(running: Platform, name: str, more: int) -> None:
    """Until a counter has moved on by so much."""
    before, client = counted(running, name), running.redis()
    wait_until(
        lambda: int(client.hget("counters:SPY", name) or 0) >= before + more,
        seconds=60,
        what=f"{more} {name}",
    )


def check_nothing_lost(running: Platform) -> dict[str, int]:
    """Stop the feed, let everything be stored, and count."""
    running.control("stop", "ingest")
    client = running.redis()
    wait_until(lambda: has_stored_all(client), seconds=60, what="everything to be stored")
    counters = running.counters()
    found = {name: counters[f"quotes_{name}"] for name in ("appended", "processed", "stored")}
    assert len(set(found.values())) == 1, f"{found} of {counters}"
    with running.database() as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM gex.quotes) AS quotes,"
            " (SELECT count(DISTINCT (epoch, batch, expiration)) FROM gex.entries) AS batches,"
            " (SELECT count(*) FROM gex.greeks) AS greeks"
        ).fetchone()
    assert row is not None
    assert row["quotes"] == counters["quotes_appended"]
    assert row["batches"] == counters["batches_appended"]
    assert row["greeks"] > 0
    assert counters.get("batches_lost", 0) == 0
    assert client.xlen("dead:greeks") == client.xlen("dead:store") == 0
    return counters
