"""Fixtures of the unit tests; the shared fakes are in fakes.py beside this file."""

from __future__ import annotations

import fakeredis
import pytest


@pytest.fixture
def server() -> fakeredis.FakeServer:
    """A Redis in memory, for tests that connect to it more than once."""
    return fakeredis.FakeServer()


@pytest.fixture
def client(server: fakeredis.FakeServer) -> fakeredis.FakeRedis:
    """A connection to it."""
    return fakeredis.FakeRedis(server=server)
