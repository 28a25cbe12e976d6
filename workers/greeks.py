"""The Greeks worker: quote batches in, implied volatilities and Greeks out, state kept.

Owns the shards it holds leases on, and the provisional levels of a symbol whose first shard is
among them; must not publish a level of record nor talk to the database.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from common.bus import keys, scripts
from common.bus.cache import Cache, ChainView, LiveLevel
from common.bus.client import Client, Command, Errand, bus_errors, posting, run_errands
from common.bus.codec import Batch, StateBlob
from common.bus.entries import Burial, Entry, id_order, sort_out
from common.bus.leases import Leases
from common.bus.streams import Streams
from common.errors import (
    MalformedEntriesError,
    MalformedEntryError,
    ServiceError,
)
from common.live import LiveLevels, LivePace
from common.models import Session
from common.settings import QuantParameters
from common.state import advance
from workers.ahead import StatesAhead, beyond
from workers.handling import Outcome, Round
from workers.mailbox import Deliveries
from workers.moves import Move
from workers.telling import Telling

log = logging.getLogger(__name__)
_MOST_FIELDS = 64
"""An entry of more is not buried by the commit: Lua passes on only so many values at a time."""


@dataclass(frozen=True, slots=True)
class Live:
    """How provisional levels are made, how often, and how long they stay."""

    levels: LiveLevels
    pace: LivePace
    ttl_ms: int


class _Held(NamedTuple):
    """A shard's state as this worker has committed it."""

    epoch: int
    """Of the lease it was committed under."""
    state: StateBlob
    blob: bytes
    """Its encoding, which Redis holds."""


class GreeksHandler:
    """Merges quotes, solves the expiry, commits state and results in one atomic step."""

    group = keys.GREEKS_GROUP
    exclusive = True

    def __init__(
        self, client: Client, leases: Leases, parameters: QuantParameters, live: Live | None = None
    ) -> None:
        """:param live: how to publish provisional levels; None: not at all."""
        self._streams = Streams(client)
        self._cache = Cache(client)
        self._leases = leases
        self._parameters = parameters
        self._commit = client.register_script(scripts.COMMIT)
        self._states: dict[str, _Held] = {}
        self._results_ready: set[str] = set()
        self._live = live
        self._sessions: dict[str, tuple[Session | None, list[str]]] = {}
        self._moved: set[str] = set()
        self._telling = Telling(self._cache)
        self._ahead = StatesAhead(parameters)

    def streams(self) -> list[str]:
        """The quotes streams this worker holds, after balancing with its peers."""
        quotes = [s for s in self._streams.registered() if s.startswith(keys.QUOTES_PREFIX)]
        self._leases.balance(quotes)
        self._ahead.clear()
        for stream in list(self._states):
            if stream not in self._leases.held:
                del self._states[stream]
        return sorted(self._leases.held)

    def preview(self, deliveries: Deliveries) -> bool:
        """Advance shards for the level that follows, and commit nothing: in a live session of
        which this worker publishes the levels. Whoever else reads a state waits for it, and what
        cannot be read is left to the commit.
        """
        symbols = {keys.stream_symbol(stream) for stream, _ in deliveries}
        if not all(self._leads(symbol) for symbol in symbols):
            return False
        given = []
        for stream, entries in deliveries:
            held = self._states.get(stream)
            if held is None or held.epoch != self._leases.held.get(stream):
                return False
            given.append((held.state, stream, entries))
        self._ahead.go_on(given)
        self._moved |= symbols
        return True

    def _leads(self, symbol: str) -> bool:
        """Whether this worker publishes provisional levels of a symbol whose session goes on."""
        live = self._live
        session, shards = self._session(symbol)
        if live is None or live.pace.wait() is None or session is None or not shards:
            return False
        mine = keys.quotes(symbol, shards[0]) in self._leases.held
        return mine and not session.replay and not session.ended

    def handle(self, stream: str, entries: list[Entry]) -> Outcome:
        """Advance the shard by the entries and commit.

        :raises FencedError: another worker owns the shard now; nothing was changed.
        :raises MalformedEntriesError: entries cannot be decoded; nothing was changed.
        """
        move = self._move(stream, entries, bury=False)
        if move is None:
            return Outcome({"entries_redelivered": len(entries)})
        with self._unknown([move]), bus_errors():
            names, values = self._arguments(move)
            self._commit(keys=names, args=values)
        return Outcome(acknowledged=True)

    def handle_together(self, deliveries: Deliveries) -> Round:
        """Advance shards and commit them in one round trip; what is not committed is left.

        What cannot be read is buried by the commit of what follows it. A provisional level that
        no preview has asked for is computed while Redis commits, and goes behind it.
        """
        found = [self._move(stream, entries, bury=True) for stream, entries in deliveries]
        moves = [move for move in found if move]
        if not moves:
            return Round(deliveries)
        with self._unknown(moves) as done, bus_errors(), posting(self._streams.client) as post:
            post.send([self._command(move) for move in moves])
            levels = self._levels_behind(moves)
            post.send([self._cache.live_command(level) for level in levels])
            post.send(self._keep_levels(moves))
            replies = post.replies()
            done[:] = [not isinstance(reply, Exception) for reply in replies[: len(moves)]]
        answers = replies[len(moves) : len(moves) + len(levels)]
        for level, reply in zip(levels, answers, strict=True):
            if not isinstance(reply, Exception):  # else it is published again, or not
                self._moved.discard(level.symbol)
        committed = [move for move, is_done in zip(moves, done, strict=True) if is_done]
        for burial, stream in [(each, move.stream) for move in committed for each in move.burials]:
            log.error("dead letter: %s %s: %s", stream, burial.entry.id, burial.reason)
        taken = {move.stream: move.taken for move in committed}
        left = [(stream, entries[taken.get(stream, 0) :]) for stream, entries in deliveries]
        return Round(
            [(stream, entries) for stream, entries in left if entries],
            sum(len(move.burials) for move in committed),
        )

    def _command(self, move: Move) -> Command:
        names, values = self._arguments(move)
        return ("EVALSHA", self._commit.sha, len(names), *names, *values)

    def _arguments(self, move: Move) -> tuple[list[Any], list[Any]]:
        """Keys and arguments of the script that commits a move."""
        results = keys.greeks(keys.stream_symbol(move.stream))
        if results not in self._results_ready:
            self._streams.ensure_group(results, keys.STORE_GROUP)
            self._results_ready.add(results)
        return move.commit(self.group, self._leases.held.get(move.stream, 0))

    def _move(self, stream: str, entries: list[Entry], *, bury: bool) -> Move | None:
        """What entries make of a shard, up to the last that can be read; None where none of them
        can, or all of them are in its state already.

        :param bury: bury what cannot be read with it; else that is an error.
        :raises MalformedEntriesError: entries cannot be decoded; nothing was changed.
        """
        ahead = self._ahead.pop(stream)
        state, mark = self._state(stream)
        fresh = beyond(state, entries)
        if not fresh and stream in self._states:  # Redis may have been set back: as it is there
            del self._states[stream]
            state, mark = self._state(stream)
            fresh = beyond(state, entries)
        held = self._states.get(stream)
        own = held is not None and held.state is state  # made by this process, in its way
        damaged: Mapping[str, MalformedEntryError] = {}
        step = self._ahead.committed(ahead, state, stream, fresh) if fresh else None
        if step is None:
            found = sort_out(fresh, Batch.decode)
            damaged = found.damaged
            if damaged and not bury:
                raise MalformedEntriesError(damaged)
            huge = any(e.id in damaged and len(e.fields) > _MOST_FIELDS for e in fresh)
            if not found.whole or huge:
                return None
            shard = keys.stream_shard(stream)
            step = advance(state, shard, found.whole, self._parameters, solved=own)
        counts = {
            "quotes_processed": step.quotes,
            "quotes_late": step.late,
            "entries_redelivered": len(entries) - len(fresh),
        }
        burials = []
        if damaged:  # those at the end are left: what follows them is not here yet
            entries = _until(step.state, entries)
            broken = [entry for entry in _until(step.state, fresh) if entry.id in damaged]
            burials = Burial.of_damaged(broken, damaged)
        if burials:
            counts[f"dead_{self.group}"] = len(burials)
        blob, base = step.state.encode(), held.blob if held and own else b""
        ids = [entry.id for entry in entries if entry.delivered]
        news = ahead is None or ahead.step.state.last_id != step.state.last_id
        further = len(entries) - len(ids)
        return Move(stream, step, blob, base, ids, further, burials, counts, mark, news)

    @contextmanager
    def _unknown(self, moves: Sequence[Move]) -> Iterator[list[bool]]:
        """While they are committed the states are unknown: the answers may be lost.

        :returns: a list to say in which of them have been; at first all.
        """
        for move in moves:
            self._states.pop(move.stream, None)
        done = [True] * len(moves)
        yield done
        for move, is_done in zip(moves, done, strict=True):
            if is_done:
                epoch = self._leases.held[move.stream]
                self._states[move.stream] = _Held(epoch, move.step.state, move.blob)
                if move.news:
                    self._moved.add(keys.stream_symbol(move.stream))

    def maintain(self) -> None:
        """Look at the sessions anew; leases are renewed when the streams are looked up."""
        self._sessions.clear()

    def rest(self) -> float | None:
        """Publish the provisional levels of what has moved, as far as their pace allows."""
        wait, errands = self.rest_leaving()
        run_errands(self._streams.client, errands)
        self._moved |= self._telling.unanswered()
        return wait

    def rest_leaving(self) -> tuple[float | None, list[Errand]]:
        """Make them, and leave publishing them to whoever calls.

        :raises BusError: Redis has refused what was left to it before.
        """
        live = self._live
        self._moved |= self._telling.unanswered()
        wait = live.pace.wait() if live and self._moved else None
        if live is None or wait is None:
            self._moved.clear()
            return None, []
        if wait > 0.0:
            return wait, []
        began = live.pace.monotonic()
        errands = []
        for symbol in sorted(self._moved):
            level = self._live_level(live, symbol, {})
            if level is not None:
                committed = symbol not in self._ahead.symbols()
                errands += self._telling.errands(level, keep=committed)
        self._moved.clear()
        live.pace.ran(began)
        return None, errands

    def _levels_behind(self, moves: Sequence[Move]) -> list[LiveLevel]:
        """The provisional levels of states that are being committed, if they are due."""
        live = self._live
        if live is None or live.pace.wait() != 0.0:
            return []
        began = live.pace.monotonic()
        ahead = {move.stream: move.step.state for move in moves}
        try:
            found = [
                self._live_level(live, symbol, ahead)
                for symbol in sorted({keys.stream_symbol(m.stream) for m in moves if m.news})
            ]
        except ServiceError:
            raise
        except Exception as error:  # noqa: BLE001  it happens again when the actor rests, and counts
            log.warning("no live level: %s", error)
            return []
        live.pace.ran(began)
        return [level for level in found if level is not None]

    def _keep_levels(self, moves: Sequence[Move]) -> list[Command]:
        """For the record to be compared with: no preview is of the states that it finds. What
        was not committed after all, or of a peer's shard, its watermark tells."""
        symbols = sorted({keys.stream_symbol(move.stream) for move in moves})
        return [self._cache.keep_live_command(symbol) for symbol in symbols if self._leads(symbol)]

    def _live_level(
        self, live: Live, symbol: str, ahead: Mapping[str, StateBlob]
    ) -> LiveLevel | None:
        """The level of this moment, if this worker holds the symbol's first shard.

        :param ahead: stream → the state that is being committed.
        """
        session, shards = self._session(symbol)
        if session is None or not shards:
            return None
        epoch = self._leases.held.get(keys.quotes(symbol, shards[0]))
        if epoch is None:
            return None
        chain = self._chain(symbol, shards, ahead)
        level = live.levels.document(session, chain)
        if level is None:
            return None
        rests_on = {
            shard: chain.watermark[shard] for shard in shards if keys.quotes(symbol, shard) in ahead
        }
        return LiveLevel(symbol, level, shards[0], epoch, live.ttl_ms, rests_on)

    def _session(self, symbol: str) -> tuple[Session | None, list[str]]:
        """The session of a symbol and its shards, as they were when they were looked at last."""
        if symbol not in self._sessions:
            found = self._cache.session(symbol), self._cache.shards(symbol)
            self._sessions[symbol] = found
        return self._sessions[symbol]

    def _chain(self, symbol: str, shards: list[str], ahead: Mapping[str, StateBlob]) -> ChainView:
        """States of all shards: those of this worker from memory, its peers' from Redis."""
        states, elsewhere = {}, []
        for shard in shards:
            stream = keys.quotes(symbol, shard)
            held, state = self._states.get(stream), ahead.get(stream) or self._ahead.state(stream)
            if state is not None:
                states[shard] = state
            elif held and held.epoch == self._leases.held.get(stream):
                states[shard] = held.state
            else:
                elsewhere.append(shard)
        if elsewhere:
            states.update(self._cache.chain(symbol, elsewhere).states)
        return ChainView(states, {shard: state.last_id for shard, state in states.items()})

    def close(self) -> None:
        """Give every shard back, so that a peer goes on at once."""
        self._leases.release_all()

    def _state(self, stream: str) -> tuple[StateBlob, str]:
        """The state of a shard and the watermark that goes with it.

        From memory while the lease is the same, else from Redis.
        """
        epoch = self._leases.held.get(stream, 0)
        held = self._states.get(stream)
        if held and held.epoch == epoch:
            return held.state, held.state.last_id
        symbol, shard = keys.stream_symbol(stream), keys.stream_shard(stream)
        try:
            state = self._cache.state(symbol, shard)
        except MalformedEntryError as error:
            log.error("%s: %s; starting from an empty state", stream, error)
            state = None
        if state is not None:
            return state, state.last_id
        return StateBlob(), self._cache.watermark(symbol).get(shard, "")


def _until(state: StateBlob, entries: list[Entry]) -> list[Entry]:
    """The entries up to the last that is part of the state."""
    return [entry for entry in entries if id_order(entry.id) <= id_order(state.last_id)]
