"""A broker that answers from a script, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from common.feeds.tradestation.auth import TokenSource
from common.feeds.tradestation.client import TradeStationClient
from common.feeds.tradestation.tokens import TokenFile

URL = "http://broker.test/v3"
Reply = httpx.Response | Exception
SECRETS = ("s3cret", "refresh-1", "refresh-2", "access-1", "access-2")


class Chunks(httpx.AsyncByteStream):
    """A body that comes in chunks; an exception among them breaks it, None never ends it.

    A function among them is called when its turn comes.
    """

    def __init__(self, *chunks: bytes | Exception | Callable[[], object] | None) -> None:
        self.chunks = chunks
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            if isinstance(chunk, Exception):
                raise chunk
            if chunk is None:
                await asyncio.Event().wait()
            elif callable(chunk):
                chunk()
            else:
                yield chunk

    async def aclose(self) -> None:
        self.closed = True


class Broker:
    """Answers by path; a list of replies is given one after the other, the last for ever."""

    def __init__(self, folder: Path, *, url: str = URL) -> None:
        self.replies: dict[str, list[Reply | Callable[[], Reply]]] = {}
        self.requests: list[httpx.Request] = []
        self.granted = 0
        self.slept: list[float] = []
        self.file = TokenFile(folder / "tokens.json")
        self.wall = 1_000_000.0
        http = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        self.tokens = TokenSource(
            http,
            self.file,
            url="http://signin.test",
            client_id="me",
            client_secret=SecretStr("s3cret"),
            refresh_token=SecretStr("refresh-1"),
            now=lambda: self.wall,
        )
        self.client = TradeStationClient(
            http, self.tokens, url=url, sleep=self.sleep, now=lambda: self.wall
        )
        self.on("/oauth/token", self.grant)

    def on(self, path: str, *replies: Reply | Callable[[], Reply]) -> None:
        """What a path answers."""
        self.replies[path] = list(replies)

    def grant(self, **changes: Any) -> httpx.Response:
        """A good reply of the token endpoint."""
        self.granted += 1
        body = {"access_token": f"access-{self.granted}", "expires_in": 1200, **changes}
        return httpx.Response(200, json=body)

    def asked(self, path: str) -> list[httpx.Request]:
        """The requests of a path."""
        return [request for request in self.requests if request.url.path == path]

    async def sleep(self, seconds: float) -> None:
        """No time passes."""
        self.slept.append(seconds)
        await asyncio.sleep(0)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        await asyncio.sleep(0)  # a real answer lets others run
        waiting = self.replies.get(request.url.path)
        if waiting is None:
            return httpx.Response(404, json={"Error": "NotFound"})
        reply = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        reply = reply() if callable(reply) else reply
        if isinstance(reply, Exception):
            raise reply
        return reply
