"""How responses travel: compressed, cached where they never change, closed to anything foreign.

Owns the headers; must not know what a response says.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Sequence

from flask import Flask, Response, request

_STATIC = ("/assets/", "/_dash-component-suites/")
_TEXTS = ("text/", "application/json", "application/javascript", "image/svg+xml")
_SMALLEST = 1024
"""Shorter bodies are sent as they are [bytes]."""
_KEPT = 64
"""Compressed files that are kept, so that each is compressed once."""
_YEAR = "public, max-age=31536000, immutable"


class Delivery:
    """What is done to every response of the page's server."""

    def __init__(self, inline_scripts: Sequence[str]) -> None:
        """Prepare the headers.

        :param inline_scripts: hashes, as a content security policy writes them, of the only
            scripts that may stand in the page itself.
        """
        self._policy = "; ".join(
            [
                "default-src 'self'",
                f"script-src 'self' {' '.join(inline_scripts)}",
                "style-src 'self' 'unsafe-inline'",  # Plotly styles what it draws
                "img-src 'self' data: blob:",  # and exports pictures
                "object-src 'none'",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
            ]
        )
        self._files: dict[tuple[str, int], bytes] = {}
        self._lock = threading.Lock()

    def attach(self, server: Flask) -> None:
        """Do it from now on."""
        server.after_request(self._finish)

    def _finish(self, response: Response) -> Response:
        headers = response.headers
        headers["Content-Security-Policy"] = self._policy
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "no-referrer"
        is_static = request.path.startswith(_STATIC)
        if not is_static:
            headers["Cache-Control"] = "no-store"
        elif response.status_code == 200 and (
            "v" in request.args or response.cache_control.max_age
        ):
            headers["Cache-Control"] = _YEAR  # the address changes with the file
        self._compress(response, keep=is_static)
        return response

    def _compress(self, response: Response, *, keep: bool) -> None:
        if (
            response.status_code in (204, 304)
            or not (response.mimetype or "").startswith(_TEXTS)
            or "Content-Encoding" in response.headers
        ):
            return
        response.headers.add("Vary", "Accept-Encoding")
        if request.method == "HEAD" or not request.accept_encodings["gzip"]:
            return
        response.direct_passthrough = False
        body = response.get_data()
        if len(body) < _SMALLEST:
            return
        response.set_data(self._kept(request.path, body) if keep else gzip.compress(body, 1))
        response.headers["Content-Encoding"] = "gzip"

    def _kept(self, path: str, body: bytes) -> bytes:
        key = (path, len(body))
        with self._lock:
            packed = self._files.get(key)
            if packed is None:
                if len(self._files) >= _KEPT:
                    self._files.clear()
                packed = self._files[key] = gzip.compress(body, 6)
        return packed
