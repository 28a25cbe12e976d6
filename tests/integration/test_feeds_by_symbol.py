"""Two symbols, a feed each, in one instance."""

from __future__ import annotations

from pathlib import Path

from harness import gex, platform, wait_until
from simulated import simulator
from test_tradestation import login


def test_each_symbol_has_levels_from_its_own_feed() -> None:
    with simulator() as served:
        settings = {**login(served), "feed": "simulator", "expirations": "1"}
        arguments = ("--symbols", "SPY,QQQ", "--feed", "QQQ=tradestation", "--no-dashboard")
        with platform(*arguments, settings=settings) as running:
            assert running.levels("SPY")["state"] == "live"
            assert running.levels("QQQ")["state"] == "live"
            feeds = "simulator  SPY, tradestation  QQQ"  # said once all programs are up
            wait_until(lambda: feeds in running.said, seconds=30, what="what `gex up` says")
            assert served.state()["streams_open"] != []
            assert (running.state / "tradestation.tokens.json").exists()
            assert (running.state / "simulator.tokens.json").exists()
            status = gex(running.state, "status", settings=running.settings).stdout
            named = {**running.settings, "symbols": "SPY,QQQ"}
            doctor = gex(running.state, "doctor", settings=named).stdout
            for symbol in ("SPY", "QQQ"):
                assert f"{symbol}: feed simulator session {symbol}:" in status  # both are
                assert f"feed {symbol}" in doctor


def test_a_bad_feed_of_a_symbol_is_one_clear_line(tmp_path: Path) -> None:
    refused = gex(tmp_path, "up", settings={"feeds": "QQQ=cboe"})
    assert refused.returncode == 2
    assert refused.stderr.strip().splitlines() == [
        "gex: GEX_FEEDS: QQQ is none of the symbols followed (SPY)"
    ]
