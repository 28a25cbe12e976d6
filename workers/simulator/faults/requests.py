"""Faults of requests: logins that end, quotas that are used up, a host in trouble.

Owns what is refused and how it is said; must not touch open streams but where an argument says so.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from workers.simulator.failures import ApiError
from workers.simulator.faults.fault import Fault, Happening, LastingFault, PathPart

if TYPE_CHECKING:
    from workers.simulator.site import Site

Count = Annotated[int, Meta(ge=1, le=1_000_000, description="requests that are refused at most")]
_MANY = 1_000_000
_GATEWAY = "<html><head><title>{status}</title></head><body>upstream error</body></html>"


class Expire(Fault, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All access tokens expire now; open streams go on."""

    name: ClassVar[str] = "expire"

    def begin(self, happening: Happening, site: Site) -> None:
        """Let them expire."""
        happening.affected = site.tokens.expire()


class Rotate(Fault, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From now on each refresh gives a new refresh token and the old one is void; tokens expire."""

    name: ClassVar[str] = "rotate"

    def begin(self, happening: Happening, site: Site) -> None:
        """Rotate, and make everybody ask."""
        site.tokens.rotates = True
        happening.affected = site.tokens.expire()


class _Refusing(LastingFault, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests are refused for some time."""

    path: PathPart = "marketdata"
    count: Count = _MANY

    def is_used_up(self, happening: Happening) -> bool:
        """Whether enough have been refused."""
        return happening.affected >= self.count

    def refusal(self, happening: Happening, left: float) -> ApiError | None:
        """Refuse, and count it."""
        happening.affected += 1
        return self.error(left)

    def error(self, left: float) -> ApiError:
        """The refusal; ``left`` is how long the fault still lasts [s]."""
        raise NotImplementedError


class Unauthorized(_Refusing, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests are answered 401 although their token is good."""

    name: ClassVar[str] = "unauthorized"
    count: Count = 1

    def error(self, left: float) -> ApiError:
        """As for a token that has expired."""
        del left
        return ApiError(401, "The access token is missing, bad or expired")


class RateLimit(_Refusing, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests are answered 429 with the seconds until the quota is full again."""

    name: ClassVar[str] = "rate_limit"

    def error(self, left: float) -> ApiError:
        """The quota is full when the fault is over."""
        reset = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(math.ceil(left))}
        return ApiError(429, "Rate quota exceeded", headers=reset)


class QuotaForbidden(_Refusing, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests are answered 403 with a body that speaks of a quota, as older hosts do."""

    name: ClassVar[str] = "quota_forbidden"
    form: Annotated[Literal["json", "text"], Meta(description="kind of the body")] = "json"

    def error(self, left: float) -> ApiError:
        """In JSON or plain text."""
        del left
        if self.form == "text":
            return ApiError(403, "Stream quota exceeded", text="Stream quota exceeded")
        return ApiError(403, "Quota exceeded")


class Unavailable(_Refusing, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests are answered by a gateway: the host is away."""

    name: ClassVar[str] = "unavailable"
    status: Annotated[Literal[500, 502, 503, 504], Meta(description="of the reply")] = 503

    def error(self, left: float) -> ApiError:
        """HTML, as gateways send it."""
        del left
        return ApiError(self.status, "", text=_GATEWAY.format(status=self.status))
