"""Workers are killed, frozen and set back while they work off a backlog: each quote once."""

from __future__ import annotations

from backlog import SHARDS, SYMBOL, worked_off
from test_chaos import SEED

from common.bus import keys


def test_a_backlog_is_worked_off_once_whatever_happens_meanwhile() -> None:
    acts: list[str] = []
    with worked_off(SEED, acts.append) as run:
        assert run.report.problems == [], f"seed {SEED}: {acts}"
        assert run.report.looked_ahead > 20
        assert {act.split()[0] for act in acts} == {"kill", "pause", "cut"}
        run.dismiss()
        stream = keys.quotes(SYMBOL, SHARDS[0])
        run.client.xgroup_setid(stream, keys.GREEKS_GROUP, "0")
        run.client.xadd(keys.greeks(SYMBOL), run.client.xrange(keys.greeks(SYMBOL), count=1)[0][1])  # type: ignore[index]
        run.client.hincrby(keys.counters(SYMBOL), "quotes_processed", 1)
        found = "\n".join(run.judge())
    for said in ("not read", "follows", "quotes_processed says"):
        assert said in found
