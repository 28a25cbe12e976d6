"""What an open stream has yet to be told: a chain's rows, or quotes.

Owns what is pending, which never exceeds one row a contract: what changes again before it was
sent is sent once, in its newest form. Must not know HTTP.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import orjson

from common.models import BoolArray, JsonDict
from workers.simulator.desk import Desk
from workers.simulator.market import Places
from workers.simulator.quotes import INVALID_SYMBOL, Quoted, full_quotes


class Subscription(ABC):
    """The part that all streams share: waking up whoever writes."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()
        self.conflated = 0
        """Rows that were replaced by newer ones before they were sent."""
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    @abstractmethod
    def take(self) -> list[bytes]:
        """The lines to send now, each with its newline; nothing is pending afterwards."""

    @abstractmethod
    def again(self) -> None:
        """Let everything be pending, as at the beginning."""

    def close(self) -> None:
        """Follow no longer."""
        self._stop_timer()

    def wake(self) -> None:
        """Let :meth:`wait` return."""
        self._woken.set()

    async def wait(self, seconds: float) -> None:
        """Return when woken, or when the time has passed."""
        loop = asyncio.get_running_loop()
        self._due = loop.time() + seconds
        if self._timer is None or self._timer.when() > self._due:  # one goes on for many waits
            self._stop_timer()
            self._timer = loop.call_at(self._due, self._look)
        await self._woken.wait()
        self._woken.clear()

    def _look(self) -> None:
        """Wake who has waited long enough; look again when the next one will have."""
        loop, self._timer = asyncio.get_running_loop(), None
        if loop.time() < self._due:
            self._timer = loop.call_at(self._due, self._look)
        else:
            self.wake()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class ChainSubscription(Subscription):
    """Chain rows of the contracts in a window: all of them first, then those that change."""

    def __init__(self, desk: Desk, window: BoolArray, *, greeks: bool) -> None:
        """Begin to follow.

        :param window: true for the contracts asked for, shape (n,).
        """
        super().__init__()
        self._desk, self._window, self._greeks = desk, window, greeks
        self._pending = window & desk.listed
        desk.listeners.add(self)
        desk.watch(window, greeks=greeks)

    def notice(self, desk: Desk, places: Places, *, moved: bool) -> None:
        """Keep in mind what has changed."""
        del desk, moved
        mine = places[self._window[places]]
        if mine.size:
            self.conflated += int(np.count_nonzero(self._pending[mine]))
            self._pending[mine] = True
            self.wake()

    def take(self) -> list[bytes]:
        """The rows that have changed since the last call."""
        (places,) = self._pending.nonzero()
        if not places.size:
            return []
        self._pending[places] = False
        return self._desk.lines(places, greeks=self._greeks)

    def again(self) -> None:
        """Every row of the window is pending."""
        self._pending |= self._window & self._desk.listed
        self.wake()

    def close(self) -> None:
        """Follow no longer."""
        super().close()
        self._desk.listeners.discard(self)
        self._desk.unwatch(self._window, greeks=self._greeks)


class QuoteSubscription(Subscription):
    """Quotes of some symbols: each in full first, then the fields that change."""

    def __init__(self, quoted: Sequence[Quoted], refused: Sequence[str] = ()) -> None:
        """Begin to follow.

        :param refused: symbols that name nothing; each is told once.
        """
        super().__init__()
        self._quoted = quoted
        self._refused = list(refused)
        self._told: list[JsonDict] = [{} for _ in quoted]
        self._pending = dict.fromkeys(range(len(quoted)))
        self._underlyings: dict[Desk, list[int]] = {}
        self._contracts: dict[Desk, dict[int, list[int]]] = {}
        for at, each in enumerate(quoted):
            if each.place is None:
                self._underlyings.setdefault(each.desk, []).append(at)
            else:
                places = self._contracts.setdefault(each.desk, {})
                places.setdefault(each.place, []).append(at)
            each.desk.listeners.add(self)

    def notice(self, desk: Desk, places: Places, *, moved: bool) -> None:
        """Keep in mind what has changed."""
        changed = list(self._underlyings.get(desk, ())) if moved else []
        contracts = self._contracts.get(desk)
        if contracts:
            for place in contracts.keys() & set(places.tolist()):
                changed += contracts[place]
        if changed:
            self.conflated += len(self._pending.keys() & set(changed))
            self._pending.update(dict.fromkeys(changed))
            self.wake()

    def take(self) -> list[bytes]:
        """Refusals, first quotes in full, and what has changed since the last call."""
        objects: list[JsonDict] = [
            {"Symbol": name, "Error": INVALID_SYMBOL} for name in self._refused
        ]
        self._refused.clear()
        pending = sorted(self._pending)
        quotes = full_quotes([self._quoted[at] for at in pending], percent=False)
        for at, fields in zip(pending, quotes, strict=True):
            told = self._told[at]
            news = {name: value for name, value in fields.items() if told.get(name) != value}
            self._told[at] = fields
            if news:
                objects.append({"Symbol": fields["Symbol"], **news})
        self._pending.clear()
        return [orjson.dumps(each, option=orjson.OPT_APPEND_NEWLINE) for each in objects]

    def again(self) -> None:
        """Every quote is pending in full."""
        self._told = [{} for _ in self._quoted]
        self._pending = dict.fromkeys(range(len(self._quoted)))
        self.wake()

    def close(self) -> None:
        """Follow no longer."""
        super().close()
        for each in self._quoted:
            each.desk.listeners.discard(self)
