"""The latest sessions, states and levels: what is read at any moment and replaced as a whole.

Owns reading and writing of single-value keys; must not know how a level is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from common.bus import keys, scripts
from common.bus.client import Client, Command, bus_errors, text
from common.bus.codec import StateBlob
from common.errors import BusError
from common.models import JsonDict, Session

_SCAN = 1000
"""Names that Redis looks at in one call; there are some dozens."""


class ChainView(msgspec.Struct, frozen=True):
    """The states of all shards of a session, read in one transaction."""

    states: dict[str, StateBlob]
    watermark: dict[str, str]


@dataclass(frozen=True, slots=True)
class Tick:
    """The instant of the last published level."""

    epoch: int
    at: int
    final: bool


@dataclass(frozen=True, slots=True)
class Published:
    """What is published of a symbol, as the JSON texts that stand there; None where none does."""

    session: bytes | None
    latest: bytes | None
    profile: bytes | None


class LiveLevel(msgspec.Struct, frozen=True):
    """A provisional level and who may publish it."""

    symbol: str
    document: JsonDict
    shard: str
    """Whose lease gives the right to."""
    lease_epoch: int
    ttl_ms: int
    """Expiry of the key."""
    rests_on: dict[str, str]
    """Shard → watermark that has to be committed; others are not looked at."""

    def arguments(self) -> tuple[list[str], list[Any]]:
        """Keys and arguments of the script."""
        symbol = self.symbol
        return [keys.lease(symbol, self.shard), keys.live(symbol), keys.watermark(symbol)], [
            self.lease_epoch,
            self.ttl_ms,
            orjson.dumps(self.document),
            *(part for item in self.rests_on.items() for part in item),
        ]


class Cache:
    """Single-value keys of one Redis."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._next_epoch = client.register_script(scripts.NEXT_EPOCH)
        self._publish = client.register_script(scripts.PUBLISH)
        self._publish_live = client.register_script(scripts.PUBLISH_LIVE)

    # --- sessions ---------------------------------------------------------------------------

    def symbols(self) -> list[str]:
        """Symbols that have, or had, a session."""
        with bus_errors():
            return sorted(text(name) for name in self.client.smembers(keys.SYMBOLS))

    def session(self, symbol: str) -> Session | None:
        """The session being produced, or None.

        :raises BusError: when the stored record is not one of this build.
        """
        with bus_errors():
            data: Any = self.client.get(keys.session(symbol))
        if data is None:
            return None
        try:
            return Session.from_json(data)
        except msgspec.MsgspecError as error:
            raise BusError(f"{keys.session(symbol)} is not readable: {error}") from error

    def next_epoch(self, symbol: str) -> int:
        """A new number for the producer's run; higher than every one before.

        It starts from the clock, so that it stays higher even where Redis lost its data and
        the database did not.
        """
        with bus_errors():
            return int(self._next_epoch(keys=[keys.epoch(symbol)], args=[scripts.EPOCH_ORIGIN]))

    def start_session(self, session: Session, *, keep_shards: bool) -> None:
        """Make ``session`` the present one; unless it goes on, the board starts empty."""
        with bus_errors(), self.client.pipeline(transaction=True) as pipe:
            pipe.set(keys.session(session.symbol), session.to_json())
            pipe.sadd(keys.SYMBOLS, session.symbol)
            if not keep_shards:
                pipe.delete(keys.shards(session.symbol), keys.appended(session.symbol))
            pipe.execute()

    def save_session(self, session: Session) -> None:
        """Replace the record of the present session."""
        with bus_errors():
            self.client.set(keys.session(session.symbol), session.to_json())

    def shards(self, symbol: str) -> list[str]:
        """Shards of the present session, sorted."""
        with bus_errors():
            return sorted(text(name) for name in self.client.smembers(keys.shards(symbol)))

    # --- programs ---------------------------------------------------------------------------

    def actors(self) -> dict[tuple[str, str], dict[str, str]]:
        """Group and consumer → what the actor said of itself within the last minute, sorted."""
        found = {}
        with bus_errors():
            for key in sorted(self.client.scan_iter(f"{keys.ACTOR_PREFIX}*", count=_SCAN)):
                row: Any = self.client.hgetall(key)
                if row:  # it may have expired in the meantime
                    group, _, name = text(key).removeprefix(keys.ACTOR_PREFIX).partition(":")
                    found[group, name] = {text(n): text(v) for n, v in row.items()}
        return found

    def sign_of_life(self, group: str, consumer: str) -> str | None:
        """When an actor last said how it is; None after a minute of silence, and before."""
        with bus_errors():
            at: Any = self.client.hget(keys.actor(group, consumer), "at")
        return None if at is None else text(at)

    # --- states -----------------------------------------------------------------------------

    def state(self, symbol: str, shard: str) -> StateBlob | None:
        """The stored state of a shard, or None.

        :raises MalformedEntryError: when it is damaged or of another build.
        """
        with bus_errors():
            data: Any = self.client.get(keys.chain(symbol, shard))
        return None if data is None else StateBlob.decode(data)

    def chain(self, symbol: str, shards: list[str]) -> ChainView:
        """States and watermark of shards, all of one moment.

        :raises MalformedEntryError: when a state is damaged or of another build.
        """
        with bus_errors(), self.client.pipeline(transaction=True) as pipe:
            pipe.hgetall(keys.watermark(symbol))
            for shard in shards:
                pipe.get(keys.chain(symbol, shard))
            marks, *blobs = pipe.execute()
        states = {
            shard: StateBlob.decode(blob)
            for shard, blob in zip(shards, blobs, strict=True)
            if blob is not None
        }
        return ChainView(states, {text(k): text(v) for k, v in marks.items() if text(k) in states})

    def watermark(self, symbol: str) -> dict[str, str]:
        """Shard → id of the last quotes entry that is part of its state."""
        with bus_errors():
            marks: Any = self.client.hgetall(keys.watermark(symbol))
        return {text(shard): text(entry_id) for shard, entry_id in marks.items()}

    # --- levels -----------------------------------------------------------------------------

    def publish_levels(
        self,
        *,
        session: Session,
        at: int,
        final: bool,
        ttl_ms: int,
        latest: JsonDict,
        levels: dict[str, str],
        profile: JsonDict,
        recorded: bool = True,
    ) -> bool:
        """Write ``latest``, ``levels`` and ``profile`` at once and tell the subscribers.

        :param ttl_ms: expiry of the keys, 0 to keep them.
        :param recorded: whether it goes onto the levels stream, too.
        :returns: False, with nothing written, when a level as new was there.
        """
        symbol = session.symbol
        fields = [part for item in levels.items() for part in item]
        with bus_errors():
            written = self._publish(
                keys=[
                    keys.tick(symbol),
                    keys.latest(symbol),
                    keys.levels(symbol),
                    keys.profile(symbol),
                    keys.level_stream(symbol),
                    keys.STREAMS,
                    keys.counters(symbol),
                ],
                args=[
                    keys.channel(symbol),
                    session.epoch,
                    at,
                    int(final),
                    ttl_ms,
                    orjson.dumps(latest),
                    orjson.dumps(profile),
                    session.key,
                    len(latest["invariants"]),
                    int(recorded),
                    *fields,
                ],
            )
        return bool(written)

    def publish_live(self, level: LiveLevel) -> None:
        """Replace the provisional level and tell its subscribers.

        :raises FencedError: when the lease has moved on.
        """
        with bus_errors():
            names, values = level.arguments()
            self._publish_live(keys=names, args=values)

    def live_command(self, level: LiveLevel) -> Command:
        """:meth:`publish_live` as a command, whose reply is an error if it does nothing."""
        names, values = level.arguments()
        return ("EVALSHA", self._publish_live.sha, len(names), *names, *values)

    def live(self, symbol: str) -> JsonDict | None:
        """The provisional level, or None when nothing fresh is there."""
        return self._json(keys.live(symbol))

    def keep_live_command(self, symbol: str) -> Command:
        """Keep the provisional level of this moment, whose states have been committed, as a
        command; in the log it takes a line."""
        return ("COPY", keys.live(symbol), keys.committed(symbol), "REPLACE")

    def committed(self, symbol: str) -> JsonDict | None:
        """The provisional level that was kept last, or None when nothing fresh is there."""
        return self._json(keys.committed(symbol))

    def answer_tick(self, session: Session, *, at: int, final: bool) -> None:
        """Note that an instant has been dealt with although there was nothing to publish."""
        fields: dict[Any, Any] = {"epoch": session.epoch, "at": at, "final": int(final)}
        with bus_errors():
            self.client.hset(keys.tick(session.symbol), mapping=fields)

    def tick(self, symbol: str) -> Tick | None:
        """The instant of the last published level."""
        with bus_errors():
            row: Any = self.client.hgetall(keys.tick(symbol))
        if not row:
            return None
        return Tick(int(row[b"epoch"]), int(row[b"at"]), row[b"final"] == b"1")

    def latest(self, symbol: str) -> JsonDict | None:
        """The whole latest result, or None when nothing fresh is there."""
        return self._json(keys.latest(symbol))

    def profile(self, symbol: str) -> JsonDict | None:
        """Per-strike exposures and the curve, or None."""
        return self._json(keys.profile(symbol))

    def published(self, symbol: str) -> Published:
        """Session, ``latest`` and ``profile`` of one moment, for who hands them on unread."""
        names = [keys.session(symbol), keys.latest(symbol), keys.profile(symbol)]
        with bus_errors():
            found: Any = self.client.mget(names)
        return Published(*found)

    def levels(self, symbol: str) -> dict[str, str]:
        """The levels hash; empty when nothing fresh is there."""
        with bus_errors():
            row: Any = self.client.hgetall(keys.levels(symbol))
        return {text(name): text(value) for name, value in row.items()}

    def counters(self, symbol: str) -> dict[str, int]:
        """What was appended, processed, stored, dropped, late or refused."""
        with bus_errors():
            row: Any = self.client.hgetall(keys.counters(symbol))
        return {text(name): int(value) for name, value in sorted(row.items())}

    def add_counts(self, symbol: str, counts: Mapping[str, int]) -> None:
        """Add to the symbol's counters."""
        with bus_errors(), self.client.pipeline(transaction=True) as pipe:
            for name, value in counts.items():
                pipe.hincrby(keys.counters(symbol), name, value)
            pipe.execute()

    def _json(self, key: str) -> JsonDict | None:
        with bus_errors():
            data: Any = self.client.get(key)
        if data is None:
            return None
        result: JsonDict = orjson.loads(data)
        return result
