"""Access tokens: one valid at any time, renewed once however many ask.

Owns the refresh at the token endpoint; must not open streams. Nothing secret is logged or
part of an error.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import httpx
from pydantic import SecretStr

from common.errors import CredentialsError, FeedError
from common.feeds.tradestation.login import Grant, read_grant
from common.feeds.tradestation.tokens import TokenFile, Tokens

log = logging.getLogger(__name__)
T = TypeVar("T")
MARGIN_SECONDS = 60.0
"""A token is renewed this long before it expires [s]."""


class TokenSource:
    """Hands out the access token of one login."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        file: TokenFile,
        *,
        url: str,
        client_id: str,
        client_secret: SecretStr | None,
        refresh_token: SecretStr | None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Take over the login; nothing is asked for before :meth:`access`.

        :param url: of the sign-in host. :param refresh_token: of the first login; once a
            renewal has stored another one, that one is used.
        """
        self._http, self._file, self._url, self._now = http, file, url, now
        self._client_id, self._client_secret = client_id, client_secret
        self._first_refresh = refresh_token
        self._tokens = Tokens()
        self._renewing = asyncio.Lock()

    async def access(self) -> str:
        """An access token that is good for a minute at least.

        :raises CredentialsError: when the login is refused.
        :raises FeedError: when the sign-in host is out of reach and no token is left.
        """
        if self._tokens.expires_at - self._now() > MARGIN_SECONDS:
            return self._tokens.access
        return await self._renewed(rejected="")

    async def after(self, rejected: str) -> str:
        """An access token other than one that was rejected.

        :raises CredentialsError: when the login is refused.
        :raises FeedError: when the sign-in host is out of reach.
        """
        return await self._renewed(rejected=rejected)

    async def _renewed(self, *, rejected: str) -> str:
        async with self._renewing:
            if self._is_good(self._tokens, rejected):
                return self._tokens.access
            async with self._file.lock():
                stored = self._file.load() or Tokens()
                if not self._is_good(stored, rejected):
                    stored = await _to_the_end(self._renew(stored))
                self._tokens = stored
        return self._tokens.access

    def _is_good(self, tokens: Tokens, rejected: str) -> bool:
        fresh = tokens.expires_at - self._now() > MARGIN_SECONDS
        return bool(tokens.access) and fresh and tokens.access != rejected

    async def _renew(self, stored: Tokens) -> Tokens:
        first = self._first_refresh.get_secret_value() if self._first_refresh else ""
        refresh = stored.refresh or first
        if not refresh:
            raise CredentialsError("there is no login to TradeStation; run `gex auth tradestation`")
        try:
            grant = await self._ask(refresh)
        except CredentialsError:
            if not first or first == refresh:
                raise
            grant = await self._ask(first)  # the user has logged in anew since
            refresh = first
        before = Tokens(refresh=refresh, scope=stored.scope)
        renewed = grant.tokens(now=self._now(), before=before)
        self._file.save(renewed)  # a rotated refresh token is on disk before the old one is gone
        log.info("access token renewed, good for %.0f s", grant.expires_in)
        return renewed

    async def _ask(self, refresh: str) -> Grant:
        form = {
            "grant_type": "refresh_token",
            "client_id": self._client_id,
            "refresh_token": refresh,
        }
        if self._client_secret is not None:
            form["client_secret"] = self._client_secret.get_secret_value()
        try:
            reply = await self._http.post(f"{self._url}/oauth/token", data=form)
        except httpx.HTTPError as error:
            raise FeedError(f"the sign-in host is out of reach ({type(error).__name__})") from None
        return read_grant(reply)


async def _to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Do something whole although whoever waits for it is cancelled, which then comes after it.

    The host may have rotated the refresh token by the time a renewal is cancelled: the new one
    must be stored, or the login is lost.
    """
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                continue
        if not task.cancelled():
            task.exception()  # nobody is left to hear of it
        raise
