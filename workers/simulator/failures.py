"""The API's refusals: status, title and text.

Owns the body of an error reply; must not decide what is refused.
"""

from __future__ import annotations

from collections.abc import Mapping

from tornado.web import HTTPError

from common.models import JsonDict

TITLES = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    429: "TooManyRequests",
    500: "InternalServerError",
    501: "NotImplemented",
    503: "ServiceUnavailable",
}


class ApiError(HTTPError):
    """Raised when a request is refused; answered with ``{"Error", "Message"}``."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        text: str | None = None,
    ) -> None:
        """A refusal.

        :param headers: of the reply, beside the usual ones. :param text: a body that is no JSON.
        """
        super().__init__(status)
        self.message, self.headers, self.text = message, headers or {}, text


def error_body(status: int, message: str) -> JsonDict:
    """The body of an error reply."""
    return {"Error": TITLES.get(status, "Failed"), "Message": message}
