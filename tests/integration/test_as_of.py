"""Every stored level again from the stored quotes: equal to what was published."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from harness import Platform, gex, platform, wait_until
from history import KEY, NOON_US, SHARD, batch, entries, levels, quotes

from common.as_of import as_of
from common.clock import NEW_YORK, SECOND, from_datetime, iso_ms
from common.db import store as store_module
from common.db.connection import Connection, connect
from common.db.store import Store
from common.errors import UsageError
from common.settings import QuantParameters

PARAMETERS = QuantParameters()


@pytest.fixture(scope="module")
def simulated() -> Iterator[Platform]:
    """The platform after some seconds of a live market of several expirations."""
    with platform("--symbols", "SPY", "--no-dashboard") as running:

        def stored() -> bool:
            return running.counters().get("levels_stored", 0) >= 6

        wait_until(stored, seconds=120, what=f"stored levels; said:\n{running.said}")
        yield running


def published(running: Platform) -> list[dict[str, Any]]:
    """Every stored level with its session, in order."""
    with running.database() as connection:
        return connection.execute(
            "SELECT l.time, l.result, s.key, s.session_id FROM gex.levels l"
            " JOIN gex.sessions s USING (session_id) ORDER BY l.time"
        ).fetchall()


def check_every_level(running: Platform) -> int:
    """Each stored level is what the stored quotes give; how many had their strikes stored."""
    url, with_strikes = running.status()["database_url"], 0
    with connect(url, name="test") as connection:
        for level in published(running):
            found = as_of(connection, "SPY", from_datetime(level["time"]), PARAMETERS)
            assert found.differences() == [], level["time"]
            mine = found.levels.to_json()
            assert set(mine) - set(level["result"]) == {"strikes"}
            strikes = connection.execute(
                "SELECT strike, call_gex, put_gex, net_gex, call_oi, put_oi, call_volume,"
                " put_volume FROM gex.strike_exposures WHERE session_id = %s AND time = %s"
                " ORDER BY strike",
                (level["session_id"], level["time"]),
            ).fetchall()
            if strikes:
                with_strikes += 1
                assert [tuple(row.values()) for row in mine["strikes"]] == strikes
    return with_strikes


def test_a_live_session_comes_back_as_it_was_published(simulated: Platform) -> None:
    level = published(simulated)[-1]
    assert len(level["result"]["watermark"]) > 1, "several expirations"
    assert check_every_level(simulated) >= 1


def test_the_command_says_that_they_are_equal(simulated: Platform) -> None:
    level = published(simulated)[-2]
    at = iso_ms(from_datetime(level["time"]))
    result = gex(simulated.state, "history", "SPY", "--at", at, "--json", "--contracts")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["published"] == {"equal": True, "differences": []}
    for part in ("levels", "vix", "vix_at"):
        assert found[part] == level["result"][part]
    assert found["profile"]["strikes"] == found["strikes"]
    assert len(found["contracts"]) == found["quality"]["contracts"]
    shown = gex(simulated.state, "history", "SPY", "--at", at)
    assert "equal to what was published then" in shown.stdout


def test_a_moment_between_levels_holds_every_quote_by_then(simulated: Platform) -> None:
    rows = published(simulated)
    at = from_datetime(rows[-2]["time"]) + 400_000
    url = simulated.status()["database_url"]
    with connect(url, name="test") as connection:
        found = as_of(connection, "SPY", at, PARAMETERS)
    assert found.published is None
    newest = max(int(found.levels.board.quotes["time"].max()), 0)
    assert from_datetime(rows[-3]["time"]) < newest <= at
    assert found.levels.net_gex != rows[-2]["result"]["levels"]["net_gex"]
    assert found.last_level_at == from_datetime(rows[-2]["time"])


def test_a_moment_long_after_the_last_level_says_how_old_that_is(simulated: Platform) -> None:
    day = published(simulated)[-1]["time"].astimezone(NEW_YORK).date()
    late = f"{day}T23:59:59.999"
    found = json.loads(gex(simulated.state, "history", "SPY", "--at", late, "--json").stdout)
    assert found["published"] is None
    assert found["last_level_at"] < found["as_of"]
    shown = gex(simulated.state, "history", "SPY", "--at", late).stdout
    assert "the last level by then is of" in shown
    early = iso_ms(from_datetime(published(simulated)[-2]["time"]) + 1_000)
    assert (
        "the last level by then" not in gex(simulated.state, "history", "SPY", "--at", early).stdout
    )


def test_a_level_that_was_tampered_with_is_noticed(simulated: Platform) -> None:
    level = published(simulated)[0]
    change = (
        "UPDATE gex.levels SET result = jsonb_set(result, '{levels,net_gex}', %s::jsonb)"
        " WHERE time = %s"
    )
    with simulated.database() as connection:
        connection.execute(change, ("1", level["time"]))
        try:
            result = gex(simulated.state, "history", "SPY", "--at", level["time"].isoformat())
        finally:
            value = json.dumps(level["result"]["levels"]["net_gex"])
            connection.execute(change, (value, level["time"]))
    assert result.returncode == 1
    assert "differs from what was published then: levels" in result.stdout


def test_history_comes_in_every_form(simulated: Platform) -> None:
    state, stored = simulated.state, published(simulated)  # more comes meanwhile
    rows = json.loads(gex(state, "history", "SPY", "--bucket", "tick", "--json").stdout)["rows"]
    at_least = [row["result"]["levels"]["net_gex"] for row in stored]
    assert [row["net_gex"] for row in rows][: len(at_least)] == at_least
    minutes = json.loads(gex(state, "history", "SPY", "--json").stdout)["rows"]
    assert sum(row["levels"] for row in minutes) >= len(stored)
    assert all(row["net_gex_low"] <= row["net_gex"] <= row["net_gex_high"] for row in minutes)
    shown = gex(state, "history", "SPY").stdout
    assert rows[0]["session"] in shown.splitlines()[0]
    assert "…" not in shown, "80 characters are enough"
    text = gex(state, "history", "SPY", "--bucket", "5m", "--csv").stdout
    table = list(csv.DictReader(io.StringIO(text)))
    assert list(table[0]) == list(minutes[0])
    path = state / "levels.parquet"
    result = gex(state, "history", "SPY", "--bucket", "tick", "--parquet", "--output", str(path))
    assert result.returncode == 0, result.stderr
    assert pq.read_table(path).column("net_gex").to_pylist()[: len(at_least)] == at_least
    assert "zero γ" in gex(state, "history", "SPY").stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--bucket", "0m"], "is no time bucket"),
        (["--from", "yesterday"], "is no ISO 8601 time"),
        (["--from", "2026-08-20", "--to", "2026-08-19"], "--to must be after --from"),
        (["--from", "1999-01-01", "--to", "1999-01-02"], "no level of SPY is stored"),
        (["--json", "--csv"], "choose one of"),
        (["--at", "1999-01-04T12:00:00"], "no level of SPY is stored at or before"),
        (["--at", "2026-08-19T12:00:00", "--csv"], "--at goes with"),
        (["--session", "none"], "nothing of SPY is stored"),
    ],
)
def test_what_cannot_be_answered_is_one_clear_line(
    simulated: Platform, arguments: list[str], complaint: str
) -> None:
    result = gex(simulated.state, "history", "SPY", *arguments)
    assert result.returncode == 2
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.data
def test_a_recorded_day_comes_back_as_it_was_published(recording: Path) -> None:
    arguments = ["--feed", "recording", "--recording", str(recording), "--no-dashboard"]
    with platform(*arguments) as running:
        running.wait_for_end()
        assert len(published(running)) > 400
        assert check_every_level(running) > 300


# --- checkpoints -----------------------------------------------------------------------------


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint every two hundred quotes."""
    monkeypatch.setattr(store_module, "CHECKPOINT_ROWS", 200)


def store_on(url: str) -> Store:
    return Store(lambda: connect(url, name="store"), software="test")


def chain_at(connection: Connection, last: int) -> list[tuple[int, int]]:
    """(key, seq) of the chain through the entry that ends before quote ``last``."""
    ((at, _, document),) = levels(1)
    document["watermark"] = {SHARD: f"{999 + last // 100}-0"}
    store = Store(lambda: connection, software="test")
    moment = at + last // 100 * SECOND
    store.save_levels([(moment, KEY, document)], strike_seconds=60)
    board = as_of(connection, "SPY", moment, PARAMETERS).levels.board
    return list(zip(board.quotes["key"].tolist(), board.quotes["seq"].tolist(), strict=True))


def expected(last: int) -> list[tuple[int, int]]:
    """The newest of the first ``last`` quotes of every contract that is on the board."""
    rows = quotes(last)
    newest = {int(row["key"]): row for row in rows}
    return sorted((key, int(r["seq"])) for key, r in newest.items() if not r["flags"])


def test_checkpoints_change_nothing_but_the_time_it_takes(
    small_steps: None, database_url: str, plain: Connection
) -> None:
    store = store_on(database_url)
    for one in entries(10, 100):
        store.save_quotes("SPY", SHARD, [one])
        store.make_checkpoints()
    store.close()
    row = plain.execute("SELECT count(*), max(cardinality(seqs)) FROM gex.checkpoints").fetchone()
    assert row == (5, 100)
    for last in (100, 200, 300, 700, 1000):
        assert chain_at(plain, last) == expected(last), last


def test_checkpoints_that_are_due_together_hold_each_its_own_chain(
    database_url: str, plain: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three expirations, two of one day; one is due more often. No entry has every contract."""
    monkeypatch.setattr(store_module, "CHECKPOINT_ROWS", 60)
    store, turns = store_on(database_url), [SHARD, "2026-08-20", SHARD, f"{SHARD}-AM"]
    made, sizes = [], []
    for n in range(32):
        made.append((turns[n % 4], entries(1, 30, first=n)))
        store.save_quotes("SPY", *made[-1])
        if n % 4 == 3:
            sizes.append(store.make_checkpoints())
    store.close()
    assert sizes == [1, 3, 1, 3, 1, 3, 1, 3]
    rows = plain.execute("SELECT expiration, settlement, seq, seqs FROM gex.checkpoints").fetchall()
    assert len(rows) == sum(sizes)
    for day, settlement, last, seqs in rows:
        shard = f"{day}-AM" if settlement == "AM" else f"{day}"
        parts = [part for where, ((_, part),) in made if where == shard]
        newest = {q["key"]: int(q["seq"]) for p in parts for q in p.quotes if q["seq"] <= last}
        assert seqs == sorted(newest.values()), (shard, last)


def reads(connection: Connection) -> tuple[int, int]:
    """Rows of quotes that were read without an index, and by one, as far as the statistics know."""
    row = connection.execute(
        "SELECT coalesce(sum(seq_tup_read), 0), coalesce(sum(idx_tup_fetch), 0)"
        " FROM pg_stat_user_tables WHERE relid IN"
        " (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'gex.quotes'::regclass)"
    ).fetchone()
    connection.commit()
    assert row is not None
    return int(row[0]), int(row[1])


def test_a_checkpoint_and_a_chain_read_what_is_new_however_much_is_stored(
    small_steps: None, database_url: str, plain: Connection
) -> None:
    def slow(connection: Connection) -> Connection:
        connection.execute("SET random_page_cost = 1000")  # as if there were millions of rows
        connection.commit()
        return connection

    def connect_slowly() -> Connection:
        return slow(connect(database_url, name="store"))

    day, store = entries(600, 100), Store(connect_slowly, software="test")
    for part in (day[:300], day[300:597]):
        store.save_quotes("SPY", SHARD, part)
        store.make_checkpoints()
    store.close()
    plain.execute("ANALYZE gex.quotes")
    plain.commit()
    wait_until(lambda: reads(plain)[1] >= 59_000, seconds=30, what="statistics of what was")
    before, found = reads(plain)
    store.save_quotes("SPY", SHARD, day[597:])
    assert store.make_checkpoints() == 1
    store.close()
    assert chain_at(slow(plain), 60_000) == expected(60_000)
    new = 300 + 2 * 100  # quotes since the checkpoint before, and those of the checkpoints
    wait_until(lambda: reads(plain)[1] >= found + new, seconds=30, what="statistics of the reads")
    assert reads(plain)[0] == before


def test_a_checkpoint_that_came_too_soon_is_forgotten(
    small_steps: None, database_url: str, plain: Connection
) -> None:
    """Another store worker was behind: its entries belong before a checkpoint that stands."""
    ahead, behind = store_on(database_url), store_on(database_url)
    day = entries(6, 100)
    ahead.save_quotes("SPY", SHARD, day[:2])
    ahead.save_quotes("SPY", SHARD, day[4:])
    ahead.make_checkpoints()
    behind.save_quotes("SPY", SHARD, day[2:4])
    ahead.close()
    behind.close()
    for last in (200, 300, 400, 600):
        assert chain_at(plain, last) == expected(last), last


def test_a_source_that_starts_again_starts_with_an_empty_chain(
    database_url: str, plain: Connection
) -> None:
    store = store_on(database_url)
    first = batch(quotes(100), reset=True)
    again = batch(quotes(10, seq=1000), epoch=2, reset=True)
    store.save_quotes("SPY", SHARD, [("1000-0", first), ("1001-0", again)])
    store.close()
    assert chain_at(plain, 100) == expected(100)
    assert [seq for _, seq in chain_at(plain, 200)] == [
        int(row["seq"]) for row in quotes(10, seq=1000) if not row["flags"]
    ]


def test_a_level_whose_quotes_are_gone_says_so(plain: Connection) -> None:
    with pytest.raises(UsageError, match="are not stored"):
        chain_at(plain, 100)
    with pytest.raises(UsageError, match="no level of SPY"):
        as_of(plain, "SPY", NOON_US - SECOND, PARAMETERS)
