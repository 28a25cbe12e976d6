"""Latencies of a bench: which quote is in which level, and when it was sent."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from common.clock import SECOND, session_hours
from common.models import Rows
from workers.benches.listener import Entries, Heard, latencies, quotes_between
from workers.benches.paced import STEP_SECONDS, PacedSource, Phase
from workers.benches.sample import DAY
from workers.simulator.admin import truth
from workers.simulator.desk import Desk
from workers.simulator.model_market import ModelMarket
from workers.simulator.paced_market import Pace, PacedMarket

AT = session_hours(DAY)[0] + 3600 * SECOND
STEP = round(STEP_SECONDS * SECOND)
RATE = 1000.0


class Served:
    """A paced market behind a client, its wall time that of the market."""

    def __init__(self) -> None:
        self.pace = Pace(0.0)
        self.desk = Desk(PacedMarket(ModelMarket(7), self.pace).day("SPY", DAY), AT)
        self.client = httpx.Client(
            base_url="http://simulator", transport=httpx.MockTransport(self._answer)
        )
        self.source = PacedSource(self.client)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/_simulator/truth/SPY":
            return httpx.Response(200, json=truth(self.desk))
        pace = float(request.url.params["quotes_per_second"])
        stretch = self.pace.change(pace, self.desk.at_us)
        said = {"from_wall_us": stretch.from_us, "before": stretch.before}
        return httpx.Response(200, json=said)

    def shown(self, steps: int) -> list[tuple[int, str, int, int]]:
        """What each step shows: its time, shard, key and volume of what has changed."""
        found = []
        contracts = self.desk.contracts
        before: Rows = self.desk.said.copy()
        for at in range(self.desk.at_us + STEP, self.desk.at_us + (steps + 1) * STEP, STEP):
            self.desk.step(at)
            now = self.desk.said.copy()
            for place in np.flatnonzero(now["volume"] != before["volume"]).tolist():
                shard = contracts.expiries[contracts.expiry_index[place]].shard
                key, volume = int(contracts.keys[place]), int(now["volume"][place])
                found.append((at, shard, key, volume))
            before = now
        return found


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served()
    yield made
    made.client.close()


def test_quotes_are_sent_when_the_market_shows_them(served: Served) -> None:
    served.source.go_on(300.0)
    served.shown(7)
    phase = served.source.go_on(RATE)
    shown = served.shown(400)
    assert len(shown) == 2000  # more than there are contracts: volumes grow beyond one
    for at, shard, key, volume in shown:
        number = served.source.numbers(shard, np.array([key]), np.array([volume]))
        assert number[0] >= phase.before
        assert phase.sent_at(number)[0] == at
    assert served.source.traded() == phase.before + 2000


def entries_of(shown: list[tuple[int, str, int, int]]) -> dict[str, Entries]:
    """A stream entry for each quote, its id the time at which it was sent."""
    found = {}
    for shard in {each[1] for each in shown}:
        ats, _, contracts, volumes = zip(*[e for e in shown if e[1] == shard], strict=True)
        ids = np.array(ats, np.int64) // 1000 << 20
        found[shard] = Entries(ids, np.array(contracts, np.int64), np.array(volumes, np.int64))
    return found


def test_a_quote_waits_for_the_first_level_that_holds_it(served: Served) -> None:
    phase = served.source.go_on(RATE)
    shown = served.shown(40)
    found = entries_of(shown)
    end = shown[-1][0]
    ends = [end - 20 * STEP, end]
    heard = Heard(
        at=[each + 7000 for each in ends],
        watermarks=[dict.fromkeys(found, f"{each // 1000}-0") for each in ends],
    )
    waits = latencies(heard, found, served.source, phase, until_us=end)
    assert sorted(waits.tolist()) == sorted(
        (heard.at[each[0] > ends[0]] - each[0]) / 1000.0 for each in shown
    )
    assert quotes_between(heard, found) == 100
    assert len(latencies(heard, found, served.source, phase, until_us=ends[0])) == 100


def test_a_quote_in_no_level_waits_for_ever(served: Served) -> None:
    phase = served.source.go_on(RATE)
    found = entries_of(served.shown(2))
    heard = Heard(at=[phase.from_wall_us], watermarks=[dict.fromkeys(found, "0-0")])
    waits = latencies(heard, found, served.source, phase, until_us=phase.from_wall_us + SECOND)
    assert len(waits) == 10
    assert np.all(np.isinf(waits))


def test_what_comes_on_two_streams_counts_once_and_what_came_before_not(served: Served) -> None:
    before = served.source.go_on(RATE)
    early = served.shown(1)
    phase: Phase = served.source.go_on(RATE)
    late = served.shown(1)
    found = entries_of([*early, *late, *late])
    heard = Heard(at=[late[0][0] + 1000], watermarks=[dict.fromkeys(found, f"{2 * 10**12}-0")])
    waits = latencies(heard, found, served.source, phase, until_us=late[0][0])
    assert (before.before, phase.before) == (0, 5)
    assert waits.tolist() == [1.0] * 5
