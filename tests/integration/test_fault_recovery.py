"""The platform meets every fault of the simulator, recovers, and counts what happened.

A real simulator, `gex up` with the client, the ingestor and the Greeks worker against it. After
each fault the workers' states hold what the simulator holds to be true, levels are live again,
and the counters have moved by what the fault did and by nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pytest
import redis
from harness import Platform, platform, wait_until
from simulated import Simulator, login, simulator

from common.bus.cache import Cache
from common.bus.codec import StateBlob
from common.models import Session, key_puts, key_strikes
from workers.simulator.faults.catalogue import FAULTS

COLUMNS = ("bid", "ask", "last", "bid_size", "ask_size", "volume", "open_interest")
EXPIRATIONS = 3
STREAMS = 1 + EXPIRATIONS
UNEVENTFUL = {"feed_rows", "feed_heartbeats", "feed_held_counts", "feed_short_lived"}
"""Counters of ordinary rows, and one that depends on what went before."""
Counts = dict[str, int]


@dataclass
class Live:
    """A platform that follows a simulator."""

    served: Simulator
    running: Platform
    texts: redis.Redis
    blobs: redis.Redis

    def is_true(self) -> bool:
        """Whether the states hold every contract as the simulator last said it."""
        told = self.served.truth()
        true = {
            (row["expiration"], row["strike"], row["right"]): [row[name] for name in COLUMNS]
            for row in told["contracts"]
            if row["expiration"] in self.texts.smembers("shards:SPY")
        }
        held = self._held()
        return len(true) > 300 and held == true and self.served.truth()["as_of"] == told["as_of"]

    def _held(self) -> dict[tuple[str, float, str], list[Any]]:
        found = {}
        for shard in self.texts.smembers("shards:SPY"):
            rows = StateBlob.decode(self.blobs.get(f"chain:SPY:{shard}")).quote_rows()
            strikes, puts = key_strikes(rows["key"]).tolist(), key_puts(rows["key"]).tolist()
            values = zip(*(rows[name].tolist() for name in COLUMNS), strict=True)
            for strike, put, row in zip(strikes, puts, values, strict=True):
                known = [v if v >= 0 else None for v in row]  # NaN too is not known
                found[shard, strike, "P" if put else "C"] = known
        return found

    def trouble(self) -> Counts:
        """The counters of everything that is no ordinary row."""
        counts = self.texts.hgetall("counters:SPY")
        return {
            name.removeprefix("feed_"): int(count)
            for name, count in counts.items()
            if name.startswith("feed_") and name not in UNEVENTFUL
        }

    def rejected(self) -> Counts:
        """Contracts that the last level could not use, by reason."""
        found: Counts = json.loads(self.texts.get("gex:SPY:latest"))["quality"]["rejected"]
        return {reason: count for reason, count in found.items() if count}

    def level(self) -> dict[str, str]:
        """The levels as they now read."""
        return self.texts.hgetall("gex:SPY:levels")

    def held_counts(self) -> int:
        """How often a volume or an open interest fell and was held."""
        return int(self.texts.hget("counters:SPY", "feed_held_counts") or 0)

    def wait_until_counted(self) -> None:
        """Whatever has happened by now is in the counters, which are written now and then.

        What is written first may have been summed up before; what is written next was not.
        """
        for _ in range(2):
            seen = self.texts.hget("counters:SPY", "feed_rows")
            wait_until(
                lambda seen=seen: self.texts.hget("counters:SPY", "feed_rows") != seen,
                seconds=30,
                what="counters that are written",
            )

    def session(self) -> Session:
        """The session being produced."""
        found = Cache(self.blobs).session("SPY")
        assert found is not None
        return found

    def chain_paths(self) -> list[str]:
        """A part of the path of each chain stream, nearest expiration first."""
        days = sorted(self.texts.smembers("shards:SPY"))
        return [f"expiration={date.fromisoformat(day):%m-%d-%Y}" for day in days]

    def wait_until_whole(self, *, seconds: float = 60) -> None:
        """All streams are open and the states are true."""

        def whole() -> bool:
            self.running.check_alive()
            return len(self.served.state()["streams_open"]) == STREAMS and self.is_true()

        wait_until(whole, seconds=seconds, what="states equal to the truth")

    def wait_until_recovered(self, *, seconds: float = 60) -> None:
        """All streams are open, the states are true, and a level later than now is live."""
        before = self.level().get("newest_quote_at", "")

        def fresh() -> bool:
            level = self.level()
            return level.get("state") == "live" and level["newest_quote_at"] > before

        self.wait_until_whole(seconds=seconds)
        wait_until(fresh, seconds=seconds, what=f"a live level after {before}: {self.level()}")

    def assert_counted(self, before: Counts, expected: Counts) -> None:
        """The counters have moved by what is expected and by nothing else."""

        def news() -> Counts:
            now = {name: n - before.get(name, 0) for name, n in self.trouble().items()}
            return {name: n for name, n in now.items() if n}

        wanted = {name: n for name, n in expected.items() if n}
        try:
            wait_until(lambda: news() == wanted, seconds=10, what="the counters")
        except AssertionError:
            assert news() == wanted
            raise


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """A market that moves once a second, so that it can be compared in between."""
    options = ("--start", "2026-11-23T11:00", "--step", "1", "--pause", "8", "--heartbeat", "1")
    with simulator(*options) as served:
        settings = {**login(served), "expirations": str(EXPIRATIONS)}
        with platform("--no-dashboard", settings=settings) as running:
            running.levels()
            texts = running.redis()
            blobs = redis.Redis.from_url(running.status()["redis_url"])
            yield Live(served, running, texts, blobs)


Expect = Callable[[int], Counts]
"""What is counted when the simulator says that so many were affected."""


@dataclass(frozen=True)
class Case:
    """A fault, what is done while it lasts, and what is counted."""

    name: str
    expect: Expect
    arguments: dict[str, Any] = field(default_factory=dict)
    meanwhile: tuple[str, ...] = ()
    holds_counts: bool | None = False
    """Whether volumes and open interests seem to fall; None where it is a matter of chance."""

    def __str__(self) -> str:
        return "-".join([self.name, *(str(each) for each in self.arguments.values())])


def nothing(affected: int) -> Counts:
    """Rows were affected, and nothing else took notice."""
    assert affected > 0
    return {}


def reconnects(affected: int) -> Counts:
    """Each stream that was affected was opened again."""
    assert affected > 0
    return {"reconnects": affected}


def went_away(affected: int) -> Counts:
    """Every stream was asked to connect again, and did."""
    assert affected > 0
    return {"reconnects": STREAMS, "go_aways": STREAMS}


def refused(affected: int) -> Counts:
    """Every stream was asked to connect again, and was refused some times."""
    assert affected > 0
    return {"reconnects": STREAMS + affected, "go_aways": STREAMS}


CASES = (
    Case("cut", reconnects),
    Case("go_away", went_away, {"form": "status"}),
    Case("go_away", went_away, {"form": "error"}),
    Case("stream_error", lambda n: {"reconnects": n, "stream_errors": n}),
    Case("stall", nothing, {"seconds": 1.2}),
    Case("stall_with_heartbeats", nothing, {"seconds": 1.2}),
    Case("stream_budget", reconnects, {"seconds": 1.2, "most": 2, "after": 0.5}),
    Case("expire", went_away, meanwhile=("go_away",)),
    Case("rotate", went_away, meanwhile=("go_away",)),
    Case("unauthorized", went_away, meanwhile=("go_away",)),
    Case(
        "unauthorized",  # even a token that is new is refused
        lambda n: {"reconnects": STREAMS + n // 2, "go_aways": STREAMS},
        {"path": "stream/quotes", "count": 2},
        ("go_away",),
    ),
    Case("rate_limit", refused, {"seconds": 3}, ("go_away",)),
    Case("quota_forbidden", refused, {"path": "stream/quotes", "count": 1}, ("go_away",)),
    Case("unavailable", refused, {"seconds": 1, "status": 502}, ("go_away",)),
    Case("unavailable", refused, {"seconds": 1, "path": "oauth"}, ("expire", "go_away")),
    Case("duplicate", nothing, {"seconds": 1.2}),
    Case("reorder", nothing, {"seconds": 3}, holds_counts=None),
    Case("zeros", nothing, {"seconds": 1.2}, holds_counts=True),
    Case("zeros", nothing, {"seconds": 1.2, "fields": "Bid,Ask,BidSize,AskSize"}),
    Case("missing", nothing, {"seconds": 1.2, "form": "absent"}),
    Case("missing", nothing, {"seconds": 1.2, "form": "null"}, holds_counts=True),
    Case("missing", nothing, {"seconds": 1.2, "form": "nan"}, holds_counts=True),
    Case("lower_case", nothing, {"seconds": 1.2}),
    Case("gap", lambda _: {"reconnects": STREAMS}, {"seconds": 1.2}),
    Case("bad_json", lambda n: {"malformed_lines": n}, {"count": 7}),
    Case("long_line", lambda n: {"oversized_lines": n}),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_platform_recovers(live: Live, case: Case) -> None:
    live.wait_until_whole()
    before, held = live.trouble(), live.held_counts()
    happening = live.served.let(case.name, **case.arguments)
    for other in case.meanwhile:
        live.served.let(other)
    live.served.over(happening["number"])
    live.wait_until_recovered()
    record = live.served.over(happening["number"])
    live.assert_counted(before, case.expect(record["affected"]))
    # both streams of a contract, made again together, may pass each other
    certain = case.holds_counts is not None and "go_away" not in case.meanwhile
    if case.holds_counts or not certain:  # the next case begins from all that has been held
        live.wait_until_counted()
    if certain:
        assert (live.held_counts() > held) == case.holds_counts


def test_stalls_another_login_and_a_quota_at_once(live: Live) -> None:
    """The faults that take long to get over, each on a stream of its own."""
    live.wait_until_whole()
    before, (near, middle, far) = live.trouble(), live.chain_paths()
    faults = [
        live.served.let("stall_with_heartbeats", path="stream/quotes", seconds=64),
        live.served.let("stall", path=near, seconds=30),
        live.served.let("dual_logon", path=middle),
        live.served.let("quota_forbidden", path=far, form="text", count=1),
        live.served.let("go_away", path=far),
    ]
    over = [live.served.over(each["number"], seconds=90) for each in faults]
    assert [each["affected"] for each in over] == [1] * 5
    live.wait_until_recovered(seconds=90)
    live.assert_counted(
        before, {"reconnects": 5, "go_aways": 1, "dual_logons": 1, "data_timeouts": 1}
    )


@pytest.mark.parametrize("skew", [3, -3])
def test_a_host_whose_clock_is_off_begins_the_session_anew(live: Live, skew: int) -> None:
    live.wait_until_whole()
    before = live.session()
    happening = live.served.let("clock_skew", skew=skew, seconds=3)
    skewed = wait_until(
        lambda: (found := live.session()).epoch > before.epoch and found,
        seconds=30,
        what="a session with the wrong clock",
    )
    live.served.over(happening["number"])
    again = wait_until(
        lambda: (found := live.session()).epoch > skewed.epoch and found,
        seconds=30,
        what="a session with the right clock",
    )
    assert before.key == skewed.key == again.key
    assert skewed.clock.market(0) - before.clock.market(0) == skew * 1_000_000
    assert again.clock == before.clock
    live.wait_until_recovered()
    assert "bad_input" not in live.rejected()


def test_half_a_day_closes_early_and_the_next_date_follows(live: Live) -> None:
    live.wait_until_whole()
    live.served.let("half_day", before=8)
    half = wait_until(
        lambda: (level := live.level()).get("session", "").startswith("SPY:2026-11-27") and level,
        seconds=30,
        what="the half day",
    )
    assert half["as_of"] < "2026-11-27T18:00"
    assert "bad_input" not in live.rejected()  # rows came before the first price of their run
    closed = wait_until(
        lambda: (level := live.level()).get("state") == "closed" and level,
        seconds=30,
        what="its close",
    )
    assert closed["session"] == half["session"]
    assert "2026-11-27T17:59:5" < closed["as_of"] <= "2026-11-27T18:00:00.000Z"
    assert live.is_true()
    wait_until(
        lambda: live.level().get("session", "").startswith("SPY:2026-11-30"),
        seconds=30,
        what="the date after it",
    )
    live.wait_until_recovered()


def test_no_fault_is_left_out() -> None:
    others = {"dual_logon", "clock_skew", "half_day"}
    assert {case.name for case in CASES} | others == set(FAULTS)
