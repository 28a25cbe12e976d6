"""`gex auth …`: obtains and stores a broker's tokens.

Owns the browser, the local callback and the prompt; the protocol stands in
common.feeds.tradestation.login.
"""

from __future__ import annotations

import queue
import sys
import threading
import webbrowser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated
from urllib.parse import urlsplit

import httpx
import typer

from common.errors import CredentialsError, UsageError
from common.feeds.tradestation.login import Application, Login, missing_scopes
from workers.commands.feeds import token_file
from workers.context import Context, console

auth = typer.Typer(help="Log in to a broker.", no_args_is_help=True)
_PATIENCE_SECONDS = 300.0
_DONE = b"<!doctype html><title>gex</title><p>You are logged in; this page may be closed.</p>"


@auth.callback()
def brokers() -> None:
    """Log in to a broker."""


@auth.command()
def tradestation(
    paste: Annotated[
        bool,
        typer.Option("--paste", help="Ask for the address instead of listening for the browser."),
    ] = False,
    browser: Annotated[
        bool, typer.Option(help="Open the page; without it the address is printed only.")
    ] = True,
) -> None:
    """Obtain TradeStation's tokens and store them, readable by you alone.

    Your browser shows TradeStation's page and is sent back to the address that is registered
    for your key (GEX_TRADESTATION_REDIRECT_URI). Where this machine has no browser, open the
    printed address elsewhere and use --paste: copy the whole address you were sent to.

    It needs GEX_TRADESTATION_CLIENT_ID and, unless the key is one for PKCE
    (GEX_TRADESTATION_PKCE=true), GEX_TRADESTATION_CLIENT_SECRET, in the environment or .env.
    """
    context = Context.load(feed="tradestation")
    settings = context.settings
    if not settings.tradestation_client_id:
        raise UsageError("set GEX_TRADESTATION_CLIENT_ID (and _CLIENT_SECRET) first, e.g. in .env")
    login = Login.begin(
        Application(
            signin_url=settings.tradestation_signin_url.rstrip("/"),
            client_id=settings.tradestation_client_id,
            client_secret=settings.tradestation_client_secret,
            redirect_uri=settings.tradestation_redirect_uri,
            scopes=settings.tradestation_scopes,
            pkce=settings.tradestation_pkce,
        )
    )
    redirect = _pasted(login) if paste else _called_back(login, browser=browser)
    with httpx.Client(timeout=30.0) as http:
        tokens = login.exchange(http, login.code_of(redirect))
    missing = missing_scopes(tokens)
    if missing:
        raise CredentialsError(
            f"TradeStation granted {tokens.scope or 'nothing'!r}; {', '.join(missing)} is missing: "
            "ask for it at TradeStation, and check GEX_TRADESTATION_SCOPES"
        )
    context.instance.make_folders()
    file = token_file(context)
    file.save(tokens)
    console.print(f"logged in, scopes: {tokens.scope}\ntokens are in {file.path}, for you alone")


def _pasted(login: Login) -> str:
    console.print("Open this address, log in, and copy the address you are sent to:\n")
    typer.echo(login.url)
    console.print()
    sys.stdout.write("paste it here: ")
    sys.stdout.flush()
    return sys.stdin.readline().strip()


def _called_back(login: Login, *, browser: bool) -> str:
    """The address the browser was sent to, taken by a server on this machine.

    :raises UsageError: when it cannot listen, or nobody comes.
    """
    where = urlsplit(login.application.redirect_uri)
    if where.scheme != "http" or where.hostname not in ("localhost", "127.0.0.1"):
        raise UsageError(
            f"{login.application.redirect_uri} is not on this machine: use --paste, or set "
            "GEX_TRADESTATION_REDIRECT_URI to a registered http://localhost address"
        )
    found: queue.Queue[str] = queue.Queue()
    try:
        server = ThreadingHTTPServer(("127.0.0.1", where.port or 80), _handler(found))
    except OSError as error:
        raise UsageError(
            f"cannot listen on port {where.port or 80} ({error.strerror}); use --paste"
        ) from error
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        console.print("Log in to TradeStation on this page:\n")
        typer.echo(login.url)
        if browser:
            webbrowser.open(login.url)
        with console.status("waiting for the browser to come back …"):
            return found.get(timeout=_PATIENCE_SECONDS)
    except queue.Empty as error:
        raise UsageError("nobody logged in within five minutes; start again") from error
    finally:
        server.shutdown()
        server.server_close()


def _handler(found: queue.Queue[str]) -> type[BaseHTTPRequestHandler]:
    class Callback(BaseHTTPRequestHandler):
        """Takes the first address that carries an answer."""

        def do_GET(self) -> None:
            """Answer the browser."""
            answers = "state=" in self.path or "error=" in self.path
            self.send_response(200 if answers else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            if answers:
                self.wfile.write(_DONE)
                found.put(self.path)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing: the address holds the code."""

    return Callback
