"""Streams over real sockets: framing, what breaks, time-outs, holding back."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import httpx
import pytest
import trustme

from common.feeds import transport
from common.feeds.transport import MOST_HELD, STREAM, StreamTransport

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Kind: a\r\n\r\n"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def says(*pieces: bytes, then: str = "close") -> Serve:
    """A host that writes pieces, each in a packet of its own, and closes, aborts or waits."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if then == "wait":
            await reader.read()
        elif then == "abort":
            cast(Any, writer.transport).abort()

    return serve


@asynccontextmanager
async def host(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a host whose connections have all ended afterwards."""
    under_way: set[asyncio.Task[None]] = set()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        under_way.add(cast("asyncio.Task[None]", asyncio.current_task()))
        with suppress(OSError, asyncio.IncompleteReadError):
            await serve(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(take, "127.0.0.1", 0, ssl=tls)
    async with server:
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            await asyncio.gather(*under_way)


async def served(
    serve: Serve,
    read: Callable[[httpx.Response], Awaitable[Any]],
    *,
    timeout: float | None = 5.0,
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None,
    **options: Any,
) -> Any:
    """What a reader makes of a host's reply."""
    transport = StreamTransport(tls=tls[1] if tls else None)
    origin = "https://localhost" if tls else "http://127.0.0.1"
    async with (
        host(serve, tls[0] if tls else None) as port,
        httpx.AsyncClient(transport=transport, timeout=timeout) as client,
    ):
        url = f"{origin}:{port}/v3/a%2Fb?c=d"
        request = client.build_request("GET", url, extensions={STREAM: True}, **options)
        reply = await client.send(request, stream=True)
        try:
            return await read(reply)
        finally:
            await reply.aclose()


async def everything(reply: httpx.Response) -> tuple[bytes, str]:
    """The body, and the name of the error that ended it."""
    found = b""
    try:
        async for part in cast(httpx.AsyncByteStream, reply.stream):
            found += part
    except httpx.TransportError as error:
        return found, type(error).__name__
    return found, ""


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_a_body_is_the_same_however_it_is_cut(size: int) -> None:
    lines = [b'{"Symbol":"SPY %d"}\n' % n for n in range(20)]
    whole = CHUNKED + b"".join(map(chunk, lines)) + b"0\r\n\r\n"
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]

    async def read(reply: httpx.Response) -> Any:
        return reply.status_code, reply.headers["x-kind"], await everything(reply)

    found = asyncio.run(served(says(*pieces, then="wait"), read))
    assert found == (200, "a", (b"".join(lines), ""))


@pytest.mark.parametrize(
    ("head", "end"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "wait"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "close"),
        (b"HTTP/1.1 103 Early Hints\r\nX-A: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "close"),
    ],
)
def test_a_body_without_chunks_ends_where_it_is_said_to(head: bytes, end: str) -> None:
    assert asyncio.run(served(says(head, b"hel", b"lo", then=end), everything)) == (b"hello", "")


@pytest.mark.parametrize(
    ("pieces", "then", "error"),
    [
        ((CHUNKED, chunk(b"a\nb"), b"5\r\nhal"), "close", "RemoteProtocolError"),
        ((CHUNKED, chunk(b"a\nb")), "abort", "ReadError"),
        ((CHUNKED, chunk(b"a\nb"), b"what is this\r\n"), "wait", "RemoteProtocolError"),
        ((CHUNKED, chunk(b"a\nb")), "wait", "ReadTimeout"),
    ],
)
def test_what_came_before_a_stream_broke_is_read_before_the_error(
    pieces: tuple[bytes, ...], then: str, error: str
) -> None:
    found, name = asyncio.run(served(says(*pieces, then=then), everything, timeout=0.3))
    assert found.startswith(b"a\nb")
    assert name in (error, "RemoteProtocolError") if then == "abort" else name == error


@pytest.mark.parametrize(
    ("pieces", "then", "error"),
    [
        ((), "close", httpx.RemoteProtocolError),
        ((b"SSH-2.0-OpenSSH\r\n",), "wait", httpx.RemoteProtocolError),
        ((b"HTTP/1.1 200 OK\r\nX-A",), "wait", httpx.ReadTimeout),
        ((b"HTTP/1.1 200 OK\r\n", b"X-A: bcd\r\n" * 20_000), "wait", httpx.RemoteProtocolError),
    ],
)
def test_a_reply_without_a_head_is_an_error(
    pieces: tuple[bytes, ...], then: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        asyncio.run(served(says(*pieces, then=then), everything, timeout=0.3))


def test_who_does_not_listen_is_a_connect_error() -> None:
    async def ask() -> None:
        async with httpx.AsyncClient(transport=StreamTransport()) as client:
            async with host(says()) as port:
                pass
            await client.get(f"http://127.0.0.1:{port}", extensions={STREAM: True})

    with pytest.raises(httpx.ConnectError):
        asyncio.run(ask())


def test_the_request_is_what_httpx_has_made_of_it() -> None:
    seen = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await reader.read()

    async def read(reply: httpx.Response) -> int:
        assert await everything(reply) == (b"", "")
        return reply.status_code

    assert asyncio.run(served(serve, read, headers={"Authorization": "Bearer x"})) == 204
    first, *headers = seen[0].split(b"\r\n")
    assert first == b"GET /v3/a%2Fb?c=d HTTP/1.1"
    assert b"Authorization: Bearer x" in headers
    assert any(line.startswith(b"Host: 127.0.0.1:") for line in headers)


def test_a_header_cannot_end_early() -> None:
    with pytest.raises(httpx.LocalProtocolError, match="Authorization"):
        asyncio.run(served(says(), everything, headers={"Authorization": "x\r\nX-Evil: 1"}))


def test_a_host_that_is_faster_than_its_reader_is_held_back() -> None:
    total, sent = 64 * MOST_HELD, 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        piece = bytes(1 << 16)
        while sent < total:
            writer.write(piece)
            await writer.drain()
            sent += len(piece)
        await reader.read()

    async def read(reply: httpx.Response) -> tuple[int, int]:
        before = -1
        while before != sent:  # until the host waits
            before = sent
            await asyncio.sleep(0.05)
        held = sent
        body, _ = await everything(reply)
        return held, len(body)

    held, read_all = asyncio.run(served(serve, read, timeout=20.0))
    assert held < 32 * MOST_HELD  # what the sockets hold beside it depends on the system
    assert read_all == total


def test_a_stream_over_tls_is_read_from_a_trusted_host_alone() -> None:
    authority = trustme.CA()
    theirs, ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(theirs)
    serve = says(CHUNKED, chunk(b"secret\n"), b"0\r\n\r\n", then="wait")
    with pytest.raises(httpx.ConnectError):
        asyncio.run(served(serve, everything, tls=(theirs, ours)))
    authority.configure_trust(ours)
    assert asyncio.run(served(serve, everything, tls=(theirs, ours))) == (b"secret\n", "")


def test_other_requests_go_to_the_pool() -> None:
    async def ask() -> str:
        serve = says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", then="wait")
        async with host(serve) as port, httpx.AsyncClient(transport=StreamTransport()) as client:
            return (await client.get(f"http://127.0.0.1:{port}")).text

    assert asyncio.run(ask()) == "ok"


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="Linux alone can be told")
def test_every_packet_is_acknowledged_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a host under Nagle's algorithm keeps the next line back for 40 ms."""
    asked = []

    class Recorded(transport._Exchange):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            level, option = socket.IPPROTO_TCP, socket.TCP_QUICKACK
            asked.append(self._socket.getsockopt(level, option))
            self._socket.setsockopt(level, option, 0)  # as the kernel does after a while

    monkeypatch.setattr(transport, "_Exchange", Recorded)
    pieces = [chunk(b"%d\n" % n) for n in range(5)]
    found = asyncio.run(served(says(CHUNKED, *pieces, b"0\r\n\r\n", then="wait"), everything))
    assert found == (b"0\n1\n2\n3\n4\n", "")
    assert asked
    assert all(asked)
