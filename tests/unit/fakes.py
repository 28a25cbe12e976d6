"""What the unit tests of the pipeline share: one trading day, small chains, clients that fail.

A session of SPY on 2026-08-19 (9:30 to 16:00 New York), quotes priced by Black-Scholes at one
volatility, and a Redis in memory of which single answers can be lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from unittest.mock import patch

import numpy as np
import redis
from fakeredis import FakeRedis

from common.bus import keys
from common.bus.client import Posted
from common.bus.codec import Batch, BatchHeader
from common.bus.entries import Entry
from common.bus.leases import Leases
from common.bus.memory import Memory
from common.bus.producer import Producer
from common.bus.streams import Streams
from common.clock import SECOND, session_hours
from common.models import QUOTE, SPOT, Expiry, Rows, Session, contract_keys
from common.settings import QuantParameters
from workers.actor import Actor
from workers.greeks import GreeksHandler, Live
from workers.handling import Outcome, Policy

DAY = date(2026, 8, 19)
OPEN, CLOSE = session_hours(DAY)
NOON = OPEN + 9000 * SECOND
TODAY, TOMORROW = Expiry(DAY), Expiry(date(2026, 8, 20))
SHARD, OTHER = TODAY.shard, TOMORROW.shard
STREAM, OTHER_STREAM = keys.quotes("SPY", SHARD), keys.quotes("SPY", OTHER)
SESSION = "SPY:2026-08-19:simulator:1"
PARAMETERS = QuantParameters()
STRIKES = range(630, 651, 2)


def make_session(**changes: Any) -> Session:
    """A live session of the day, open since the morning."""
    fields: dict[str, Any] = {
        "key": SESSION,
        "symbol": "SPY",
        "feed": "simulator",
        "trading_date": DAY,
        "open_us": OPEN,
        "close_us": CLOSE,
        "stale_after_us": 15 * SECOND,
        "epoch": 1,
        "first_pass": {},  # every shard is there already
    }
    return Session(**{**fields, **changes})


def make_quotes(
    strikes: Sequence[float] = STRIKES,
    *,
    rights: str = "CP",
    seq: int = 1,
    time: int = NOON,
    spot: float = 640.0,
    years: float = 4.0 / 24 / 365,
    sigma: float = 0.18,
    **columns: Any,
) -> Rows:
    """Quotes of some contracts, numbered from ``seq`` on; ``columns`` replace what is priced."""
    rows = np.zeros(len(strikes) * len(rights), QUOTE)
    strike = np.repeat(np.asarray(strikes, dtype=float), len(rights))
    puts = np.tile([right == "P" for right in rights], len(strikes))
    mids = [
        black_scholes(k, spot, years, sigma, put=bool(put))
        for k, put in zip(strike, puts, strict=True)
    ]
    rows["key"] = contract_keys(strikes=strike, puts=puts)
    rows["time"], rows["spot"] = time, spot
    rows["seq"] = np.arange(seq, seq + len(rows))
    rows["bid"], rows["ask"] = np.maximum(np.array(mids) - 0.005, 0.0), np.array(mids) + 0.005
    rows["last"], rows["bid_size"], rows["ask_size"] = np.nan, 10, 10
    rows["volume"], rows["open_interest"] = 100, 1000
    for name, value in columns.items():
        rows[name] = value
    return rows


def black_scholes(strike: float, spot: float, years: float, sigma: float, *, put: bool) -> float:
    """Price at the default rate [$]."""
    rate, width = PARAMETERS.rate, sigma * math.sqrt(years)
    d1 = (math.log(spot / strike) + rate * years) / width + width / 2
    discounted = strike * math.exp(-rate * years)
    sign = -1.0 if put else 1.0
    return sign * (spot * _normal(sign * d1) - discounted * _normal(sign * (d1 - width)))


def _normal(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def make_spots(*prices: float, seq: int = 1000, time: int = NOON) -> Rows:
    """Prices of the underlying, numbered from ``seq`` on."""
    rows = [(time, seq + i, price, float("nan")) for i, price in enumerate(prices)]
    return np.array(rows, dtype=SPOT)


def make_batch(
    number: int = 1,
    *,
    quotes: Rows | None = None,
    spots: Rows | None = None,
    epoch: int = 1,
    session: str = SESSION,
    reset: bool = False,
    vix: float = 0.0,
    vix_time: int = 0,
) -> Batch:
    """A quotes entry's content."""
    quotes = np.empty(0, QUOTE) if quotes is None else quotes
    spots = np.empty(0, SPOT) if spots is None else spots
    header = BatchHeader(
        session=session,
        epoch=epoch,
        batch=number,
        received_us=NOON,
        quotes=len(quotes),
        spots=len(spots),
        reset=reset,
        vix=vix,
        vix_time=vix_time,
    )
    return Batch(header, quotes, spots)


def append(client: redis.Redis, *batches: Batch, shard: str = SHARD) -> list[str]:
    """Append batches as their producers would; the ids of their entries."""
    return [Producer(client, "SPY", batch.header.epoch).append(shard, batch) for batch in batches]


def pending(client: redis.Redis, group: str, stream: str = STREAM) -> list[str]:
    """Ids of the entries that were delivered and not acknowledged."""
    rows: Any = client.xpending_range(stream, group, "-", "+", 10_000)
    return [row["message_id"].decode() for row in rows]


def letters(client: redis.Redis, group: str) -> list[dict[bytes, bytes]]:
    """The dead letters of a group."""
    found: Any = client.xrange(keys.dead(group))
    return [fields for _, fields in found]


def everything(client: redis.Redis) -> dict[bytes, bytes | None]:
    """All that Redis holds, to show that something changed nothing."""
    return {key: client.dump(key) for key in client.scan_iter()}  # type: ignore[misc]


def set_back(client: redis.Redis, then: dict[bytes, bytes | None]) -> None:
    """Let Redis hold what it held then, as after a start from a log that ends there."""
    client.flushall()
    for key, value in then.items():
        client.restore(key, 0, value)


class LossyRedis(FakeRedis):
    """A Redis that does what it is told, and of which some answers are lost on the way."""

    def lose_answers(self, command: str, times: int = 1) -> None:
        """Lose the answers to the next commands whose name begins so."""
        self.losing = (command, times)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command; raise where its answer is to be lost."""
        answer = super().execute_command(*args, **options)
        command, times = getattr(self, "losing", ("", 0))
        if times and str(args[0]).startswith(command):
            self.losing = (command, times - 1)
            raise redis.ConnectionError("connection reset by peer")
        return answer


@contextmanager
def lost_replies() -> Iterator[None]:
    """Let what is posted be done, and all its replies be lost on the way."""
    read = Posted.replies

    def lose(post: Posted) -> None:
        read(post)
        raise redis.ConnectionError("connection reset by peer")

    with patch.object(Posted, "replies", lose):
        yield


@dataclass
class Clock:
    """A clock that stands until it is moved."""

    at: float = 0.0

    def __call__(self) -> float:
        """The time it shows."""
        return self.at


class FakeMemory(Memory):
    """A Redis that is as full as one says."""

    def __init__(self, filled: float = 0.0) -> None:
        self.filled = filled

    def share(self) -> float:
        """How full that is."""
        return self.filled


@dataclass
class Recorder:
    """A handler whose durable effect is a list, and which fails as it is told."""

    reads: list[str]
    group: str = keys.STORE_GROUP
    exclusive: bool = False
    effects: list[bytes] = field(default_factory=list)
    calls: list[list[bytes]] = field(default_factory=list)
    faults: dict[bytes, Iterable[Exception | None]] = field(default_factory=dict)
    """Payload → what each attempt at it raises; None, or the end, is success."""
    before: Callable[[], None] = lambda: None
    maintained: int = 0
    rests: list[Exception | float | None] = field(default_factory=list)
    """What each round is followed by; nothing where there is no more."""
    rested: int = 0
    closed: bool = False

    def streams(self) -> list[str]:
        """What it was given to read."""
        return list(self.reads)

    def handle(self, stream: str, entries: list[Entry]) -> Outcome:
        """All or nothing, as a transaction is."""
        self.before()
        payloads = [entry.fields[b"n"] for entry in entries]
        self.calls.append(payloads)
        for payload in payloads:
            faults = self.faults[payload] = iter(self.faults.get(payload, ()))
            fault = next(faults, None)
            if fault is not None:
                raise fault
        self.effects += payloads
        return Outcome({"seen": len(entries)})

    def maintain(self) -> None:
        """Count the periodic duties."""
        self.maintained += 1

    def rest(self) -> float | None:
        """Count the rounds."""
        self.rested += 1
        then = self.rests.pop(0) if self.rests else None
        if isinstance(then, Exception):
            raise then
        return then

    def close(self) -> None:
        """Remember the last act."""
        self.closed = True


LONG, LAPSED = 600_000, -1000
"""Lengths of leases [ms]; one of negative length has run out when it is taken."""


class Worker:
    """A Greeks worker of which single steps can be taken."""

    def __init__(
        self,
        client: FakeRedis,
        name: str = "greeks-0",
        *,
        lease: int = LONG,
        live: Live | None = None,
    ) -> None:
        self.name, self.streams = name, Streams(client)
        self.leases = Leases(client, name=name, token=f"{name}-1", milliseconds=lease)
        self.handler = GreeksHandler(client, self.leases, PARAMETERS, live)
        policy = Policy(block_ms=1, refresh_seconds=0.0, backoff_seconds=0.0, retry_seconds=0.0)
        self.actor = Actor(self.streams, self.handler, name, policy, monotonic=Clock())

    def take(self) -> list[Entry]:
        """Take the leases and what is new, without handling it."""
        self.handler.streams()
        found = self.streams.read(keys.GREEKS_GROUP, self.name, [STREAM], count=100, block_ms=1)
        return [entry for _, entries in found for entry in entries]

    def work(self) -> None:
        """Step until there is nothing new."""
        while self.actor.step():
            pass
