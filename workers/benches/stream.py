"""Figures of the bus: micro-batched appends against redis-benchmark, and what follows them.

Owns measuring appends; the reference is redis-benchmark's XADD of one 10-field entry per quote, one
client, pipeline 100, against the same server in the same run.
"""

from __future__ import annotations

import csv
import shutil
import statistics
import subprocess
from urllib.parse import urlsplit

from common.bus import keys
from common.bus.producer import Producer
from workers.benches import flow, live
from workers.benches.figure import Figure, ratio, seconds_of
from workers.benches.sample import batches
from workers.benches.servers import own_servers
from workers.context import Context

_QUOTES = 100_000
_ROUNDS = 5
_GOALS = {10: 0.2, 100: 1.5, 500: 4.0}


def run() -> list[Figure]:
    """The figures of `gex bench stream`."""
    with own_servers("redis") as context:
        rates: dict[int, list[float]] = {size: [] for size in _GOALS}
        references: list[float] = []
        for _ in range(_ROUNDS):
            for size in _GOALS:
                rates[size].append(_append(context, size))
            reference = _redis_benchmark(context)
            if reference:
                references.append(reference)
        beside = statistics.median(references) if references else None
        flows = [
            flow.memory_in_flight(context),
            flow.stream_to_state(context, beside),
            *flow.two_workers(context),
            flow.two_loops(),
        ]
    return [*_appends(rates, beside), *flows, *live.run(beside)]


def _appends(rates: dict[int, list[float]], beside: float | None) -> list[Figure]:
    return [
        ratio(
            f"append_{size}",
            own=statistics.median(rates[size]),
            name="redis-benchmark XADD per quote",
            reference=beside,
            unit="quotes/s",
            goal=goal,
        )
        for size, goal in _GOALS.items()
    ]


def _append(context: Context, size: int) -> float:
    """Quotes appended per second in batches of ``size``."""
    client = context.redis()
    made = batches(_QUOTES // (10 if size < 100 else 1), size)
    client.flushdb()
    producer = Producer(client, "SPY", 1)

    def append() -> None:
        for batch in made:
            producer.append("2026-08-19", batch)

    seconds = seconds_of(append)
    assert client.xlen(keys.quotes("SPY", "2026-08-19")) == len(made)  # noqa: S101
    return sum(batch.header.quotes for batch in made) / seconds


def _redis_benchmark(context: Context) -> float | None:
    """Entries per second of redis-benchmark, or None when it is not installed."""
    program = shutil.which("redis-benchmark")
    if program is None:
        return None
    parts = urlsplit(context.instance.redis_url())
    fields = [part for i in range(10) for part in (f"field{i}", "12345678")]
    client = context.redis()
    client.flushdb()
    result = subprocess.run(
        [
            *(program, "-h", str(parts.hostname), "-p", str(parts.port)),
            *("--user", str(parts.username), "-a", str(parts.password)),  # of this bench only
            *("-c", "1", "-P", "100", "-n", "50000", "--csv", "XADD", "bench", "*", *fields),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        return None
    _, row = csv.reader(result.stdout.strip().splitlines())
    return float(row[1])
