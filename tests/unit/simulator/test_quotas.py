"""Quotas of requests and of open streams."""

from __future__ import annotations

import pytest

from workers.simulator.quotas import CONCURRENCY, QUOTAS, RateLimits, StreamLimits


class FakeClock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def test_the_published_quotas() -> None:
    for name in ("option-expirations", "option-strikes", "option-spread-types"):
        assert (QUOTAS[name].limit, QUOTAS[name].period) == (90, 60.0)
    for name in ("quotes", "quote-change-stream"):
        assert (QUOTAS[name].limit, QUOTAS[name].period) == (500, 300.0)
    assert CONCURRENCY == {"option-chain-stream": 10, "option-quote-stream": 10}


def test_a_quota_is_used_up_and_refills_gradually() -> None:
    clock = FakeClock()
    limits = RateLimits(clock)
    assert all(limits.take("option-strikes") for _ in range(90))
    assert not limits.take("option-strikes")
    clock.now += 0.6  # 60 s / 90: one is earned in two thirds of a second
    assert not limits.take("option-strikes")
    clock.now += 0.1
    assert limits.take("option-strikes")
    assert not limits.take("option-strikes")
    clock.now += 3600
    assert [limits.take("option-strikes") for _ in range(91)] == [True] * 90 + [False]


def test_each_resource_counts_by_itself() -> None:
    limits = RateLimits(FakeClock())
    while limits.take("option-strikes"):
        pass
    assert limits.take("option-expirations")


def test_the_headers_say_what_is_left_and_when_it_is_full_again() -> None:
    clock = FakeClock()
    limits = RateLimits(clock)
    for _ in range(90):
        limits.take("option-strikes")
    assert limits.headers("option-strikes") == {
        "X-RateLimit-Limit": "90",
        "X-RateLimit-Period": "60",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": "60",
        "X-RateLimit-Resource": "option-strikes",
    }
    clock.now += 30.0
    found = limits.headers("option-strikes")
    assert (found["X-RateLimit-Remaining"], found["X-RateLimit-Reset"]) == ("45", "30")
    clock.now += 1000.0
    found = limits.headers("option-strikes")
    assert (found["X-RateLimit-Remaining"], found["X-RateLimit-Reset"]) == ("90", "0")


def test_ten_streams_may_be_open_and_one_that_ends_makes_room() -> None:
    limits = StreamLimits()
    assert all(limits.enter("option-chain-stream") for _ in range(10))
    assert not limits.enter("option-chain-stream")
    assert limits.enter("option-quote-stream")
    limits.leave("option-chain-stream")
    assert limits.headers("option-chain-stream") == {
        "X-Concurrency-Limit": "10",
        "X-Concurrency-Remaining": "1",
        "X-Concurrency-Resource": "option-chain-stream",
    }
    assert limits.enter("option-chain-stream")
    assert not limits.enter("option-chain-stream")


def test_a_resource_without_a_quota_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        RateLimits(FakeClock()).take("no-such")
