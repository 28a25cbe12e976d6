"""What is said of a session in the history, however often it is looked at while it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from history import CLOSE, DAY, KEY, NOON_US, OPEN, SHARD, batch, levels, quotes

from common.clock import SECOND
from common.db.connection import Connection, connect
from common.db.store import Store
from common.models import Session

MINUTE = 60 * SECOND
LOST = [(NOON_US + 7 * MINUTE, NOON_US + 7 * MINUTE + SECOND)]


@pytest.fixture
def store(database_url: str, plain: Connection) -> Iterator[Store]:
    """A store of the migrated database."""
    made = new_store(database_url)
    yield made
    made.close()


def new_store(url: str) -> Store:
    """As a worker makes one when it starts."""
    return Store(lambda: connect(url, name="store"), software="test")


def session(*, ended: bool = False) -> Session:
    """The session of the test history."""
    return Session(
        key=KEY, symbol="SPY", feed="simulator", trading_date=DAY, open_us=OPEN, close_us=CLOSE,
        stale_after_us=15 * SECOND, source="a test", ended=ended, gaps=LOST,
    )  # fmt: skip


def put(store: Store, number: int, shard: str, at: int) -> None:
    """Store an entry of ten quotes some time after noon."""
    one = batch(quotes(10, seq=10 * number, time=NOON_US + at), number=number)
    store.save_quotes("SPY", shard, [(f"{number}-0", one)])


def told(connection: Connection) -> tuple[Any, ...]:
    """What the row of the one session says."""
    row = connection.execute(
        "SELECT open_at, close_at, source, oi_date, level_count, first_level_at, last_level_at,"
        " round(coverage_oi::numeric, 9), round(coverage_gamma::numeric, 9), gaps"
        " FROM gex.sessions"
    ).fetchone()
    connection.commit()
    assert row is not None
    return row


def silences(connection: Connection) -> list[tuple[str, str]]:
    """The gaps, by the time of day."""
    return [(since[11:19], until[11:19]) for since, until in told(connection)[-1]]


def test_a_session_tells_its_gaps_and_its_coverage(store: Store, plain: Connection) -> None:
    for number, at in enumerate((0, 10 * SECOND, 5 * MINUTE, 5 * MINUTE + SECOND), 1):
        put(store, number, SHARD, at)
    store.save_levels(levels(6), strike_seconds=60)
    assert store.describe_session(session(ended=True))
    row = plain.execute(
        "SELECT open_at, close_at, source, ended, oi_date, coverage_oi, level_count, gaps,"
        " software, last_level_at - first_level_at FROM gex.sessions"
    ).fetchone()
    assert row is not None
    opened, closed, source, ended, oi_date, coverage, number, gaps, software, span = row
    assert (closed - opened, source, ended, oi_date) == (
        timedelta(hours=6.5), "a test", True, DAY,
    )  # fmt: skip
    assert (coverage, number, software) == (pytest.approx(0.8), 6, "test")
    assert span == timedelta(seconds=100)
    silence, lost = [(since[11:19], until[11:19]) for since, until in gaps]
    assert silence == ("16:00:10", "16:05:00")
    assert lost == ("16:07:00", "16:07:01")


@pytest.mark.parametrize("restarts", [set(), {4}, {2, 5, 6}])
def test_a_session_looked_at_now_and_then_is_told_as_by_one_look_at_the_end(
    restarts: set[int], store: Store, plain: Connection, database_url: str
) -> None:
    """An expiry that is late fills a silence in; a level that is late counts, too."""
    other = "2026-08-20"
    day = [
        (SHARD, 0, levels(1)),
        (SHARD, 10 * SECOND, levels(2)[1:]),
        (SHARD, 5 * MINUTE, []),
        (other, 4 * MINUTE, levels(5)[3:]),
        (SHARD, 5 * MINUTE + SECOND, levels(3)[2:]),
        (other, 4 * MINUTE + 10 * SECOND, levels(6)[5:]),
        (SHARD, 9 * MINUTE, levels(8)[6:]),
    ]
    assert not store.describe_session(session()), "there is nothing to describe"
    stores = [store]
    for number, (shard, at, some) in enumerate(day, 1):
        if number in restarts:
            stores.append(new_store(database_url))
        put(stores[-1], number, shard, at)
        if some:
            stores[-1].save_levels(some, strike_seconds=60)
        assert stores[-1].has_news(KEY)
        assert stores[-1].describe_session(session())
        assert not stores[-1].has_news(KEY)
    as_it_went = told(plain)
    assert silences(plain) == [
        ("16:00:10", "16:04:00"),
        ("16:04:10", "16:05:00"),
        ("16:05:01", "16:09:00"),
        ("16:07:00", "16:07:01"),
    ]
    assert as_it_went[4] == 8
    plain.execute("UPDATE gex.sessions SET gaps = NULL, level_count = NULL, last_level_at = NULL")
    plain.commit()
    last = new_store(database_url)
    assert last.describe_session(session(ended=True))
    assert told(plain) == as_it_went
    for one in (*stores[1:], last):
        one.close()


def rows_read(connection: Connection) -> int:
    """Of entries and levels, by this connection so far."""
    connection.execute("SELECT pg_stat_force_next_flush()")
    connection.commit()
    row = connection.execute(
        "SELECT (SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname ~ %(of)s)"
        " + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname ~ %(of)s)",
        {"of": "^(entries|levels)_"},
    ).fetchone()
    connection.commit()
    assert row is not None
    return int(row[0])


def test_a_look_at_a_long_session_reads_what_is_new_alone(partitioned: Connection) -> None:
    store = Store(lambda: partitioned, software="test")
    many = [
        (f"{n}-0", batch(quotes(1, seq=2 * n, time=NOON_US + n * SECOND), number=n))
        for n in range(1, 3001)
    ]
    for start in range(0, 3000, 500):
        store.save_quotes("SPY", SHARD, many[start : start + 500])
    store.save_levels(levels(1000), strike_seconds=60)
    before = rows_read(partitioned)
    store.describe_session(session())
    whole = rows_read(partitioned) - before
    assert whole >= 4000
    partitioned.execute("ANALYZE gex.entries, gex.levels")  # as autovacuum does now and then
    partitioned.commit()
    put(store, 4000, SHARD, 3001 * SECOND)
    store.save_levels(levels(1001)[1000:], strike_seconds=60)
    before = rows_read(partitioned)
    store.describe_session(session())
    assert rows_read(partitioned) - before < 50
    assert told(partitioned)[4] == 1001
    assert silences(partitioned) == [("16:07:00", "16:07:01")]
