"""Figures of the whole platform, from a broker's wire to levels, and what it takes when idle.

Owns measuring them. `gex up` runs with everything it has; a simulator that is a process of its
own sends quotes at a set pace, each of which can be told in a level. A quote's time runs from the
moment at which the simulator is about to write it; how long after it was due that is, is a figure
of its own. A quiet market is one whose underlying moves a cent a second and five of whose
contracts are quoted a second.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import httpx
import numpy as np
import psutil

from common.bus.cache import Cache
from common.bus.client import Client
from common.clock import wall_us
from common.errors import ServiceError
from common.models import FloatArray
from workers.benches import listener
from workers.benches.figure import Figure, ratio
from workers.benches.footprint import Footprint, footprint
from workers.benches.listener import LIVE, RECORD
from workers.benches.paced import STEP_SECONDS, PacedSource
from workers.benches.servers import SYMBOL, own_platform, own_simulator
from workers.context import Context, wait_for

log = logging.getLogger(__name__)
_QUIET, _STEADY, _FLOOD = 5.0, 2000.0, 1e6
"""Quotes a second; the last is more than anything takes, so that the simulator conflates."""
_START, _SETTLE, _IDLE = 90.0, 20.0, 40.0
_LEAD, _HEAR, _TAIL = 3.0, 25.0, 2.0
"""Before quotes count, while they do, and until the last of them has to be in a level [s]."""
_LATE = "late"


@dataclass(frozen=True, slots=True)
class _Heard:
    """What was heard at a pace."""

    rate: float
    """[quotes/s]"""
    busy: float
    """Share of the processors that was in use meanwhile, by whomever: near 1 a delay is a queue."""
    waits: dict[str, FloatArray]
    """How long quotes waited for each kind of level, and how late the simulator was [ms]."""

    def delay(self, name: str, kind: str) -> Figure:
        """The 99th percentile, beside the median and what it was measured at."""
        waits = self.waits[kind]
        beside = {
            "name": f"median at {self.rate:,.0f} quotes/s, processors {self.busy:.0%} busy",
            "value": _finite(waits, 50.0),
            "unit": "ms",
        }
        return Figure(name, _finite(waits, 99.0), "ms", beside, _GOALS[name], "<=")


def run(reference: float | None) -> list[Figure]:
    """The figures of the platform as a whole.

    :param reference: entries a second of redis-benchmark's XADD.
    """
    options = ("--quotes-per-second", f"{_QUIET:g}", "--step", f"{STEP_SECONDS:g}")
    try:
        with (
            own_simulator(*options) as simulator,
            own_platform(simulator.url) as (context, head),
            httpx.Client(base_url=simulator.url, trust_env=False, timeout=30.0) as http,
        ):
            _wait_for_levels(context)
            source, client = PacedSource(http), context.redis()
            idle = _idle(head, simulator.process)
            steady = _waits(source, client, _STEADY)
            rate = _sustained(source, client)
            half = _waits(source, client, rate / 2.0)
            _check(source, context)
    except ServiceError as error:
        log.error("%s", error)
        return [_missing(name, goal, str(error)) for name, goal in _GOALS.items()]
    return [
        ratio(
            "wire_to_level",
            own=rate,
            name="redis-benchmark XADD per quote",
            reference=reference,
            unit="quotes/s",
            goal=_GOALS["wire_to_level"],
        ),
        half.delay("live_p99_ms_half", LIVE),
        steady.delay("live_p99_ms_2k", LIVE),
        steady.delay("record_p99_ms", RECORD),
        half.delay("simulator_late_ms_half", _LATE),
        steady.delay("simulator_late_ms_2k", _LATE),
        *idle,
    ]


_GOALS: dict[str, float | None] = {
    "wire_to_level": 0.15,
    "live_p99_ms_half": 15.0,
    "live_p99_ms_2k": 10.0,
    "record_p99_ms": 1050.0,
    "simulator_late_ms_half": None,
    "simulator_late_ms_2k": None,
    "idle_cpu": 0.10,
    "rss_mb": 1000.0,
}


def _missing(name: str, goal: float | None, reason: str) -> Figure:
    direction = ">=" if name == "wire_to_level" else "<="
    return Figure(name, None, "", None, goal, direction, reason=reason)  # type: ignore[arg-type]


def _finite(waits: FloatArray, share: float) -> float | None:
    """A percentile; None where those quotes never came to be in a level."""
    value = float(np.percentile(waits, share, method="higher")) if waits.size else np.inf
    return value if np.isfinite(value) else None


def _wait_for_levels(context: Context) -> None:
    """Until both kinds of level are there; then a while for what starts after them."""

    def ready() -> None:
        cache = Cache(context.redis())
        if cache.live(SYMBOL) is None or cache.latest(SYMBOL) is None:
            raise ServiceError("no level yet")

    wait_for(ready, seconds=_START, what="the platform")
    time.sleep(_SETTLE)


def _idle(head: psutil.Process, simulator: psutil.Process) -> list[Figure]:
    """A quiet market; the simulator stands in for a broker and is told beside."""
    before, began = sum(simulator.cpu_times()[:2]), time.monotonic()
    found = footprint(head, _IDLE)
    used = (sum(simulator.cpu_times()[:2]) - before) / (time.monotonic() - began)
    whole = Footprint(found.share + used, found.megabytes + footprint(simulator, 0.0).megabytes)
    name = "with the simulator, which is the broker here"
    return [
        Figure(
            "idle_cpu",
            found.share,
            "cores",
            {"name": name, "value": whole.share, "unit": "cores"},
            _GOALS["idle_cpu"],
            "<=",
        ),
        Figure(
            "rss_mb",
            found.megabytes,
            "MB",
            {"name": name, "value": whole.megabytes, "unit": "MB"},
            _GOALS["rss_mb"],
            "<=",
        ),
    ]


def _waits(source: PacedSource, client: Client, rate: float) -> _Heard:
    """How long quotes at a pace wait for a live level and for one of record, from the wire on, and
    how late the simulator was with them.
    """
    source.go_on(rate)
    time.sleep(_LEAD)
    phase = source.go_on(rate)
    psutil.cpu_percent()  # it counts from the call before
    heard = listener.listen(client, _HEAR)
    busy = psutil.cpu_percent() / 100.0
    until = wall_us() - round(_TAIL * 1e6)
    source.go_on(_QUIET)
    found = listener.entries(client, phase.from_wall_us)
    sent = listener.sent_quotes(found, source, phase, until_us=until)
    waits = {name: listener.latencies(levels, sent) for name, levels in heard.items()}
    waits[_LATE] = np.concatenate([each.late for each in sent.values()])
    return _Heard(rate, busy, waits)


def _sustained(source: PacedSource, client: Client) -> float:
    """Different quotes a second that come to be in live levels while there are always more."""
    source.go_on(_FLOOD)
    time.sleep(_LEAD)
    began = wall_us()
    live = listener.listen(client, _HEAR / 2.0)[LIVE]
    source.go_on(_QUIET)
    quotes = listener.quotes_between(live, listener.entries(client, began - 10_000_000))
    return quotes * 1e6 / (live.at[-1] - live.at[0])


def _check(source: PacedSource, context: Context) -> None:
    """Every quote has come: the level counts as much volume as the simulator has traded."""
    source.go_on(0.0)
    cache = Cache(context.redis())

    def complete() -> None:
        level, traded = cache.latest(SYMBOL), source.traded()
        told = sum(s["call_volume"] + s["put_volume"] for s in level["strikes"]) if level else 0
        if told != traded:
            raise ServiceError(f"the level holds {told} of {traded} quotes")

    wait_for(complete, seconds=30.0, what="the last quote")
