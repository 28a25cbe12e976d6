"""What a feed is: sessions, each a stream of frames of typed updates.

Owns the protocol that every feed module implements; must not know any of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from common.models import Session, Update


class FeedSession(Protocol):
    """One trading date of one symbol from one source."""

    @property
    def session(self) -> Session:
        """What is known about the session before its first update; ``epoch`` is 0."""

    @property
    def counters(self) -> Mapping[str, int]:
        """What has happened at the source so far: reconnects, refused rows, …"""

    def frames(self) -> AsyncIterator[list[Update]]:
        """Updates in the order of their events, a list for what arrived together.

        A source that delivers whole chains ends each with a ``SnapshotEnd``; every other ends
        its first pass over the chain with one, and levels begin with that. A replay yields
        as fast as it is read (the replayer paces it); every other source yields when data
        arrives. The iterator ends when the session does.

        :raises FeedError: when the source breaks off and may be tried again.
        :raises InputError: when a file turns out to be damaged.
        """


class Feed(Protocol):
    """A source of market data for one symbol."""

    def sessions(self) -> AsyncIterator[FeedSession]:
        """The sessions the source has to offer, one after the other."""
