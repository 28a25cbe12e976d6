"""Everything that is said of one underlying on one trading date, to everybody the same.

Owns the said state, the rows rendered from it, and who listens; must not know HTTP.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from common.models import BoolArray, FloatArray, Rows
from workers.simulator.changes import ChainChanges
from workers.simulator.market import Day, Places, Underlying
from workers.simulator.rows import GREEK_FIELDS, WHOLE_FIELDS, ChainRows
from workers.simulator.trades import Trades

_WHOLE_COLUMNS = ("open_interest", "ask_size", "bid_size", "volume")
"""The columns behind WHOLE_FIELDS."""


class Listener(Protocol):
    """Somebody who follows a desk."""

    def notice(self, desk: Desk, places: Places, *, moved: bool) -> None:
        """Hear that contracts have changed, and whether the underlying has."""


class Desk:
    """One underlying on one date."""

    def __init__(self, day: Day, at_us: int) -> None:
        """Open it at an instant [us, market time]: all that can be said then is said."""
        self.day = day
        self.contracts = day.contracts
        self.trades = Trades(day.contracts.size)
        self.listeners: set[Listener] = set()
        self._changes = ChainChanges(day.contracts.size)
        self._rows = ChainRows()
        self._lines: dict[bool, list[bytes]] = {
            greeks: [b""] * day.contracts.size for greeks in (True, False)
        }
        self._stale = {greeks: np.ones(day.contracts.size, np.bool_) for greeks in (True, False)}
        self._windows: dict[bool, list[BoolArray]] = {True: [], False: []}
        self._watched = {greeks: np.zeros(day.contracts.size, np.bool_) for greeks in (True, False)}
        """Every window of a kind together."""
        everywhere = np.arange(day.contracts.size)
        for instant in day.instants(at_us):
            self.trades.take(day.board(instant).rows, everywhere)
        self.at_us = at_us
        self.underlying: Underlying = day.board(at_us).underlying
        """As last said."""
        self.step(at_us, everything=True)

    @property
    def said(self) -> Rows:
        """What was last said of each contract, layout QUOTE."""
        return self._changes.said

    @property
    def listed(self) -> BoolArray:
        """True for the contracts of which something has been said."""
        return self._changes.listed

    def step(self, at_us: int, *, everything: bool = False) -> None:
        """Say what has changed at an instant.

        :param everything: leave no difference unsaid.
        """
        self.at_us = at_us
        board = self.day.board(at_us)
        places = self._changes.since_last(board.rows, everything=everything)
        moved = board.underlying.last != self.underlying.last or (
            everything and board.underlying != self.underlying
        )
        if moved:
            self.underlying = board.underlying
        self.trades.take(self.said.take(places), places)
        for stale in self._stale.values():
            stale[places] = True
        for listener in self.listeners:
            listener.notice(self, places, moved=moved)

    def watch(self, window: BoolArray, *, greeks: bool) -> None:
        """Expect rows of these contracts to be asked for at every step."""
        self._watch(greeks, [*self._windows[greeks], window])

    def unwatch(self, window: BoolArray, *, greeks: bool) -> None:
        """Expect it no longer."""
        self._watch(greeks, [each for each in self._windows[greeks] if each is not window])

    def _watch(self, greeks: bool, windows: list[BoolArray]) -> None:
        self._windows[greeks] = windows
        self._watched[greeks] = np.logical_or.reduce([np.zeros_like(self.listed), *windows])

    def lines(self, places: Places, *, greeks: bool) -> list[bytes]:
        """Chain rows of some contracts, as last said.

        What others will ask for is rendered along: one pass over many rows costs little more
        than one over a few.
        """
        lines, stale = self._lines[greeks], self._stale[greeks]
        if np.count_nonzero(stale[places]):
            wanted = self._watched[greeks].copy()
            wanted[places] = True
            (missing,) = (wanted & stale & self.listed).nonzero()
            fields, rows = self._columns(missing, greeks=greeks), missing.tolist()
            tails = self.contracts.tails
            rendered = self._rows.lines(fields, [tails[place] for place in rows])
            for place, line in zip(rows, rendered, strict=True):
                lines[place] = line
            stale[missing] = False
        return [lines[place] for place in places.tolist()]

    def _columns(self, places: Places, *, greeks: bool) -> dict[str, FloatArray]:
        """Every field of a chain row."""
        rows, day = self.said.take(places), self.day
        bids, asks, lasts = rows["bid"], rows["ask"], rows["last"]
        mids, befores = 0.5 * (bids + asks), day.previous_closes[places]
        strikes, puts = self.contracts.strikes[places], self.contracts.puts[places]
        spot = self.underlying.last
        intrinsics = np.maximum(np.where(puts, strikes - spot, spot - strikes), 0.0)
        counts = np.array([rows[name] for name in _WHOLE_COLUMNS], np.float64)
        counts[counts < 0.0] = np.nan  # not known
        columns = day.analytics(self.at_us, places, mids)
        if not greeks:
            columns = {name: at for name, at in columns.items() if name not in GREEK_FIELDS}
        with np.errstate(invalid="ignore", divide="ignore"):
            return {
                **columns,
                "IntrinsicValue": intrinsics,
                "ExtrinsicValue": mids - intrinsics,
                "Ask": asks,
                "Bid": bids,
                "Mid": mids,
                "Close": lasts,
                "High": self.trades.highs[places],
                "Last": lasts,
                "Low": self.trades.lows[places],
                "NetChange": lasts - befores,
                "NetChangePct": np.where(befores > 0.0, (lasts - befores) / befores, np.nan),
                "Open": self.trades.opens[places],
                "PreviousClose": befores,
                **dict(zip(WHOLE_FIELDS, counts, strict=True)),
            }
