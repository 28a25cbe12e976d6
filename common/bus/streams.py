"""Reading, acknowledging, claiming and trimming of stream entries.

Owns the consumer-group commands; must not know what an entry means.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from common.bus import keys, scripts
from common.bus.client import Client, Errand, bus_errors, run_errands, text
from common.bus.entries import Burial, Entry, id_order

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a consumer took over."""

    taken: int
    lost: list[str]
    """Ids of pending entries whose content had been trimmed away."""


@dataclass(frozen=True, slots=True)
class GroupState:
    """Where a consumer group stands on a stream."""

    name: str
    pending: int
    lag: int
    last_delivered: str
    oldest_pending: str | None


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What a consumer was given and has not acknowledged."""

    pending: int
    oldest: str | None


class Streams:
    """The streams of one Redis, seen by consumer groups."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._claim = client.register_script(scripts.CLAIM)
        self._acknowledge = client.register_script(scripts.ACKNOWLEDGE)

    def register(self, stream: str) -> None:
        """Create a stream with every group that has to read it, and list it.

        Groups start at 0, so nothing appended earlier is lost.
        """
        for group in keys.groups_of(stream):
            self.ensure_group(stream, group)
        with bus_errors():
            self.client.sadd(keys.STREAMS, stream)

    def ensure_group(self, stream: str, group: str) -> None:
        """Create a consumer group at the stream's beginning unless it exists.

        Asking first lets a worker go on with what it has where memory for more is short.
        """
        if any(state.name == group for state in self.groups(stream)):
            return
        with bus_errors():
            try:
                self.client.xgroup_create(stream, group, id="0", mkstream=True)
            except redis.ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    def registered(self) -> list[str]:
        """Every stream in use, sorted."""
        with bus_errors():
            return sorted(text(name) for name in self.client.smembers(keys.STREAMS))

    def read(
        self,
        group: str,
        consumer: str,
        streams: list[str],
        *,
        count: int,
        block_ms: int | None,
        errands: Sequence[Errand] = (),
    ) -> list[tuple[str, list[Entry]]]:
        """New entries of several streams, waiting up to ``block_ms`` for the first; None: not at
        all.

        :param errands: go before it in the same packet.
        """
        if errands:
            wait = () if block_ms is None else ("BLOCK", block_ms)
            command = ("XREADGROUP", "GROUP", group, consumer, "COUNT", count, *wait, "STREAMS")
            marks = [">"] * len(streams)
            (raw,) = run_errands(self.client, errands, (*command, *streams, *marks))
            return _deliveries(self.client.response_callbacks["XREADGROUP"](raw))
        with bus_errors():
            reply = self.client.xreadgroup(
                group, consumer, dict.fromkeys(streams, ">"), count=count, block=block_ms
            )
        return _deliveries(reply)

    def look_ahead(self, after: Mapping[str, str], *, count: int) -> list[tuple[str, list[Entry]]]:
        """Up to so many entries of each stream behind an id, delivered to nobody.

        Redis keeps and logs nothing of it: it takes a quarter of the time that delivering and
        acknowledging them does.
        """
        with bus_errors(), self.client.pipeline(transaction=False) as pipe:
            for stream, entry_id in after.items():
                pipe.xrange(stream, min=f"({entry_id}", count=count)
            replies = pipe.execute()
        found = _deliveries(zip(after, replies, strict=True), delivered=False)
        return [(stream, entries) for stream, entries in found if entries]

    def own_pending(self, group: str, consumer: str, stream: str, *, count: int) -> list[Entry]:
        """Entries that were delivered to this consumer and never acknowledged, oldest first."""
        with bus_errors():
            reply = self.client.xreadgroup(group, consumer, {stream: "0"}, count=count)
        return [entry for _, entries in _deliveries(reply) for entry in entries]

    def claim(self, group: str, consumer: str, stream: str, *, min_idle_ms: int) -> Claimed:
        """Take over every pending entry that was idle long enough."""
        with bus_errors():
            reply: Any = self._claim(keys=[stream], args=[group, consumer, min_idle_ms])
        return Claimed(int(reply[0]), [text(entry_id) for entry_id in reply[1]])

    def forgive(self, group: str, consumer: str, stream: str, ids: list[str]) -> None:
        """Count pending entries as never delivered: an outage was no fault of theirs."""
        with bus_errors():
            wanted: list[Any] = list(ids)
            self.client.xclaim(stream, group, consumer, 0, wanted, retrycount=0, justid=True)

    def deliveries(self, group: str, stream: str, entry_id: str) -> int:
        """How often a pending entry was delivered; 0 when it is not pending."""
        with bus_errors():
            rows: Any = self.client.xpending_range(stream, group, entry_id, entry_id, 1)
        return int(rows[0]["times_delivered"]) if rows else 0

    def oldest_deliveries(self, group: str, consumer: str, stream: str) -> int:
        """How often a consumer's oldest pending entry was delivered; 0 without one."""
        with bus_errors():
            rows: Any = self.client.xpending_range(stream, group, "-", "+", 1, consumer)
        return int(rows[0]["times_delivered"]) if rows else 0

    def acknowledge(self, group: str, stream: str, ids: list[str], counts: dict[str, int]) -> bool:
        """Acknowledge entries and add to the symbol's counters, in one step.

        :returns: False, with nothing changed, where one of them is not pending: Redis was set
            back to before it had delivered it, or somebody else has acknowledged it.
        """
        names, values = self._acknowledgement(group, stream, ids, counts)
        with bus_errors():
            return bool(self._acknowledge(keys=names, args=values))

    def acknowledge_all(
        self, group: str, done: Sequence[tuple[str, list[str], dict[str, int]]]
    ) -> list[bool]:
        """Acknowledge entries of several streams in one round trip, as :meth:`acknowledge` does
        those of one; a list of (stream, ids, counts)."""
        with bus_errors(), self.client.pipeline(transaction=False) as pipe:
            for stream, ids, counts in done:
                names, values = self._acknowledgement(group, stream, ids, counts)
                self._acknowledge(keys=names, args=values, client=pipe)
            return [bool(reply) for reply in pipe.execute()]

    def _acknowledgement(
        self, group: str, stream: str, ids: list[str], counts: dict[str, int]
    ) -> tuple[list[str], list[Any]]:
        """Keys and arguments of the script."""
        pairs: list[Any] = [part for item in counts.items() for part in item]
        names = [stream, keys.counters(keys.stream_symbol(stream))]
        return names, [group, len(counts), *pairs, *ids]

    def bury(
        self, group: str, stream: str, burials: Sequence[Burial], *, whole: bool = True
    ) -> None:
        """Move entries to the group's dead letters: original, reason and traceback.

        :param whole: False for parts of them, whose rest is acknowledged when it is done.
        """
        if not burials:
            return
        with bus_errors(), self.client.pipeline(transaction=True) as pipe:
            for burial in burials:
                log.error("dead letter: %s %s: %s", stream, burial.entry.id, burial.reason)
                letter: dict[Any, Any] = {
                    "stream": stream,
                    "id": burial.entry.id,
                    "reason": burial.reason,
                    "traceback": burial.trace,
                    "deliveries": burial.deliveries,
                    **{b"f:" + name: value for name, value in burial.entry.fields.items()},
                }
                pipe.xadd(keys.dead(group), letter)
                if whole:
                    pipe.xack(stream, group, burial.entry.id)
            counters = keys.counters(keys.stream_symbol(stream))
            pipe.hincrby(counters, f"dead_{group}", len(burials))
            pipe.execute()

    def groups(self, stream: str) -> list[GroupState]:
        """Where each group of a stream stands; empty when the stream does not exist."""
        with bus_errors():
            try:
                rows: Any = self.client.xinfo_groups(stream)
            except redis.ResponseError as error:
                if "no such key" in str(error):
                    return []
                raise
            states = []
            for row in rows:
                name = text(row["name"])
                oldest = None
                if row["pending"]:
                    summary: Any = self.client.xpending(stream, name)
                    oldest = text(summary["min"]) if summary["min"] else None
                lag = row.get("lag")
                states.append(
                    GroupState(
                        name,
                        int(row["pending"]),
                        -1 if lag is None else int(lag),
                        text(row["last-delivered-id"]),
                        oldest,
                    )
                )
            return states

    def unfinished(self, group: str, stream: str) -> dict[str, Unfinished]:
        """Consumer → what is pending of a stream, where anything is."""
        with bus_errors():
            summary: Any = self.client.xpending(stream, group)
            found = {}
            for row in summary["consumers"] or ():
                name, pending = text(row["name"]), int(row["pending"])
                first: Any = self.client.xpending_range(stream, group, "-", "+", 1, name)
                oldest = text(first[0]["message_id"]) if first else None
                found[name] = Unfinished(pending, oldest)
        return found

    def forget(self, group: str) -> list[str]:
        """Let no stream wait for a group any more; the streams that did."""
        with bus_errors():
            return [
                stream
                for stream in self.registered()
                if any(state.name == group for state in self.groups(stream))
                and self.client.xgroup_destroy(stream, group)
            ]

    def trim(self, stream: str, *, keep_after_ms: int) -> int:
        """Drop what every group has acknowledged and is older than ``keep_after_ms`` [wall ms].

        Nothing is dropped while a group the stream must pass is missing.
        """
        states = {state.name: state for state in self.groups(stream)}
        if any(group not in states for group in keys.groups_of(stream)):
            return 0
        marks = [
            id_order(state.oldest_pending or state.last_delivered) for state in states.values()
        ]
        mark = min([*marks, (keep_after_ms, 0)])
        if mark == (0, 0):
            return 0
        with bus_errors():
            return int(self.client.xtrim(stream, minid=f"{mark[0]}-{mark[1]}", approximate=True))

    def is_dealt_with(self, stream: str) -> bool:
        """Whether every group that reads a stream is there and has acknowledged all of it; one
        that has not found the stream yet has not. Of a stream that is gone nothing is left."""
        states = {state.name: state for state in self.groups(stream)}
        missing = any(group not in states for group in keys.groups_of(stream))
        with bus_errors():
            if missing and self.client.exists(stream):
                return False
        return not any(state.pending or state.lag for state in states.values())

    def retire(self, stream: str) -> bool:
        """Forget a quotes stream of an earlier session once every group has acknowledged it.

        :returns: False, with nothing changed, while anything of it is still needed.
        """
        symbol, shard = keys.stream_symbol(stream), keys.stream_shard(stream)
        with bus_errors(), self.client.pipeline(transaction=True) as pipe:
            pipe.watch(stream, keys.shards(symbol))  # type: ignore[no-untyped-call]  # as it comes
            if pipe.sismember(keys.shards(symbol), shard):
                return False
            if not self.is_dealt_with(stream):
                return False
            pipe.multi()
            pipe.srem(keys.STREAMS, stream)
            pipe.delete(stream, keys.chain(symbol, shard))
            pipe.hdel(keys.watermark(symbol), shard)
            try:
                pipe.execute()
            except redis.WatchError:
                return False
        return True


def _deliveries(reply: Any, *, delivered: bool = True) -> list[tuple[str, list[Entry]]]:
    return [
        (
            text(stream),
            [Entry(text(entry_id), fields or {}, delivered) for entry_id, fields in rows],
        )
        for stream, rows in reply or []
    ]
