"""The batcher: numbers, latches, stamps and cuts; every update ends in exactly one batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fakes import NOON, OTHER, SHARD, TODAY, TOMORROW, make_session
from hypothesis import given as for_any
from hypothesis import strategies as st

from common.batcher import Batcher
from common.bus.codec import Batch
from common.models import (
    FLAG_WITHDRAWN,
    Expiry,
    QuoteColumns,
    QuoteUpdate,
    Right,
    SnapshotEnd,
    SpotUpdate,
    VixUpdate,
    contract_keys,
)


def batcher(*, flush_rows: int = 500, **session: Any) -> Batcher:
    """A batcher of a session that closes every batch at noon."""
    return Batcher(make_session(**session), flush_rows, clock=lambda: NOON)


def quote(
    strike: float = 640.0, right: Right = "C", expiry: Expiry = TODAY, **fields: Any
) -> QuoteUpdate:
    """A quote of one contract."""
    return QuoteUpdate(expiry, strike, right, NOON, **fields)


def flushed(given: Batcher, *updates: Any) -> dict[str, Batch]:
    """What becomes of updates, by shard, where each shard has one batch."""
    given.add(updates)
    batches = given.flush()
    assert len({shard for shard, _ in batches}) == len(batches)
    return dict(batches)


# --- numbers ---------------------------------------------------------------------------------


def test_live_events_are_numbered_by_run_and_arrival() -> None:
    batch = flushed(
        batcher(epoch=3), quote(640.0), SpotUpdate(NOON, 640.0), quote(641.0), quote(642.0)
    )[SHARD]
    assert batch.quotes["seq"].tolist() == [(3 << 32) + n for n in (1, 3, 4)]
    assert batch.spots["seq"].tolist() == [(3 << 32) + 2]


def test_a_later_run_is_later_in_order_however_long_the_first_one_was() -> None:
    early, late = batcher(epoch=1), batcher(epoch=2)
    for _ in range(3):
        first = flushed(early, *[quote()] * 400)[SHARD]
    second = flushed(late, quote())[SHARD]
    assert first.quotes["seq"].max() < second.quotes["seq"].min()


def test_a_source_that_numbers_its_events_is_believed() -> None:
    batch = flushed(batcher(), SpotUpdate(NOON, 640.0, seq=0), quote(seq=17), quote(seq=5))[SHARD]
    assert batch.quotes["seq"].tolist() == [17, 5]
    assert batch.spots["seq"].tolist() == [0]


def test_batches_are_numbered_from_one_in_each_shard() -> None:
    given = batcher()
    numbers: dict[str, list[int]] = {SHARD: [], OTHER: []}
    for updates in ([quote()], [quote(), quote(expiry=TOMORROW)], [quote(expiry=TOMORROW)]):
        given.add(updates)
        for shard, batch in given.flush():
            numbers[shard].append(batch.header.batch)
    assert numbers == {SHARD: [1, 2], OTHER: [1, 2]}


# --- what a row holds ------------------------------------------------------------------------


def test_a_quote_becomes_a_row_of_its_shard() -> None:
    update = quote(
        652.5,
        "P",
        bid=1.25,
        ask=1.5,
        last=1.4,
        bid_size=3,
        ask_size=4,
        volume=50,
        open_interest=70,
    )
    (row,) = flushed(batcher(), update)[SHARD].quotes
    assert row["key"] == contract_keys(strikes=652.5, puts=True)
    assert (row["time"], row["flags"]) == (NOON, 0)
    assert [row[name] for name in ("bid", "ask", "last")] == [1.25, 1.5, 1.4]
    counts = [row[n] for n in ("bid_size", "ask_size", "volume", "open_interest")]
    assert counts == [3, 4, 50, 70]


@pytest.mark.parametrize("resume", [True, False])
def test_the_header_says_where_a_batch_comes_from(*, resume: bool) -> None:
    header = flushed(batcher(epoch=4, resume=resume), quote(), quote())[SHARD].header
    assert (header.session, header.epoch, header.received_us) == (
        "SPY:2026-08-19:simulator:1",
        4,
        NOON,
    )
    assert (header.quotes, header.spots, header.reset) == (2, 0, not resume)


def test_a_withdrawn_contract_is_flagged_and_comes_back() -> None:
    rows = flushed(batcher(), quote(withdrawn=True), quote())[SHARD].quotes
    assert rows["flags"].tolist() == [FLAG_WITHDRAWN, 0]


def test_a_quote_bears_the_price_of_the_underlying_it_was_taken_at() -> None:
    rows = flushed(
        batcher(), quote(), SpotUpdate(NOON, 640.0), quote(), SpotUpdate(NOON, 641.0), quote()
    )[SHARD].quotes
    assert np.isnan(rows["spot"][0])
    assert rows["spot"][1:].tolist() == [640.0, 641.0]


# --- latches ---------------------------------------------------------------------------------


def volumes_and_interests(*updates: QuoteUpdate) -> list[tuple[int, int]]:
    """(volume, open interest) of each row, flushed one by one."""
    given, found = batcher(), []
    for update in updates:
        (batch,) = flushed(given, update).values()
        found.append((int(batch.quotes["volume"][0]), int(batch.quotes["open_interest"][0])))
    return found


def test_volume_never_falls_within_a_session() -> None:
    rows = volumes_and_interests(
        quote(volume=10), quote(volume=0), quote(volume=-1), quote(volume=12), quote(volume=11)
    )
    assert [volume for volume, _ in rows] == [10, 10, 10, 12, 12]


def test_open_interest_is_set_once_within_a_session() -> None:
    rows = volumes_and_interests(
        quote(open_interest=-1),
        quote(open_interest=0),
        quote(open_interest=-1),  # what was known to be zero is not unknown again
        quote(open_interest=500),
        quote(open_interest=0),
        quote(open_interest=900),
    )
    assert [interest for _, interest in rows] == [-1, 0, 0, 500, 500, 500]


def test_what_was_held_is_counted() -> None:
    given = batcher()
    for volume, interest in [(10, 5), (0, 5), (10, 0), (-1, -1), (11, 5)]:
        given.add([quote(volume=volume, open_interest=interest)])
    assert given.held_counts == 3  # once known, null is held too


def test_latches_belong_to_one_contract() -> None:
    rows = volumes_and_interests(
        quote(640.0, "C", volume=10, open_interest=5),
        quote(640.0, "P", volume=1, open_interest=2),
        quote(641.0, "C", volume=3),
        quote(640.0, "C", TOMORROW, volume=4, open_interest=6),
    )
    assert rows == [(10, 5), (1, 2), (3, -1), (4, 6)]


def test_a_restart_goes_on_from_what_the_session_had_latched() -> None:
    before, after = batcher(), batcher()
    (held,) = flushed(before, quote(volume=10, open_interest=500)).values()
    after.restore(SHARD, held.quotes)
    (batch,) = flushed(after, quote(volume=0, open_interest=0)).values()
    assert batch.quotes["volume"].tolist() == [10]
    assert batch.quotes["open_interest"].tolist() == [500]


def sides(*updates: QuoteUpdate) -> list[tuple[int, int]]:
    """(bought, sold) of each row."""
    (batch,) = flushed(batcher(), *updates).values()
    return list(zip(batch.quotes["bought"].tolist(), batch.quotes["sold"].tolist(), strict=True))


def test_volume_that_comes_goes_to_the_side_of_its_last_trade() -> None:
    market = {"bid": 1.0, "ask": 1.2}
    assert sides(
        quote(volume=100, last=1.2, **market),  # traded before anybody watched
        quote(volume=103, last=1.2, **market),
        quote(volume=103, last=1.2, **market),  # no trade
        quote(volume=110, last=1.0, bid=0.8, ask=1.0),  # judged by the quote before it
        quote(volume=0, last=1.0, **market),  # what comes out of order is no trade
        quote(volume=111, last=0.9, **market),
        quote(volume=115, **market),  # a trade whose price is not known has no side
    ) == [(0, 0), (3, 0), (3, 0), (3, 7), (3, 7), (3, 8), (3, 8)]


def test_trades_between_two_runs_have_no_side() -> None:
    before, after = batcher(), batcher()
    market = {"bid": 1.0, "ask": 1.2}
    shown = quote(volume=10, last=1.2, **market), quote(volume=14, last=1.2, **market)
    (held,) = flushed(before, *shown).values()
    after.restore(SHARD, held.quotes[-1:])
    later = quote(volume=50, last=1.2, **market), quote(volume=51, last=1.0, **market)
    (batch,) = flushed(after, *later).values()
    assert batch.quotes["bought"].tolist() == [4, 4]
    assert batch.quotes["sold"].tolist() == [0, 1]


# --- prices of the underlying ----------------------------------------------------------------


def test_the_prior_close_is_kept_until_another_is_said() -> None:
    prices = SpotUpdate(NOON, 640.0, prior_close=638.5), SpotUpdate(NOON, 641.0)
    batch = flushed(batcher(), quote(), *prices)[SHARD]
    assert batch.spots["prior_close"].tolist() == [638.5, 638.5]


def test_a_price_goes_to_every_shard() -> None:
    given = batcher()
    flushed(given, quote(), quote(expiry=TOMORROW))
    batches = flushed(given, SpotUpdate(NOON, 640.0), SpotUpdate(NOON, 641.0))
    for shard in (SHARD, OTHER):
        assert batches[shard].spots["price"].tolist() == [640.0, 641.0]
        assert len(batches[shard].quotes) == 0


def test_a_new_shard_learns_the_last_price() -> None:
    given = batcher()
    flushed(given, quote(), SpotUpdate(NOON, 640.0), SpotUpdate(NOON, 641.0))
    spots = flushed(given, quote(expiry=TOMORROW))[OTHER].spots
    assert spots["price"].tolist() == [641.0]


def test_a_price_before_any_contract_waits_for_one() -> None:
    given = batcher()
    given.add([SpotUpdate(NOON, 640.0)])
    assert given.flush() == []
    assert flushed(given, quote())[SHARD].spots["price"].tolist() == [640.0]


def test_the_vix_goes_with_every_batch_from_then_on() -> None:
    given = batcher()
    assert flushed(given, VixUpdate(NOON, 17.31)) == {}
    for updates in ([quote(), quote(expiry=TOMORROW)], [quote()]):
        for batch in flushed(given, *updates).values():
            assert (batch.header.vix, batch.header.vix_time) == (17.31, NOON)
    assert flushed(batcher(), quote())[SHARD].header.vix_time == 0


def test_a_price_is_appended_once() -> None:
    given = batcher()
    flushed(given, SpotUpdate(NOON, 640.0), quote())
    assert len(flushed(given, quote())[SHARD].spots) == 0


# --- cuts ------------------------------------------------------------------------------------


def test_batches_are_cut_at_the_bound_and_lose_nothing() -> None:
    given = batcher(flush_rows=4)
    given.add([SpotUpdate(NOON, 640.0), *(quote(600.0 + n) for n in range(10))])
    batches = [batch for _, batch in given.flush()]
    assert [len(batch.quotes) for batch in batches] == [4, 4, 2]
    assert [len(batch.spots) for batch in batches] == [1, 0, 0]
    assert [batch.header.batch for batch in batches] == [1, 2, 3]
    rows = np.concatenate([batch.quotes for batch in batches])
    assert (np.diff(rows["seq"]) > 0).all()


def test_it_is_full_when_it_holds_as_many_quotes_as_a_flush_takes() -> None:
    given = batcher(flush_rows=3)
    given.add([quote(), quote(), SpotUpdate(NOON, 640.0), SnapshotEnd(NOON)])
    assert not given.full
    given.add([quote(expiry=TOMORROW)])
    assert given.full
    given.flush()
    assert (given.full, given.rows) == (False, 0)


def test_nothing_new_is_no_batch() -> None:
    given = batcher()
    assert given.flush() == []
    flushed(given, quote())
    assert given.flush() == []
    given.add([SnapshotEnd(NOON)])
    assert given.flush() == []


# --- conflation ------------------------------------------------------------------------------


def test_of_each_contract_the_newest_row_is_kept() -> None:
    given = batcher()
    given.add([SpotUpdate(NOON, 640.0), SpotUpdate(NOON, 641.0)])
    given.add([quote(640.0, bid=1.0), quote(641.0, bid=2.0), quote(640.0, bid=3.0)])
    given.add([quote(640.0, "P", bid=4.0), SpotUpdate(NOON, 642.0), quote(expiry=TOMORROW)])
    given.conflate(now=True)
    assert (given.rows, given.conflated) == (4, 1)
    batches = dict(given.flush())
    near = batches[SHARD]
    assert near.quotes["bid"].tolist() == [2.0, 3.0, 4.0]
    assert (np.diff(near.quotes["seq"]) > 0).all()
    assert near.spots["price"].tolist() == [642.0]
    assert len(batches[OTHER].quotes) == 1


def test_volumes_are_latched_and_classified_before_a_row_is_left_out() -> None:
    given = batcher()
    for volume in (100, 130, 170):
        given.add([quote(bid=1.0, ask=1.1, last=1.1, volume=volume)])
    given.conflate(now=True)
    ((_, batch),) = given.flush()
    assert (batch.quotes["volume"].tolist(), batch.quotes["bought"].tolist()) == ([170], [70])


def test_conflation_waits_until_it_is_worth_it() -> None:
    """Its cost is that of a row, however many contracts there are."""
    given = batcher(flush_rows=10)
    strikes = [600.0 + n for n in range(30)]
    given.add([quote(strike) for strike in strikes])
    given.conflate()
    assert (given.rows, given.conflated) == (30, 0)
    given.add([quote(strike) for strike in strikes])
    given.conflate()
    assert (given.rows, given.conflated) == (60, 0)
    given.add([quote(strike) for strike in strikes[:10]])
    given.conflate()
    assert (given.rows, given.conflated) == (30, 40)
    given.add([quote(strike) for strike in strikes])
    given.conflate()
    assert given.rows == 60
    given.flush()
    given.add([quote(strike) for strike in strikes[:9]] * 2)
    given.conflate()
    assert given.rows == 9


# --- quotes that come as columns -----------------------------------------------------------------

CONTRACTS = [quote(640.0 + n // 2, "CP"[n % 2], (TODAY, TOMORROW)[n % 3 == 0]) for n in range(9)]
SIZE = st.integers(-1, 40)
PRICE = st.sampled_from([float("nan"), float("-inf"), 0.0, 1.0, 1.1, 1.05, 1.2])
QUOTED = st.tuples(st.integers(0, 8), PRICE, PRICE, PRICE, SIZE, SIZE, SIZE, SIZE)


@for_any(st.lists(st.tuples(st.lists(QUOTED, max_size=12), st.booleans(), st.booleans())))
def test_columns_are_so_many_quotes(
    frames: list[tuple[list[tuple[float, ...]], bool, bool]],
) -> None:
    """Through prices, flushes and contracts that come again and again in one frame."""
    together, alone = batcher(flush_rows=5), batcher(flush_rows=5)
    listed: list[QuoteUpdate] = []
    for number, (quoted, priced, ends) in enumerate(frames):
        news = CONTRACTS[number : number + 1]  # the first quote of a contract comes by itself
        listed += news
        rows = np.array(quoted, np.float64).reshape(-1, 8)
        rows[:, 0] %= len(listed)
        columns = QuoteColumns(listed, rows, NOON)
        spot = [SpotUpdate(NOON, 640.0 + number)] if priced else []
        together.add([*news, columns, *spot, columns])
        alone.add([*news, *columns, *spot, *columns])
        assert (together.rows, together.full) == (alone.rows, alone.full)
        if ends:
            assert _told(together) == _told(alone)
            assert together.held_counts == alone.held_counts
    together.conflate(now=True)
    alone.conflate(now=True)
    assert (together.rows, together.conflated) == (alone.rows, alone.conflated)
    assert _told(together) == _told(alone)


def _told(given: Batcher) -> list[tuple[str, bytes, bytes, int]]:
    return [
        (shard, batch.quotes.tobytes(), batch.spots.tobytes(), batch.header.batch)
        for shard, batch in given.flush()
    ]


def test_columns_that_the_source_numbers() -> None:
    rows = np.zeros((3, 8))
    rows[:, 0] = 1, 2, 1
    columns = QuoteColumns(CONTRACTS, rows, NOON, seq=40)
    (batch,) = flushed(batcher(), columns).values()
    assert batch.quotes["seq"].tolist() == [40, 41, 42]
    assert [each.seq for each in columns] == [40, 41, 42]


def test_more_contracts_than_there_were_places() -> None:
    given = batcher(flush_rows=10_000)
    strikes = [600.0 + 0.5 * n for n in range(2000)]
    for volume in (5, 3):
        (batch,) = flushed(given, *(quote(strike, volume=volume) for strike in strikes)).values()
        assert batch.quotes["volume"].tolist() == [5] * 2000
    assert given.held_counts == 2000
