"""Fixtures of the tests that run real servers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from browser import chromium
from harness import Servers, servers
from playwright.sync_api import Browser

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


@pytest.fixture
def database_url(own_servers: Servers, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database of its own."""
    name = "t_" + "".join(c if c.isalnum() else "_" for c in request.node.name.lower())[:40]
    with psycopg.connect(own_servers.database_url, autocommit=True) as admin:
        admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
        admin.execute(f'CREATE DATABASE "{name}"'.encode())
        yield own_servers.database_url.replace("/gex?", f"/{name}?")
        admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium; closed with the module, as it runs an event loop of its own."""
    with chromium() as running:
        yield running
