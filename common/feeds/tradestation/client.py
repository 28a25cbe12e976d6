"""The HTTP side of the API: one request at a time, or one stream for as long as it lasts.

Owns requests, their errors, and reconnecting; must not know what a line means beyond what the
connection itself has to obey.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import NoReturn, cast

import httpx
import msgspec

from common.errors import CredentialsError, FeedError, UsageError
from common.feeds.backoff import Backoff
from common.feeds.schedule import Sleep
from common.feeds.tradestation.auth import TokenSource
from common.feeds.tradestation.messages import ApiError
from common.feeds.tradestation.simulated import CLOCK_HEADER, Announcement
from common.feeds.transport import STREAM

log = logging.getLogger(__name__)
SILENCE_SECONDS = 20.0
"""A stream without a byte for this long is dead: heartbeats come every 5 s [s]."""
CONNECT_SECONDS = 10.0
QUOTA_PAUSE = 60.0
"""Wait after a refused quota without a reset time [s]."""
OPENING_AT_ONCE = 3
_TRIES = 5
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.5, 600.0
"""Bounds of what a host's reset time may ask for [s]."""


class UnavailableError(FeedError):
    """Raised when the host cannot serve now; asking again later may help."""

    def __init__(self, text: str, *, pause: float | None = None) -> None:
        super().__init__(text)
        self.pause = pause
        """What the host asks to wait [s], if it does."""


class TooLongError(UsageError):
    """Raised when an address names more symbols than the host takes at once."""


class TradeStationClient:
    """Requests of one login against one host."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        tokens: TokenSource,
        *,
        url: str,
        sleep: Sleep = asyncio.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take over the connection pool; nothing is asked before the first call.

        :param url: base of the API, e.g. ``https://api.tradestation.com/v3``.
        :param now: seconds, of any origin.
        """
        self._http, self._tokens, self._sleep, self._now = http, tokens, sleep, now
        self.url = url.rstrip("/")
        self.announcement: Announcement | None = None
        """What a simulator has said last; None with the real host."""
        self._opening = asyncio.Semaphore(OPENING_AT_ONCE)
        self._refilled_at: dict[str, float] = {}
        """Kind of request whose quota is used up → when it is full again."""
        self._served = False
        """Whether the host has taken a token of this login before."""

    @property
    def may_be_simulated(self) -> bool:
        """Whether a simulator's clock would be honoured: the real host speaks HTTPS alone."""
        return self.url.startswith("http://")

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> bytes:
        """The body of one reply, tried again while the host cannot serve.

        :param path: below the base, percent-encoded.
        :raises CredentialsError: when the login or its rights do not suffice.
        :raises UsageError: when the host refuses the request as such.
        :raises FeedError: when the host could not serve it after several tries.
        """
        backoff = Backoff()
        while True:
            try:
                return await self._get_once(path, params)
            except UnavailableError as error:
                if backoff.attempt + 1 >= _TRIES:
                    raise
                pause = backoff.next() if error.pause is None else error.pause
                log.warning("%s; again in %.1f s", error, pause)
                await self._sleep(pause)

    async def _get_once(self, path: str, params: Mapping[str, str] | None) -> bytes:
        await self._wait_for_quota(path)
        token = await self._tokens.access()
        for renewed in (False, True):
            try:
                reply = await self._http.get(
                    self.url + path, params=params, headers=_headers(token)
                )
            except httpx.HTTPError as error:
                raise UnavailableError(f"{path}: {type(error).__name__}") from error
            self._listen(path, reply)
            if reply.status_code == 401 and not renewed:
                token = await self._tokens.after(token)
                continue
            if reply.status_code != 200:
                self._refuse(path, reply, reply.content)
            return reply.content
        raise CredentialsError(f"{path}: 401 although the token is new")

    async def probe(self) -> None:
        """Let a simulator say what time its market has; the real host is not asked.

        :raises FeedError: when it is out of reach.
        """
        if self.may_be_simulated:
            await self.get("/marketdata/options/spreadtypes")

    async def stream(
        self, path: str, params: Mapping[str, str] | None = None
    ) -> AsyncIterator[bytes]:
        """The chunks of one stream, until the host ends it.

        :raises CredentialsError: when the login or its rights do not suffice.
        :raises UsageError: when the host refuses the request as such.
        :raises UnavailableError: when it cannot be opened, breaks, or is silent too long.
        """
        reply = await self._open(path, params)
        try:
            async for chunk in cast(httpx.AsyncByteStream, reply.stream):
                yield chunk
        except httpx.HTTPError as error:
            raise UnavailableError(f"{path}: {type(error).__name__}") from error
        finally:
            await reply.aclose()

    async def _open(self, path: str, params: Mapping[str, str] | None) -> httpx.Response:
        """A stream whose head was fine; a few are opened at a time, the rest wait."""
        await self._wait_for_quota(path)
        async with self._opening:
            token = await self._tokens.access()
            for renewed in (False, True):
                request = self._http.build_request(
                    "GET",
                    self.url + path,
                    params=params,
                    headers=_headers(token),
                    extensions={STREAM: True},
                )
                try:
                    reply = await self._http.send(request, stream=True)
                    self._listen(path, reply)
                    if reply.status_code == 200:
                        return reply
                    body = await reply.aread()  # which also closes it
                except httpx.HTTPError as error:
                    raise UnavailableError(f"{path}: {type(error).__name__}") from error
                if reply.status_code != 401 or renewed:
                    self._refuse(path, reply, body)
                token = await self._tokens.after(token)
        raise CredentialsError(f"{path}: 401 although the token is new")

    async def _wait_for_quota(self, path: str) -> None:
        """Ask nothing of a kind whose quota the host has said to be used up."""
        pause = self._refilled_at.get(_kind(path), 0.0) - self._now()
        if pause > 0.0:
            log.info("%s: the quota is used up; waiting %.1f s", _kind(path), pause)
            await self._sleep(pause)

    def _refuse(self, path: str, reply: httpx.Response, body: bytes) -> NoReturn:
        """Raise what a reply other than 200 means.

        A 401 to a token that is new is trouble of the host when it has taken others before: the
        sign-in host would have refused a login that had ended.
        """
        if reply.status_code == 401 and self._served:
            raise UnavailableError(f"{path[:200]}: 401 although the token is new")
        refuse(path, reply.status_code, reply.headers, body)

    def _listen(self, path: str, reply: httpx.Response) -> None:
        """Quotas, and a simulator's clock, which is honoured over plain HTTP alone."""
        self._served = self._served or reply.status_code == 200
        if reply.status_code == 200 and reply.headers.get("X-RateLimit-Remaining") == "0":
            self._refilled_at[_kind(path)] = self._now() + _reset_seconds(reply.headers)
        if self.may_be_simulated:
            said = Announcement.parse(reply.headers.get(CLOCK_HEADER))
            self.announcement = said or self.announcement


def refuse(path: str, status: int, headers: httpx.Headers, body: bytes) -> NoReturn:
    """Raise what a reply other than 200 means.

    :raises UnavailableError: for quotas and faults of the host. :raises CredentialsError: for
        missing rights. :raises TooLongError: when fewer symbols have to be asked for.
    :raises UsageError: for everything that asking again will not mend.
    """
    said = _said(body)
    text = f"{path[:200]}: {status} {said}".strip()
    if status == 429 or (status == 403 and "quota" in said.lower()):
        raise UnavailableError(text, pause=_reset_seconds(headers))
    if status in (401, 403):
        raise CredentialsError(f"{text}; check the scopes of the login (MarketData, OptionSpreads)")
    if status >= 500 and status != 501:
        raise UnavailableError(text)
    if status == 414:
        raise TooLongError(text)
    raise UsageError(text)


def _headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}


def _reset_seconds(headers: httpx.Headers) -> float:
    try:
        seconds = float(headers.get("X-RateLimit-Reset", QUOTA_PAUSE))
    except ValueError:
        return QUOTA_PAUSE
    return (
        min(max(seconds, _SHORTEST_PAUSE), _LONGEST_PAUSE)
        if math.isfinite(seconds)
        else QUOTA_PAUSE
    )


def _kind(path: str) -> str:
    """What quotas are counted by: the path without what it asks about."""
    return path.rpartition("/")[0]


def _said(body: bytes) -> str:
    """The reason in a body of any kind, one short line."""
    try:
        error = msgspec.json.decode(body, type=ApiError)
        text = " ".join(part for part in (error.Error, error.Message) if part)
    except msgspec.MsgspecError:
        text = body.decode(errors="replace")
    return " ".join(text.split())[:200]
