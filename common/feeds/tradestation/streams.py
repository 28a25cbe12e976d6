"""One stream kept alive: connected again whenever it ends, for whatever reason.

Owns what each control message and each failure means for the connection; must not merge data.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from common.errors import FeedError, UsageError
from common.feeds.backoff import Backoff
from common.feeds.schedule import Sleep
from common.feeds.tradestation.budget import Slot, StreamBudget
from common.feeds.tradestation.client import (
    TooLongError,
    TradeStationClient,
    UnavailableError,
)
from common.feeds.tradestation.messages import (
    Heartbeat,
    Malformed,
    Message,
    StreamError,
    StreamStatus,
)
from common.feeds.tradestation.rows import Rows
from common.feeds.tradestation.sources import Source
from common.feeds.tradestation.wire import Lines, split

log = logging.getLogger(__name__)
HEALTHY_SECONDS = 30.0
"""A connection that had data and lasted this long starts the backoff over [s]."""
_SHORT_LIVED = 3
"""So many connections in a row that were shorter than that are no coincidence."""
DUAL_LOGON_PAUSE = 60.0
"""Wait after another login took the session, so as not to fight it [s]."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What one chunk of one stream completed."""

    source: str
    whole: bytes
    """The lines as they came, each with its newline."""
    rows: Rows
    """The data among them, in order."""
    end_of_snapshot: bool = False

    @property
    def lines(self) -> list[bytes]:
        """The lines one by one, without ends of line."""
        return split(self.whole)


Deliver = Callable[[Arrival], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a connection may stay open without data."""

    first_row_seconds: float = 20.0
    """From its first byte, heartbeats included, to its first row [s]."""
    data_seconds: float = 60.0
    """Between two rows while the market is open [s]; heartbeats do not count."""
    is_open: Callable[[], bool] = lambda: True
    now: Callable[[], float] = time.monotonic


@dataclass(slots=True)
class _Connection:
    """When what happened on one connection [s, monotonic]; 0 before it did."""

    opened: float = 0.0
    last_row: float = 0.0

    @property
    def had_rows(self) -> bool:
        return self.last_row > 0.0


class StreamReader:
    """Reads one source for ever."""

    def __init__(
        self,
        client: TradeStationClient,
        source: Source,
        deliver: Deliver,
        counters: Counter[str],
        *,
        sleep: Sleep = asyncio.sleep,
        patience: Patience | None = None,
        budget: StreamBudget | None = None,
        slot: Slot | None = None,
    ) -> None:
        """Nothing is opened before :meth:`run`.

        :param counters: what happened, added to as it happens.
        :param budget: where a slot is taken from before anything is opened; None where the
            stream needs none. :param slot: one that is held already.
        """
        self._client, self._source, self._deliver = client, source, deliver
        self._counters, self._sleep = counters, sleep
        self._patience = patience or Patience()
        self._budget, self._slot = budget, slot
        self._backoff = Backoff()
        self._connection = _Connection()
        self._short_lived = 0

    def hand_over(self) -> Slot | None:
        """The slot, for a successor: this reader is about to be cancelled."""
        slot, self._slot = self._slot, None
        return slot

    async def run(self) -> None:
        """Read, and reconnect, until cancelled.

        :raises CredentialsError: the login or its rights do not suffice.
        :raises UsageError: the host refuses the request as such.
        """
        try:
            if self._slot is None and self._budget is not None:
                self._slot = await self._budget.wait(self._source.name, self._counters, self._sleep)
            await self._read_on()
        except TooLongError as error:
            await self._read_halves(error)
        finally:
            if self._slot is not None:
                self._slot.release()

    async def _read_on(self) -> None:
        while True:
            self._connection = _Connection()
            try:
                reason, pause = await self._once()
            except UnavailableError as error:
                reason, pause = str(error), error.pause
            except FeedError as error:
                reason, pause = str(error), None
            self._judge(asked=pause is not None)
            pause = self._backoff.next() if pause is None else pause
            self._counters["reconnects"] += 1
            log.warning("%s: %s; connecting again in %.1f s", self._source.name, reason, pause)
            await self._sleep(pause)

    async def _read_halves(self, error: TooLongError) -> None:
        """Go on with two streams, each of half the symbols.

        :raises TooLongError: when there is nothing to halve.
        """
        halves = self._source.halves()
        if halves is None:
            raise error
        self._counters["split_streams"] += 1
        log.warning("%s: too many symbols for one request; it is split", self._source.name)
        slots = (self.hand_over(), None)
        readers = [
            StreamReader(
                self._client, half, self._deliver, self._counters,
                sleep=self._sleep, patience=self._patience, budget=self._budget, slot=slot,
            )
            for half, slot in zip(halves, slots, strict=True)
        ]  # fmt: skip
        tasks = [asyncio.create_task(reader.run()) for reader in readers]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _judge(self, *, asked: bool) -> None:
        """Start the backoff over after health; say so when connections close again and again.

        :param asked: whether the host itself named the pause, so that nothing is wrong with it.
        """
        connection = self._connection
        lasted = self._patience.now() - connection.opened if connection.opened else 0.0
        if connection.had_rows and lasted >= HEALTHY_SECONDS:
            self._backoff.reset()
        if asked or not connection.opened:
            return
        self._short_lived = self._short_lived + 1 if lasted < HEALTHY_SECONDS else 0
        if self._short_lived == _SHORT_LIVED:
            self._counters["short_lived"] += 1
            log.error(
                "%s closes soon after it opens, again and again: another program uses the "
                "login, or it has too many streams (GEX_TRADESTATION_STREAMS)", self._source.name,
            )  # fmt: skip

    async def _once(self) -> tuple[str, float | None]:
        """One connection: why it ended, and the pause it asks for, None for a backoff."""
        lines, connection = Lines(), self._connection
        async for chunk in self._client.stream(self._source.path, self._source.params):
            connection.opened = connection.opened or self._patience.now()
            whole = lines.feed(chunk)
            rows = Rows(whole)
            self._counters["oversized_lines"] += lines.oversized
            lines.oversized = 0
            ended = any(
                isinstance(control, StreamStatus) and control.status == "EndSnapshot"
                for control in rows.controls
            )
            if whole:
                self._counters["rows"] += len(rows)
                await self._deliver(Arrival(self._source.name, whole, rows, ended))
            for control in rows.controls:
                verdict = self._obey(control)
                if verdict is not None:
                    return verdict
            if rows:
                connection.last_row = self._patience.now()
            elif reason := self._overdue():
                return reason, None
        return "the host ended the stream", None

    def _overdue(self) -> str:
        """Why a connection that brings no rows is given up; empty while it may go on.

        Looked at with each chunk: a heartbeat comes every 5 s, and without one the connection
        is dead anyway.
        """
        patience, connection = self._patience, self._connection
        if not connection.had_rows:
            if patience.now() - connection.opened < patience.first_row_seconds:
                return ""
            self._counters["first_row_timeouts"] += 1
            return f"no row within {patience.first_row_seconds:g} s"
        if patience.now() - connection.last_row < patience.data_seconds or not patience.is_open():
            return ""
        self._counters["data_timeouts"] += 1
        return f"heartbeats, and no data for {patience.data_seconds:g} s"

    def _obey(self, control: Message) -> tuple[str, float | None] | None:
        """Why a control message ends the connection, and the pause; None when it does not."""
        match control:
            case Heartbeat():
                self._counters["heartbeats"] += 1
            case Malformed(reason):
                self._counters["malformed_lines"] += 1
                log.warning("%s: a line is no message: %s", self._source.name, reason)
            case StreamStatus("GoAway"):
                return self._go_away()
            case StreamError() if control.is_go_away:
                return self._go_away()
            case StreamError() if control.is_dual_logon:
                self._counters["dual_logons"] += 1
                log.error("%s: another login took the data session", self._source.name)
                return "DualLogon", DUAL_LOGON_PAUSE
            case StreamError() if control.is_of_one_symbol:
                self._counters["refused_symbols"] += 1
                log.warning("%s: %s %s", self._source.name, control.symbol, control.error)
                self._source = self._source.without(control.symbol)
            case StreamError() if control.is_permanent:
                raise UsageError(f"{self._source.name}: {control.error} {control.message}".strip())
            case StreamError():
                self._counters["stream_errors"] += 1
                return f"{control.error} {control.message}".strip(), None
            case _:
                pass
        return None

    def _go_away(self) -> tuple[str, float]:
        """The server asks for a reconnect: no failure, and no backoff to wait out."""
        self._counters["go_aways"] += 1
        self._backoff.reset()
        return "GoAway", 0.0
