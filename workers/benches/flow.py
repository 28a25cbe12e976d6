"""Figures of the stream with its Greeks workers: quotes in, states out.

Owns measuring them; workers are processes as `gex up` starts them, on a server of the bench's own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from common.bus import keys
from common.bus.cache import Cache
from common.bus.codec import Batch
from common.bus.producer import Producer
from common.bus.streams import Streams
from common.models import Expiry
from workers.benches.figure import Figure, one_processor, ratio
from workers.benches.sample import DAY, batches
from workers.context import Context

_QUOTES = 300_000
_SIZE = 500
_ROUNDS = 3
_PAIRS, _PAIRS_OF_GOAL = 5, 9
"""Rounds of one worker and two: their ratios differ by a tenth and more."""
_BACKLOGS = {10: 300_000, 40: 600_000, 500: 1_000_000}
"""Quotes of an entry, of each expiration: of fewer the workers are done before both have woken
up. A market that makes 2,000 quotes a second leaves entries of some 3, one of 34,000 some 40; full
ones come of replays."""
_AT_ONCE = 50
"""Entries that are appended in one step before the workers begin."""
_IN_FLIGHT = 1_000_000
_PATIENCE = 120.0
_COUNT = 30_000_000


def stream_to_state(context: Context, reference: float | None) -> Figure:
    """Quotes a second that a producer appends and one worker merges, from first to last.

    :param reference: entries a second of redis-benchmark on the same server.
    """
    made = batches(_QUOTES, _SIZE)
    with _workers(context, 1):
        rates = [_through(context, {_shards(1)[0]: made}) for _ in range(_ROUNDS)]
    return ratio(
        "stream_to_state",
        own=statistics.median(rates),
        name="redis-benchmark XADD per quote",
        reference=reference,
        unit="quotes/s",
        goal=3.0,
    )


def two_workers(context: Context) -> list[Figure]:
    """Two Greeks workers over one, on streams of four expirations that wait for them.

    The goal is of a backlog as a live market leaves it. With entries of 500 quotes one worker
    merges nearly what Redis serves, so that two of them measure their server. What each gets
    from a processor to keep to is ``two_workers_apart``.
    """
    live, *others = _BACKLOGS
    return [
        _two_workers(context, "two_workers", live, goal=1.5),
        _two_workers(context, "two_workers_apart", live, apart=True),
        *(_two_workers(context, f"two_workers_{size}", size) for size in others),
    ]


def _two_workers(
    context: Context, figure_id: str, size: int, *, apart: bool = False, goal: float | None = None
) -> Figure:
    preloaded = dict.fromkeys(_shards(4), batches(_BACKLOGS[size], size))
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(_PAIRS if goal is None else _PAIRS_OF_GOAL):
        for count, seen in rates.items():
            with _workers(context, count, apart=apart) as started:
                seen.append(_preloaded(context, preloaded, started))
    one, two = (statistics.median(seen) for seen in rates.values())
    return ratio(
        figure_id, own=two, name="one Greeks worker", reference=one, unit="quotes/s", goal=goal
    )


def two_loops() -> Figure:
    """Two processes that only count over one: what this machine's processors give at most."""
    one = statistics.median(_counting(1) for _ in range(_ROUNDS))
    two = statistics.median(_counting(2) for _ in range(_ROUNDS))
    return ratio(
        "two_loops",
        own=2.0 * _COUNT / two,
        name="one process that counts",
        reference=_COUNT / one,
        unit="turns/s",
        goal=None,
    )


def _counting(processes: int) -> float:
    """Seconds until the last of so many processes has counted, without their starts."""
    program = (
        f"import time\nbegan = time.perf_counter()\nfor _ in range({_COUNT}): pass\n"
        "print(time.perf_counter() - began)"
    )
    command = [sys.executable, "-c", program]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    return max(float(process.communicate()[0]) for process in started)


def memory_in_flight(context: Context) -> Figure:
    """Redis' memory for quotes that were delivered to a reader and never acknowledged [MB]."""
    client = context.redis()
    client.flushdb()
    stream = keys.quotes("SPY", _shards(1)[0])
    producer = Producer(client, "SPY", 1)
    before = int(client.info("memory")["used_memory"])
    for batch in batches(_IN_FLIGHT, _SIZE):
        producer.append(_shards(1)[0], batch)
    while Streams(client).read("greeks", "bench", [stream], count=1000, block_ms=1):
        pass
    (group, _) = sorted(Streams(client).groups(stream), key=lambda state: state.name)
    assert group.pending == _IN_FLIGHT // _SIZE  # noqa: S101
    used = int(client.info("memory")["used_memory"]) - before
    client.flushdb()
    return Figure(
        "redis_mb_per_million", used / 1e6 * 1e6 / _IN_FLIGHT, "MB", _raw_size(), 80.0, "<="
    )


def _raw_size() -> dict[str, object]:
    size = len(b"".join(batches(_SIZE, _SIZE)[0].encode().values())) / _SIZE
    return {"name": "bytes of a quote in its entry", "value": size, "unit": "B"}


def _shards(count: int) -> list[str]:
    return [Expiry(DAY + timedelta(days=number)).shard for number in range(count)]


def _through(context: Context, made: dict[str, list[Batch]]) -> float:
    """Quotes a second from the first append to the last state, none lost."""
    client = context.redis()
    _clear(context)
    producer, last, total = Producer(client, "SPY", 1), {}, 0
    for shard in made:  # the worker finds its streams once a second: not what is measured
        producer.append(shard, made[shard][0])
    _merged(context, made[next(iter(made))][0].header.quotes * len(made))
    began = time.perf_counter()
    for shard, parts in made.items():
        for batch in parts[1:]:
            last[shard] = producer.append(shard, batch)
            total += batch.header.quotes
    expected = sum(batch.header.quotes for parts in made.values() for batch in parts)
    _merged(context, expected)
    seconds = time.perf_counter() - began
    assert Cache(client).watermark("SPY") == last  # noqa: S101
    return total / seconds


def _preloaded(
    context: Context, made: dict[str, list[Batch]], started: list[subprocess.Popen[bytes]]
) -> float:
    """Quotes a second of workers that were stopped (SIGSTOP) while their streams were filled."""
    client = context.redis()
    _clear(context)
    producer = Producer(client, "SPY", 1)
    for shard, parts in made.items():
        producer.append(shard, parts[0])
    first = sum(parts[0].header.quotes for parts in made.values())
    _merged(context, first)
    _balanced(context, len(started), len(made))
    for process in started:
        process.send_signal(signal.SIGSTOP)
    for shard, parts in made.items():
        for start in range(1, len(parts), _AT_ONCE):
            producer.append_all([(shard, part) for part in parts[start : start + _AT_ONCE]])
    expected = sum(batch.header.quotes for parts in made.values() for batch in parts)
    began = time.perf_counter()
    for process in started:
        process.send_signal(signal.SIGCONT)
    _merged(context, expected, every=0.01)
    return (expected - first) / (time.perf_counter() - began)


def _merged(context: Context, quotes: int, every: float = 0.002) -> None:
    """Wait until so many quotes are in the states, looking every so many seconds."""
    client, deadline = context.redis(), time.monotonic() + _PATIENCE
    while int(client.hget(keys.counters("SPY"), "quotes_processed") or 0) < quotes:
        assert time.monotonic() < deadline, "the Greeks workers stand still"  # noqa: S101
        time.sleep(every)


def _balanced(context: Context, workers: int, shards: int) -> None:
    """Wait until every worker holds its share of the shards."""
    client, deadline = context.redis(), time.monotonic() + _PATIENCE
    while True:
        holders = [client.hget(key, "name") for key in client.scan_iter("lease:SPY:*")]
        if len(holders) == shards and len(set(holders)) == workers:
            return
        assert time.monotonic() < deadline, "the shards are not shared out"  # noqa: S101
        time.sleep(0.05)


def _clear(context: Context) -> None:
    """Forget streams and states; the workers and their registration stay."""
    client = context.redis()
    for pattern in ("quotes:*", "greeks:*", "chain:*", "watermark:*", "counters:*", "lease:*"):
        for key in client.scan_iter(pattern):
            client.delete(key)
    client.delete(keys.STREAMS, keys.appended("SPY"), keys.shards("SPY"))


@contextlib.contextmanager
def _workers(
    context: Context, count: int, *, apart: bool = False
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Greeks workers that have loaded their kernels.

    :param apart: each on a processor of its own, as far as there are any.
    """
    context.redis().flushdb()
    command = str(Path(sys.executable).with_name("gex"))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GEX_")},
        "GEX_STATE_DIR": str(context.settings.state_dir),
        "GEX_LEASE_SECONDS": "60",  # they are stopped while streams are filled
    }
    started = []
    for number in range(count):
        with one_processor(number) if apart else contextlib.nullcontext():
            started.append(
                subprocess.Popen(
                    [command, "worker", "greeks", "--name", f"greeks-{number}"],
                    env=environment,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
    client = context.redis()

    def all_there() -> bool:
        return int(client.zcard(keys.actors(keys.GREEKS_GROUP))) >= count

    try:
        deadline = time.monotonic() + _PATIENCE
        while not all_there():
            assert time.monotonic() < deadline, "the Greeks workers do not start"  # noqa: S101
            time.sleep(0.05)
        yield started
    finally:
        for process in started:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in started:
            process.wait(30)
