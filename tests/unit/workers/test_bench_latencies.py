"""Latencies of a bench: which quote is in which level, when it was due, and when it was sent."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from common.clock import SECOND, session_hours
from common.errors import ServiceError
from common.models import Rows
from workers.benches.listener import Entries, Heard, Sent, latencies, quotes_between, sent_quotes
from workers.benches.paced import STEP_SECONDS, PacedSource, Phase, Wire
from workers.benches.sample import DAY
from workers.simulator.admin import truth
from workers.simulator.desk import Desk
from workers.simulator.model_market import ModelMarket
from workers.simulator.paced_market import Pace, PacedMarket
from workers.simulator.wire_log import WireLog

AT = session_hours(DAY)[0] + 3600 * SECOND
STEP = round(STEP_SECONDS * SECOND)
RATE = 1000.0


class Served:
    """A paced market behind a client, its wall time that of the market."""

    def __init__(self) -> None:
        self.pace = Pace(0.0)
        self.wire = WireLog()
        self.desk = Desk(PacedMarket(ModelMarket(7), self.pace).day("SPY", DAY), AT)
        self.client = httpx.Client(
            base_url="http://simulator", transport=httpx.MockTransport(self._answer)
        )
        self.source = PacedSource(self.client)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/_simulator/truth/SPY":
            return httpx.Response(200, json=truth(self.desk))
        if request.url.path == "/_simulator/wire":
            notes = self.wire.since(int(request.url.params["from_wall_us"]))
            said = {"dropped_until_wall_us": self.wire.dropped_until_us, "notes": notes}
            return httpx.Response(200, json=said)
        pace = float(request.url.params["quotes_per_second"])
        stretch = self.pace.change(pace, self.desk.at_us)
        return httpx.Response(200, json={"from_wall_us": stretch.from_us, "before": stretch.before})

    def shown(self, steps: int, late_us: int = 0) -> list[tuple[int, str, int, int]]:
        """What each step shows: its time, shard, key and volume of what has changed.

        :param late_us: so long after its time its lines go out, of every shard that has any.
        """
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
            for shard in {each[1] for each in found if each[0] == at}:
                self.wire.note(shard, at, at + late_us, behind=False)
            before = now
        return found


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served()
    yield made
    made.client.close()


def test_quotes_are_due_when_the_market_shows_them(served: Served) -> None:
    served.source.go_on(300.0)
    served.shown(7)
    phase = served.source.go_on(RATE)
    shown = served.shown(400)
    assert len(shown) == 2000  # more than there are contracts: volumes grow beyond one
    for at, shard, key, volume in shown:
        number = served.source.numbers(shard, np.array([key]), np.array([volume]))
        assert number[0] >= phase.before
        assert phase.due_at(number)[0] == at
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
    shown = served.shown(40, late_us=300)
    found = entries_of(shown)
    end = shown[-1][0]
    ends = [end - 20 * STEP, end]
    heard = Heard(
        at=[each + 7000 for each in ends],
        watermarks=[dict.fromkeys(found, f"{each // 1000}-0") for each in ends],
    )
    sent = sent_quotes(found, served.source, phase, until_us=end)
    assert sorted(latencies(heard, sent).tolist()) == sorted(
        (heard.at[each[0] > ends[0]] - each[0] - 300) / 1000.0 for each in shown
    )
    assert np.concatenate([each.late for each in sent.values()]).tolist() == [0.3] * 200
    assert quotes_between(heard, found) == 100
    sent = sent_quotes(found, served.source, phase, until_us=ends[0])
    assert len(latencies(heard, sent)) == 100


def test_a_quote_in_no_level_waits_for_ever(served: Served) -> None:
    phase = served.source.go_on(RATE)
    found = entries_of(served.shown(2))
    heard = Heard(at=[phase.from_wall_us], watermarks=[dict.fromkeys(found, "0-0")])
    until = phase.from_wall_us + SECOND
    waits = latencies(heard, sent_quotes(found, served.source, phase, until_us=until))
    assert len(waits) == 10
    assert np.all(np.isinf(waits))


def test_what_comes_on_two_streams_counts_once_and_what_came_before_not(served: Served) -> None:
    before = served.source.go_on(RATE)
    early = served.shown(1)
    phase: Phase = served.source.go_on(RATE)
    late = served.shown(1)
    found = entries_of([*early, *late, *late])
    heard = Heard(at=[late[0][0] + 1000], watermarks=[dict.fromkeys(found, f"{2 * 10**12}-0")])
    waits = latencies(heard, sent_quotes(found, served.source, phase, until_us=late[0][0]))
    assert (before.before, phase.before) == (0, 5)
    assert waits.tolist() == [1.0] * 5


def test_a_quote_that_nobody_saw_go_out_waits_for_ever(served: Served) -> None:
    phase = served.source.go_on(RATE)
    found = entries_of(served.shown(2))
    served.wire = WireLog()
    until = phase.from_wall_us + SECOND
    sent = sent_quotes(found, served.source, phase, until_us=until)
    heard = Heard(at=[until], watermarks=[dict.fromkeys(found, f"{2 * 10**12}-0")])
    assert latencies(heard, sent).tolist() == [np.inf] * 10
    assert all(np.isinf(each.late).all() for each in sent.values())


def test_notes_that_do_not_reach_back_are_no_measure(served: Served) -> None:
    phase = served.source.go_on(RATE)
    served.wire = WireLog(kept=3)
    found = entries_of(served.shown(2))
    with pytest.raises(ServiceError, match="first quote"):
        sent_quotes(found, served.source, phase, until_us=phase.from_wall_us + SECOND)


# --- when the wire gets what -----------------------------------------------------------------

DUE = np.array([100, 101, 200, 201], np.int64)


def test_a_quote_goes_out_with_the_first_board_that_is_not_older() -> None:
    wire = Wire({"near": [(100, 107), (200, 203), (300, 311)], "far": [(250, 251)]})
    assert wire.sent_at("near", DUE).tolist() == [107.0, 203.0, 203.0, 311.0]
    assert wire.sent_at("near", np.array([301])).tolist() == [np.inf]
    assert wire.sent_at("none", DUE).tolist() == [np.inf] * 4


def test_what_may_have_come_on_two_streams_counts_from_the_first() -> None:
    wire = Wire({"near": [(100, 107), (200, 203)], "": [(100, 105), (200, 209)]})
    assert wire.sent_at("near", DUE).tolist() == [105.0, 203.0, 203.0, np.inf]
    assert wire.sent_at("none", DUE).tolist() == [105.0, 209.0, 209.0, np.inf]


def test_two_streams_of_a_shard_count_from_the_first() -> None:
    wire = Wire({"near": [(100, 190), (200, 205), (200, 202), (150, 160)]})
    assert wire.sent_at("near", DUE).tolist() == [160.0, 160.0, 202.0, np.inf]


def test_nothing_goes_out_before_it_is_due() -> None:
    wire = Wire({"near": [(100, 107), (300, 107)]})
    assert wire.sent_at("near", DUE).tolist() == [107.0, 107.0, 200.0, 201.0]


def test_a_wait_runs_from_the_wire_and_not_from_when_a_quote_was_due() -> None:
    sent = Sent(np.array([1 << 20, 1 << 20]), np.array([500, 1500]), np.array([4500.0, np.inf]))
    heard = Heard(at=[5000], watermarks=[{"near": "1-0"}])
    assert latencies(heard, {"near": sent}).tolist() == [0.5, np.inf]
    assert sent.late.tolist() == [4.0, np.inf]
