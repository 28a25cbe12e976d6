"""The page's server: its frame, its addresses, its headers."""

from __future__ import annotations

import gzip
import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from fakeredis import FakeRedis
from fakes import NOON, make_session
from flask.testing import FlaskClient

from common.bus import keys
from common.bus.cache import Cache
from common.errors import ServiceError, StorageError
from workers.dashboard import page as pages
from workers.dashboard.documents import Documents
from workers.dashboard.history import History
from workers.dashboard.layout import CHARTS
from workers.dashboard.page import SCRIPTS, Page, asset, serve_page

GZIP = {"Accept-Encoding": "gzip"}


def no_database() -> Any:
    """A database that is away."""
    raise StorageError("PostgreSQL: gone")


@pytest.fixture
def page(client: FakeRedis) -> Page:
    """The page of a Redis in memory, without a database."""
    client.set(keys.session("SPY"), make_session(source="a </script><script>bad()").to_json())
    client.set(keys.latest("SPY"), b'{"spot":640.5}')
    documents = Documents(
        cache=Cache(client),
        history=History(no_database),
        symbols=("SPY", "QQQ"),
        period_ms=1000.0,
        replay_period_ms=0.0,
        wall_us=lambda: NOON,
    )
    return Page(documents)


class Client(FlaskClient):
    """Reads every answer to its end and closes it, as a browser does."""

    def open(self, *given: Any, **options: Any) -> Any:
        """Ask for an address."""
        return super().open(*given, **{"buffered": True, **options})


@pytest.fixture
def web(page: Page) -> Client:
    """A browser of a kind."""
    return Client(page.server, page.server.response_class)


def first(html: str) -> Any:
    """The data that the page carries."""
    match = re.search(r'<script type="application/json" id="first"[^>]*>(.*?)</script>', html, re.S)
    assert match
    return json.loads(match.group(1))


def test_the_first_response_carries_the_numbers(web: Client) -> None:
    html = web.get("/").text
    data = first(html)
    assert data["latest"] == {"spot": 640.5}
    assert data["symbol"] == "SPY"
    assert data["session"]["source"] == "a </script><script>bad()"
    assert "bad()</script>" not in html
    assert "{%" not in html


@pytest.mark.parametrize(("query", "symbol"), [("?symbol=QQQ", "QQQ"), ("?symbol=%3Cb", "SPY")])
def test_an_address_names_its_symbol(web: Client, query: str, symbol: str) -> None:
    assert first(web.get(f"/{query}").text)["symbol"] == symbol


def test_own_scripts_come_before_dash_and_in_their_order(web: Client) -> None:
    html = web.get("/").text
    sources = re.findall(r'<script src="([^"]+)"', html)
    own = [source for source in sources if source.startswith("/assets/")]
    assert own == [asset("theme.js"), *(asset(f"{name}.js") for name in SCRIPTS)]
    assert sources[: len(own)] == own
    folder = Path(pages.__file__).parent / "assets"
    named = {Path(source.partition("?")[0]).name for source in own}
    assert {path.name for path in folder.glob("*.js")} == named


def test_nothing_is_loaded_from_elsewhere(web: Client) -> None:
    html = web.get("/").text
    loaded = re.findall(r'(?:src|href|data-plotly)="([^"]+)"', html)
    assert len(loaded) > 15
    for address in loaded:
        assert address.startswith("/")
        assert not address.startswith("//")
        assert web.get(address).status_code == 200, address
    config = json.loads(re.findall(r'id="_dash-config"[^>]*>(.*?)</script>', html)[0])
    assert config["ui"] is False
    assert config["disable_version_check"] is True
    assert "hot_reload" not in config


def test_dash_draws_the_charts_by_one_function_of_the_browser(web: Client) -> None:
    (callback,) = web.get("/_dash-dependencies").json
    assert callback["clientside_function"] == {"namespace": "gex", "function_name": "draw"}
    assert [name for name in CHARTS if f"{name}.figure" in callback["output"]] == list(CHARTS)
    assert web.get("/_dash-layout").json["props"]["id"] == "charts"


def test_a_policy_closes_the_page_to_anything_foreign(web: Client, page: Page) -> None:
    headers = web.get("/").headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'self'"
    assert policy["script-src"].split() == ["'self'", *page.csp_hashes()]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("address", ["/", "/data/published?symbol=SPY", "/data/day", "/elsewhere"])
def test_what_changes_is_never_cached(web: Client, address: str) -> None:
    assert web.get(address).headers["Cache-Control"] == "no-store"


def test_what_never_changes_is_cached_for_good(web: Client) -> None:
    assert "immutable" in web.get(asset("style.css")).headers["Cache-Control"]
    fingerprinted = re.findall(r'src="(/_dash-component-suites/[^"]+)"', web.get("/").text)
    assert "immutable" in web.get(fingerprinted[0]).headers["Cache-Control"]
    assert "immutable" not in web.get("/assets/style.css").headers.get("Cache-Control", "")
    assert "immutable" not in web.get("/assets/none.css?v=1").headers.get("Cache-Control", "")


def test_texts_are_compressed_where_that_is_understood(web: Client) -> None:
    plain = web.get(asset("style.css"))
    assert "Content-Encoding" not in plain.headers
    for _ in range(2):  # the second comes from what is kept
        packed = web.get(asset("style.css"), headers=GZIP)
        assert packed.headers["Content-Encoding"] == "gzip"
        assert packed.headers["Vary"] == "Accept-Encoding"
        assert gzip.decompress(packed.data) == plain.data
        assert int(packed.headers["Content-Length"]) == len(packed.data)
    assert web.get("/", headers=GZIP).headers["Content-Encoding"] == "gzip"
    refused = web.get("/", headers={"Accept-Encoding": "gzip;q=0"})
    assert "Content-Encoding" not in refused.headers


def test_short_answers_and_those_without_a_body_stay_as_they_are(web: Client) -> None:
    assert "Content-Encoding" not in web.get("/data/day", headers=GZIP).headers
    head = web.head(asset("style.css"), headers=GZIP)
    assert head.status_code == 200
    assert "Content-Encoding" not in head.headers
    tag = web.get(asset("style.css")).headers["ETag"]
    again = web.get(asset("style.css"), headers={**GZIP, "If-None-Match": tag})
    assert (again.status_code, again.data) == (304, b"")


def test_what_is_away_is_said_with_its_status(web: Client) -> None:
    answer = web.get("/data/day?session=SPY:x&since=0")
    assert answer.status_code == 503
    assert answer.json["error"] == "PostgreSQL: gone"
    assert web.get("/data/published?symbol=XYZ").status_code == 404


def test_a_port_that_is_taken_is_one_clear_line(page: Page) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=rf"cannot listen on 127\.0\.0\.1:{port}"):
            serve_page(page, host="127.0.0.1", port=port)
