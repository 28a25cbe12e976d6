"""A simulator without a server: real parts, streams that remember what is done to them."""

from __future__ import annotations

from collections.abc import Callable

from common.clock import parse_instant
from workers.simulator.exchange import Exchange
from workers.simulator.faults.running import Faults
from workers.simulator.model_market import ModelMarket
from workers.simulator.quotas import RateLimits
from workers.simulator.site import Site
from workers.simulator.timeline import Timeline
from workers.simulator.tokens import Login, Tokens

MONDAY_AT_11 = parse_instant("2026-11-23T11:00:00")
MARKET = ModelMarket(7, [])


class FakeTimers:
    """Seconds that pass when told to, and what waits for them."""

    def __init__(self) -> None:
        self.now = 100.0
        self._waiting: list[tuple[float, Callable[[], None]]] = []

    def __call__(self) -> float:
        """The time [s]."""
        return self.now

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Remember it."""
        self._waiting.append((self.now + seconds, action))

    def wall(self) -> int:
        """The time as wall time [us]."""
        return MONDAY_AT_11 + round((self.now - 100.0) * 1e6)

    def pass_by(self, seconds: float) -> None:
        """Let time pass; what has waited long enough happens."""
        self.now += seconds
        due = [each for each in self._waiting if each[0] <= self.now]
        self._waiting = [each for each in self._waiting if each[0] > self.now]
        for _, action in sorted(due, key=lambda each: each[0]):
            action()


class FakeStream:
    """An open stream."""

    route, conflated = "/v3/marketdata/stream/options/chains", 0

    def __init__(self, site: Site, target: str) -> None:
        self.target, self._site = target, site
        self.done: list[str | bytes] = []
        site.streams[self] = None

    def end_with(self, line: bytes) -> None:
        """Remember the last line."""
        self.done.append(line)

    def say(self, lines: list[bytes]) -> None:
        """Remember the lines."""
        self.done += lines

    def tell_again(self) -> None:
        """Remember it."""
        self.done.append("again")

    def wake(self) -> None:
        """Remember it."""
        self.done.append("wake")

    def cut(self) -> None:
        """Remember it, and be gone."""
        self.done.append("cut")
        self._site.streams.pop(self, None)


def fake_site(timers: FakeTimers, *, seed: int = 0) -> Site:
    """The model's market on a Monday at 11, on fake time."""
    return Site(
        Exchange(MARKET, Timeline(MARKET.dates), wall=timers.wall),
        Tokens(Login(), timers),
        RateLimits(timers),
        faults=Faults(seed, clock=timers, later=timers.later),
    )
