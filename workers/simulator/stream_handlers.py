"""The streams of TradeStation's API: chunked lines of JSON without end.

Owns writing what subscriptions have to tell, heartbeats, ends in order and cuts; must not know
where prices come from. A stream writes only when its reader has taken what was written before.
"""

from __future__ import annotations

from typing import Any, ClassVar

import orjson
from tornado.ioloop import IOLoop
from tornado.iostream import StreamClosedError

from workers.simulator.chain_query import ChainQuery, asked_greeks
from workers.simulator.chunking import Chunker
from workers.simulator.failures import ApiError
from workers.simulator.handlers import ApiHandler
from workers.simulator.quotes import wire_time
from workers.simulator.subscriptions import ChainSubscription, QuoteSubscription, Subscription

CONTENT_TYPE = "application/vnd.tradestation.streams.v2+json"


class StreamHandler(ApiHandler):
    """One open stream."""

    concurrency: ClassVar[str] = ""
    """Name of the quota of open streams it counts against, if any."""
    shard = ""
    """Whose chain it tells, "" for none."""

    def initialize(self) -> None:
        """Nothing is told yet; called by tornado."""
        self._subscription: Subscription | None = None
        self._chunker = Chunker(self.site.chunking)
        self._gone = self._entered = False
        self._behind = True
        self._between: list[bytes] = []
        self._last_line = b""
        self._heartbeats = 0

    def set_default_headers(self) -> None:
        """Say how many streams may still be opened, too."""
        super().set_default_headers()
        if self.concurrency:
            for name, value in self.site.stream_limits.headers(self.concurrency).items():
                self.set_header(name, value)

    def prepare(self) -> None:
        """Check token, quota and the number of streams."""
        super().prepare()
        if self.concurrency:
            self._entered = self.site.stream_limits.enter(self.concurrency)
            if not self._entered:
                raise ApiError(429, "Stream quota exceeded")
            self.set_default_headers()

    async def tell(self, subscription: Subscription) -> None:
        """Write what a subscription has to tell until the reader or the date is gone."""
        self._subscription = subscription
        self.site.streams[self] = None
        self.site.counters.streams_opened += 1
        self.site.faults.opened(self, self.site)
        self.set_header("Content-Type", CONTENT_TYPE)
        self.set_header("Connection", "keep-alive")
        self.count()
        try:
            await self.flush()
            await self._tell_on(subscription)
        except StreamClosedError:
            pass  # the reader has gone, or was cut
        finally:
            self._leave(subscription)

    async def _tell_on(self, subscription: Subscription) -> None:
        time = IOLoop.current().time
        silent_since = time()
        while not self._gone:
            silence = "" if self._last_line else self.site.faults.silence(self.target)
            lines = [] if silence else self._due(subscription)
            if lines:
                self.site.counters.lines_sent += len(lines)
                self._note()
                await self._send(lines)
                silent_since = time()
                if not self._last_line:  # whatever is new since has woken it
                    await subscription.wait(self.site.heartbeat_seconds)
            elif self._last_line:
                await self._send([self._last_line])
                return
            elif (left := silent_since + self.site.heartbeat_seconds - time()) > 0:
                await subscription.wait(left)
            else:
                if silence != "everything":
                    self._heartbeats += 1
                    self.site.counters.heartbeats_sent += 1
                    await self._send([self._heartbeat()])
                silent_since = time()

    def _due(self, subscription: Subscription) -> list[bytes]:
        """What a fault puts between, then what there is to tell, as a fault lets it through."""
        between, self._between = self._between, []
        return between + self.site.faults.altered(self, subscription.take())

    def _note(self) -> None:
        """Remember when the wire gets what is told by now."""
        if self.site.wire is not None:
            exchange = self.site.exchange
            due_us = exchange.running.clock.wall(exchange.at_us)
            self.site.wire.note(self.shard, due_us, exchange.wall(), behind=self._behind)
            self._behind = False

    async def _send(self, lines: list[bytes]) -> None:
        for chunk in self._chunker.chunks(lines):
            self.site.counters.bytes_sent += len(chunk)
            self.write(chunk)
            flushed = self.flush()
            self._behind |= not flushed.done()  # the reader has yet to take it
            await flushed

    def _heartbeat(self) -> bytes:
        at = wire_time(self.site.exchange.told_now())
        return orjson.dumps({"Heartbeat": self._heartbeats, "Timestamp": at}) + b"\n"

    @property
    def conflated(self) -> int:
        """Rows replaced by newer ones before the reader took them."""
        return self._subscription.conflated if self._subscription else 0

    def end_with(self, line: bytes) -> None:
        """Tell what is pending, then a last line, then end."""
        self._last_line = line
        self.wake()

    def say(self, lines: list[bytes]) -> None:
        """Send some lines between the others."""
        self._between += lines
        self.wake()

    def tell_again(self) -> None:
        """Tell everything once more, as at the beginning."""
        if self._subscription is not None:
            self._subscription.again()

    def wake(self) -> None:
        """Look again at what there is to tell."""
        if self._subscription is not None:
            self._subscription.wake()

    def cut(self) -> None:
        """Close the socket in the middle of a line and of a chunk."""
        self.site.counters.streams_cut += 1
        line = self._heartbeat()
        connection: Any = self.request.connection
        if not connection.stream.closed():
            connection.stream.write(b"%x\r\n" % len(line) + line[: len(line) // 2])
            connection.stream.close()
        self.on_connection_close()

    def on_connection_close(self) -> None:
        """Stop telling."""
        self._gone = True
        self.wake()

    def on_finish(self) -> None:
        """Count a refusal; a stream was counted when it was opened."""
        if self._subscription is None:
            self.count()
        if self._entered:
            self.site.stream_limits.leave(self.concurrency)

    def _leave(self, subscription: Subscription) -> None:
        subscription.close()
        self.site.streams.pop(self, None)
        self.site.counters.conflated += subscription.conflated


class QuoteStreamHandler(StreamHandler):
    """The quote stream."""

    route, resource = "/v3/marketdata/stream/quotes", "quote-change-stream"

    async def get(self, symbols: str) -> None:
        """Stream quotes: each in full, then its changes."""
        await self.tell(QuoteSubscription(*self.asked_quotes(symbols)))


class ChainStreamHandler(StreamHandler):
    """The option chain stream."""

    route, concurrency = "/v3/marketdata/stream/options/chains", "option-chain-stream"

    async def get(self, underlying: str) -> None:
        """Stream chain rows: the window in full, then rows that change."""
        desk, root = self.asked_chain(underlying)
        query = ChainQuery.parse(self.parameter, desk.contracts.expiries_of(root))
        self.shard = query.expiry.shard
        window = query.window(desk.contracts, desk.listed, desk.underlying.last)
        await self.tell(ChainSubscription(desk, window, greeks=query.greeks))


class OptionQuoteStreamHandler(StreamHandler):
    """The option quote stream, for one contract."""

    route, concurrency = "/v3/marketdata/stream/options/quotes", "option-quote-stream"

    async def get(self) -> None:
        """Stream the row of a contract whenever it changes."""
        name = self.parameter("legs[0].Symbol")
        if name is None:
            raise ApiError(400, "legs[0].Symbol is missing")
        if self.parameter("legs[1].Symbol") is not None:
            raise ApiError(501, "Spreads of several legs are not simulated")
        found = self.site.exchange.quoted(name)
        if found is None or found.place is None:
            raise ApiError(400, f"legs[0].Symbol: {name!r} is no listed contract")
        window = found.desk.listed & False
        window[found.place] = True
        await self.tell(ChainSubscription(found.desk, window, greeks=asked_greeks(self.parameter)))
