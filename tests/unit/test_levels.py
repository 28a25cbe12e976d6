"""Levels: sums, re-pricing, expiry, staleness, the public JSON, the invariants."""

from __future__ import annotations

from datetime import date

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from synthetic_chain import AT, BASIS, EXPIRY, PARAMETERS, SPOT, chain, row_of

from common.chain import solve
from common.clock import SECOND, settlement_us
from common.levels import ShardState, check_invariants, evaluate
from common.models import FLAG_WITHDRAWN, Expiry, Status, key_strikes
from common.quant.blackscholes import greeks

FRIDAY = Expiry(date(2026, 8, 21))
CHEAPER = np.where(np.arange(10) == 2, 0.9, 1.0)[:, None]
"""What spoils the discounts of a board."""
LEVELS = set(
    "net_gex net_gex_0dte zero_gamma zero_gamma_all call_wall put_wall call_wall_unconstrained "
    "put_wall_unconstrained max_pain expected_move dex vex cex cex_per_minute net_volume_gex "
    "put_call_oi put_call_volume atm_iv regime".split()
)
CONTRACT = set(
    "symbol expiration strike right bid ask iv status delta gamma theta vega rho vanna charm "
    "open_interest volume".split()
)
LEVELS |= set(
    "net_gex_week net_gex_by_sign local_gex largest_strikes skew_25_delta charm_into_close"
    " dealer_delta_by_move dealer_delta_by_minutes prior_close walls_at".split()
)


def shard(rows, expiry=EXPIRY, parameters=PARAMETERS):
    return ShardState(expiry, rows, solve(quotes=rows, expiry=expiry, parameters=parameters))


def levels_of(*shards, **changes):
    given = {"spot": SPOT, "as_of": AT, "parameters": PARAMETERS, **changes}
    return evaluate(symbol="SPY", shards=shards or [shard(chain())], **given)


def both():
    return shard(chain()), shard(chain(expiry=FRIDAY), FRIDAY)


def test_the_public_names():
    document = levels_of(*both()).to_json(contracts=True)
    top = {"schema", "symbol", "as_of", "spot", "sign", "levels", "strikes", "expirations"}
    assert set(document) == top | {"quality", "contracts"}
    assert set(document["levels"]) == LEVELS
    assert set(document["contracts"][0]) >= CONTRACT
    strike = "strike call_gex put_gex net_gex call_oi put_oi call_volume put_volume"
    assert set(document["strikes"][0]) == set(strike.split())
    expiration = "expiration dte forward forward_source net_gex atm_iv contracts"
    assert set(document["expirations"][0]) >= set(expiration.split())
    quality = (
        "contracts with_iv coverage_oi coverage_gamma coverage_flow oldest_quote_at oi_date"
        " rejected parity_pairs parity_outliers conflated"
    )
    assert set(document["quality"]) == set(quality.split())
    assert document["as_of"] == "2026-08-19T17:00:00.000Z"
    assert document["levels"]["max_pain"].keys() == {"2026-08-19", "2026-08-21"}
    assert orjson.loads(orjson.dumps(document)) == document


def test_values_by_hand():
    levels = levels_of()
    board = levels.board
    by_hand = greeks(
        spots=SPOT,
        forwards=SPOT * board.shards[0].solution.basis,
        strikes=board.strikes,
        years=3 / 8760,
        sigmas=board.shards[0].solution.iv,
        rates=0.04,
        puts=board.puts,
    )
    sign = np.where(board.puts, -1.0, 1.0)
    interests = board.quotes["open_interest"]
    gex = sign * by_hand.gamma * interests * SPOT**2
    assert levels.net_gex == pytest.approx(gex.sum(), rel=1e-12)
    assert levels.totals.net_gex_0dte == levels.net_gex
    dex = sign * by_hand.delta * interests * 100 * SPOT
    assert levels.totals.dex == pytest.approx(dex.sum(), rel=1e-12)
    cex = sign * by_hand.charm * interests * 100 * SPOT
    assert levels.cex_per_minute == pytest.approx(cex.sum() / 1440, rel=1e-12)
    volume = sign * by_hand.gamma * board.quotes["volume"] * SPOT**2
    assert levels.totals.net_volume_gex == pytest.approx(volume.sum(), rel=1e-12)
    puts = interests[board.puts].sum() / interests[~board.puts].sum()
    assert levels.totals.put_call_oi == pytest.approx(puts)
    assert levels.atm_iv == pytest.approx(0.15, rel=3e-3)
    # One standard deviation of the remaining three hours.
    assert levels.expected_move == pytest.approx(SPOT * 0.15 * np.sqrt(3 / 8760), rel=3e-3)


def test_repriced_at_the_present_spot_with_the_forward_moving_along():
    state = shard(chain())
    moved = levels_of(state, spot=SPOT + 2.0, as_of=AT + 600 * SECOND)
    fresh = greeks(
        spots=SPOT + 2.0,
        forwards=(SPOT + 2.0) * state.solution.basis,
        strikes=key_strikes(state.quotes["key"]),
        years=(3 * 3600 - 600) / (365 * 86400),
        sigmas=state.solution.iv,
        rates=0.04,
        puts=moved.board.puts,
    )
    assert moved.board.greeks.gamma.tobytes() == fresh.gamma.tobytes()
    assert moved.expirations[0].forward == pytest.approx((SPOT + 2.0) * BASIS, abs=1e-3)


def test_partition():
    levels = levels_of(*both())
    alone = levels_of(shard(chain())).net_gex
    rest = levels_of(shard(chain(expiry=FRIDAY), FRIDAY)).net_gex
    assert levels.totals.net_gex_0dte == pytest.approx(alone, rel=1e-13)
    assert levels.net_gex == pytest.approx(alone + rest, rel=1e-12)
    assert levels.net_gex == pytest.approx(levels.strikes.net_gex.sum(), rel=1e-12)
    assert check_invariants(levels) == []


@settings(max_examples=15, deadline=None)
@given(st.floats(0.985, 1.015), st.integers(0, 10_000))
def test_invariants_hold_wherever_the_spot_is(move, seconds):
    levels = levels_of(*both(), spot=SPOT * move, as_of=AT + seconds * SECOND)
    assert check_invariants(levels) == []


def test_order_of_shards_and_reruns_change_no_byte():
    one, other = both()
    texts = {
        orjson.dumps(levels_of(*shards).to_json(contracts=True))
        for shards in ((one, other), (other, one), (one, other))
    }
    assert len(texts) == 1
    profiles = {orjson.dumps(levels_of(*s).profile_json()) for s in ((one, other), (other, one))}
    assert len(profiles) == 1


@settings(max_examples=10, deadline=None)
@given(st.integers(2, 9))
def test_exposure_scales_with_open_interest(factor):
    rows = chain()
    more = rows.copy()
    more["open_interest"] *= factor
    one, many = levels_of(shard(rows)), levels_of(shard(more))
    assert many.net_gex == pytest.approx(factor * one.net_gex, rel=1e-12)
    assert many.totals.vex == pytest.approx(factor * one.totals.vex, rel=1e-12)
    assert many.zero_gamma == pytest.approx(one.zero_gamma, abs=1e-6, nan_ok=True)
    assert (many.walls.call, many.walls.put) == (one.walls.call, one.walls.put)


def test_scaling_all_prices_scales_the_levels():
    """Spot, strikes and quotes times ten: gamma exposure times ten, levels times ten."""
    tens = np.arange(7450.0, 7660.0, 10.0)
    small = chain(half_spread=1e-4)
    large = chain(strikes=tens, spot=SPOT * 10, foot=SPOT * 10, half_spread=1e-3)
    large["open_interest"] = small["open_interest"]
    one, ten = levels_of(shard(small)), levels_of(shard(large), spot=SPOT * 10)
    assert ten.walls.call == 10 * one.walls.call
    assert ten.net_gex == pytest.approx(10 * one.net_gex, rel=1e-6)


def test_expired_shards_leave_every_number():
    later = settlement_us(EXPIRY)
    one, other = both()
    levels = levels_of(one, other, as_of=later, spot_time=AT)
    only = levels_of(other, as_of=later, spot_time=AT)
    assert levels.net_gex == only.net_gex
    assert np.isnan(levels.totals.net_gex_0dte)
    assert [row.expiration for row in levels.expirations] == [FRIDAY.expiration]
    assert levels.quality.rejected == {"expired": 42}
    assert levels.quality.coverage_oi == only.quality.coverage_oi
    assert levels.strikes.call_oi.sum() == only.strikes.call_oi.sum()


def test_no_usable_quotes_give_null_not_zero():
    rows = chain()
    rows["bid"] = 0.0
    empty = [
        levels_of(shard(rows)),
        evaluate(symbol="SPY", shards=[], spot=SPOT, as_of=AT, parameters=PARAMETERS),
        levels_of(spot=float("nan")),
    ]
    for levels in empty:
        document = levels.to_json()["levels"]
        nested = ("net_gex_by_sign", "dealer_delta_by_move", "dealer_delta_by_minutes")
        assert all(v is None for name in nested for v in document.pop(name).values())
        assert document.pop("largest_strikes") == []
        assert document.pop("walls_at") == "spot"
        present = {name for name, value in document.items() if value is not None}
        assert present <= {"zero_gamma_all", "max_pain", "regime", "put_call_oi", "put_call_volume"}
        assert document["regime"] == "unknown"
        assert document["zero_gamma_all"] == []
        assert levels.to_json()["quality"]["oldest_quote_at"] is None
        assert levels.profile_json()["curve"] == {"spots": [], "net_gex": []}
        assert check_invariants(levels) == []


def test_stale_quotes_contribute_nothing():
    rows = chain()
    calls, puts = row_of(rows, 764.0, "C"), row_of(rows, 764.0, "P")
    fresh = levels_of(shard(rows))
    rows["time"][calls] -= 400 * SECOND  # solved while it still counted
    state = shard(rows)
    assert state.solution.status[calls] == Status.OK
    later = levels_of(state, spot_time=AT + 600 * SECOND)
    assert later.board.statuses[calls] == Status.STALE
    assert later.board.statuses[puts] == Status.STALE  # its IV is the call's
    assert later.quality.rejected == {"stale": 2}
    assert later.quality.with_iv == fresh.quality.with_iv - 2
    assert later.quality.coverage_oi < 1.0
    assert levels_of(state).quality.rejected == {}


def test_the_oldest_quote_is_the_one_an_iv_rests_on():
    rows = chain()
    at = row_of(rows, 764.0, "C")
    rows["time"][at] -= 100 * SECOND
    assert levels_of(shard(rows)).quality.oldest_quote_at == AT - 100 * SECOND


def test_withdrawn_rows_are_in_no_number():
    rows = chain()
    gone = key_strikes(rows["key"]) > 762
    rows["flags"][gone] = FLAG_WITHDRAWN
    with_rows = orjson.dumps(levels_of(shard(rows)).to_json(contracts=True))
    without = orjson.dumps(levels_of(shard(rows[~gone])).to_json(contracts=True))
    assert with_rows == without


def test_coverage_of_gamma_bounds_one_sided_wings_by_their_ask():
    rows = chain()
    at = row_of(rows, 765.0, "C")
    rows["bid"][at] = 0.0
    quality = levels_of(shard(rows)).quality
    assert quality.rejected == {"no_bid": 2}
    assert 0.97 < quality.coverage_gamma < 1.0
    rows["ask"][at] = 0.5  # a higher ask bounds less
    assert levels_of(shard(rows)).quality.coverage_gamma < quality.coverage_gamma


def test_unnamed_rows_are_counted():
    quality = levels_of(unnamed=3).quality
    assert quality.rejected == {"bad_input": 3}
    assert quality.contracts == quality.with_iv + 3


def test_both_settlement_styles_of_one_date():
    morning = Expiry(FRIDAY.expiration, "AM")
    levels = levels_of(shard(chain(expiry=FRIDAY), FRIDAY), shard(chain(expiry=morning), morning))
    document = levels.to_json(contracts=True)
    assert [row["settlement"] for row in document["expirations"]] == ["AM", "PM"]
    assert list(document["levels"]["max_pain"]) == ["2026-08-21-AM", "2026-08-21"]
    alone = levels_of(shard(chain(expiry=morning), morning)).to_json()
    assert list(alone["levels"]["max_pain"]) == ["2026-08-21"]


def test_oi_date_is_the_sessions():
    assert levels_of().to_json()["quality"]["oi_date"] == "2026-08-19"
    given = levels_of(oi_date=date(2026, 8, 18)).to_json()
    assert given["quality"]["oi_date"] == "2026-08-18"


def test_the_profile_carries_the_curve_and_the_levels():
    levels = levels_of()
    profile = levels.profile_json()
    assert len(profile["curve"]["spots"]) == len(profile["curve"]["net_gex"]) >= 301
    assert profile["zero_gamma"] == levels.to_json()["levels"]["zero_gamma"]
    assert profile["strikes"] == levels.to_json()["strikes"]
    at_spot = np.interp(SPOT, levels.flip.curve.spots, levels.flip.curve.net_gex)
    assert at_spot == pytest.approx(levels.net_gex, rel=0.05)


def test_offsetting_positions_have_no_root_of_rounding_noise():
    rows = chain()
    rows["open_interest"] = 100
    levels = levels_of(shard(rows))
    assert levels.net_gex == pytest.approx(0.0, abs=1e-3)
    assert levels.to_json()["levels"]["zero_gamma"] is None


def test_vendor_greeks_are_taken_as_they_are():
    rows = chain()
    rows["bid"] = 0.0  # our filters would leave nothing
    vendor = {
        "iv": np.full(rows.size, 0.2),
        "delta": np.full(rows.size, 0.5),
        "gamma": np.full(rows.size, 0.03),
    }
    vendor["iv"][0] = 0.0
    state = replace(shard(rows), vendor=vendor)
    levels = levels_of(state, source="vendor")
    sign = np.where(rows["key"] % 2 == 1, -1.0, 1.0)
    assert levels.net_gex == pytest.approx(np.sum(sign * 0.03 * rows["open_interest"]) * SPOT**2)
    assert levels.quality.rejected == {"not_converged": 1}
    assert np.isfinite(levels.flip.curve.net_gex).all()
    expired = levels_of(state, source="vendor", as_of=settlement_us(EXPIRY))
    assert np.isnan(expired.net_gex)
    assert check_invariants(levels) == []


@pytest.mark.parametrize(
    ("breach", "words"),
    [
        (lambda x: replace(x, totals=replace(x.totals, net_gex=x.net_gex * 1.01)), "strikes sum"),
        (lambda x: replace(x, totals=replace(x.totals, net_gex_0dte=1.0)), "0DTE"),
        (lambda x: replace(x, walls=replace(x.walls, call=764.0)), "call wall"),
        (lambda x: replace(x, walls=replace(x.walls, put=float("nan"))), "no put wall"),
        (lambda x: replace(x, flip=replace(x.flip, roots=np.array([700.0]))), "no root"),
        (lambda x: replace(x, flip=replace(x.flip, nearest=700.0)), "zero gamma"),
        (
            lambda x: replace(x, board=replace(x.board, table=x.board.table * CHEAPER)),
            "share delta",
        ),
    ],
)
def test_breaches_are_told(breach, words):
    rows = chain()
    rows["open_interest"] = np.where(key_strikes(rows["key"]) > SPOT, 500, 100)
    rows["open_interest"][rows["key"] % 2 == 1] = 200
    levels = levels_of(shard(rows))
    assert check_invariants(levels) == []
    assert any(words in line for line in check_invariants(breach(levels)))
