"""Deliveries on their way into the tables, in the transaction that is open.

Owns which statements each kind takes; must not hold SQL, nor begin or end a transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from psycopg.types.json import Jsonb

from common.clock import SECOND
from common.db.connection import Connection, query
from common.db.deliveries import (
    DAY_US,
    Delivery,
    GreekEntries,
    Greeks,
    Levels,
    Numbers,
    QuoteEntries,
    Quotes,
)
from common.db.load import Loader, Refused, timely
from common.db.rows import Table, greek_table, last_of_each, level_row, quote_table
from common.models import JsonDict


@dataclass(frozen=True, slots=True)
class Saved:
    """What became of rows."""

    rows: int = 0
    """Those that came."""
    known: int = 0
    """Those that were there before."""
    conflated: int = 0
    """Those left out as a later one of the same contract stands for them."""
    refused: tuple[Refused, ...] = ()


@dataclass(frozen=True, slots=True)
class Came:
    """What came of an expiry."""

    session: str
    shard: str
    rows: int
    first: int
    """Market time of its earliest entry [us]."""
    days: set[int]
    """An instant of each day of its entries [us]."""


class Writing:
    """One transaction's deliveries."""

    def __init__(
        self,
        connection: Connection,
        loader: Loader,
        number: Callable[[str], int],
        *,
        period_us: int,
        strike_seconds: float,
        slots: Mapping[str, int],
    ) -> None:
        """Write nothing yet.

        :param number: session key → its number in the database.
        :param period_us: of a contract the last quote of each is kept [us]; 0: all are.
        :param strike_seconds: cadence at which the strikes of levels are kept [s].
        :param slots: session key → the last of these periods whose strikes are stored.
        """
        self._connection, self._loader, self._number = connection, loader, number
        self._period_us, self._strike_seconds = period_us, strike_seconds
        self.slots = dict(slots)
        self.saved: list[Saved] = []
        """What became of each delivery."""
        self.quotes: list[Came] = []
        self.levels: list[tuple[str, int]] = []
        """Session key and market time [us] of each that came."""

    def write(self, deliveries: Sequence[Delivery]) -> None:
        """Write deliveries."""
        found: dict[int, Saved] = {}
        for kind, numbers in _groups(deliveries, alone=self._loader.by_parts):
            given: Any = [deliveries[number] for number in numbers]
            if kind is Quotes:
                saved = self._write_quotes(given)
            elif kind is Greeks:
                saved = self._write_greeks(given)
            else:
                saved = [self._write_levels(one.levels) for one in given]
            found.update(zip(numbers, saved, strict=True))
        self.saved = [found[number] for number in range(len(deliveries))]

    def _write_quotes(self, given: Sequence[Quotes]) -> list[Saved]:
        brought = QuoteEntries.of(given, self._number)
        values, times = brought.values([entry_id for one in given for entry_id in one.ids])
        with nullcontext() if self._loader.careful else self._connection.pipeline():
            self._loader.write(
                self._connection,
                [*times.tolist(), *brought.batches.spots["time"].tolist()],
                lambda: self._connection.execute(query("insert_batch"), values),
            )
            table = quote_table(brought)  # while the server inserts
        groups = [brought.batches.quotes["key"], np.repeat(brought.delivery, brought.sizes)]
        saved = self._save(table, groups, brought)
        if any(one.rows > one.conflated + one.known + len(one.refused) for one in saved):
            self._connection.execute(query("forget_checkpoints"), values)  # those behind new rows
        self.quotes += _what_came(given, brought, times)
        return saved

    def _write_greeks(self, given: Sequence[Greeks]) -> list[Saved]:
        brought = GreekEntries.of(given, self._number)
        groups = np.column_stack([brought.delivery, brought.shard])
        keys = [brought.results.rows["key"], np.repeat(groups, brought.sizes, axis=0)]
        return self._save(greek_table(brought), keys, brought)

    def _write_levels(self, levels: Sequence[tuple[int, str, JsonDict]]) -> Saved:
        cadence = round(self._strike_seconds * SECOND)
        # made outside the part that may be tried twice, as they are remembered
        sessions = {key: self._number(key) for _, key, _ in levels}

        def insert() -> int:
            new, slots = 0, dict(self.slots)
            for at, key, result in levels:
                row = level_row(at, sessions[key], result)
                values = {**row, **{name: Jsonb(row[name]) for name in ("result", "watermark")}}
                new += self._connection.execute(query("insert_level"), values).rowcount
                if slots.get(key) != at // cadence:
                    slots[key] = at // cadence
                    strikes = {
                        **row,
                        "strikes": Jsonb(result["strikes"]),
                        "cadence": timedelta(seconds=self._strike_seconds),
                    }
                    self._connection.execute(query("insert_strikes"), strikes)
            self.slots = slots
            return new

        new = self._loader.write(self._connection, [at for at, _, _ in levels], insert)
        self.levels += [(key, at) for at, key, _ in levels]
        return Saved(len(levels), len(levels) - new)

    def _save(
        self,
        table: Table,
        contracts: Sequence[Any],
        brought: QuoteEntries | GreekEntries,
    ) -> list[Saved]:
        """Rows of deliveries, of one alone where not all may be new.

        :param contracts: columns that tell contracts apart, but for their sessions.
        """

        def sizes() -> list[int]:
            each = brought.delivery[table.entries]
            return np.bincount(each, minlength=len(brought.symbols)).tolist()  # type: ignore[no-any-return]

        came = sizes()
        if self._period_us and len(table):
            marks = np.column_stack([*contracts, brought.sessions.which[table.entries]])
            table = last_of_each(table, marks, self._period_us)
        kept = sizes()
        table, refused = timely(table, brought.sessions)
        new = 0
        if len(table):
            new, bad = self._loader.load(self._connection, table, table.times)
            refused += bad
        known = sum(kept) - new - len(refused)
        firsts = np.searchsorted(brought.delivery, np.arange(len(came))).tolist()
        return [
            Saved(
                rows,
                known,
                rows - left,
                tuple(
                    Refused(row.entry - first, row.place, row.reason)
                    for row in refused
                    if brought.delivery[row.entry] == number
                ),
            )
            for number, (rows, left, first) in enumerate(zip(came, kept, firsts, strict=True))
        ]


def _what_came(given: Sequence[Quotes], brought: QuoteEntries, times: Numbers) -> Iterator[Came]:
    marks = np.column_stack([brought.delivery, brought.sessions.which])
    for delivery, session in np.unique(marks, axis=0).tolist():
        mine = (marks == (delivery, session)).all(axis=1)
        yield Came(
            brought.sessions.keys[session],
            given[delivery].shard,
            int(brought.sizes[mine].sum()),
            int(times[mine].min()),
            set((np.unique(times[mine] // DAY_US) * DAY_US).tolist()),
        )


def _groups(
    deliveries: Sequence[Delivery], *, alone: bool
) -> Iterator[tuple[type[Delivery], list[int]]]:
    """Those that are written in one step, quotes before Greeks before levels: their kind, and
    their places."""
    for kind in (Quotes, Greeks, Levels):
        places = [n for n, one in enumerate(deliveries) if isinstance(one, kind)]
        parts = [[place] for place in places] if alone else [places] if places else []
        yield from ((kind, part) for part in parts)
