"""Whose trade it was, and what the `flow` convention makes of a day of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from synthetic_chain import AT, EXPIRY, PARAMETERS, SPOT, chain

from common.chain import solve
from common.levels import Levels, ShardState, check_invariants, evaluate
from common.models import Rows, key_puts, key_strikes
from common.settings import QuantParameters
from common.trades import buyer_or_seller

NAN = float("nan")
FLOW = PARAMETERS.model_copy(update={"sign": "flow"})
ANCHORED = PARAMETERS.model_copy(update={"walls_at": "prior_close"})


@pytest.mark.parametrize(
    ("price", "before", "side"),
    [
        (1.10, NAN, 1),  # at the ask
        (1.20, NAN, 1),  # through it
        (1.07, NAN, 1),  # nearer the ask
        (1.00, NAN, -1),
        (1.03, 9.0, -1),
        (1.05, 1.02, 1),  # at the middle: up from the trade before
        (1.05, 1.07, -1),
        (1.05, 1.05, 0),
        (1.05, NAN, 0),
        (NAN, 1.0, 0),
    ],
)
def test_the_quote_rule_and_at_the_middle_the_tick_rule(
    price: float, before: float, side: int
) -> None:
    quote = {"bid": 1.0, "ask": 1.1}
    assert buyer_or_seller(price=price, price_before=before, **quote) == side


@pytest.mark.parametrize(("bid", "ask"), [(NAN, 1.1), (1.0, NAN), (0.0, 1.0), (1.1, 1.1), (2, 1)])
def test_without_a_two_sided_quote_nobody_began_it(bid: float, ask: float) -> None:
    assert buyer_or_seller(price=1.1, bid=bid, ask=ask, price_before=1.0) == 0


@given(st.floats(0.01, 100.0), st.floats(0.01, 1.0), st.floats(0.01, 100.0), st.floats(0.01, 100.0))
def test_the_other_side_of_the_market_is_the_other_sign(
    bid: float, width: float, price: float, before: float
) -> None:
    """Mirrored in zero, buyers become sellers; the rule has no preference."""
    ask, shift = bid + width, 1000.0
    side = buyer_or_seller(price=price, bid=bid, ask=ask, price_before=before)
    mirrored = buyer_or_seller(
        price=shift - price, bid=shift - ask, ask=shift - bid, price_before=shift - before
    )
    near_the_middle = abs(price - 0.5 * (bid + ask)) < 1e-9
    assert mirrored == -side or near_the_middle


def levels_of(rows: Rows, parameters: QuantParameters, **changes: float) -> Levels:
    state = ShardState(EXPIRY, rows, solve(quotes=rows, expiry=EXPIRY, parameters=parameters))
    return evaluate(
        symbol="SPY", shards=[state], spot=SPOT, as_of=AT, parameters=parameters, **changes
    )


# --- the convention --------------------------------------------------------------------------


def test_dealers_who_sold_every_call_and_bought_every_put_are_the_index_turned_round() -> None:
    rows = chain()
    puts = key_puts(rows["key"])
    rows["bought"], rows["sold"] = np.where(puts, 0, 7), np.where(puts, 3, 0)
    flow, index = levels_of(rows, FLOW), levels_of(rows, PARAMETERS)
    assert flow.sign == "flow"
    assert flow.net_gex == pytest.approx(-index.net_gex, rel=1e-12)
    assert flow.totals.dex == pytest.approx(-index.totals.dex, rel=1e-12)
    assert flow.zero_gamma == pytest.approx(index.zero_gamma, rel=1e-12)
    assert index.readings.net_gex_by_sign["flow"] == pytest.approx(flow.net_gex, rel=1e-12)
    assert check_invariants(flow) == []


def test_both_sides_alike_leave_dealers_flat() -> None:
    rows = chain()
    rows["bought"] = rows["sold"] = 5
    assert levels_of(rows, FLOW).net_gex == 0.0


def test_a_contract_without_a_classified_trade_counts_for_nothing() -> None:
    rows = chain()
    rows["volume"] = 10
    near = np.abs(key_strikes(rows["key"]) - SPOT) < 3
    rows["sold"] = np.where(near, 4, 0)
    levels = levels_of(rows, FLOW)
    traded = rows.copy()
    traded["open_interest"] = np.where(near, rows["open_interest"], 0)
    longs = sum(abs(part) for part in _parts(levels_of(traded, PARAMETERS)))
    assert levels.net_gex == pytest.approx(longs, rel=1e-12)
    assert levels.quality.coverage_flow == pytest.approx(0.4 * near.mean())
    assert levels.quality.coverage_oi < 1.0


def _parts(levels: Levels) -> tuple[float, float]:
    return float(levels.strikes.call_gex.sum()), float(levels.strikes.put_gex.sum())


def test_before_the_first_classified_trade_there_is_no_level() -> None:
    document = levels_of(chain(), FLOW).to_json()["levels"]
    assert document["net_gex"] is document["zero_gamma"] is document["call_wall"] is None
    assert document["net_gex_by_sign"]["flow"] is None
    assert document["net_gex_by_sign"]["index"] is not None


# --- walls that do not follow the spot ---------------------------------------------------------


def test_walls_ranked_at_the_prior_close_stay_where_the_spot_does_not() -> None:
    rows = chain()
    rows["open_interest"] = 100
    prior = SPOT - 6.0
    here = levels_of(rows, PARAMETERS, prior_close=prior)
    there = levels_of(rows, ANCHORED, prior_close=prior)
    assert here.walls.call >= SPOT > there.walls.call >= prior
    assert there.walls.put <= prior
    assert (there.walls_at, there.prior_close) == ("prior_close", prior)
    assert check_invariants(there) == []
    moved = replace(there, walls=replace(there.walls, call=765.0))
    assert any("call wall" in breach for breach in check_invariants(moved))


def test_at_the_prior_close_itself_both_ways_agree() -> None:
    rows = chain()
    assert levels_of(rows, ANCHORED, prior_close=SPOT).walls == levels_of(rows, PARAMETERS).walls


@pytest.mark.parametrize("prior", [NAN, 0.0, -1.0])
def test_without_a_prior_close_such_walls_are_null(prior: float) -> None:
    levels = levels_of(chain(), ANCHORED, prior_close=prior)
    document = levels.to_json()["levels"]
    assert document["call_wall"] is document["put_wall"] is None
    assert document["net_gex"] is not None
    assert check_invariants(levels) == []
