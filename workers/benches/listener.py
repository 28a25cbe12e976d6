"""An independent reader of levels: what it hears, when, and which quotes are in it.

Owns listening and the arithmetic of latencies. A level's watermark names the last entry of each
quotes stream that is in it, and an entry holds its quotes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from common.bus import keys
from common.bus.cache import Cache
from common.bus.client import Client, bus_errors, text
from common.bus.codec import Batch
from common.bus.entries import id_order
from common.clock import wall_us
from common.models import FloatArray
from workers.benches.paced import IntArray, PacedSource, Phase
from workers.benches.servers import SYMBOL

LIVE, RECORD = keys.live(SYMBOL), keys.channel(SYMBOL)


class _Level(msgspec.Struct):
    """The part of a level that says which quotes are in it."""

    watermark: dict[str, str]


@dataclass(slots=True)
class Heard:
    """Levels of one channel in the order in which they came."""

    at: list[int] = field(default_factory=list)
    """Wall time [us]."""
    watermarks: list[dict[str, str]] = field(default_factory=list)

    def ids(self, shard: str) -> IntArray:
        """The last entry of a shard that each level holds; see :func:`_number`."""
        return np.array([_number(mark.get(shard, "0-0")) for mark in self.watermarks], np.int64)


@dataclass(frozen=True, slots=True)
class Entries:
    """The quotes of one shard's stream, an element each."""

    ids: IntArray
    """Of the entry; see :func:`_number`."""
    contracts: IntArray
    volumes: IntArray


@dataclass(frozen=True, slots=True)
class Sent:
    """Different quotes of one shard, an element each."""

    ids: IntArray
    """Of the first entry that holds it; see :func:`_number`."""
    due: IntArray
    """When the simulator had to send it [us, wall time]."""
    at: FloatArray
    """When it did [us, wall time], infinite where that is not known."""

    @property
    def late(self) -> FloatArray:
        """How late the simulator was with each [ms]."""
        return (self.at - self.due) / 1000.0


def listen(client: Client, seconds: float) -> dict[str, Heard]:
    """Hear live levels and those of record for some time.

    :raises BusError: when Redis is gone.
    """
    heard = {name: Heard() for name in (LIVE, RECORD)}
    decode = msgspec.json.Decoder(_Level).decode
    pubsub: Any = client.pubsub
    with bus_errors(), pubsub(ignore_subscribe_messages=True) as channel:
        channel.subscribe(*heard)
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            message: Any = channel.get_message(timeout=left)
            if message is None:
                continue
            at = wall_us()
            levels = heard[text(message["channel"])]
            levels.at.append(at)
            levels.watermarks.append(decode(message["data"]).watermark)
    return heard


def entries(client: Client, from_us: int) -> dict[str, Entries]:
    """The quotes that were appended since an instant [us, wall time], by shard.

    :raises BusError: when Redis is gone.
    """
    found = {}
    for shard in Cache(client).shards(SYMBOL):
        with bus_errors():
            rows: Any = client.xrange(keys.quotes(SYMBOL, shard), min=str(from_us // 1000))
        quotes = [
            (_number(text(entry_id)), Batch.decode(fields).quotes) for entry_id, fields in rows
        ]
        sizes = [len(each) for _, each in quotes]
        found[shard] = Entries(
            np.repeat(np.array([at for at, _ in quotes], np.int64), sizes),
            np.concatenate([each["key"] for _, each in quotes]).astype(np.int64),
            np.concatenate([each["volume"] for _, each in quotes]).astype(np.int64),
        )
    return found


def latencies(
    heard: Heard,
    sent: dict[str, Sent],
) -> FloatArray:
    """Time from each quote on the wire to the first level heard that holds it [ms].

    Infinite for one that no level holds, or of which nobody knows when it went out.
    """
    times = np.append(np.array(heard.at, np.float64), np.inf)
    waited = []
    for shard, each in sent.items():
        places = np.searchsorted(np.maximum.accumulate(heard.ids(shard)), each.ids)
        known = np.isfinite(each.at)
        waits = times[places] - np.where(known, each.at, 0.0)
        waited.append(np.where(known, waits, np.inf) / 1000.0)
    return np.concatenate(waited)


def sent_quotes(
    found: dict[str, Entries],
    source: PacedSource,
    phase: Phase,
    *,
    until_us: int,
) -> dict[str, Sent]:
    """The quotes of a phase by shard; those that came on two streams once.

    :param until_us: quotes that were due later are left out [us, wall time].
    :raises ServiceError: when it is not known when they went out.
    """
    wire, sent = source.wire(phase), {}
    for shard, each in found.items():
        numbers = source.numbers(shard, each.contracts, each.volumes)
        numbers, first = np.unique(numbers, return_index=True)
        due = phase.due_at(numbers)
        kept = (numbers >= phase.before) & (due <= until_us)
        due = due[kept]
        sent[shard] = Sent(each.ids[first[kept]], due, wire.sent_at(shard, due))
    return sent


def quotes_between(heard: Heard, found: dict[str, Entries]) -> int:
    """Different quotes that the last of some levels holds and the first one does not."""
    total = 0
    for shard, each in found.items():
        ids = heard.ids(shard)
        between = (each.ids > ids[0]) & (each.ids <= ids[-1])
        pairs = each.contracts[between] << 32 | each.volumes[between]
        total += len(np.unique(pairs))
    return total


def _number(entry_id: str) -> int:
    """An entry's id as one number that sorts alike."""
    milliseconds, sequence = id_order(entry_id)
    return milliseconds << 20 | sequence
