"""The platform on TradeStation's wire: a good day, an expired token, a cut, a recording."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Platform, gex, platform, wait_until
from simulated import Simulator, login, simulator

from common.bus.codec import StateBlob
from common.models import Rows, key_puts, key_strikes

COLUMNS = ("bid", "ask", "last", "bid_size", "ask_size", "volume", "open_interest")


def held(running: Platform, symbol: str = "SPY") -> dict[tuple[str, float, str], list[Any]]:
    """Every contract in the states of the workers."""
    client = running.redis()
    raw = type(client).from_url(running.status()["redis_url"])
    found = {}
    for shard in client.smembers(f"shards:{symbol}"):
        rows: Rows = StateBlob.decode(raw.get(f"chain:{symbol}:{shard}")).quote_rows()
        contracts = zip(
            key_strikes(rows["key"]).tolist(), key_puts(rows["key"]).tolist(), strict=True
        )
        values = zip(*(rows[name].tolist() for name in COLUMNS), strict=True)
        for (strike, put), row in zip(contracts, values, strict=True):
            known = [v if v >= 0 else None for v in row]  # NaN too is not known
            found[shard, strike, "P" if put else "C"] = known
    return found


def true(served: Simulator, symbol: str = "SPY") -> dict[tuple[str, float, str], list[Any]]:
    """Every contract as the simulator last said it."""
    return {
        (row["expiration"], row["strike"], row["right"]): [row[name] for name in COLUMNS]
        for row in served.truth(symbol)["contracts"]
    }


def test_an_accelerated_hour_ends_in_the_simulators_own_truth() -> None:
    options = ("--start", "2026-11-24T13:30", "--speed", "120", "--pause", "600")
    with simulator(*options) as served, platform(settings=login(served)) as running:
        running.levels()
        client = running.redis()
        first = running.levels()
        assert first["session"] == "SPY:2026-11-24:simulator:20261123"
        assert first["as_of"] < "2026-11-24T20:00"  # an hour to go
        wait_until(
            lambda: client.hget("gex:SPY:levels", "state") == "closed",
            seconds=150,
            what=f"the close; said:\n{running.said}",
        )
        expected = true(served)
        assert len(expected) > 500
        assert held(running) == expected
        assert running.levels()["as_of"] == "2026-11-24T20:58:00.000Z"
        assert running.levels()["net_gex"] != ""
        counters = running.counters()
        assert counters["feed_rows"] > 30_000
        assert counters["quotes_appended"] == counters["quotes_processed"]
        assert counters.get("feed_malformed_lines", 0) == 0
        with running.database() as connection:
            row = connection.execute(
                "SELECT count(*), min(time)::text, max(time)::text FROM gex.levels"
            ).fetchone()
        assert row is not None
        assert row["count"] >= 30


@pytest.fixture(scope="module")
def live() -> Iterator[tuple[Simulator, Platform]]:
    """A platform that follows a simulator of its own, on a date with five expirations to follow."""
    with (
        simulator("--start", "2026-11-24T11:00") as served,
        platform(settings=login(served)) as running,
    ):
        running.levels()
        yield served, running


def counted(running: Platform, name: str, least: int) -> None:
    wait_until(lambda: running.counters().get(name, 0) >= least, seconds=60, what=f"{least} {name}")


def renewed(running: Platform) -> bool:
    """Whether quotes still reach the levels."""
    client = running.redis()
    before = client.hget("gex:SPY:levels", "newest_quote_at")
    return bool(
        wait_until(
            lambda: (
                (client.hget("gex:SPY:levels", "newest_quote_at") or before) != before
                and client.hget("gex:SPY:levels", "state") == "live"
            ),
            seconds=60,
            what="newer quotes in a live level",
        )
    )


def test_an_expired_token_costs_one_renewal(live: tuple[Simulator, Platform]) -> None:
    served, running = live
    issued = served.state()["tokens_issued"]
    served.client.post("/_simulator/expire").raise_for_status()
    assert renewed(running)  # open streams go on
    reconnects = running.counters().get("feed_reconnects", 0)
    served.client.post("/_simulator/cut").raise_for_status()
    counted(running, "feed_reconnects", reconnects + 6)
    assert renewed(running)
    assert served.state()["tokens_issued"] == issued + 1


def test_cut_connections_are_made_again_in_the_middle_of_a_line(
    live: tuple[Simulator, Platform],
) -> None:
    served, running = live
    for _ in range(3):
        reconnects = running.counters().get("feed_reconnects", 0)
        served.client.post("/_simulator/cut").raise_for_status()
        counted(running, "feed_reconnects", reconnects + 6)
        served.wait_for(lambda s: len(s["streams_open"]) == 6, seconds=60, what="six streams")
        assert renewed(running)
    assert running.status()["symbols"]["SPY"]["session"].startswith("SPY:")


def test_the_page_of_secrets_is_empty(live: tuple[Simulator, Platform]) -> None:
    """No token is in a log, in what commands print, or readable by others."""
    _, running = live
    tokens = json.loads((running.state / "tradestation.tokens.json").read_text())
    assert (running.state / "tradestation.tokens.json").stat().st_mode & 0o077 == 0
    said = gex(running.state, "doctor", settings=running.settings).stdout + running.said
    said += "".join(path.read_text() for path in (running.state / "logs").glob("*.log"))
    assert "access token renewed" in said
    assert tokens["access"] not in said


def test_what_is_recorded_is_played_again(live: tuple[Simulator, Platform], tmp_path: Path) -> None:
    _, running = live
    settings = {**running.settings, "expirations": "2"}
    recorded = gex(running.state, "record", "--for", "8", "--out", str(tmp_path), settings=settings)
    assert recorded.returncode == 0, recorded.stderr
    (path,) = tmp_path.iterdir()
    assert path.name in recorded.stdout.replace("\n", "")
    levels = []
    for _ in range(2):
        arguments = ("--feed", "recording", "--recording", str(path))
        with platform(*arguments, settings={"replay_tick_seconds": "1"}) as replayed:
            last = replayed.wait_for_end()
            assert last["state"] == "ended"
            assert last["feed"] == "recording"
            with replayed.database() as connection:
                rows = connection.execute("SELECT result FROM gex.levels ORDER BY time").fetchall()
        run_fields = ("published_at", "watermark")
        levels.append([{k: v for k, v in r["result"].items() if k not in run_fields} for r in rows])
    assert len(levels[0]) >= 5
    assert levels[0] == levels[1]
    assert levels[0][-1]["quality"]["contracts"] > 200


def test_a_refused_login_ends_the_start_with_its_reason() -> None:
    with simulator() as served:
        settings = {**login(served), "tradestation_refresh_token": "stolen"}
        with platform(settings=settings) as running:
            assert running.process.wait(90) == 1
            assert "invalid_grant" in running.said
            assert "gex auth tradestation" in running.said
            assert "stolen" not in running.said
        assert served.state()["tokens_refused"] <= 2
