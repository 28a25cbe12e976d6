"""One stream kept alive: connected again whenever it ends, for whatever reason.

Owns what each control message and each failure means for the connection; must not merge data.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from common.errors import FeedError, UsageError
from common.feeds.backoff import Backoff
from common.feeds.schedule import Sleep
from common.feeds.tradestation.client import TradeStationClient, UnavailableError
from common.feeds.tradestation.messages import (
    Heartbeat,
    Malformed,
    Message,
    Row,
    StreamError,
    StreamStatus,
    parse,
)
from common.feeds.tradestation.wire import Lines

log = logging.getLogger(__name__)
HEALTHY_SECONDS = 30.0
"""A connection that lasted this long starts the backoff over [s]."""
DUAL_LOGON_PAUSE = 60.0
"""Wait after another login took the session, so as not to fight it [s]."""


@dataclass(frozen=True, slots=True)
class Source:
    """One stream: what it is called and what it asks for."""

    name: str
    """E.g. ``quotes`` or ``chain SPY 2026-11-24``."""
    path: str
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Arrival:
    """What one chunk of one stream completed."""

    source: str
    lines: list[bytes]
    """As they came, without ends of line."""
    rows: list[Row]
    """The data among them, in order."""
    end_of_snapshot: bool = False


Deliver = Callable[[Arrival], Awaitable[None]]


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
    ) -> None:
        """Nothing is opened before :meth:`run`.

        :param counters: what happened, added to as it happens.
        """
        self._client, self._source, self._deliver = client, source, deliver
        self._counters, self._sleep = counters, sleep
        self._backoff = Backoff()

    async def run(self) -> None:
        """Read, and reconnect, until cancelled.

        :raises CredentialsError: the login or its rights do not suffice.
        :raises UsageError: the host refuses the request as such.
        """
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                reason, pause = await self._once()
            except UnavailableError as error:
                reason, pause = str(error), error.pause
            except FeedError as error:
                reason, pause = str(error), None
            if loop.time() - began >= HEALTHY_SECONDS:
                self._backoff.reset()
            pause = self._backoff.next() if pause is None else pause
            self._counters["reconnects"] += 1
            log.warning("%s: %s; connecting again in %.1f s", self._source.name, reason, pause)
            await self._sleep(pause)

    async def _once(self) -> tuple[str, float | None]:
        """One connection: why it ended, and the pause it asks for, None for a backoff."""
        lines = Lines()
        async for chunk in self._client.stream(self._source.path, self._source.params):
            found = lines.feed(chunk)
            messages = [parse(line) for line in found]
            rows = [message for message in messages if isinstance(message, Row)]
            controls = [message for message in messages if not isinstance(message, Row)]
            self._counters["oversized_lines"] += lines.oversized
            lines.oversized = 0
            ended = any(
                isinstance(control, StreamStatus) and control.status == "EndSnapshot"
                for control in controls
            )
            if found:
                self._counters["rows"] += len(rows)
                await self._deliver(Arrival(self._source.name, found, rows, ended))
            for control in controls:
                verdict = self._obey(control)
                if verdict is not None:
                    return verdict
        return "the host ended the stream", None

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
                log.error("%s: %s %s", self._source.name, control.symbol, control.error)
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
