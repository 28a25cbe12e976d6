"""Fixtures of the tests that run real servers.

``GEX_TEST_DATABASE_URL`` names a server of yours, TimescaleDB or not, on which the tests of the
history make databases of their own; without it the embedded one serves.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

sys.path.insert(0, str(Path(__file__).parent))

from browser import chromium
from harness import BIN, Servers, servers
from history import empty
from playwright.sync_api import Browser

from common.db import migrate
from common.db.connection import Connection, connect

RECORDED_DAY = "intraday/spy_0dte_2026-08-19.csv.gz"


@pytest.fixture(scope="session")
def recording(market_data: Path) -> Path:
    """A recorded 0DTE day of SPY."""
    return market_data / RECORDED_DAY


@pytest.fixture(scope="session")
def own_servers() -> Iterator[Servers]:
    """A Redis and a PostgreSQL outside any instance, shared by the tests."""
    with servers() as running:
        yield running


@contextmanager
def fresh_database(server: str, test: str) -> Iterator[str]:
    """An empty database on a server, gone afterwards; those who run beside have theirs."""
    runner = os.environ.get("PYTEST_XDIST_WORKER", "")
    name = f"t{runner}_" + "".join(c if c.isalnum() else "_" for c in test.lower())[:40]
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
        admin.execute(f'CREATE DATABASE "{name}"'.encode())
        yield make_conninfo(server, dbname=name)
        admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())


@pytest.fixture
def database_url(own_servers: Servers, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database of its own."""
    server = os.environ.get("GEX_TEST_DATABASE_URL") or own_servers.database_url
    with fresh_database(server, request.node.name) as url:
        yield url


@pytest.fixture
def embedded_url(own_servers: Servers, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database of its own where no TimescaleDB is."""
    with fresh_database(own_servers.database_url, request.node.name) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium; closed with the module, as it runs an event loop of its own."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="session")
def timescale() -> Iterator[Connection]:
    """A migrated TimescaleDB: that of your server where it has one, else in WebAssembly, which
    takes one connection, small statements and no COPY."""
    with ExitStack() as stack:
        server = os.environ.get("GEX_TEST_DATABASE_URL")
        if server and has_timescale(server):
            url = stack.enter_context(fresh_database(server, "timescale"))
        else:
            url = stack.enter_context(web_assembly())
        with connect(url, name="test") as connection:
            migrate.migrate(connection)
            yield connection


def has_timescale(server: str) -> bool:
    """Whether databases of a server can be given TimescaleDB."""
    with psycopg.connect(server) as admin:
        found = admin.execute(
            "SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'"
        ).fetchone()
    return found is not None


@contextmanager
def web_assembly() -> Iterator[str]:
    """The URL of an engine in a process of its own."""
    engine = BIN.parent / "timescale"
    assert (engine / ".ready").exists(), "run tools/prepare-tests"
    script = Path(__file__).with_name("timescale.mjs")
    with subprocess.Popen(["node", str(script), str(engine)], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            port = int(server.stdout.readline())
            yield f"postgresql://postgres:postgres@127.0.0.1:{port}/postgres?sslmode=disable"
        finally:
            server.kill()


@pytest.fixture
def plain(database_url: str) -> Iterator[Connection]:
    """A migrated database of its own on a real server."""
    with connect(database_url, name="test") as connection:
        migrate.migrate(connection)
        yield connection


@pytest.fixture
def partitioned(embedded_url: str) -> Iterator[Connection]:
    """A migrated database of its own where no TimescaleDB is."""
    with connect(embedded_url, name="test") as connection:
        migrate.migrate(connection)
        yield connection


@pytest.fixture(params=["partitioned", "timescale"])
def history(request: pytest.FixtureRequest) -> Connection:
    """A migrated and empty history, on either engine."""
    connection: Connection = request.getfixturevalue(request.param)
    empty(connection)
    return connection
