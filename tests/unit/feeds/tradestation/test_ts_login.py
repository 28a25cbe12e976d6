"""Logging in by hand: the page, the address that comes back, the first tokens."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import typer
from pydantic import SecretStr
from rich.console import Console
from typer.testing import CliRunner

from common.errors import CredentialsError, FeedError, UsageError
from common.feeds.tradestation.login import Application, Login, missing_scopes
from common.feeds.tradestation.tokens import TokenFile, Tokens
from workers.commands import auth as command

GRANT = {
    "access_token": "access-1",
    "refresh_token": "refresh-1",
    "expires_in": 1200,
    "scope": "openid offline_access MarketData",
}


def application(**changes: Any) -> Application:
    plain: dict[str, Any] = {
        "signin_url": "https://signin.test",
        "client_id": "me",
        "client_secret": SecretStr("s3cret"),
        "redirect_uri": "http://localhost:31022",
        "scopes": "openid offline_access MarketData",
    }
    return Application(**{**plain, **changes})


def query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def test_the_page_asks_for_what_the_document_names() -> None:
    login = Login.begin(application())
    assert login.url.startswith("https://signin.test/authorize?")
    assert query(login.url) == {
        "response_type": "code",
        "client_id": "me",
        "audience": "https://api.tradestation.com",
        "redirect_uri": "http://localhost:31022",
        "scope": "openid offline_access MarketData",
        "state": login.state,
    }
    assert "s3cret" not in login.url + repr(login)


def test_every_attempt_has_a_state_of_its_own() -> None:
    assert len({Login.begin(application()).state for _ in range(20)}) == 20


def test_the_challenge_is_that_of_rfc_7636_appendix_b() -> None:
    login = Login(application(pkce=True), "s", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    assert query(login.url)["code_challenge"] == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    assert query(login.url)["code_challenge_method"] == "S256"
    assert 43 <= len(Login.begin(application(pkce=True)).verifier) <= 128


def test_the_code_is_taken_from_the_address() -> None:
    login = Login.begin(application())
    address = f"http://localhost:31022/?code=abc%2F1&state={login.state}"
    assert login.code_of(address) == "abc/1"
    assert login.code_of(urlsplit(address).path + "?" + urlsplit(address).query) == "abc/1"


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://localhost:31022/?code=x&state=another", "another login attempt"),
        ("http://localhost:31022/?code=x", "another login attempt"),
        ("http://localhost:31022/?code=x&state=ünïcode", "another login attempt"),
        ("http://localhost/?error=access_denied&error_description=no", "access_denied no"),
        ("", "another login attempt"),
    ],
)
def test_an_address_that_is_no_answer(address: str, says: str) -> None:
    with pytest.raises(CredentialsError, match=says):
        Login.begin(application()).code_of(address)


def test_an_address_without_a_code() -> None:
    login = Login.begin(application())
    with pytest.raises(CredentialsError, match="holds no code"):
        login.code_of(f"http://localhost/?state={login.state}")


def answering(
    reply: httpx.Response | Exception, asked: list[httpx.Request]
) -> Callable[[httpx.Request], httpx.Response]:
    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if isinstance(reply, Exception):
            raise reply
        return reply

    return answer


def exchange(login: Login, reply: httpx.Response | Exception) -> tuple[Tokens, dict[str, str]]:
    asked: list[httpx.Request] = []
    with httpx.Client(transport=httpx.MockTransport(answering(reply, asked))) as http:
        tokens = login.exchange(http, "the-code", now=lambda: 100.0)
    form = {name: values[0] for name, values in parse_qs(asked[0].content.decode()).items()}
    return tokens, form


@pytest.mark.parametrize("pkce", [False, True])
def test_the_exchange_proves_who_asks_by_secret_or_verifier(pkce: bool) -> None:
    login = Login.begin(application(pkce=pkce))
    tokens, form = exchange(login, httpx.Response(200, json=GRANT))
    assert (tokens.access, tokens.refresh, tokens.expires_at) == ("access-1", "refresh-1", 1300.0)
    proof = {"code_verifier": login.verifier} if pkce else {"client_secret": "s3cret"}
    assert form == {
        "grant_type": "authorization_code",
        "client_id": "me",
        "code": "the-code",
        "redirect_uri": "http://localhost:31022",
        **proof,
    }


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (httpx.Response(403, json={"error": "invalid_grant"}), CredentialsError),
        (httpx.Response(401, json={"error": "access_denied"}), CredentialsError),
        (httpx.Response(401, text="<html>"), FeedError),
        (httpx.Response(500), FeedError),
        (httpx.Response(200, text="{}"), FeedError),
        (httpx.ConnectError("no route"), FeedError),
    ],
)
def test_an_exchange_that_fails(reply: httpx.Response | Exception, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        exchange(Login.begin(application()), reply)
    assert "s3cret" not in str(caught.value)
    assert "the-code" not in str(caught.value)


def test_missing_scopes_are_named() -> None:
    assert missing_scopes(Tokens(scope="openid MarketData")) == ["offline_access"]
    assert missing_scopes(Tokens(scope="openid offline_access MarketData")) == []


# --- the command -----------------------------------------------------------------------------


@pytest.fixture
def signed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user with a key and a sign-in host that grants."""
    monkeypatch.chdir(tmp_path)
    for name in ("CLIENT_ID", "CLIENT_SECRET"):
        monkeypatch.setenv(f"GEX_TRADESTATION_{name}", "me" if name == "CLIENT_ID" else "s3cret")
    monkeypatch.setenv("GEX_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "500")

    def client(**_: Any) -> httpx.Client:
        transport = httpx.MockTransport(answering(httpx.Response(200, json=GRANT), []))
        return real(transport=transport)

    real = httpx.Client
    monkeypatch.setattr(command.httpx, "Client", client)
    monkeypatch.setattr(command, "console", Console(file=io.StringIO()))
    return tmp_path / "state"


def run(*arguments: str, **options: Any) -> Any:
    app = typer.Typer()
    app.add_typer(command.auth, name="auth")
    return CliRunner().invoke(app, ["auth", "tradestation", *arguments], **options)


def test_a_pasted_address_logs_in(signed_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.feeds.tradestation.login.secrets.token_urlsafe", lambda n: "st")
    result = run("--paste", input="http://localhost:31022/?code=c&state=st\n")
    assert result.exit_code == 0, result.exception
    assert "state=st" in result.stdout
    stored = TokenFile(signed_in / "tradestation.tokens.json").load()
    assert stored is not None
    assert (stored.access, stored.refresh) == ("access-1", "refresh-1")
    assert "access-1" not in result.stdout + command.console.file.getvalue()


def test_the_browser_comes_back_to_this_machine(
    signed_in: Path, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    monkeypatch.setenv("GEX_TRADESTATION_REDIRECT_URI", f"http://localhost:{unused_port}")

    def visit(url: str) -> bool:
        state = query(url)["state"]
        base = f"http://127.0.0.1:{unused_port}"

        def come_back() -> None:
            with httpx.HTTPTransport() as wire:
                for path in ("/favicon.ico", f"/?code=c&state={state}"):
                    wire.handle_request(httpx.Request("GET", base + path)).read()

        threading.Thread(target=come_back).start()
        return True

    monkeypatch.setattr(command.webbrowser, "open", visit)
    result = run()
    assert result.exit_code == 0, result.exception
    assert (signed_in / "tradestation.tokens.json").is_file()


@pytest.mark.parametrize(
    ("uri", "says"), [("https://example.org/back", "--paste"), ("http://10.1.1.1:80", "--paste")]
)
def test_an_address_elsewhere_needs_a_paste(
    signed_in: Path, monkeypatch: pytest.MonkeyPatch, uri: str, says: str
) -> None:
    monkeypatch.setenv("GEX_TRADESTATION_REDIRECT_URI", uri)
    result = run()
    assert isinstance(result.exception, UsageError)
    assert says in str(result.exception)


def test_a_missing_key_is_named(signed_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEX_TRADESTATION_CLIENT_ID")
    result = run("--paste")
    assert isinstance(result.exception, UsageError)
    assert "GEX_TRADESTATION_CLIENT_ID" in str(result.exception)


@pytest.fixture
def unused_port() -> int:
    """A port nobody listens on."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
