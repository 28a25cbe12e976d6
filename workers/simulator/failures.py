"""The API's refusals: status, title and text.

Owns the body of an error reply; must not decide what is refused.
"""

from __future__ import annotations

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
}


class ApiError(HTTPError):
    """Raised when a request is refused; answered with ``{"Error", "Message"}``."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status)
        self.message = message


def error_body(status: int, message: str) -> JsonDict:
    """The body of an error reply."""
    return {"Error": TITLES.get(status, "Failed"), "Message": message}
