"""The simulator's feed: endless trading sessions of the market model, in real time.

Owns which trading date runs when, and which contracts are worth an update; must not know how
prices come about, and touches no network.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date
from typing import ClassVar

import msgspec
import numpy as np
import numpy.typing as npt

from common.clock import (
    SECOND,
    is_trading_day,
    new_york_date,
    next_trading_day,
    previous_trading_day,
    session_hours,
    wall_us,
)
from common.market_model import MarketModel
from common.models import (
    Expiry,
    MarketClock,
    QuoteUpdate,
    Right,
    Rows,
    Session,
    SnapshotEnd,
    SpotUpdate,
    Update,
    key_puts,
    key_strikes,
)

Sleep = Callable[[float], Awaitable[object]]
"""Waits for a number of seconds of wall time, as ``asyncio.sleep`` does."""

STEP_US = 250_000
_LATE_START_US = 1800 * SECOND  # 10:00 New York, where a session out of hours starts
_VOLUME_STEPS = 20  # a contract's volume alone is worth an update this often


class MarketModelFeed:
    """One trading session after the other, open whatever the wall clock says."""

    def __init__(
        self,
        *,
        symbol: str,
        seed: int,
        stale_after_us: int,
        step_us: int = STEP_US,
        previous: Session | None = None,
        wall: Callable[[], int] = wall_us,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """Prepare the feed; nothing is drawn before a session is asked for.

        :param step_us: market and wall time between two frames [us].
        :param previous: the stored session of the last run; it is gone on with, or followed
            by a later date, when it is this symbol's and was made with this seed.
        :param wall: wall time [us since the epoch].
        """
        self._symbol, self._seed = symbol, seed
        self._stale_after_us, self._step_us = stale_after_us, step_us
        self._wall, self._sleep = wall, sleep
        self._previous = previous if previous is not None and self._is_own(previous) else None
        self._started = False

    async def sessions(self) -> AsyncIterator[ModelSession]:
        """Sessions without end; asking again goes on with the one that runs."""
        while True:
            self._previous = self._next()
            self._started = True
            yield ModelSession(
                session=self._previous,
                seed=self._seed,
                step_us=self._step_us,
                wall=self._wall,
                sleep=self._sleep,
            )

    def _key(self, day: date) -> str:
        return f"{self._symbol}:{day.isoformat()}:simulator:{self._seed}"

    def _is_own(self, session: Session) -> bool:
        return session.feed == "simulator" and session.key == self._key(session.trading_date)

    def _next(self) -> Session:
        """The running session while it lasts, else the next one; no date comes twice.

        A run that follows an older one starts where a first one would, if that is later.
        """
        wall, previous = self._wall(), self._previous
        if previous is None:
            return self._session(*default_start(wall))
        if previous.open_us <= previous.clock.market(wall) < previous.close_us:
            return msgspec.structs.replace(
                previous,
                resume=True,
                ended=False,
                epoch=0,
                stale_after_us=self._stale_after_us,
            )
        if not self._started:
            day, offset_us = default_start(wall)
            if day > previous.trading_date:
                return self._session(day, offset_us)
        day = next_trading_day(previous.trading_date)
        return self._session(day, _offset(session_hours(day)[0], wall))

    def _session(self, day: date, offset_us: int) -> Session:
        open_us, close_us = session_hours(day)
        return Session(
            key=self._key(day),
            symbol=self._symbol,
            feed="simulator",
            trading_date=day,
            open_us=open_us,
            close_us=close_us,
            stale_after_us=self._stale_after_us,
            clock=MarketClock(0, offset_us),
            source=f"market model, seed {self._seed}",
            resume=False,
        )


class ModelSession:
    """One trading date of the model, played at the pace of the wall clock."""

    def __init__(
        self,
        *,
        session: Session,
        seed: int,
        step_us: int,
        wall: Callable[[], int],
        sleep: Sleep,
    ) -> None:
        """Take over what the feed was given; the model is drawn with the first frame."""
        self._session, self._seed, self._step_us = session, seed, step_us
        self._wall, self._sleep = wall, sleep

    counters: ClassVar[dict[str, int]] = {}

    @property
    def session(self) -> Session:
        """The session's record."""
        return self._session

    async def frames(self) -> AsyncIterator[list[Update]]:
        """The whole chain as of now, then what changes, up to and including the close.

        Steps lie on a grid from the open; those missed by a busy process are left out.
        """
        changes = ChainChanges(
            MarketModel(
                symbol=self._session.symbol,
                seed=self._seed,
                trading_date=self._session.trading_date,
            )
        )
        at_us = self._latest_step()
        yield changes.full(at_us)
        while at_us < self._session.close_us:
            await self._sleep_until(min(at_us + self._step_us, self._session.close_us))
            at_us = max(at_us, self._latest_step())
            updates = changes.since_last(at_us)
            if updates:
                yield updates

    def _now(self) -> int:
        return self._session.clock.market(self._wall())

    def _latest_step(self) -> int:
        """The grid instant at or before now, within the session [us, market time]."""
        opened, closed = self._session.open_us, self._session.close_us
        now = self._now()
        if now >= closed:
            return closed
        return opened + max(now - opened, 0) // self._step_us * self._step_us

    async def _sleep_until(self, at_us: int) -> None:
        await self._sleep(max(at_us - self._now(), 0) / SECOND)
        while (left := at_us - self._now()) > 0:  # timers may ring early
            await self._sleep(left / SECOND)


class ChainChanges:
    """Turns the boards of successive instants into updates of the contracts that changed."""

    def __init__(self, model: MarketModel) -> None:
        """Start with nothing said yet."""
        self._model = model
        self._labels = {expiry: _labels(keys) for expiry, keys in model.contracts.items()}
        self._said: dict[Expiry, Rows] = {}
        self._spot = float("nan")
        self._steps = 0

    def full(self, at_us: int) -> list[Update]:
        """Spot, every contract and the end of the snapshot."""
        self._spot = self._model.spot(at_us)
        self._said = self._model.quotes(at_us)
        updates: list[Update] = [SpotUpdate(at_us, self._spot)]
        for expiry, rows in self._said.items():
            updates += self._updates(expiry, rows, np.arange(rows.size))
        updates.append(SnapshotEnd(at_us))
        return updates

    def since_last(self, at_us: int) -> list[Update]:
        """Spot where it moved, and contracts with another bid or ask than last said.

        A new volume alone is said at every twentieth step, the contracts taking turns.
        """
        self._steps += 1
        updates: list[Update] = []
        spot = self._model.spot(at_us)
        if spot != self._spot:
            self._spot = spot
            updates.append(SpotUpdate(at_us, spot))
        for expiry, rows in self._model.quotes(at_us).items():
            said = self._said[expiry]
            changed = (rows["bid"] != said["bid"]) | (rows["ask"] != said["ask"])
            turn = slice(self._steps % _VOLUME_STEPS, None, _VOLUME_STEPS)
            changed[turn] |= rows["volume"][turn] != said["volume"][turn]
            places = np.flatnonzero(changed)
            said[places] = rows[places]
            updates += self._updates(expiry, rows[places], places)
        return updates

    def _updates(
        self, expiry: Expiry, rows: Rows, places: npt.NDArray[np.int64]
    ) -> list[QuoteUpdate]:
        labels = self._labels[expiry]
        columns = (rows[name].tolist() for name in _COLUMNS)
        return [
            QuoteUpdate(expiry, *labels[place], *values)
            for place, *values in zip(places.tolist(), *columns, strict=True)
        ]


_COLUMNS = (
    "time",
    "bid",
    "ask",
    "last",
    "bid_size",
    "ask_size",
    "volume",
    "open_interest",
)  # in the order of QuoteUpdate's fields


def default_start(wall: int) -> tuple[date, int]:
    """Trading date and market offset [us] of a first session.

    Real time while the NYSE is open; otherwise the latest trading day, today included, as if
    it were 10:00 in New York.

    :param wall: wall time [us].
    """
    day = new_york_date(wall)
    if not is_trading_day(day):
        day = previous_trading_day(day)
    open_us, close_us = session_hours(day)
    if open_us <= wall < close_us:
        return day, 0
    return day, _offset(open_us + _LATE_START_US, wall)


def _offset(start_us: int, wall: int) -> int:
    """What makes ``start_us`` of the market now, in whole seconds, so that the grids agree.

    Rounded up: market time is then at most a second past ``start_us``.
    """
    return -((wall - start_us) // SECOND) * SECOND


def _labels(keys: npt.NDArray[np.uint32]) -> list[tuple[float, Right]]:
    """Strike [$] and right of each contract."""
    strikes, puts = key_strikes(keys).tolist(), key_puts(keys).tolist()
    return [(strike, "P" if put else "C") for strike, put in zip(strikes, puts, strict=True)]
