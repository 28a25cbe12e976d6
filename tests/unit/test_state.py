"""The state of a shard: the newest quote of each contract, whatever the order and the cuts."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from fakes import (
    NOON,
    PARAMETERS,
    SESSION,
    SHARD,
    STRIKES,
    make_batch,
    make_quotes,
    make_spots,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from common.bus.codec import Batch, StateBlob
from common.chain import on_board
from common.clock import SECOND
from common.models import FLAG_WITHDRAWN, Rows, Status, contract_keys
from common.state import Advance, advance, newest_spot, newest_time, view

CALL_640 = int(contract_keys(strikes=640.0, puts=False))


def step(state: StateBlob, *batches: Batch) -> Advance:
    """The state after some batches."""
    return advance(state, SHARD, [(f"{n + 1}-0", b) for n, b in enumerate(batches)], PARAMETERS)


def one(bid: float, seq: int, *, strike: float = 640.0) -> Rows:
    """A quote of one call, known by its bid."""
    return make_quotes([strike], rights="C", seq=seq, bid=bid, ask=bid + 0.01)


def bids(state: StateBlob) -> dict[int, float]:
    """Contract key → bid."""
    rows = state.quote_rows()
    return dict(zip(rows["key"].tolist(), rows["bid"].tolist(), strict=True))


# --- newer wins ------------------------------------------------------------------------------


def test_the_first_batch_fills_an_empty_state() -> None:
    result = step(StateBlob(), make_batch(quotes=make_quotes(), spots=make_spots(640.5)))
    state = result.state
    assert (state.session, state.epoch, state.last_id) == (SESSION, 1, "1-0")
    assert (state.spot, state.spot_seq, state.spot_time) == (640.5, 1000, NOON)
    assert len(state.quote_rows()) == len(state.greek_rows()) == 2 * len(STRIKES)
    assert (state.forward_source, result.quotes, result.late) == ("parity", 22, 0)
    assert (state.greek_rows()["status"] == Status.OK).sum() > 10


def test_rows_are_kept_in_contract_order() -> None:
    shuffled = make_quotes()[::-1]
    rows = step(StateBlob(), make_batch(quotes=shuffled)).state.quote_rows()
    assert (np.diff(rows["key"].astype(np.int64)) > 0).all()


def test_a_newer_quote_replaces_and_an_older_one_does_not() -> None:
    held = step(StateBlob(), make_batch(quotes=one(1.0, seq=10))).state
    assert bids(step(held, make_batch(2, quotes=one(2.0, seq=11))).state) == {CALL_640: 2.0}
    late = step(held, make_batch(2, quotes=one(2.0, seq=9)))
    assert bids(late.state) == {CALL_640: 1.0}
    assert (late.quotes, late.late) == (1, 1)


def test_within_one_batch_the_newest_wins_wherever_it_stands() -> None:
    rows = np.concatenate([one(1.0, seq=1), one(3.0, seq=3), one(2.0, seq=2)])
    assert bids(step(StateBlob(), make_batch(quotes=rows)).state) == {CALL_640: 3.0}


def test_the_vix_is_the_last_one_that_came_and_belongs_to_the_session() -> None:
    def vix(state: StateBlob) -> tuple[float, int]:
        return state.vix, state.vix_time

    held = step(StateBlob(), make_batch(vix=17.0, vix_time=NOON)).state
    assert vix(held) == (17.0, NOON)
    later = step(held, make_batch(2, vix=18.0, vix_time=NOON + 1), make_batch(3)).state
    assert vix(later) == (18.0, NOON + 1)
    assert vix(step(later, make_batch(epoch=2)).state) == (18.0, NOON + 1)  # not seen yet
    assert vix(step(later, make_batch(epoch=2, session="other")).state) == (0.0, 0)
    assert vix(StateBlob.decode(later.encode())) == (18.0, NOON + 1)


def test_order_is_by_number_and_not_by_time() -> None:
    early, late = one(1.0, seq=2), one(2.0, seq=1)
    early["time"], late["time"] = NOON, NOON + SECOND
    rows = np.concatenate([early, late])
    assert bids(step(StateBlob(), make_batch(quotes=rows)).state) == {CALL_640: 1.0}


def test_other_contracts_stay_as_they_are() -> None:
    held = step(StateBlob(), make_batch(quotes=make_quotes())).state
    after = step(held, make_batch(2, quotes=one(9.0, seq=100))).state
    changed = {key for key in bids(held) if bids(held)[key] != bids(after)[key]}
    assert changed == {CALL_640}


def test_late_quotes_are_counted_one_by_one() -> None:
    held = step(StateBlob(), make_batch(quotes=make_quotes(seq=100))).state
    mixed = np.concatenate([make_quotes([640.0], seq=50), make_quotes([650.0], seq=200)])
    result = step(held, make_batch(2, quotes=mixed))
    assert (result.quotes, result.late) == (4, 2)


def test_quotes_before_the_first_price_get_that_price_however_they_are_cut() -> None:
    before, after = make_quotes(seq=10), one(9.0, seq=2000)
    before["spot"] = np.nan
    spots = np.concatenate([make_spots(640.5, seq=1000), make_spots(650.0, seq=1001)])
    held = step(StateBlob(), make_batch(quotes=before)).state
    assert (held.greek_rows()["status"] != Status.OK).all()
    together = step(StateBlob(), make_batch(quotes=before, spots=spots)).state
    apart = step(step(held, make_batch(2, spots=spots[:1])).state, make_batch(3, spots=spots[1:]))
    assert together.quotes == apart.state.quotes
    assert set(together.quote_rows()["spot"].tolist()) == {640.5}
    assert (together.greek_rows()["status"] == Status.OK).sum() > 10
    assert np.isnan(before["spot"]).all()
    after["spot"] = np.nan
    waiting = step(together, make_batch(4, quotes=after)).state.quote_rows()
    assert np.isnan(waiting["spot"]).sum() == 1  # older prices are no price of its run


# --- any order, any cuts, any repetition -----------------------------------------------------

quote_lists = st.lists(
    st.tuples(st.sampled_from([638.0, 640.0, 642.0]), st.sampled_from("CP"), st.integers(1, 40)),
    min_size=1,
    max_size=14,
    unique_by=lambda item: item[2],  # numbers are unique within a session
)


def row_of(strike: float, right: str, seq: int) -> Rows:
    """A quote that is a function of its number."""
    return make_quotes([strike], rights=right, seq=seq, time=NOON + seq, spot=640.0 + seq / 100)


@settings(max_examples=40)
@given(items=quote_lists, prices=st.lists(st.integers(1, 40), unique=True), data=st.data())
def test_any_order_and_any_cuts_and_any_repetition_give_the_same_state(
    items: list[tuple[float, str, int]], prices: list[int], data: st.DataObject
) -> None:
    rows = [row_of(*item) for item in items]
    spots = [make_spots(600.0 + seq, seq=seq, time=NOON + seq) for seq in prices]
    whole = make_batch(quotes=np.concatenate(rows), spots=np.concatenate(spots) if spots else None)
    expected = step(StateBlob(), whole).state

    parts = [make_batch(quotes=row) for row in rows] + [make_batch(spots=spot) for spot in spots]
    order = data.draw(st.permutations(parts))
    repeated = order + data.draw(st.lists(st.sampled_from(parts), max_size=5))
    state = StateBlob()
    while repeated:
        take = data.draw(st.integers(1, len(repeated)))
        state = step(state, *repeated[:take]).state
        repeated = repeated[take:]
    assert without_id(state) == without_id(expected)


def without_id(state: StateBlob) -> bytes:
    """All of a state but the last entry's id."""
    return msgspec.structs.replace(state, last_id="0-0").encode()


# --- runs and sessions -----------------------------------------------------------------------


@pytest.fixture
def held() -> StateBlob:
    """The state of a second run."""
    return step(
        StateBlob(), make_batch(quotes=make_quotes(), spots=make_spots(640.0), epoch=2)
    ).state


def test_a_run_that_goes_on_keeps_the_board(held: StateBlob) -> None:
    state = step(held, make_batch(quotes=one(9.0, seq=500), epoch=3)).state
    assert (state.epoch, len(state.quote_rows())) == (3, 22)
    assert state.spot == 640.0


def test_a_run_from_the_beginning_empties_the_board(held: StateBlob) -> None:
    """Its numbers may be lower than those held: they are another history's."""
    result = step(held, make_batch(quotes=one(9.0, seq=1), epoch=3, reset=True))
    assert bids(result.state) == {CALL_640: 9.0}
    assert (result.late, result.state.epoch) == (0, 3)
    assert (result.state.spot_seq, np.isnan(result.state.spot)) == (-1, True)


def test_the_second_batch_of_such_a_run_empties_nothing(held: StateBlob) -> None:
    first = make_batch(1, quotes=one(9.0, seq=1), epoch=3, reset=True)
    second = make_batch(2, quotes=one(8.0, seq=2, strike=642.0), epoch=3, reset=True)
    together = step(held, first, second).state
    one_by_one = step(step(held, first).state, second).state
    assert len(together.quote_rows()) == 2
    assert without_id(together) == without_id(one_by_one)


def test_a_new_session_empties_the_board(held: StateBlob) -> None:
    key = "SPY:2026-08-20:simulator:1"
    state = step(held, make_batch(quotes=one(9.0, seq=1), epoch=3, session=key)).state
    assert (state.session, bids(state)) == (key, {CALL_640: 9.0})


def test_what_a_replaced_run_still_appends_changes_nothing(held: StateBlob) -> None:
    stale = make_batch(quotes=one(9.0, seq=900), spots=make_spots(1.0, seq=900), epoch=1)
    result = step(held, stale)
    assert without_id(result.state) == without_id(held)
    assert (result.quotes, result.late, len(result.results)) == (1, 1, 0)
    assert result.state.last_id == "1-0"  # it has been dealt with


def test_no_batches_change_nothing(held: StateBlob) -> None:
    assert step(held).state.encode() == held.encode()


# --- prices ----------------------------------------------------------------------------------


def test_the_newest_price_wins(held: StateBlob) -> None:
    later = step(held, make_batch(2, spots=make_spots(641.0, 642.0, seq=2000), epoch=2)).state
    assert (later.spot, later.spot_seq) == (642.0, 2001)
    older = step(later, make_batch(3, spots=make_spots(600.0, seq=5), epoch=2)).state
    assert (older.spot, older.spot_seq) == (642.0, 2001)


def test_a_shard_may_have_a_price_and_no_quotes() -> None:
    result = step(StateBlob(), make_batch(spots=make_spots(640.0)))
    assert (result.state.spot, len(result.results), result.state.forward_source) == (
        640.0,
        0,
        "none",
    )


# --- results ---------------------------------------------------------------------------------


def test_results_are_of_the_contracts_that_were_quoted_and_no_others() -> None:
    held = step(StateBlob(), make_batch(quotes=make_quotes(seq=1))).state
    news = make_quotes([636.0, 644.0], rights="P", seq=100, time=NOON + SECOND)
    result = step(held, make_batch(2, quotes=news))
    assert result.results["key"].tolist() == news["key"].tolist()
    assert result.results["seq"].tolist() == [100, 101]
    assert (result.results["time"] == NOON + SECOND).all()


def test_a_contract_without_an_implied_volatility_has_none_in_its_row() -> None:
    rows = make_quotes()
    rows["bid"][0] = rows["ask"][0] = np.nan
    rows["bid"][1] = rows["ask"][1] = np.nan
    greeks = step(StateBlob(), make_batch(quotes=rows)).state.greek_rows()
    unsolved = greeks["status"] != Status.OK
    assert unsolved[:2].all()
    assert np.isnan(greeks["iv"][unsolved]).all()
    assert not np.isnan(greeks["iv"][~unsolved]).any()


# --- what a level reads ----------------------------------------------------------------------


def test_the_view_of_a_state_is_what_was_solved(held: StateBlob) -> None:
    shard = view(StateBlob.decode(held.encode()), SHARD)
    assert shard.expiry.shard == SHARD
    assert shard.quotes["key"].tolist() == held.quote_rows()["key"].tolist()
    assert shard.solution.iv.tobytes() == held.greek_rows()["iv"].tobytes()
    assert (shard.solution.basis, shard.solution.forward_source) == (held.basis, "parity")


def priced(epoch: int, seq: int, spot: float) -> StateBlob:
    """A state that holds nothing but a price."""
    return StateBlob(epoch=epoch, spot_seq=seq, spot=spot, spot_time=NOON)


@pytest.mark.parametrize(
    ("states", "spot"),
    [
        ([priced(1, 5, 640.0), priced(1, 7, 641.0)], 641.0),
        ([priced(2, 1, 650.0), priced(1, 7, 641.0)], 650.0),
        ([StateBlob(), priced(1, 0, 641.0)], 641.0),
    ],
)
def test_the_newest_price_of_any_shard_counts(states: Sequence[StateBlob], spot: float) -> None:
    found = newest_spot(states)
    assert found is not None
    assert found.spot == spot


def test_without_a_price_there_is_none(held: StateBlob) -> None:
    assert newest_spot([StateBlob()]) is None
    assert newest_spot([]) is None


def test_the_newest_time_is_that_of_any_quote_or_price(held: StateBlob) -> None:
    quoted = step(StateBlob(), make_batch(quotes=make_quotes(time=NOON + 5))).state
    assert newest_time([held]) == NOON
    assert newest_time([held, quoted]) == NOON + 5
    assert newest_time([priced(1, 1, 640.0)]) == NOON
    assert newest_time([]) == newest_time([StateBlob()]) == 0


def test_withdrawn_contracts_leave_the_board_until_they_are_quoted_again() -> None:
    gone = make_quotes([640.0], seq=100, flags=FLAG_WITHDRAWN)
    held = step(StateBlob(), make_batch(quotes=make_quotes())).state
    after = step(held, make_batch(2, quotes=gone)).state
    assert on_board(after.quote_rows()).sum() == 20
    assert np.isnan(after.greek_rows()["iv"][~on_board(after.quote_rows())]).all()
    back = step(after, make_batch(3, quotes=make_quotes([640.0], seq=200))).state
    assert on_board(back.quote_rows()).all()


# --- prices alone ----------------------------------------------------------------------------


def test_a_price_alone_is_merged_without_solving_again() -> None:
    before = step(StateBlob(), make_batch(quotes=make_quotes(), spots=make_spots(640.5))).state
    price = [("2-0", make_batch(2, spots=make_spots(641.0, seq=2000)))]
    known = advance(before, SHARD, price, PARAMETERS, solved=True)
    anew = advance(before, SHARD, price, PARAMETERS)
    assert known.state.encode() == anew.state.encode() != before.encode()
    assert (known.state.spot, known.state.last_id) == (641.0, "2-0")
    assert len(known.results) == len(anew.results) == 0
    marked = msgspec.structs.replace(before, forward_source="marked")
    assert advance(marked, SHARD, price, PARAMETERS, solved=True).state.forward_source == "marked"


def test_a_vix_that_comes_with_a_price_alone_is_kept() -> None:
    before = step(StateBlob(), make_batch(quotes=make_quotes(), spots=make_spots(640.5))).state
    batch = make_batch(2, spots=make_spots(641.0, seq=2000), vix=18.0, vix_time=NOON + 1)
    known = advance(before, SHARD, [("2-0", batch)], PARAMETERS, solved=True)
    anew = advance(before, SHARD, [("2-0", batch)], PARAMETERS)
    assert (known.state.vix, known.state.vix_time) == (18.0, NOON + 1)
    assert known.state.encode() == anew.state.encode()


@pytest.mark.parametrize(
    "batch",
    [
        make_batch(2, quotes=one(9.0, 2000)),
        make_batch(1, epoch=2, reset=True, spots=make_spots(641.0, seq=2000)),
    ],
    ids=["a quote", "a new beginning"],
)
def test_whatever_else_comes_is_solved(batch: Batch) -> None:
    before = step(StateBlob(), make_batch(quotes=make_quotes(), spots=make_spots(640.5))).state
    marked = msgspec.structs.replace(before, forward_source="marked")
    after = advance(marked, SHARD, [("2-0", batch)], PARAMETERS, solved=True)
    assert after.state.forward_source != "marked"


def test_the_first_price_solves_the_quotes_before_it() -> None:
    before = step(StateBlob(), make_batch(quotes=make_quotes(spot=float("nan")))).state
    price = [("2-0", make_batch(2, spots=make_spots(641.0, seq=2000)))]
    known = advance(before, SHARD, price, PARAMETERS, solved=True)
    assert known.state.encode() == advance(before, SHARD, price, PARAMETERS).state.encode()
    assert np.all(known.state.quote_rows()["spot"] == 641.0)
