"""Writing the history: quotes, Greeks, prices and levels, once each whatever comes twice.

Owns the writes; must not hold SQL nor know where rows come from. A row that the database
refuses is left out and named to the caller; the rows around it are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from common.bus.codec import Batch, Batches, Result, Results
from common.clock import SECOND, to_datetime
from common.db.connection import Connection, query, read_by_index, storage_errors
from common.db.deliveries import Delivery, Greeks, Levels, Quotes, session_noon
from common.db.load import REFUSALS, Loader
from common.db.migrate import require_current
from common.db.news import News
from common.db.rows import session_row
from common.db.writing import Saved, Writing
from common.errors import RejectedError, SlowStatementError
from common.models import Expiry, JsonDict, Session

CHECKPOINT_ROWS = 5000
"""Quotes of an expiry between two checkpoints: at most about twice as many are read for a
chain as of some moment, and a checkpoint is a hundredth of them in size."""
T = TypeVar("T")


@dataclass(slots=True)
class _Growth:
    """What came to an expiry since its last checkpoint."""

    rows: int = 0
    days: set[int] = field(default_factory=set)
    """An instant of each [us]."""


class Store:
    """The history in one database; keeps one connection and makes it anew after an outage."""

    def __init__(
        self, connect: Callable[[], Connection], *, software: str, conflate_seconds: float = 0.0
    ) -> None:
        """Connect to nothing yet.

        :param conflate_seconds: of the quotes of a contract that come together, the last one
            in every such period of market time is kept [s]; 0 keeps all.
        """
        self._connect = connect
        self._software = software
        self._period_us = round(conflate_seconds * SECOND)
        self._connection: Connection | None = None
        self._sessions: dict[str, int] = {}
        self._loader = Loader()
        self._news = News()
        self._slots: dict[str, int] = {}
        self._grown: dict[tuple[str, str], _Growth] = {}

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def save(self, deliveries: Sequence[Delivery], *, strike_seconds: float = 0.0) -> list[Saved]:
        """Store deliveries in one transaction; what became of each.

        :param strike_seconds: cadence at which the strikes of levels are kept [s].
        """
        writing = self.write(deliveries, strike_seconds=strike_seconds)
        self.note(writing)
        return writing.saved

    def write(self, deliveries: Sequence[Delivery], *, strike_seconds: float = 0.0) -> Writing:
        """Store deliveries in one transaction, of which somebody has to :meth:`note` what it
        brought: this store, or another of the same database beside which it writes in a thread.
        """

        def write(connection: Connection) -> Writing:
            writing = Writing(
                connection,
                self._loader,
                lambda key: self._session(connection, key),
                period_us=self._period_us,
                strike_seconds=strike_seconds,
                slots=self._slots,
            )
            writing.write(deliveries)
            return writing

        return self._transaction(write)

    def note(self, writing: Writing) -> None:
        """Remember what came, for the checkpoints and descriptions that follow from it."""
        self._slots.update(writing.slots)
        for session, at in writing.levels:
            self._news.add(session, levels=at)
        for came in writing.quotes:
            self._news.add(came.session, entries=came.first)
            growth = self._grown.setdefault((came.session, came.shard), _Growth())
            growth.rows += came.rows
            growth.days |= came.days

    def save_quotes(self, symbol: str, shard: str, entries: Sequence[tuple[str, Batch]]) -> Saved:
        """Store quote batches of one expiry, a list of (entry id, batch)."""
        batches = Batches.of(batch for _, batch in entries)
        return self.save([Quotes(symbol, shard, [entry_id for entry_id, _ in entries], batches)])[0]

    def save_greeks(self, symbol: str, results: Sequence[Result]) -> Saved:
        """Store Greeks."""
        return self.save([Greeks(symbol, Results.of(results))])[0]

    def save_levels(
        self, levels: Sequence[tuple[int, str, JsonDict]], *, strike_seconds: float
    ) -> Saved:
        """Store published levels, a list of (market time [us], session key, ``latest`` JSON).

        :param strike_seconds: cadence at which strikes are kept [s].
        """
        return self.save([Levels(levels)], strike_seconds=strike_seconds)[0]

    def make_checkpoints(self) -> int:
        """Write down where the chains stand that have grown by :data:`CHECKPOINT_ROWS`; how many.

        Reading the chain of any moment takes a checkpoint and the quotes that follow it.
        """
        due: dict[str, list[str]] = {}
        for (session, shard), growth in self._grown.items():
            if growth.rows >= CHECKPOINT_ROWS:
                due.setdefault(session, []).append(shard)
        for session, shards in due.items():
            self._transaction(partial(self._checkpoint, session, shards))
            for shard in shards:
                del self._grown[session, shard]
        return sum(len(shards) for shards in due.values())

    def _checkpoint(self, session: str, shards: list[str], connection: Connection) -> None:
        """Write down where these chains stand, reading what is new once for all of them."""
        session_id = self._session(connection, session)
        connection.execute(query("own_chains"), {"session_id": session_id, "shards": shards})
        read_by_index(connection)
        expiries = [Expiry.from_shard(shard) for shard in shards]
        values = {
            "session_id": session_id,
            "expirations": [expiry.expiration for expiry in expiries],
            "settlements": [expiry.settlement for expiry in expiries],
        }
        self._loader.write(
            connection,
            sorted(set().union(*(self._grown[session, shard].days for shard in shards))),
            lambda: connection.execute(query("insert_checkpoints"), values, prepare=False),
        )

    def has_news(self, session: str) -> bool:
        """Whether there is more to a session, by its key, than it was last described with."""
        return self._news.any(session)

    def describe_session(self, session: Session) -> bool:
        """Say of a session, if its row is there, what its record says and what became of it:
        levels and their coverage, and the silences of the feed.

        While it goes on only what is new is looked at, and everything once by each process and
        when it has ended.

        :returns: whether the row is there.
        """
        entries, levels = (None, None) if session.ended else self._news.since(session.key)
        values = {**session_row(session), "entries_since": entries, "levels_since": levels}

        def write(connection: Connection) -> int:
            read_by_index(connection)
            return connection.execute(query("describe_session"), values).rowcount

        found = self._transaction(write)
        self._news.told(session.key)
        return bool(found)

    def _transaction(self, write: Callable[[Connection], T]) -> T:
        """Write; what the database refuses is tried once more, carefully."""
        connection = self._open()
        done = False
        try:
            with storage_errors():
                try:
                    result = self._attempt(connection, write, careful=False)
                except REFUSALS:
                    self._sessions.clear()
                    result = self._attempt(connection, write, careful=True)
            done = True
        except SlowStatementError as error:
            self._probe()  # an outage, if this fails too
            raise RejectedError(f"{error}, while the database answers otherwise") from error
        finally:
            if not done:
                self._slots.clear()
                self._sessions.clear()  # a session made in the lost transaction is not there
                if connection.info.transaction_status != TransactionStatus.IDLE:
                    self.close()  # broken, or in the middle of what was begun: of no more use
        return result

    def _open(self) -> Connection:
        """The connection; a new one where the last was lost, once the schema is this build's."""
        if self._connection is None or self._connection.closed:
            self._sessions.clear()
            connection = self._connect()
            try:
                require_current(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _attempt(
        self, connection: Connection, write: Callable[[Connection], T], *, careful: bool
    ) -> T:
        self._loader.careful = careful
        with connection.transaction():
            return write(connection)

    def _probe(self) -> None:
        """:raises StorageError: the database does not answer a trivial question either."""
        if self._connection is not None:
            with storage_errors(), self._connection.transaction():
                self._connection.execute(query("probe"))

    def _session(self, connection: Connection, key: str) -> int:
        known = self._sessions.get(key)
        if known is not None:
            return known
        symbol, trading_date, feed = key.split(":")[:3]
        values = {
            "key": key,
            "symbol": symbol,
            "trading_date": date.fromisoformat(trading_date),
            "feed": feed,
            "software": self._software,
        }
        row = None
        for _ in range(2):  # made by another transaction while the first looked
            row = row or connection.execute(query("session_id"), values).fetchone()
        if row is None:
            raise psycopg.OperationalError(f"the row of session {key} is made and undone")
        noon = to_datetime(session_noon(key))
        connection.execute(query("make_partitions"), {"instants": [noon]})
        self._sessions[key] = row[0]
        return int(row[0])
