"""OAuth tokens: who may ask for market data, and until when.

Owns issuing, expiry and rotation, and the replies to bad requests; must not know HTTP, and
reads no clock of its own.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from common.errors import GexError
from common.models import JsonDict

SCOPE = "openid offline_access MarketData OptionSpreads"
DEFAULT_TTL_SECONDS = 1200.0
_BYTES = 24


class TokenRefusedError(GexError):
    """Raised when no token is issued; carries status and code of the reply."""

    def __init__(self, status: int, code: str, description: str) -> None:
        super().__init__(description)
        self.status, self.code = status, code

    def body(self) -> JsonDict:
        """The reply's body, in OAuth's shape."""
        return {"error": self.code, "error_description": str(self)}


@dataclass(frozen=True, slots=True)
class Login:
    """What a client must show."""

    client_id: str = "simulator"
    client_secret: str = "simulator"  # noqa: S105  the simulator's, not a secret
    refresh_token: str = "simulator"  # noqa: S105


class Tokens:
    """The tokens that are valid now."""

    def __init__(
        self,
        login: Login,
        clock: Callable[[], float],
        *,
        ttl_seconds: float = DEFAULT_TTL_SECONDS,
        rotates: bool = False,
        remembered: str = "",
        remember: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Know one client.

        :param clock: seconds, of any origin. :param ttl_seconds: life of an access token.
        :param rotates: each refresh gives a new refresh token, and the old one is void.
        :param remembered: the refresh token of the last run, where they rotate.
        :param remember: told each new refresh token.
        """
        self._login, self._clock, self._ttl_seconds = login, clock, ttl_seconds
        self.rotates, self._remember = rotates, remember
        self._refresh = (remembered if rotates else "") or login.refresh_token
        self._until: dict[str, float] = {}
        self.issued = 0
        self.refused = 0

    def grant(self, form: Mapping[str, str]) -> JsonDict:
        """Answer a token request.

        :param form: its fields. :returns: the reply's body.
        :raises TokenRefusedError: when it is not granted.
        """
        try:
            kind = self._check(form)
        except TokenRefusedError:
            self.refused += 1
            raise
        self.issued += 1
        now = self._clock()
        self._until = {token: until for token, until in self._until.items() if until > now}
        access = secrets.token_urlsafe(_BYTES)
        self._until[access] = now + self._ttl_seconds
        reply: JsonDict = {
            "access_token": access,
            "id_token": secrets.token_urlsafe(_BYTES),
            "scope": SCOPE,
            "expires_in": max(round(self._ttl_seconds), 1),
            "token_type": "Bearer",
        }
        if kind == "refresh_token" and self.rotates:
            self._refresh = secrets.token_urlsafe(_BYTES)
            self._remember(self._refresh)
        if kind == "authorization_code" or self.rotates:
            reply["refresh_token"] = self._refresh
        return reply

    def is_valid(self, authorization: str) -> bool:
        """Whether an Authorization header holds an access token that has not expired."""
        scheme, _, token = authorization.partition(" ")
        return scheme.lower() == "bearer" and self._until.get(token.strip(), 0.0) > self._clock()

    def expire(self) -> int:
        """Let every access token expire now; how many there were."""
        count = sum(until > self._clock() for until in self._until.values())
        self._until.clear()
        return count

    def _check(self, form: Mapping[str, str]) -> str:
        """The grant of a request that is in order."""
        kind = _field(form, "grant_type")
        if kind not in ("refresh_token", "authorization_code"):
            raise TokenRefusedError(403, "unsupported_grant_type", f"Unknown grant {kind!r}.")
        client = _field(form, "client_id")
        by_proof = kind == "authorization_code" and form.get("code_verifier")
        secret = self._login.client_secret if by_proof else _field(form, "client_secret")
        if not (_same(client, self._login.client_id) and _same(secret, self._login.client_secret)):
            raise TokenRefusedError(401, "access_denied", "Unauthorized")
        if kind == "authorization_code":
            _field(form, "code")
            _field(form, "redirect_uri")
        elif not _same(_field(form, "refresh_token"), self._refresh):
            raise TokenRefusedError(403, "invalid_grant", "Unknown or invalid refresh token.")
        return kind


def _field(form: Mapping[str, str], name: str) -> str:
    value = form.get(name, "")
    if not value:
        raise TokenRefusedError(400, "invalid_request", f"Missing required parameter: {name}")
    return value


def _same(one: str, other: str) -> bool:
    return secrets.compare_digest(one.encode(), other.encode())
