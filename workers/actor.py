"""The actor runtime: read, handle, acknowledge, reclaim, bury, drain.

Owns the life of one consumer of a group; must not know what an entry means, nor anything of
finance. A new actor is a :class:`~workers.handling.Handler` and one line in supervisord.conf
(`gex worker run`, docs/actors.md).

An entry is acknowledged after its effect is durable. An outage (ServiceError) is waited out
and costs no entry anything. Entries that a handler names as malformed are moved to the dead
letters at once. Any other error isolates the entry that causes it, by halves: it is tried
``max_deliveries`` times, then moved to the dead letters with reason and traceback, and the
rest goes on. An entry that keeps killing the process is buried by its delivery count.
"""

from __future__ import annotations

import logging
import math
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from common.bus.client import Errand, run_errands
from common.bus.entries import Burial, Entry
from common.bus.streams import Streams
from common.errors import (
    BusError,
    FencedError,
    MalformedEntriesError,
    MalformedEntryError,
    ServiceError,
)
from workers.handling import ErrandHandler, Handler, Policy, PreviewHandler, Round, TogetherHandler
from workers.mailbox import Deliveries, Mailbox, Waiting
from workers.sign_of_life import SignOfLife

log = logging.getLogger(__name__)
_LONG_AGO = float("-inf")
_QUIET = 4.0
"""Times the usual pause, where few entries come."""
_TRIMMED = "trimmed before it was acknowledged"


class Actor:
    """One consumer: a mailbox (streams of a group), a handler, a policy."""

    def __init__(
        self,
        streams: Streams,
        handler: Handler,
        consumer: str,
        policy: Policy,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._streams = streams
        self._handler = handler
        self._together = handler if isinstance(handler, TogetherHandler) else None
        self._preview = (
            handler.preview
            if policy.defer_seconds and isinstance(handler, PreviewHandler)
            else None
        )
        self._rest_leaving = handler.rest_leaving if isinstance(handler, ErrandHandler) else None
        self._waiting = Waiting(
            policy.defer_seconds, policy.batch, before=policy.defer_before, monotonic=monotonic
        )
        self._consumer = consumer
        self._policy = policy
        self._mailbox = Mailbox(
            streams,
            handler.group,
            consumer,
            batch=policy.batch,
            small_bytes=policy.small_bytes,
            look_ahead=policy.look_ahead and handler.exclusive and self._together is not None,
        )
        self._monotonic = monotonic
        self._stop = threading.Event()
        self._known: set[str] = set()
        self._refreshed = _LONG_AGO
        self._reclaimed = monotonic()
        self._rest_in: float | None = None
        self._errands: list[Errand] = []
        self._life = SignOfLife(streams.client, handler.group, consumer, monotonic=monotonic)
        self.handled = 0
        self.failures = 0
        self.buried = 0

    def stop(self) -> None:
        """Finish the batch in hand, acknowledge it, and leave :meth:`run`."""
        self._stop.set()

    def stop_on_signals(self) -> None:
        """Let SIGTERM and SIGINT call :meth:`stop`."""
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: self.stop())

    def run(self) -> None:
        """Work until stopped; leaves no entry of a finished batch pending."""
        log.info("%s %s starts (pid %d)", self._handler.group, self._consumer, os.getpid())
        waits = 0
        while not self._stop.is_set():
            try:
                self.step()
                waits = 0
            except ServiceError as error:
                waits += 1
                log.warning("%s; waiting (attempt %d)", error, waits)
                self._look_again()
                if not isinstance(error, BusError):  # who waits for something else lives
                    with suppress(ServiceError):
                        self._report()
                self._backoff(waits)
        for last in (self._settle, self._handler.close, self._life.end):
            try:
                last()
            except ServiceError as error:
                log.warning("closing: %s", error)
        log.info(
            "%s %s stopped after %d entries", self._handler.group, self._consumer, self.handled
        )

    def step(self) -> int:
        """One round: refresh what is due, read once, handle what came; how many entries."""
        streams = self._refresh()
        if self._stop.is_set():
            return 0
        if not streams:
            self._stop.wait(self._policy.block_ms / 1000.0)
            return 0
        errands, self._errands = self._errands, []
        try:
            deliveries = self._mailbox.read(streams, block_ms=self._patience(), errands=errands)
        except ServiceError as error:
            if "NOGROUP" not in str(error):
                raise
            self._look_again()  # a stream was retired, or lost its group
            return 0
        count = _size(deliveries)
        self._waiting.add(deliveries)
        if not self._may_wait(deliveries):
            self._settle()
        self._rest()
        if self._waiting.left() == 0.0:
            self._settle()
        if self._policy.gather_seconds and deliveries and not self._mailbox.holds_more:
            quiet = count <= self._policy.few
            self._stop.wait(self._policy.gather_seconds * (_QUIET if quiet else 1.0))
        return count

    def _may_wait(self, deliveries: Deliveries) -> bool:
        """Whether these need not be handled yet. After a silence they are handled at once: what
        they would wait for does not come in a quiet market, and they cost less so."""
        if self._preview is None or self._mailbox.holds_more:
            return False
        if not deliveries:
            return True
        if self._waiting.after_silence:
            return False
        try:
            return self._preview(deliveries)
        except Exception as error:  # noqa: BLE001  it happens again when they are handled, and counts
            log.warning("no preview of %d streams: %s", len(deliveries), error)
            return False

    def _settle(self) -> None:
        """Send what was left to send, and handle what waits."""
        errands, self._errands = self._errands, []
        run_errands(self._streams.client, errands)
        for stream, entries in self._process_together(self._waiting.take()):
            self._process(stream, entries)

    def _patience(self) -> int:
        """How long a read waits for entries [ms]; 0 would be for ever."""
        waits = [wait for wait in (self._rest_in, self._waiting.left()) if wait is not None]
        if not waits:
            return self._policy.block_ms
        return max(1, min(self._policy.block_ms, math.ceil(1000 * min(waits))))

    def _rest(self) -> None:
        try:
            if self._rest_leaving is not None:
                self._rest_in, self._errands = self._rest_leaving()
            else:
                self._rest_in = self._handler.rest()
        except ServiceError:
            raise
        except Exception:  # what follows a batch must not stop the next one
            self._rest_in = None
            self.failures += 1
            log.exception("%s %s: after a batch", self._handler.group, self._consumer)

    def _refresh(self) -> list[str]:
        now = self._monotonic()
        if now - self._refreshed < self._policy.refresh_seconds:
            return sorted(self._known)
        self._settle()  # what is pending of a stream is looked up, or is given to a peer
        streams = self._handler.streams()
        reclaim = now - self._reclaimed >= self._policy.reclaim_ms / 3000.0
        if reclaim:
            self._reclaimed = now
        self._known = {stream for stream in streams if self._make_ready(stream, reclaim=reclaim)}
        self._handler.maintain()
        self._report()
        self._refreshed = self._monotonic() if len(self._known) == len(streams) else _LONG_AGO
        return sorted(self._known)

    def _look_again(self) -> None:
        """Deal with what was delivered already before anything new is read."""
        self._known.clear()
        self._refreshed = _LONG_AGO

    def _make_ready(self, stream: str, *, reclaim: bool) -> bool:
        """Whether new entries may be read: all that was delivered before is dealt with."""
        known, taken = stream in self._known, 0
        if not known:
            self._mailbox.be_careful(stream)
            self._streams.ensure_group(stream, self._handler.group)
        if reclaim:
            taken += self._claim(stream, self._policy.reclaim_ms)
        if not known and self._handler.exclusive:
            taken += self._claim(stream, 0)
        return (known and not taken) or self._drain(stream)

    def _claim(self, stream: str, min_idle_ms: int) -> int:
        found = self._streams.claim(
            self._handler.group, self._consumer, stream, min_idle_ms=min_idle_ms
        )
        self._bury(stream, [Burial(Entry(i, {}), _TRIMMED, deliveries=0) for i in found.lost])
        if found.taken:
            log.warning("took over %d pending entries of %s", found.taken, stream)
        return found.taken

    def _drain(self, stream: str) -> bool:
        """Handle what was delivered to this consumer before and never acknowledged.

        :returns: whether nothing of it is left.
        """
        group, consumer = self._handler.group, self._consumer
        while not self._stop.is_set():
            tried = self._streams.oldest_deliveries(group, consumer, stream)
            alone = tried > self._policy.max_deliveries  # it may be what killed its readers
            entries = self._streams.own_pending(
                group, consumer, stream, count=1 if alone else self._policy.batch
            )
            if not entries:
                return True
            survivors, burials = [], []
            for entry in entries:
                tries = self._streams.deliveries(group, stream, entry.id)
                if not entry.fields:
                    burials.append(Burial(entry, _TRIMMED, deliveries=tries))
                elif tries > self._policy.crash_deliveries:
                    reason = f"delivered {tries} times, never answered"
                    burials.append(Burial(entry, reason, deliveries=tries))
                else:
                    survivors.append(entry)
            self._bury(stream, burials)
            if survivors and not self._process(stream, survivors):
                return False
        return False

    def _process_together(self, deliveries: Deliveries) -> Deliveries:
        """What the handler has not dealt with in one step, of what was delivered; the rest of it
        will be."""
        if not deliveries or self._together is None:
            return deliveries
        try:
            done = self._together.handle_together(deliveries)
        except ServiceError:
            for stream, entries in deliveries:
                self._let_go(stream, entries)
            raise
        except Exception as error:  # noqa: BLE001  whose it is shows when each is handled alone
            log.warning("%d streams together failed, one by one: %s", len(deliveries), error)
            done = Round(deliveries)
        self.buried += done.buried
        self.handled += _size(deliveries) - _size(done.left) - done.buried
        left = _delivered(done.left)
        for stream, _ in left:
            self._mailbox.be_careful(stream)
        return left

    def _let_go(self, stream: str, entries: list[Entry]) -> None:
        """An outage is no fault of the entries; they come again."""
        self._look_again()
        with suppress(ServiceError):  # Redis itself may be what is away
            ids = [entry.id for entry in entries]
            self._streams.forgive(self._handler.group, self._consumer, stream, ids)

    def _process(self, stream: str, entries: list[Entry]) -> bool:
        """Deal with a delivery; false when fenced, which lets the stream go."""
        try:
            self._attempt(stream, entries)
        except FencedError as error:
            log.warning("%s: %s", stream, error)
            self._known.discard(stream)
            self._refreshed = _LONG_AGO
            return False
        except ServiceError:
            self._let_go(stream, entries)
            raise
        return True

    def _attempt(self, stream: str, entries: list[Entry]) -> None:
        """Handle a batch; once it has failed, what is whole of it, or else its halves."""
        try:
            self._handle(stream, entries)
        except (ServiceError, FencedError):
            raise
        except Exception as error:  # noqa: BLE001  the one supervising loop
            self.failures += 1
            whole = self._set_aside(stream, entries, error)
            if len(whole) < len(entries):
                parts = [whole] if whole else []
            elif len(entries) == 1:
                return self._retry(stream, entries[0], error)
            else:
                log.warning("%s: batch of %d failed, its halves: %s", stream, len(entries), error)
                parts = [entries[: len(entries) // 2], entries[len(entries) // 2 :]]
            for part in parts:
                self._attempt(stream, part)

    def _set_aside(self, stream: str, entries: list[Entry], error: Exception) -> list[Entry]:
        """Bury the entries that an error names as never to be understood; the others."""
        errors = error.errors if isinstance(error, MalformedEntriesError) else {}
        self._bury(stream, Burial.of_damaged(entries, errors))
        return [entry for entry in entries if entry.id not in errors]

    def _handle(self, stream: str, entries: list[Entry]) -> None:
        outcome = self._handler.handle(stream, entries)
        if not outcome.acknowledged:
            ids = [entry.id for entry in entries]
            if not self._streams.acknowledge(
                self._handler.group, stream, ids, dict(outcome.counts)
            ):
                log.warning("%s: not all of %d entries are pending any more", stream, len(ids))
                self._look_again()  # Redis was set back: what it delivered comes again
        self.handled += len(entries)

    def _retry(self, stream: str, entry: Entry, error: Exception) -> None:
        tries = 1
        while not isinstance(error, MalformedEntryError) and tries < self._policy.max_deliveries:
            self._stop.wait(random.uniform(0, self._policy.retry_seconds))  # noqa: S311  jitter
            tries += 1
            try:
                self._handle(stream, [entry])
            except (ServiceError, FencedError):
                raise
            except Exception as again:  # noqa: BLE001  part of the supervising loop
                error = again
            else:
                return
        self._bury(stream, [Burial.of(entry, error, tries)])

    def _bury(self, stream: str, burials: list[Burial]) -> None:
        self._streams.bury(self._handler.group, stream, burials)
        self.buried += len(burials)

    def _backoff(self, attempt: int) -> None:
        ceiling = min(
            self._policy.backoff_cap_seconds, self._policy.backoff_seconds * 2 ** min(attempt, 16)
        )
        self._stop.wait(random.uniform(0, ceiling))  # noqa: S311  jitter, no secret

    def _report(self) -> None:
        self._life.say(
            {
                "handled": self.handled,
                "failures": self.failures,
                "buried": self.buried,
                "streams": len(self._known),
            }
        )


def _delivered(deliveries: Deliveries) -> Deliveries:
    """Without entries that were read ahead of their delivery."""
    found = [(stream, [entry for entry in each if entry.delivered]) for stream, each in deliveries]
    return [(stream, entries) for stream, entries in found if entries]


def _size(deliveries: Deliveries) -> int:
    return sum(len(entries) for _, entries in deliveries)
