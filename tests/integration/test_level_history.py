"""The day so far, thinned by the database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from common.db import migrate, queries
from common.db.connection import Connection, connect

OPEN = datetime(2026, 8, 19, 13, 30, tzinfo=UTC)
SECONDS = 23_400
"""Of a session: a level each."""
LONG_AGO = datetime.fromtimestamp(0, UTC)


@pytest.fixture
def connection(database_url: str) -> Connection:  # type: ignore[misc]
    """A migrated database with two sessions of a whole day."""
    with connect(database_url, name="test") as opened:
        migrate.migrate(opened)
        for key in ("SPY:2026-08-19:test", "SPY:2026-08-19:other"):
            opened.execute(
                "INSERT INTO gex.sessions (key, symbol, trading_date, feed)"
                " VALUES (%s, 'SPY', '2026-08-19', 'test')",
                (key,),
            )
        opened.execute("SELECT gex.make_partitions('levels', ARRAY[%s::timestamptz])", (OPEN,))
        opened.execute(
            "INSERT INTO gex.levels"
            " (time, session_id, symbol, state, sign, spot, net_gex, regime, result, watermark)"
            " SELECT %(open)s + n * interval '1 second', session_id, 'SPY', 'live', 'index',"
            " 600 + n / 1000.0, session_id * n, 'positive', '{}', '{}'"
            " FROM gex.sessions, generate_series(0, %(last)s) AS n",
            {"open": OPEN, "last": SECONDS - 1},
        )
        opened.commit()
        yield opened


def seconds(rows: list[dict[str, object]]) -> list[int]:
    """Seconds after the open."""
    return [round((row["time"] - OPEN).total_seconds()) for row in rows]  # type: ignore[operator]


def test_a_day_is_thinned_to_levels_that_were_published(connection: Connection) -> None:
    rows = queries.level_history(connection, "SPY:2026-08-19:test", since=LONG_AGO, points=1000)
    assert 900 < len(rows) <= 1001
    times = seconds(rows)
    assert times == sorted(set(times))
    assert times[-1] == SECONDS - 1, "the last level is always there"
    steps = {after - before for before, after in pairwise(times)}
    assert max(steps) <= 25, "no hole comes from thinning"
    number = rows[0]["net_gex"] / times[0]
    for row, second in zip(rows, times, strict=True):
        assert row["spot"] == pytest.approx(600 + second / 1000)
        assert row["net_gex"] == pytest.approx(number * second), "of this session alone"
        assert (row["state"], row["zero_gamma"]) == ("live", None)


def test_what_is_new_comes_whole(connection: Connection) -> None:
    since = OPEN + timedelta(seconds=SECONDS - 11)
    rows = queries.level_history(connection, "SPY:2026-08-19:other", since=since, points=1000)
    assert seconds(rows) == list(range(SECONDS - 10, SECONDS))
    last = OPEN + timedelta(seconds=SECONDS - 1)
    assert not queries.level_history(connection, "SPY:2026-08-19:other", since=last, points=1000)


def test_one_level_is_a_history_too(connection: Connection) -> None:
    since = OPEN + timedelta(seconds=SECONDS - 2)
    rows = queries.level_history(connection, "SPY:2026-08-19:test", since=since, points=1000)
    assert seconds(rows) == [SECONDS - 1]


def test_an_unknown_session_has_none(connection: Connection) -> None:
    assert queries.level_history(connection, "SPY:none", since=LONG_AGO, points=1000) == []
