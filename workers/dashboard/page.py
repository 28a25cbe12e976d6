"""The Dash application and its server.

Owns the frame of the page, its addresses and the WSGI server; must not read a level, nor draw
a chart on the server.
"""

from __future__ import annotations

import hashlib
import logging
import signal
import socket
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import waitress
from dash import ClientsideFunction, Dash, Input, Output
from flask import Response, request

from common.errors import ServiceError
from workers.dashboard.delivery import Delivery
from workers.dashboard.documents import Answer, Documents
from workers.dashboard.layout import CHARTS, layout

_FOLDER = Path(__file__).parent
SCRIPTS = "format clock judge view tables windows figures day charts poll".split()
"""The page's own scripts, in the order they build on one another."""
_PLOTLY = "/_dash-component-suites/plotly/package_data/plotly.min.js"
"""What Dash loads for its graphs at the very end; the page asks for it once its numbers stand."""
_THREADS = 8


class Page(Dash):
    """The page: its first response carries the latest numbers, Dash draws the charts."""

    def __init__(self, documents: Documents) -> None:
        """Put the page together; nothing is read yet."""
        super().__init__(
            __name__,
            add_log_handler=False,
            include_assets_files=False,  # the frame names them, in their order
            serve_locally=True,
            compress=False,  # Delivery does
            title="GEX",
            update_title="",
            enable_mcp=False,
        )
        self._documents = documents
        self.enable_dev_tools(
            debug=False,
            dev_tools_ui=False,
            dev_tools_props_check=False,
            dev_tools_serve_dev_bundles=False,
            dev_tools_hot_reload=False,
            dev_tools_disable_version_check=True,
        )
        self.index_string = (_FOLDER / "page.html").read_text(encoding="utf-8")
        self.layout = layout()
        self.clientside_callback(  # type: ignore[no-untyped-call]  # dash has few types
            ClientsideFunction("gex", "draw"),
            [Output(name, "figure") for name in CHARTS],
            Input("charts", "id"),
        )
        self.server.add_url_rule("/data/published", view_func=self._published)
        self.server.add_url_rule("/data/day", view_func=self._day)
        Delivery(self.csp_hashes()).attach(self.server)

    def interpolate_index(self, **parts: Any) -> str:  # type: ignore[override]  # called by name
        """The frame with Dash's parts and ours; the data comes last, as it is no template."""
        symbol = self._documents.symbol(request.args.get("symbol"))
        _, first = self._documents.published(symbol)
        parts |= {
            "style": asset("style.css"),
            "icon": asset("icon.svg"),
            "theme": asset("theme.js"),
            "plotly": _PLOTLY,
            "own": "\n".join(f'<script src="{asset(f"{name}.js")}"></script>' for name in SCRIPTS),
            "first": first.decode().replace("<", "\\u003c"),
        }
        text: str = self.index_string
        for name, part in parts.items():
            text = text.replace("{%" + name + "%}", part)
        return text

    def _published(self) -> Response:
        return _json(self._documents.published(request.args.get("symbol", "")))

    def _day(self) -> Response:
        arguments = request.args
        return _json(self._documents.day(arguments.get("session", ""), arguments.get("since", "0")))


@cache
def asset(name: str) -> str:
    """Address of a file of ``assets/``; it changes with what is in the file."""
    digest = hashlib.sha256((_FOLDER / "assets" / name).read_bytes()).hexdigest()[:12]
    return f"/assets/{name}?v={digest}"


def serve_page(page: Page, *, host: str, port: int) -> None:
    """Serve the page until SIGTERM or Ctrl-C.

    :raises ServiceError: when the port cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = error.strerror or error
        raise ServiceError(f"the page cannot listen on {host}:{port}: {reason}") from error
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a page's files come at once
    server = waitress.create_server(page.server, sockets=[listening], threads=_THREADS, ident=None)
    signal.signal(signal.SIGTERM, _end)
    server.run()


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit


def _json(answer: Answer) -> Response:
    status, body = answer
    return Response(body, status=status, mimetype="application/json")
