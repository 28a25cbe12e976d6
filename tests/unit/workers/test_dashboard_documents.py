"""The JSON the page lives on, and the history behind it that may fail."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import orjson
import psycopg
import pytest
import redis
from fakeredis import FakeRedis
from fakes import NOON, make_session

from common.bus import keys
from common.bus.cache import Cache
from common.errors import StorageError, UsageError
from workers.dashboard.documents import AWAY, BAD_REQUEST, NOT_FOUND, OK, Documents
from workers.dashboard.history import POINTS, History

LATEST = b'{"schema":1,"spot":640.5}'
PROFILE = b'{"schema":1,"strikes":[]}'
AT = datetime(2026, 8, 19, 16, tzinfo=UTC)
ROW = {"time": AT, "state": "live", "spot": 640.0, "net_gex": -1.5e9, "zero_gamma": None}


class Cursor:
    """Answers a query with the connection's rows."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, _query: bytes, values: dict[str, Any]) -> Cursor:
        self.connection.asked.append(values)
        self.connection.before()
        return self

    def fetchall(self) -> list[dict[str, Any]]:
        return [ROW | {"zero_gamma": float("nan")}] if self.connection.nan else [ROW]


class Connection:
    """A database that answers, fails or hangs as it is told."""

    def __init__(self, before: Callable[[], None] = lambda: None, *, nan: bool = False) -> None:
        self.before, self.nan = before, nan
        self.closed = False
        self.asked: list[dict[str, Any]] = []

    @contextmanager
    def cursor(self, **_: Any) -> Iterator[Cursor]:
        yield Cursor(self)

    def commit(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def history(*connections: Any, patience: float = 5.0) -> History:
    """A history whose connections are made in this order; an error is raised instead."""
    left = iter(connections)

    def connect() -> Any:
        made = next(left)
        if isinstance(made, Exception):
            raise made
        return made

    return History(connect, patience_seconds=patience)


def documents(client: FakeRedis, past: History | None = None) -> Documents:
    """What a browser may ask of this Redis."""
    return Documents(
        cache=Cache(client),
        history=past or history(Connection()),
        symbols=("SPY", "QQQ"),
        period_ms=1000.0,
        replay_period_ms=60_000.0,
        wall_us=lambda: NOON,
    )


def publish(client: FakeRedis, symbol: str = "SPY") -> None:
    """Put a session and a level there, as texts."""
    client.set(keys.session(symbol), make_session().to_json())
    client.set(keys.latest(symbol), LATEST)
    client.set(keys.profile(symbol), PROFILE)


# --- what is published -------------------------------------------------------------------------


def test_what_is_published_is_handed_on_as_it_stands(client: FakeRedis) -> None:
    publish(client)
    status, text = documents(client).published("SPY")
    assert status == OK
    assert LATEST in text
    assert PROFILE in text
    found = orjson.loads(text)
    assert found["now"] == NOON / 1000
    assert found["session"]["key"] == make_session().key
    assert (found["symbol"], found["symbols"]) == ("SPY", ["SPY", "QQQ"])
    assert (found["period_ms"], found["replay_period_ms"]) == (1000.0, 60_000.0)
    assert found["error"] is None


def test_nothing_published_is_null_not_an_error(client: FakeRedis) -> None:
    status, text = documents(client).published("QQQ")
    found = orjson.loads(text)
    assert status == OK
    assert (found["session"], found["latest"], found["profile"]) == (None, None, None)


def test_a_symbol_that_is_not_followed_is_refused(client: FakeRedis) -> None:
    status, text = documents(client).published("<b>")
    assert status == NOT_FOUND
    assert orjson.loads(text)["error"] == "<b> is not followed (followed: SPY, QQQ)"


def test_a_redis_that_is_away_is_said(client: FakeRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise redis.ConnectionError("refused")

    monkeypatch.setattr(client, "mget", refuse)
    status, text = documents(client).published("SPY")
    assert status == AWAY
    assert orjson.loads(text)["error"] == "Redis is out of reach: refused"


@pytest.mark.parametrize(("wanted", "shown"), [("QQQ", "QQQ"), ("XYZ", "SPY"), (None, "SPY")])
def test_the_first_symbol_is_shown_unless_another_is_named(
    client: FakeRedis, wanted: str | None, shown: str
) -> None:
    assert documents(client).symbol(wanted) == shown


# --- the day -----------------------------------------------------------------------------------


def test_the_day_comes_as_columns(client: FakeRedis) -> None:
    connection = Connection()
    status, text = documents(client, history(connection)).day("SPY:x", "1700000000123")
    assert status == OK
    assert orjson.loads(text)["points"] == {
        "time": [round(AT.timestamp() * 1000)],
        "state": ["live"],
        "spot": [640.0],
        "net_gex": [-1.5e9],
        "zero_gamma": [None],
    }
    (asked,) = connection.asked
    assert asked["session"] == "SPY:x"
    assert asked["points"] == POINTS
    assert asked["since"] == datetime.fromtimestamp(1700000000.123, UTC)


def test_no_number_that_is_none_reaches_json(client: FakeRedis) -> None:
    _, text = documents(client, history(Connection(nan=True))).day("SPY:x", "0")
    assert orjson.loads(text)["points"]["zero_gamma"] == [None]


@pytest.mark.parametrize("since", ["", "-1", "1.5", "now", "١", "9" * 5000])
def test_a_time_that_is_none_is_refused(client: FakeRedis, since: str) -> None:
    status, text = documents(client).day("SPY:x", since)
    assert status == BAD_REQUEST
    assert "since" in orjson.loads(text)["error"]


def test_a_time_far_beyond_is_no_overflow(client: FakeRedis) -> None:
    assert documents(client).day("SPY:x", "9" * 15)[0] == OK


@pytest.mark.parametrize("error", [StorageError("PostgreSQL: gone"), UsageError("no URL")])
def test_a_database_that_is_away_is_said(client: FakeRedis, error: Exception) -> None:
    status, text = documents(client, history(error)).day("SPY:x", "0")
    assert status == AWAY
    assert orjson.loads(text)["error"] == str(error)


def test_after_an_outage_it_connects_anew() -> None:
    def fail() -> None:
        raise psycopg.OperationalError("terminating connection")

    broken, whole = Connection(fail), Connection()
    past = history(broken, StorageError("PostgreSQL: refused"), whole)
    with pytest.raises(StorageError, match="terminating connection"):
        past.points("SPY:x", 0)
    assert broken.closed
    with pytest.raises(StorageError, match="refused"):
        past.points("SPY:x", 0)
    assert past.points("SPY:x", 0)["spot"] == [640.0]
    past.points("SPY:x", 0)
    assert len(whole.asked) == 2, "a connection that works is kept"


def test_a_database_that_hangs_costs_no_more_than_the_patience() -> None:
    release = threading.Event()
    past = history(Connection(lambda: release.wait() and None), patience=0.01)
    try:
        for _ in range(3):  # the first waits for its answer, the others for their turn
            with pytest.raises(StorageError, match=r"has not answered for 0\.01 s"):
                past.points("SPY:x", 0)
        assert sum(thread.name == "history" for thread in threading.enumerate()) == 1
    finally:
        release.set()
