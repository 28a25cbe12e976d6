"""A simulator at a set pace: as many rows as it says, each told by its volume."""

from __future__ import annotations

import time
from typing import Any

from simulated import Simulator, simulator

START = ("--start", "2026-11-20T11:00:00", "--seed", "7")


def traded(running: Simulator) -> int:
    """Volume of all contracts together."""
    return sum(contract["volume"] for contract in running.truth()["contracts"])


def pace(running: Simulator, quotes_per_second: float | str) -> dict[str, Any]:
    """Another pace; the reply."""
    reply = running.client.post("/_simulator/pace", params={"quotes_per_second": quotes_per_second})
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def test_rows_come_at_the_pace_that_is_set() -> None:
    with simulator(*START, "--quotes-per-second", "0", "--step", "0.02") as running:
        (front,) = {e["symbol"][:10] for e in running.truth()["contracts"][:1]}
        expirations = running.get("options/expirations/SPY").json()["Expirations"]
        with running.stream("options/chains/SPY", strikeProximity=1000) as stream:
            listed = [e for e in running.truth()["contracts"] if e["symbol"].startswith(front)]
            stream.take(len(listed))
            assert len(expirations) > 1
            assert traded(running) == 0
            said = pace(running, 500)
            assert (said["before"], said["quotes_per_second"]) == (0, 500.0)
            began = time.time()
            rows = stream.take(100)
            passed = time.time() - said["from_wall_us"] / 1e6
            assert all(row["Volume"] == 1 for row in rows)
        share = len(listed) / len(running.truth()["contracts"])
        assert abs(said["from_wall_us"] / 1e6 - began) < 5.0
        assert passed >= 100 / (500 * share) * 0.9  # no faster than it says
        assert pace(running, 0)["before"] == traded(running) > 0


def test_it_tells_when_the_wire_got_what() -> None:
    with simulator(*START, "--quotes-per-second", "0", "--step", "0.02") as running:
        with running.stream("options/chains/SPY", strikeProximity=1000) as stream:
            said = pace(running, 500)
            rows = stream.until(lambda row: row.get("Volume") == 1)
            rows += stream.take(100)
            read_at = time.time_ns() // 1000
        shard = rows[0]["Legs"][0]["Expiration"][:10]
        reply = running.client.get(
            "/_simulator/wire", params={"from_wall_us": said["from_wall_us"] + 1}
        ).json()
        assert (list(reply["notes"]), reply["dropped_until_wall_us"]) == ([shard], 0)
        notes = reply["notes"][shard]
        assert notes == sorted(notes)
        assert all((due - said["from_wall_us"]) % 20_000 == 0 for due, _ in notes)
        assert all(due <= at for due, at in notes)  # never before it was due
        assert notes[0][1] <= read_at


def test_what_is_no_pace_is_refused_and_a_market_that_has_none() -> None:
    with simulator(*START, "--quotes-per-second", "5") as running:
        for bad in ("-1", "fast", "inf"):
            reply = running.client.post("/_simulator/pace", params={"quotes_per_second": bad})
            assert reply.status_code == 400
            assert "quotes_per_second" in reply.json()["Message"]
    with simulator(*START) as running:
        reply = running.client.post("/_simulator/pace", params={"quotes_per_second": 5})
        assert reply.status_code == 400
        assert "--quotes-per-second" in reply.json()["Message"]
        assert running.client.get("/_simulator/wire").status_code == 400
