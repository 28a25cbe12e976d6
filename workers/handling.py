"""What an actor asks of its handler, and how patient it is.

Owns these protocols; must not run anything, nor know anything of finance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from common.bus.client import Errand
from common.bus.entries import Entry
from common.bus.streams import Streams
from workers.mailbox import Deliveries


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch."""

    counts: Mapping[str, int] = field(default_factory=dict)
    """What to add to the symbol's counters together with the acknowledgement."""
    acknowledged: bool = False
    """True when the handler's own atomic step has acknowledged and counted already."""


@dataclass(frozen=True, slots=True)
class Round:
    """What became of the deliveries of a round."""

    left: Deliveries
    """What is to be handled stream by stream, but for what is not delivered, which comes again;
    the rest is done, acknowledged and counted."""
    buried: int = 0
    """Entries of that rest that are in the dead letters now."""


class Handler(Protocol):
    """What an actor does with the entries it reads."""

    group: str
    exclusive: bool
    """True when only the holder of a lease reads a stream, so that everything pending on a
    stream newly taken is this actor's to finish first."""

    def streams(self) -> list[str]:
        """The streams to read now; asked about once a second."""

    def handle(self, stream: str, entries: list[Entry]) -> Outcome:
        """Make the effect of the entries durable. Delivering them again changes nothing.

        :raises ServiceError: something outside failed; the batch comes again.
        :raises FencedError: the stream belongs to another actor now.
        :raises MalformedEntriesError: entries that will never be understood; the others come
            again without them.
        """

    def maintain(self) -> None:
        """Periodic duties, after each look at the streams."""

    def rest(self) -> float | None:
        """What follows a round of deliveries; the seconds after which it wants to be called
        again though nothing comes, None for whenever."""

    def close(self) -> None:
        """The last act, after the last batch."""


class PlainHandler:
    """A handler that reads every stream of a prefix, with as many workers as there are, and has
    no duties but its entries: to be a :class:`Handler` it has to be given a group, a prefix and
    ``handle``."""

    group: str
    """Its consumer group, by which streams wait for it: nothing is trimmed that it has not
    acknowledged."""
    prefix: str
    """What the names of its streams begin with, one of :mod:`common.bus.keys`."""
    exclusive = False

    def __init__(self, streams: Streams) -> None:
        """:param streams: of the Redis to read."""
        self._streams = streams

    def streams(self) -> list[str]:
        """The streams to read now."""
        return [each for each in self._streams.registered() if each.startswith(self.prefix)]

    def maintain(self) -> None:
        """No duties."""

    def rest(self) -> float | None:
        """No hurry."""
        return None

    def close(self) -> None:
        """Nothing to leave."""


@runtime_checkable
class TogetherHandler(Handler, Protocol):
    """A handler that gains from seeing all deliveries of a round at once."""

    def handle_together(self, deliveries: Deliveries) -> Round:
        """Deal with the deliveries of a round, one or more, in one step. After any error but
        ServiceError all of them are left.

        Where the policy looks ahead, the last entries of a delivery may not be delivered yet
        (:attr:`~common.bus.entries.Entry.delivered`): the step that makes their effect durable
        moves the group beyond them, if it stands right before them.
        """


@runtime_checkable
class PreviewHandler(TogetherHandler, Protocol):
    """A handler that can say something of deliveries before it makes their effect durable."""

    def preview(self, deliveries: Deliveries) -> bool:
        """Look at new deliveries, which come again with those that follow them; whether they may
        wait for that. Changes nothing that lasts. After false or an error all that wait are
        handled at once.
        """


@runtime_checkable
class ErrandHandler(Handler, Protocol):
    """A handler whose rest leaves commands that may go with the next read."""

    def rest_leaving(self) -> tuple[float | None, list[Errand]]:
        """:meth:`rest`, but for what is still to be sent, at once or with the next read."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient an actor is."""

    batch: int = 64
    """Entries of one delivery."""
    small_bytes: int = 0
    """A delivery of a stream takes more entries where these are small, until it is so large; 0:
    it does not."""
    look_ahead: bool = False
    """Of a backlog these further entries are read without being delivered, once a stream has been
    read for a while without a failure; for an exclusive handler that handles together."""
    block_ms: int = 200
    gather_seconds: float = 0.0
    """A round that left room in its deliveries is followed by such a pause [s], so that the next
    one brings more at once."""
    few: int = 16
    """A round of so many entries at most is followed by four times that pause."""
    defer_seconds: float = 0.0
    """What a handler has had a preview of waits so long at most to be handled with what follows
    it, pending meanwhile [s]; 0: not at all. What comes after a silence of that length does not
    wait."""
    defer_before: float | None = None
    """Where given, that ends so long before each multiple of it of the wall clock [s]: who looks
    at such an instant finds what came until then."""
    refresh_seconds: float = 1.0
    reclaim_ms: int = 15_000
    max_deliveries: int = 3
    retry_seconds: float = 0.02
    """At most, before an entry that fails is tried again: others wait behind it, and what an
    outage fails is waited for elsewhere [s]."""
    backoff_seconds: float = 0.1
    backoff_cap_seconds: float = 5.0

    @property
    def crash_deliveries(self) -> int:
        """Deliveries without an answer after which an entry is taken to kill its reader."""
        return 3 * self.max_deliveries
