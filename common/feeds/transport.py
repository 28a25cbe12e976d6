"""Long HTTP streams under httpx, at a fraction of what its own connections cost a chunk.

Owns one plain connection a stream: opening it, the request's bytes, the framing of the reply
(llhttp, by way of httptools), time-outs, holding back a host that is faster than its reader;
must not know what is asked for. Whatever arrived before a connection broke is given to the
reader before the error is. Requests that are no streams go to httpx's own pool.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, cast

import httptools
import httpx

STREAM = "gex_stream"
"""Extension of a request (:attr:`httpx.Request.extensions`) that asks for a connection alone."""
MOST_HELD = 1 << 20
"""Bytes that wait for the reader before the host is no longer listened to."""
MOST_HEADERS = 1 << 16
"""Bytes of names and values that a head may have."""
_PORTS = {"http": 80, "https": 443}
_SECOND_FAMILY_SECONDS = 0.25
_QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)
"""Linux alone can be told not to wait."""


class StreamTransport(httpx.AsyncBaseTransport):
    """httpx's transport with a way of its own for streams; straight to the host, by no proxy."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, **options: Any) -> None:
        """Connect to nothing yet.

        :param tls: whom to trust; httpx's certificate authorities by default.
        :param options: of :class:`httpx.AsyncHTTPTransport`.
        """
        self._tls = tls or httpx.create_ssl_context()
        self._pool = httpx.AsyncHTTPTransport(verify=self._tls, **options)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; of a stream the reply's body is read while it comes.

        :raises httpx.TransportError: as httpx's own transport does.
        """
        if not request.extensions.get(STREAM) or request.url.scheme not in _PORTS:
            return await self._pool.handle_async_request(request)
        seconds = request.extensions.get("timeout", {})
        head = _head(request) + await request.aread()
        exchange = await self._connect(request.url, seconds.get("connect"))
        try:
            exchange.send(head)
            await exchange.headed(seconds.get("read"))
        except BaseException:
            exchange.close()
            raise
        return httpx.Response(
            exchange.status,
            headers=exchange.headers,
            stream=_Body(exchange, seconds.get("read")),
            extensions={"http_version": b"HTTP/1.1"},
        )

    async def _connect(self, url: httpx.URL, seconds: float | None) -> _Exchange:
        host = url.raw_host.decode("ascii")
        is_secure = url.scheme == "https"
        try:
            async with asyncio.timeout(seconds):
                _, exchange = await asyncio.get_running_loop().create_connection(
                    _Exchange,
                    host,
                    url.port or _PORTS[url.scheme],
                    ssl=self._tls if is_secure else None,
                    server_hostname=host if is_secure else None,
                    happy_eyeballs_delay=_SECOND_FAMILY_SECONDS,
                )
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"{host} does not answer") from error
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        return exchange

    async def aclose(self) -> None:
        """Close the pool; a stream is closed by its reader."""
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    """What follows the head, whatever has come by now at a time."""

    def __init__(self, exchange: _Exchange, seconds: float | None) -> None:
        self._exchange, self._seconds = exchange, seconds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self._exchange.read(self._seconds):
            yield chunk

    async def aclose(self) -> None:
        self._exchange.close()


class _Exchange(asyncio.Protocol):
    """One connection: a request sent, the reply as far as it has come."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._parts: list[bytes] = []
        self._held = self._head_bytes = 0
        self._is_paused = self._is_complete = False
        self._ends_with_connection = False
        self._failure: httpx.TransportError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._patience = self._due = 0.0

    def send(self, request: bytes) -> None:
        """Write a request whole; what becomes of it shows when the reply is read."""
        cast(asyncio.Transport, self._transport).write(request)

    async def headed(self, seconds: float | None) -> None:
        """Wait for the head of the reply.

        :raises httpx.TransportError: when none comes.
        """
        while not self.status:
            await self._more(seconds)

    async def read(self, seconds: float | None) -> bytes:
        """What has come of the body since the last time; nothing when it has ended.

        :param seconds: to wait for it [s].
        :raises httpx.TransportError: once everything that came before is read.
        """
        while not self._parts:
            if self._is_complete:
                return b""
            await self._more(seconds)
        chunk = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._held = 0
        if self._is_paused:
            self._is_paused = False
            cast(asyncio.Transport, self._transport).resume_reading()
        return chunk

    async def _more(self, seconds: float | None) -> None:
        """Wait until something happens."""
        if self._failure is not None:
            raise self._failure
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        if seconds is not None:
            self._patience, self._due = seconds, loop.time() + seconds
            if self._timer is None:  # one goes on for many waits: most are short
                self._timer = loop.call_at(self._due, self._look)
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _look(self) -> None:
        """End the wait that has lasted too long; look again when another one would have."""
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self._due:
            self._timer = loop.call_at(self._due, self._look)
        else:
            text = f"no byte within {self._patience:g} s"
            self._waiter.set_exception(httpx.ReadTimeout(text))

    def close(self) -> None:
        """Let go of the connection at once."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._socket: socket.socket = transport.get_extra_info("socket")

    def data_received(self, data: bytes) -> None:
        self._acknowledge()
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(httpx.RemoteProtocolError(f"no HTTP: {error}"))
            self.close()
        if self._held > MOST_HELD and not self._is_paused:
            self._is_paused = True
            cast(asyncio.Transport, self._transport).pause_reading()
        self._wake()

    def _acknowledge(self) -> None:
        """Tell the host at once that it has come.

        A host whose socket waits for that before it sends a small line (Nagle's algorithm,
        RFC 896) would keep the next one back for as long as ours waits for something to send it
        with: 40 ms, and nothing is ever sent. The kernel forgets the wish, so it is said anew.
        """
        if _QUICK_ACK is not None:
            with suppress(OSError):  # it is broken; whoever reads is told
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._fail(httpx.ReadError(str(exc) or type(exc).__name__))
        elif self.status and self._ends_with_connection:
            self._is_complete = True
        else:
            self._fail(httpx.RemoteProtocolError("the host closed the connection in mid-reply"))
        self._wake()

    # what the parser calls

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MOST_HEADERS:
            raise ValueError("the head has no end")
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # another head follows
            self.headers.clear()
            return
        self.status = status
        names = {name.lower() for name, _ in self.headers}
        self._ends_with_connection = not names & {b"transfer-encoding", b"content-length"}

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)
        self._held += len(body)

    def on_message_complete(self) -> None:
        self._is_complete = self.status > 0

    def _fail(self, failure: httpx.TransportError) -> None:
        if self._failure is None and not self._is_complete:
            self._failure = failure

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _head(request: httpx.Request) -> bytes:
    """A request up to its body.

    :raises httpx.LocalProtocolError: when a header's value would end it early.
    """
    lines = [b"%b %b HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    for name, value in request.headers.raw:
        if any(byte in value for byte in b"\r\n\0"):
            raise httpx.LocalProtocolError(f"the value of {name.decode('ascii')} is no header's")
        lines.append(b"%b: %b" % (name, value))
    return b"\r\n".join([*lines, b"", b""])
