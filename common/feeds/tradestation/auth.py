"""Access tokens: one valid at any time, renewed once however many ask.

Owns the refresh at the token endpoint; must not open streams. Nothing secret is logged or
part of an error.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import httpx
import msgspec
from pydantic import SecretStr

from common.errors import CredentialsError, FeedError
from common.feeds.tradestation.tokens import TokenFile, Tokens

log = logging.getLogger(__name__)
MARGIN_SECONDS = 60.0
"""A token is renewed this long before it expires [s]."""
AGAIN = "log in again and set GEX_TRADESTATION_REFRESH_TOKEN"


class _Grant(msgspec.Struct, frozen=True):
    """Reply of the token endpoint."""

    access_token: str
    expires_in: float
    refresh_token: str | None = None
    scope: str = ""


class _Refusal(msgspec.Struct, frozen=True):
    error: str = ""
    error_description: str = ""


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
        self.renewals = 0
        """How often this process has renewed."""

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
                    stored = await self._renew(stored)
                self._tokens = stored
        return self._tokens.access

    def _is_good(self, tokens: Tokens, rejected: str) -> bool:
        fresh = tokens.expires_at - self._now() > MARGIN_SECONDS
        return bool(tokens.access) and fresh and tokens.access != rejected

    async def _renew(self, stored: Tokens) -> Tokens:
        first = self._first_refresh.get_secret_value() if self._first_refresh else ""
        refresh = stored.refresh or first
        if not refresh:
            raise CredentialsError(f"there is no login to TradeStation; {AGAIN}")
        try:
            grant = await self._ask(refresh)
        except CredentialsError:
            if not first or first == refresh:
                raise
            grant = await self._ask(first)  # the user has logged in anew since
            refresh = first
        renewed = Tokens(
            access=grant.access_token,
            expires_at=self._now() + grant.expires_in,
            refresh=grant.refresh_token or refresh,
            scope=grant.scope or stored.scope,
        )
        self._file.save(renewed)  # a rotated refresh token is on disk before the old one is gone
        self.renewals += 1
        log.info("access token renewed, good for %.0f s", grant.expires_in)
        return renewed

    async def _ask(self, refresh: str) -> _Grant:
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
        if reply.status_code in (400, 401, 403):
            raise CredentialsError(f"TradeStation refuses the login ({_reason(reply)}); {AGAIN}")
        if reply.status_code != 200:
            raise FeedError(f"the sign-in host answers {reply.status_code}")
        try:
            return msgspec.json.decode(reply.content, type=_Grant)
        except msgspec.MsgspecError as error:
            raise FeedError(f"the sign-in host's reply is not readable: {error}") from None


def _reason(reply: httpx.Response) -> str:
    try:
        refusal = msgspec.json.decode(reply.content, type=_Refusal)
    except msgspec.MsgspecError:
        return str(reply.status_code)
    return f"{reply.status_code} {refusal.error}".strip()
