"""One expiration: filters, forward, one IV per strike, independence of arrival."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_chain import AT, BASIS, EXPIRY, PARAMETERS, SPOT, chain, row_of, smile

from common.chain import solve
from common.clock import SECOND, settlement_us
from common.models import FLAG_WITHDRAWN, Status, key_puts, key_strikes


def solved(rows, **changes):
    parameters = PARAMETERS.model_copy(update=changes)
    return solve(quotes=rows, expiry=EXPIRY, parameters=parameters)


def same_bits(one, other):
    names = ("iv", "status", "side", "delta", "gamma")
    return all(getattr(one, n).tobytes() == getattr(other, n).tobytes() for n in names) and (
        one.basis == other.basis
    )


def test_the_smile_and_the_forward_come_back():
    rows = chain()
    found = solved(rows)
    assert np.all(found.status == Status.OK)
    assert found.iv == pytest.approx(smile(key_strikes(rows["key"])), rel=2e-3)
    assert found.forward_source == "parity"
    assert found.basis == pytest.approx(BASIS, abs=2e-7)
    assert found.parity_pairs >= 3
    assert 0.0 <= found.forward_residual < 0.01


def test_one_iv_per_strike_from_the_out_of_the_money_side():
    rows = chain()
    found = solved(rows)
    assert found.iv[::2].tobytes() == found.iv[1::2].tobytes()
    strikes = key_strikes(rows["key"])
    far = np.abs(strikes - SPOT) > 3
    assert np.all(found.side[far] == np.where(strikes[far] > SPOT, b"C", b"P"))
    assert np.all(found.side[np.abs(strikes - SPOT) < 0.5] == b"B")
    calls = ~key_puts(rows["key"])
    assert np.all((found.delta > 0) == calls)
    assert np.all(found.gamma > 0)


def test_garbage_on_the_in_the_money_side_does_not_matter():
    rows = chain()
    clean = solved(rows)
    rows["ask"][row_of(rows, 763.0, "P")] += 3.0
    rows["bid"][row_of(rows, 747.0, "C")] = 0.0
    found = solved(rows)
    for strike in (763.0, 747.0):
        at = row_of(rows, strike, "C"), row_of(rows, strike, "P")
        assert found.iv[list(at)] == pytest.approx(clean.iv[list(at)], rel=1e-4)
        assert np.all(found.status[list(at)] == Status.OK)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"bid": 0.0}, Status.NO_BID),
        ({"bid": np.nan}, Status.NO_BID),
        ({"bid": np.nan, "ask": np.nan}, Status.NO_BID),
        ({"ask": np.nan}, Status.NO_ASK),
        ({"ask": 0.0}, Status.NO_ASK),
        ({"bid": 0.5, "ask": 0.5}, Status.CROSSED),
        ({"bid": 0.6, "ask": 0.5}, Status.CROSSED),
        ({"bid": 0.1, "ask": 0.4}, Status.WIDE),
        ({"bid": -0.1}, Status.BAD_INPUT),
        ({"ask": -np.inf}, Status.BAD_INPUT),
        ({"ask": np.inf}, Status.BAD_INPUT),
        ({"spot": np.nan}, Status.BAD_INPUT),
        ({"spot": 0.0}, Status.BAD_INPUT),
        ({"bid": 800.0, "ask": 801.0}, Status.ABOVE_BOUND),
        ({"time": AT - 901 * SECOND}, Status.STALE),
        ({"time": settlement_us(EXPIRY)}, Status.EXPIRED),
    ],
)
def test_reasons(changes, status):
    rows = chain()
    at, partner = row_of(rows, 760.0, "C"), row_of(rows, 760.0, "P")
    if status == Status.EXPIRED:  # the newest quote makes the others stale, not this one
        rows["time"] = settlement_us(EXPIRY) - SECOND
    for name, value in changes.items():
        rows[name][at] = value
    found = solved(rows)
    assert found.status[at] == status
    assert np.isnan([found.iv[at], found.delta[at], found.gamma[at]]).all()
    assert found.side[at] == b""
    assert found.status[partner] == status  # it would have shared that IV
    others = np.delete(np.arange(rows.size), [at, partner])
    assert np.all(found.status[others] == Status.OK)


def test_a_bad_in_the_money_quote_is_named_itself():
    rows = chain()
    at, partner = row_of(rows, 760.0, "P"), row_of(rows, 760.0, "C")
    rows["bid"][at] = -1.0
    found = solved(rows)
    assert (found.status[at], found.status[partner]) == (Status.BAD_INPUT, Status.OK)


@pytest.mark.parametrize("bid", [0.01, 0.02, 0.03])
def test_wings_of_one_or_two_ticks_are_never_wide(bid):
    """A wing whose ask moves by a tick must not come and go: its strike may be the wall."""
    rows = chain()
    at = row_of(rows, 765.0, "C")
    for ask, status in ((0.01, Status.OK), (0.02, Status.OK), (0.05, Status.WIDE)):
        rows["bid"][at], rows["ask"][at] = bid, round(bid + ask, 2)
        assert solved(rows).status[at] == status


def test_near_the_forward_the_other_side_can_stand_in():
    rows = chain()
    put, call = row_of(rows, 755.0, "P"), row_of(rows, 755.0, "C")
    rows["bid"][put] = 0.0
    found = solved(rows)
    assert found.status[put] == found.status[call] == Status.OK
    assert found.side[put] == found.side[call] == b"C"


def test_without_pairs_the_carry_serves():
    rows = chain()
    rows["bid"][key_puts(rows["key"]) & (key_strikes(rows["key"]) > SPOT)] = 0.0
    rows["bid"][~key_puts(rows["key"]) & (key_strikes(rows["key"]) < SPOT)] = 0.0
    found = solved(rows, dividend_yield=0.01)
    assert (found.forward_source, found.parity_pairs) == ("carry", 0)
    assert found.basis == pytest.approx(np.exp(0.03 * 3 / 8760), rel=1e-12)
    assert found.status[row_of(rows, 760.0, "C")] == Status.OK


def test_withdrawn_contracts_are_off_the_board():
    rows = chain()
    keep = key_strikes(rows["key"]) != 755.0
    rows["flags"][~keep] = FLAG_WITHDRAWN
    found = solved(rows)
    without = solved(rows[keep])
    assert np.all(found.status[~keep] != Status.OK)
    assert np.isnan(found.iv[~keep]).all()
    assert found.iv[keep].tobytes() == without.iv.tobytes()
    assert found.basis == without.basis


def test_nothing_on_the_board():
    rows = chain()
    for empty in (rows[:0], rows):
        empty["flags"] = FLAG_WITHDRAWN
        found = solved(empty)
        assert found.forward_source == "none"
        assert np.isnan(found.basis)
        assert not np.any(found.status == Status.OK)


def test_no_spot_no_forward():
    rows = chain()
    rows["spot"] = np.nan
    found = solved(rows)
    assert found.forward_source == "none"
    assert np.all(found.status == Status.BAD_INPUT)


def test_quotes_of_different_times_and_spots():
    """Two halves quoted ten minutes and 40 cents apart still give one smile."""
    late, early = chain(), chain(at=AT - 600 * SECOND, spot=SPOT - 0.4)
    strikes = key_strikes(late["key"])
    mixed = np.where(strikes < 752, early, late)
    found = solved(mixed)
    assert found.basis == pytest.approx(BASIS, abs=3e-7)
    assert found.iv == pytest.approx(smile(strikes), rel=5e-3)


@settings(max_examples=20, deadline=None)
@given(st.permutations(list(range(42))))
def test_arrival_order_changes_no_bit(order):
    rows = chain()
    rows["bid"][5] = 0.0
    whole = solved(rows)
    again = rows[order]
    again = again[np.argsort(again["key"], kind="stable")]
    assert same_bits(whole, solved(again))


def test_a_strike_far_away_changes_no_bit_of_another():
    rows = chain()
    whole, part = solved(rows), solved(rows[6:])
    assert part.iv.tobytes() == whole.iv[6:].tobytes()
