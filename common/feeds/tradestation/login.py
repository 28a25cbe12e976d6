"""Logging in to TradeStation by hand: the page to visit, what it sends back, the first tokens.

Owns the authorization-code flow (RFC 6749 section 4.1, with PKCE of RFC 7636 where it is
configured); must not open a browser or a socket of its own.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import msgspec
from pydantic import SecretStr

from common.errors import CredentialsError, FeedError
from common.feeds.tradestation.tokens import Tokens

AUDIENCE = "https://api.tradestation.com"
"""The only audience there is, for the SIM environment too."""
NEEDED_SCOPES = ("offline_access", "MarketData")
"""Without the first there is no refresh token, without the second no quote."""
_PASSING = ("temporarily_unavailable", "server_error", "too_many_attempts")
"""Error codes that are trouble of the host."""


@dataclass(frozen=True, slots=True)
class Application:
    """One API key and where it may send a login back to."""

    signin_url: str
    client_id: str
    client_secret: SecretStr | None
    redirect_uri: str
    scopes: str
    """Separated by spaces, case-sensitive."""
    pkce: bool = False
    """A key made for PKCE sends a verifier in place of the secret."""


@dataclass(frozen=True, slots=True, repr=False)
class Login:
    """One attempt."""

    application: Application
    state: str
    verifier: str

    @classmethod
    def begin(cls, application: Application) -> Login:
        """A new attempt with a state, and a verifier, of its own."""
        return cls(application, secrets.token_urlsafe(32), secrets.token_urlsafe(64))

    @property
    def url(self) -> str:
        """The page on which the user logs in."""
        application = self.application
        query = {
            "response_type": "code",
            "client_id": application.client_id,
            "audience": AUDIENCE,
            "redirect_uri": application.redirect_uri,
            "scope": application.scopes,
            "state": self.state,
        }
        if application.pkce:
            digest = hashlib.sha256(self.verifier.encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            query |= {"code_challenge": challenge, "code_challenge_method": "S256"}
        return f"{application.signin_url}/authorize?{urlencode(query)}"

    def code_of(self, redirect: str) -> str:
        """The code in the address that the browser was sent back to.

        :raises CredentialsError: when the user declined, or the address is of another attempt.
        """
        said = {name: values[-1] for name, values in parse_qs(urlsplit(redirect).query).items()}
        if "error" in said:
            detail = said.get("error_description", "")
            raise CredentialsError(f"TradeStation says {said['error']} {detail}".strip())
        if not secrets.compare_digest(said.get("state", "").encode(), self.state.encode()):
            raise CredentialsError(
                "the address belongs to another login attempt (its state differs); start again"
            )
        if not said.get("code"):
            raise CredentialsError("the address holds no code; paste it whole, from http on")
        return said["code"]

    def exchange(
        self, http: httpx.Client, code: str, *, now: Callable[[], float] = time.time
    ) -> Tokens:
        """The tokens for a code.

        :raises CredentialsError: when the host refuses the code or the key.
        :raises FeedError: when the host is out of reach.
        """
        application = self.application
        form = {
            "grant_type": "authorization_code",
            "client_id": application.client_id,
            "code": code,
            "redirect_uri": application.redirect_uri,
        }
        if application.pkce:
            form["code_verifier"] = self.verifier
        elif application.client_secret is not None:
            form["client_secret"] = application.client_secret.get_secret_value()
        try:
            reply = http.post(f"{application.signin_url}/oauth/token", data=form)
        except httpx.HTTPError as error:
            raise FeedError(f"the sign-in host is out of reach ({type(error).__name__})") from None
        return read_grant(reply).tokens(now=now(), before=Tokens())


class Grant(msgspec.Struct, frozen=True):
    """Reply of the token endpoint."""

    access_token: str
    expires_in: float
    refresh_token: str | None = None
    scope: str = ""

    def tokens(self, *, now: float, before: Tokens) -> Tokens:
        """What is to be stored: without a new refresh token the one before stays."""
        return Tokens(
            access=self.access_token,
            expires_at=now + self.expires_in,
            refresh=self.refresh_token or before.refresh,
            scope=self.scope or before.scope,
        )


class _Refusal(msgspec.Struct, frozen=True):
    error: str = ""


def read_grant(reply: httpx.Response) -> Grant:
    """The grant in a reply of the token endpoint.

    :raises CredentialsError: when it refuses, which it says as OAuth has it (RFC 6749 section
        5.2). :raises FeedError: when it is in trouble, or another answers in its place: a
        gateway's 403, or that of a quota, says nothing about the login.
    """
    reason = _reason(reply)
    if reply.status_code in (400, 401, 403) and reason and reason not in _PASSING:
        raise CredentialsError(
            f"TradeStation refuses the login ({reply.status_code} {reason}); "
            "log in again with `gex auth tradestation`"
        )
    if reply.status_code != 200:
        raise FeedError(f"the sign-in host answers {reply.status_code}")
    try:
        return msgspec.json.decode(reply.content, type=Grant)
    except msgspec.MsgspecError as error:
        raise FeedError(f"the sign-in host's reply is not readable: {error}") from None


def missing_scopes(tokens: Tokens) -> list[str]:
    """Needed scopes that were not granted."""
    granted = tokens.scope.split()
    return [scope for scope in NEEDED_SCOPES if scope not in granted]


def _reason(reply: httpx.Response) -> str:
    """The error code of a refusal; empty where the body is none."""
    try:
        return msgspec.json.decode(reply.content, type=_Refusal).error
    except msgspec.MsgspecError:
        return ""
