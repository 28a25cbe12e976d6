"""The store on a real server: binary COPY, once in effect, bad rows alone left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import fakeredis
import numpy as np
import psycopg
import pytest
from harness import wait_until
from history import (
    DAY,
    KEY,
    NOON,
    NOON_US,
    SHARD,
    all_rows,
    batch,
    count,
    empty,
    entries,
    levels,
    quotes,
    result,
)

from common.bus import keys
from common.bus.codec import Batch, Batches, Results
from common.bus.producer import Producer
from common.bus.streams import Streams
from common.clock import SECOND
from common.db import migrate, sql
from common.db.connection import Connection, connect
from common.db.deliveries import Delivery, Greeks, Levels, Quotes
from common.db.store import Store
from common.db.writing import Saved, Writing
from common.errors import RejectedError, StorageError
from common.models import Status
from workers.actor import Actor
from workers.handling import Policy
from workers.store import StoreHandler


@pytest.fixture
def store(database_url: str, plain: Connection) -> Iterator[Store]:
    """A store of the migrated database whose statements may take a third of a second."""
    made = Store(lambda: connect(database_url, name="store", timeout_seconds=0.3), software="test")
    yield made
    made.close()


@pytest.fixture
def redis() -> fakeredis.FakeRedis:
    """A Redis in memory."""
    return fakeredis.FakeRedis()


def refuse_strike(connection: Connection, strike: float) -> None:
    """From now on the database takes no quote and no Greeks of a strike."""
    for table in ("quotes", "greeks"):
        connection.execute(f"ALTER TABLE gex.{table} ADD CHECK (strike <> {strike})".encode())
    connection.commit()


def hold_up_strike(connection: Connection, strike: float) -> None:
    """From now on a quote of a strike takes a minute to store."""
    connection.execute(
        "CREATE FUNCTION gex.slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$"
    )
    connection.execute(
        "CREATE TRIGGER slow BEFORE INSERT ON gex.quotes FOR EACH ROW"
        f" WHEN (NEW.strike = {strike}) EXECUTE FUNCTION gex.slow()".encode()
    )
    connection.commit()


# --- what is stored --------------------------------------------------------------------------


def test_every_column_comes_back_as_it_was(store: Store, plain: Connection) -> None:
    rows = quotes(5000)
    assert store.save_quotes("SPY", "2026-08-19-AM", [("7-1", batch(rows))]) == Saved(5000)
    found = plain.execute(
        'SELECT time, seq, symbol, expiration, settlement, strike, "right", bid::float8,'
        " ask::float8, last::float8, bid_size, ask_size, volume, open_interest, bought, sold,"
        " spot::float8, withdrawn"
        " FROM gex.quotes ORDER BY seq"
    ).fetchall()

    def present(value: float) -> float | None:
        return None if value != value or value < 0 else value  # noqa: PLR0124  NaN

    assert len(found) == 5000
    for row, got in zip(rows.tolist(), found, strict=True):
        key, flags, time, seq, spot, *numbers = row
        assert got == (
            datetime.fromtimestamp(0, UTC) + timedelta(microseconds=time), seq, "SPY", DAY, "AM",
            (key >> 1) / 1000, "CP"[key & 1], *map(present, numbers), spot, bool(flags),
        )  # fmt: skip


def test_odd_numbers_are_stored_as_they_are(store: Store, plain: Connection) -> None:
    prices = [0.1 + 0.2, 1 / 3, 12.345678901234567, 1e-9, 1e300]
    for number, price in enumerate([np.nan, *prices]):
        rows = quotes(2, seq=2 * number, bid=-np.inf, ask=np.inf, spot=price)
        store.save_quotes("SPY", SHARD, [(f"{7 + number}-1", batch(rows, number=number))])
    found = plain.execute(
        "SELECT bid::float8, ask::float8, spot::float8 FROM gex.quotes WHERE seq % 2 = 0"
        " ORDER BY seq"
    ).fetchall()
    assert found == [(-np.inf, np.inf, price) for price in (None, *prices)]


def test_greeks_come_back_as_they_were(store: Store, plain: Connection) -> None:
    assert store.save_greeks("SPY", [result(10), result(10, seq=10)]) == Saved(20)
    found = plain.execute(
        'SELECT seq, strike, "right", status, side, iv, delta, gamma, forward_ratio,'
        " forward_source, expiration, settlement FROM gex.greeks ORDER BY seq"
    ).fetchall()
    for n, row in enumerate(found):
        iv = None if n % 4 else 0.2
        assert row == (
            n, 600.0 + n // 2, "CP"[n % 2], Status(n % 4).label, "" if n % 4 else "C", iv, iv, iv,
            1.0, "parity", DAY, "PM",
        )  # fmt: skip


def test_entries_say_what_each_brought(store: Store, plain: Connection) -> None:
    store.save_quotes("SPY", SHARD, [*entries(2, 10), ("9000-3", batch(quotes(0), number=3))])
    found = plain.execute(
        "SELECT entry_ms, entry_n, epoch, batch, resets, quotes, first_seq, last_seq, spot_seq"
        " FROM gex.entries ORDER BY entry_ms"
    ).fetchall()
    received = plain.execute("SELECT DISTINCT received_at FROM gex.entries").fetchall()
    assert received == [(NOON + timedelta(microseconds=5),)]
    assert found == [
        (1000, 0, 1, 1, False, 10, 0, 9, 1_000_001),
        (1001, 0, 1, 2, False, 10, 10, 19, 1_000_002),
        (9000, 3, 1, 3, False, 0, None, None, 1_000_003),
    ]


def test_nothing_fails_on_an_ordinary_day(store: Store, plain: Connection) -> None:
    """Every partition is there before its first row, so the server has no error to log."""

    def ask(question: bytes) -> int:
        row = plain.execute(question).fetchone()
        plain.commit()  # what it says of others stands still within a transaction
        assert row is not None
        return int(row[0])

    own = b"FROM pg_stat_database WHERE datname = current_database()"
    others = b"FROM pg_stat_activity WHERE datname = current_database()"
    undone = b"SELECT xact_rollback " + own
    still = b"SELECT count(*) " + others + b" AND application_name = 'gex-store'"
    before = ask(undone)
    store.save_levels(levels(3), strike_seconds=60)
    store.save_greeks("SPY", [result(10)])
    for one in entries(6, 1000):
        store.save_quotes("SPY", SHARD, [one])
    assert store.make_checkpoints() == 1
    store.close()
    wait_until(lambda: ask(still) == 0, seconds=5, what="its farewell")
    assert ask(undone) == before


# --- once in effect --------------------------------------------------------------------------


def test_what_comes_twice_is_stored_once(store: Store, plain: Connection) -> None:
    day = entries(8, 100)
    assert store.save_quotes("SPY", SHARD, day) == Saved(800)
    before = {name: all_rows(plain, name) for name in ("quotes", "spots", "entries")}
    assert store.save_quotes("SPY", SHARD, day[:4]) == Saved(400, 400)
    assert store.save_quotes("SPY", SHARD, day[4:]) == Saved(400, 400)
    assert {name: all_rows(plain, name) for name in before} == before
    store.save_greeks("SPY", [result(10)])
    assert store.save_greeks("SPY", [result(10)]) == Saved(10, 10)


def test_what_is_new_among_what_is_known_is_stored(store: Store, plain: Connection) -> None:
    store.save_quotes("SPY", SHARD, entries(4, 100))
    assert store.save_quotes("SPY", SHARD, entries(4, 100, first=2)) == Saved(400, 200)
    assert store.save_quotes("SPY", SHARD, entries(4, 100, first=6)) == Saved(400)
    assert store.save_quotes("SPY", SHARD, entries(4, 100, first=10)) == Saved(400)
    assert count(plain, "quotes", "entries", "spots") == [1400, 14, 14]


def test_of_a_contract_the_last_quote_of_a_period_is_kept(
    database_url: str, plain: Connection
) -> None:
    store = Store(
        lambda: connect(database_url, name="store"), software="test", conflate_seconds=1.0
    )
    first = quotes(300)
    other = quotes(100, seq=300, time=NOON_US + 3 * SECOND)
    saved = store.save_quotes("SPY", SHARD, [("1-0", batch(first)), ("2-0", batch(other))])
    assert saved == Saved(400, conflated=200)
    found = plain.execute("SELECT seq FROM gex.quotes ORDER BY seq").fetchall()
    assert [row[0] for row in found] == list(range(200, 400))
    store.close()


def test_whatever_comes_first_has_its_session(store: Store, plain: Connection) -> None:
    """The first rows of a week make their partition, and are tried twice."""
    store.save_levels(levels(3), strike_seconds=60)
    rows = plain.execute(
        "SELECT count(*), count(DISTINCT s.key) FROM gex.levels JOIN gex.sessions s"
        " USING (session_id)"
    ).fetchall()
    assert rows == [(3, 1)]


# --- several deliveries at once --------------------------------------------------------------

NEXT = "2026-08-20"


def a_round(*, first: int = 0) -> list[Delivery]:
    """Quotes of two expiries and of another symbol, Greeks and levels."""
    one, two = entries(3, 20, first=first), entries(2, 20, first=first + 3)
    key = KEY.replace("SPY", "QQQ")
    far = (f"{1000 + first}-7", batch(quotes(20, seq=20 * first), key=key))
    greeks = [result(5, seq=5 * (first + n)) for n in range(2)]
    found: list[Delivery] = [
        Quotes(symbol, shard, [entry_id for entry_id, _ in some], Batches.of(b for _, b in some))
        for symbol, shard, some in (("SPY", SHARD, one), ("SPY", NEXT, two), ("QQQ", SHARD, [far]))
    ]
    at = NOON + timedelta(minutes=first)
    return [*found, Greeks("SPY", Results.of(greeks)), Levels(levels(2, start=at))]


def test_a_round_is_stored_as_its_deliveries_one_by_one(store: Store, plain: Connection) -> None:
    rounds = [a_round(first=first) for first in (0, 10)]
    series = ("quotes", "greeks", "entries", "spots", "levels", "strike_exposures")

    def session_keys() -> list[tuple[Any, ...]]:
        return plain.execute("SELECT session_id, key FROM gex.sessions ORDER BY 1").fetchall()

    together = [store.save(one, strike_seconds=60) for one in rounds]
    assert together[0] == [Saved(60), Saved(40), Saved(20), Saved(10), Saved(2)]
    found = {name: all_rows(plain, name) for name in series}, session_keys()
    empty(plain)
    plain.execute("ALTER SEQUENCE gex.sessions_session_id_seq RESTART")
    plain.commit()
    other = Store(store._connect, software="test")
    alone = [[other.save([d], strike_seconds=60)[0] for d in one] for one in rounds]
    assert alone == together
    assert ({name: all_rows(plain, name) for name in series}, session_keys()) == found
    other.close()


def test_of_a_round_that_comes_twice_everything_is_known(store: Store, plain: Connection) -> None:
    store.save([*a_round()[:2]], strike_seconds=60)
    saved = store.save(a_round(), strike_seconds=60)
    assert saved == [Saved(60, 60), Saved(40, 40), Saved(20), Saved(10), Saved(2)]
    assert store.save(a_round(), strike_seconds=60) == [Saved(one.rows, one.rows) for one in saved]
    assert [one.known for one in store.save(a_round(first=10), strike_seconds=60)] == [0] * 5
    assert count(plain, "quotes", "greeks", "levels", "entries") == [240, 20, 4, 12]


def test_a_bad_row_is_left_out_of_its_delivery_alone(store: Store, plain: Connection) -> None:
    refuse_strike(plain, 603.0)
    one, two, far, greeks, published = store.save(a_round(), strike_seconds=60)
    assert [(row.entry, row.place) for row in one.refused] == [(0, 6), (0, 7)]
    assert (two.refused, published.refused) == ((), ())
    assert [(row.entry, row.place) for row in greeks.refused] == [(1, 1), (1, 2)]
    assert [(row.entry, row.place) for row in far.refused] == [(0, 6), (0, 7)]
    assert count(plain, "quotes", "greeks") == [116, 8]


def test_a_quote_of_another_age_is_refused_in_its_delivery(store: Store, plain: Connection) -> None:
    given = a_round()
    assert isinstance(given[1], Quotes)
    given[1].batches.quotes["time"][[20, 25]] = [2**62, -(2**63)]
    saved = store.save(given, strike_seconds=60)
    assert [(row.entry, row.place) for row in saved[1].refused] == [(1, 0), (1, 5)]
    assert [len(one.refused) for one in saved] == [0, 2, 0, 0, 0]
    assert count(plain, "quotes") == [118]


def test_of_a_round_the_last_quote_of_a_period_is_kept_for_each_expiry(
    database_url: str, plain: Connection
) -> None:
    store = Store(
        lambda: connect(database_url, name="store"), software="test", conflate_seconds=60.0
    )
    saved = store.save(a_round(), strike_seconds=60)
    assert [(one.rows, one.conflated) for one in saved[:3]] == [(60, 0), (40, 0), (20, 0)]
    some = []
    for first, shard in ((1000, NEXT), (2000, "2026-08-21")):
        again = [batch(quotes(20, seq=first + 20 * n, key=7), number=n + 1) for n in range(2)]
        some.append(Quotes("SPY", shard, ["9-1", "9-2"], Batches.of(again)))
    assert [one.conflated for one in store.save(some)] == [39, 39]
    store.close()


# --- bad rows --------------------------------------------------------------------------------


def test_a_bad_row_is_left_out_alone(store: Store, plain: Connection) -> None:
    refuse_strike(plain, 603.0)
    day = entries(3, 100)
    saved = store.save_quotes("SPY", SHARD, day)
    assert (saved.rows, saved.known) == (300, 0)
    assert [(row.entry, row.place) for row in saved.refused] == [
        (n, place) for n in range(3) for place in (6, 7)
    ]
    assert all("CheckViolation" in row.reason for row in saved.refused)
    assert count(plain, "quotes", "entries") == [294, 3]
    again = store.save_quotes("SPY", SHARD, day)
    assert (again.known, len(again.refused)) == (294, 6)
    bad = store.save_greeks("SPY", [result(10)])
    assert [(row.entry, row.place) for row in bad.refused] == [(0, 6), (0, 7)]


def test_a_quote_of_another_age_is_refused(store: Store, plain: Connection) -> None:
    rows = quotes(10)
    rows["time"][3] = 2**62
    rows["time"][4] += 400 * 86_400 * SECOND
    saved = store.save_quotes("SPY", SHARD, [("1-0", batch(rows[[0, 1, 2, 5]]))])
    assert saved == Saved(4)
    single = Batch(batch(rows).header, rows, batch(rows[:1]).spots)
    header_time = [(row.entry, row.place) for row in _refused(store, single)]
    assert header_time == [(0, 3), (0, 4)]
    assert count(plain, "quotes") == [8]


def _refused(store: Store, one: Batch) -> Any:
    return store.save_quotes("SPY", SHARD, [("2-0", one)]).refused


def test_a_clock_that_jumps_into_another_week_loses_nothing(
    store: Store, plain: Connection
) -> None:
    ahead = quotes(100, seq=100, time=NOON_US + 9 * 86_400 * SECOND)
    back = quotes(100, seq=200, time=NOON_US - 9 * 86_400 * SECOND)
    for number, rows in enumerate((quotes(100), ahead, back), 1):
        assert store.save_quotes("SPY", SHARD, [(f"{number}-0", batch(rows))]) == Saved(100)
    assert count(plain, "quotes") == [300]


# --- under an actor --------------------------------------------------------------------------


def actor(redis: fakeredis.FakeRedis, store: Store) -> Actor:
    """The store worker on a Redis in memory."""
    handler = StoreHandler(redis, store, strike_seconds=60.0, keep_seconds=60.0)
    policy = Policy(block_ms=1, refresh_seconds=0.0, backoff_seconds=0.0)
    return Actor(Streams(redis), handler, "store-0", policy)


def test_a_bad_row_goes_to_the_dead_letters_and_the_rest_goes_on(
    redis: fakeredis.FakeRedis, store: Store, plain: Connection
) -> None:
    refuse_strike(plain, 603.0)
    producer = Producer(redis, "SPY", 1)
    for _, one in entries(3, 100):
        producer.append(SHARD, one)
    assert actor(redis, store).step() == 3
    letters: Any = redis.xrange(keys.dead(keys.STORE_GROUP))
    assert [fields[b"reason"][:15] for _, fields in letters] == [b"2 rows refused:"] * 3
    assert count(plain, "quotes") == [294]
    counters: Any = redis.hgetall(keys.counters("SPY"))
    assert (counters[b"quotes_stored"], counters[b"quotes_refused"]) == (b"294", b"6")
    groups = {state.name: state for state in Streams(redis).groups(keys.quotes("SPY", SHARD))}
    assert (groups["store"].pending, groups["store"].lag) == (0, 0)


def test_a_statement_that_never_ends_is_given_up_and_the_rest_goes_on(
    redis: fakeredis.FakeRedis, store: Store, plain: Connection
) -> None:
    hold_up_strike(plain, 700.0)
    producer = Producer(redis, "SPY", 1)
    good = [one for _, one in entries(2, 100)]
    slow = batch(quotes(1, seq=5000, key=700_000 << 1), number=2)
    for one in (good[0], slow, batch(good[1].quotes, number=3)):
        producer.append(SHARD, one)
    assert actor(redis, store).step() == 3
    assert count(plain, "quotes") == [200]
    ((_, letter),) = redis.xrange(keys.dead(keys.STORE_GROUP))  # type: ignore[union-attr]
    assert b"statement timeout" in letter[b"reason"]
    assert b"answers otherwise" in letter[b"reason"]


def test_a_lock_is_waited_for_as_an_outage_is(
    database_url: str, store: Store, plain: Connection
) -> None:
    with connect(database_url, name="other") as other:
        other.execute("LOCK TABLE gex.quotes IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StorageError, match="lock timeout"):
            store.save_quotes("SPY", SHARD, entries(1, 10))
    assert store.save_quotes("SPY", SHARD, entries(1, 10)) == Saved(10)


def test_a_commit_whose_answer_is_lost_is_no_loss(
    redis: fakeredis.FakeRedis, database_url: str, plain: Connection
) -> None:
    """The connection is cut, or the worker dies, between the commit and the acknowledgement."""
    store = CutStore(lambda: connect(database_url, name="store"))
    producer = Producer(redis, "SPY", 1)
    for _, one in entries(3, 100):
        producer.append(SHARD, one)
    worker = actor(redis, store)
    with pytest.raises(StorageError, match="cut after the commit"):
        worker.step()
    assert count(plain, "quotes") == [300]
    worker.step()
    assert count(plain, "quotes", "entries") == [300, 3]
    counters: Any = redis.hgetall(keys.counters("SPY"))
    assert (counters[b"quotes_stored"], counters[b"quotes_known"]) == (b"300", b"300")
    assert redis.xlen(keys.dead(keys.STORE_GROUP)) == 0
    store.close()


class CutStore(Store):
    """A store that loses its connection once, right after a commit."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        super().__init__(connect, software="test")
        self._cut = False

    def write(self, *deliveries: Any, **options: Any) -> Writing:
        """Commit, and lose the answer the first time."""
        written = super().write(*deliveries, **options)
        if not self._cut:
            self._cut = True
            self.close()
            raise StorageError("cut after the commit")
        return written


# --- errors ------------------------------------------------------------------------------------


def test_a_connection_that_is_stuck_in_a_command_is_made_anew(store: Store) -> None:
    """What a server leaves that is killed in the middle of a COPY."""

    def stuck(connection: Connection) -> None:
        connection.pgconn.send_query(b"SELECT pg_sleep(60)")
        raise psycopg.OperationalError("the connection is lost")

    store.save_quotes("SPY", SHARD, entries(1, 1))
    with pytest.raises(StorageError, match="is lost"):
        store._transaction(stuck)
    assert store.save_quotes("SPY", SHARD, entries(2, 1)) == Saved(2, known=1)


def test_a_rejected_price_is_no_outage(store: Store) -> None:
    one = batch(quotes(1))
    one.spots["time"] = 2**62
    with pytest.raises(RejectedError):
        store.save_quotes("SPY", SHARD, [("1-0", one)])


@pytest.mark.parametrize("version", range(1, len(sql.migrations())))
def test_nothing_is_judged_by_a_schema_that_is_half_made(
    version: int, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store worker may be there before the migrations are done, and while they are made."""
    early, there = (
        Store(lambda: connect(database_url, name="store"), software="test") for _ in range(2)
    )
    with connect(database_url, name="test") as connection:
        with monkeypatch.context() as earlier:
            earlier.setattr(migrate, "migrations", lambda: sql.migrations()[:version])
            migrate.migrate(connection)
            there._open()
        with suppress(StorageError):  # an early index or a late one is no obstacle
            assert there.save_quotes("SPY", SHARD, entries(1, 1)) == Saved(1)
        with pytest.raises(StorageError, match=f"{version} of {len(sql.migrations())} migrations"):
            early.save_quotes("SPY", SHARD, entries(1, 1))
        migrate.migrate(connection)
        there.save_quotes("SPY", SHARD, entries(1, 1))
        assert early.save_quotes("SPY", SHARD, entries(2, 1)) == Saved(2, known=1)
        assert count(connection, "quotes") == [2]
    early.close()
    there.close()


def test_a_newer_schema_is_named(database_url: str) -> None:
    bare = Store(lambda: connect(database_url, name="store"), software="test")
    with pytest.raises(StorageError, match="gex db migrate"):
        bare.save_quotes("SPY", SHARD, entries(1, 1))
    bare.close()
    with connect(database_url, name="test") as connection:
        migrate.migrate(connection)
    assert bare.save_quotes("SPY", SHARD, entries(1, 1)) == Saved(1)
    bare.close()
