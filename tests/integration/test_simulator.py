"""The platform on the market model: what a newcomer's `gex up` does."""

from __future__ import annotations

import json
import signal
from contextlib import ExitStack
from typing import Any

import psutil
import pytest
from harness import Platform, gex, platform, state_folder, wait_until

from common.servers.instance import Instance
from common.settings import load_settings


@pytest.fixture(scope="module")
def running() -> Platform:  # type: ignore[misc]
    with platform() as started:
        started.levels()
        yield started


def as_of_moves(started: Platform) -> bool:
    client = started.redis()
    before = client.hget("gex:SPY:levels", "as_of")
    wait_until(
        lambda: (client.hget("gex:SPY:levels", "as_of") or before) != before,
        seconds=20,
        what="the next level",
    )
    return True


def test_levels_are_live_and_renewed(running: Platform) -> None:
    wait_until(lambda: running.levels()["state"] == "live", seconds=20, what="a live level")
    assert as_of_moves(running)
    fields = running.levels()
    assert 0 < float(fields["coverage_oi"]) <= 1
    assert float(fields["put_wall"]) <= float(fields["spot"]) <= float(fields["call_wall"])


def test_live_keys_expire_with_the_pipeline(running: Platform) -> None:
    client = running.redis()
    for name in ("latest", "levels", "profile"):
        assert 0 < client.pttl(f"gex:SPY:{name}") <= 3000


def test_subscribers_get_what_latest_holds(running: Platform) -> None:
    client = running.redis()
    subscriber = client.pubsub(ignore_subscribe_messages=True)
    subscriber.subscribe("gex:SPY")
    message = wait_until(lambda: subscriber.get_message(timeout=1), seconds=20, what="a message")
    published = json.loads(message["data"])
    assert published["symbol"] == "SPY"
    assert published["schema"] == 1


def test_live_levels_run_ahead_of_the_record_and_agree_with_it(running: Platform) -> None:
    client = running.redis()
    subscriber = client.pubsub(ignore_subscribe_messages=True)
    subscriber.subscribe("gex:SPY:live")
    seen = set()

    def several_within_a_second() -> bool:
        message = subscriber.get_message(timeout=1)
        if message:
            level = json.loads(message["data"])
            assert level["provisional"] is True
            assert level["state"] == "live"
            seen.add(level["as_of"])
        seconds = {as_of[:19] for as_of in seen}
        return len(seen) >= 2 * len(seconds) > 0

    wait_until(several_within_a_second, seconds=30, what="live levels between two ticks")
    assert client.pttl("gex:SPY:live") <= 3000
    wait_until(
        lambda: int(client.hget("counters:SPY", "live_agreed") or 0) >= 3,
        seconds=30,
        what="records that agree with live levels",
    )
    assert client.hget("counters:SPY", "live_differed") is None


def test_doctor_finds_nothing_wrong(running: Platform) -> None:
    def healthy() -> bool:
        result = gex(running.state, "doctor", "--json")
        report = json.loads(result.stdout)
        wrong = [finding for finding in report["findings"] if not finding["ok"]]
        assert all(finding["check"].startswith("levels") for finding in wrong), wrong
        return result.returncode == 0 and report["ok"]

    assert wait_until(healthy, seconds=30, what="a healthy platform")


def test_flower_watches_the_worker(running: Platform) -> None:
    import httpx

    url = running.status()["flower_url"]

    def ask() -> bool:
        try:
            return "levels@gex" in httpx.get(url, timeout=10, follow_redirects=True).text
        except httpx.TransportError:
            return False

    assert wait_until(ask, seconds=60, what="Flower's page to name the worker")
    given = psutil.Process(running.pid_of("flower")).cmdline()
    (most,) = [word for word in given if word.startswith("--max_tasks=")]
    assert int(most.partition("=")[2]) <= 1000  # of six kilobytes each; a tick is a task


def test_a_second_up_in_the_same_folder_is_refused(running: Platform) -> None:
    result = gex(running.state, "up")
    assert result.returncode == 2
    assert "already runs" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_dead_feed_is_called_stale(running: Platform) -> None:
    import os

    pid = running.pid_of("ingest")
    os.kill(pid, signal.SIGSTOP)
    try:
        client = running.redis()
        wait_until(
            lambda: client.hget("gex:SPY:levels", "state") == "stale",
            seconds=40,
            what="levels called stale",
        )
        assert gex(running.state, "doctor").returncode == 1
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(
        lambda: running.redis().hget("gex:SPY:levels", "state") == "live",
        seconds=30,
        what="live levels again",
    )


def test_a_restart_goes_on_and_ctrl_c_leaves_nothing() -> None:
    state = state_folder()
    with platform(state=state) as first:
        first.levels()
        before = first.status()["symbols"]["SPY"]
        assert first.stop() == 0
        assert first.members() == []
    with platform(state=state) as second:
        # The levels from before the restart live for three ticks: "live" alone may be theirs.
        after = wait_until(
            lambda: moved_on(second, before), seconds=60, what="new quotes, live levels"
        )
        assert after["session"] == before["session"]
        assert after["counters"]["quotes_appended"] > before["counters"]["quotes_appended"]
        assert second.stop(signal.SIGTERM) == 0
        assert second.members() == []
    # It may lie outside the state directory, where nobody else would take it away.
    assert not Instance(load_settings(state_dir=state)).run_dir.exists()


def moved_on(started: Platform, before: dict[str, Any]) -> dict[str, Any] | None:
    """The symbol's status, once a new producer's quotes have made a new live level."""
    after: dict[str, Any] = started.status()["symbols"]["SPY"]
    newer = after["epoch"] > before["epoch"] and (after["as_of"] or "") > before["as_of"]
    return after if newer and after["state"] == "live" else None


def test_two_instances_live_side_by_side() -> None:
    with ExitStack() as stack:
        pair = [stack.enter_context(platform()) for _ in range(2)]
        for one in pair:
            assert as_of_moves_after_start(one)
        urls = [one.status() for one in pair]
        for name in ("redis_url", "database_url", "flower_url"):
            assert urls[0][name] != urls[1][name]


def as_of_moves_after_start(started: Platform) -> bool:
    started.levels()
    return as_of_moves(started)
