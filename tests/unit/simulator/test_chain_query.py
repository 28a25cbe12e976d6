"""What a chain request asks for: parameters, defaults, refusals, windows."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from random_day import FAR, NEAR, contracts

from common.models import BoolArray
from workers.simulator.chain_query import (
    ChainQuery,
    asked_strike,
    check_spread_type,
    parse_date,
    strikes_of,
)
from workers.simulator.contracts import Contracts
from workers.simulator.failures import ApiError

CHAIN = contracts(strikes=21)  # 100 … 120
ALL = np.ones(CHAIN.size, np.bool_)
SPOT = 110.4


def query(**parameters: str) -> ChainQuery:
    """The query of some parameters."""
    return ChainQuery.parse(parameters.get, [NEAR, FAR])


def shown(window: BoolArray, chain: Contracts = CHAIN) -> list[str]:
    """The contracts in a window without root and date: ``C110``."""
    return [chain.names[place].split()[1][6:] for place in np.flatnonzero(window)]


def strikes(window: BoolArray) -> list[float]:
    """The strikes in a window."""
    return sorted(set(CHAIN.strikes[window].tolist()))


# --- parameters ------------------------------------------------------------------------------


def test_defaults_are_the_documented_ones() -> None:
    assert query() == ChainQuery(
        NEAR, proximity=5, interval=1, centre=None, greeks=True, range="All", right="All"
    )


@pytest.mark.parametrize("text", ["11-23-2026", "2026-11-23", "2026-11-23T00:00:00Z"])
def test_an_expiration_may_be_written_in_three_ways(text: str) -> None:
    assert query(expiration=text).expiry == FAR
    assert parse_date(text) == date(2026, 11, 23)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("expiration", "11/23/2026"),
        ("expiration", "2026-13-01"),
        ("expiration", "2026-11-24"),  # nothing expires then
        ("strikeProximity", "0"),
        ("strikeProximity", "-1"),
        ("strikeProximity", "five"),
        ("strikeProximity", "²"),
        ("strikeInterval", "1.5"),
        ("priceCenter", "0"),
        ("priceCenter", "nan"),
        ("priceCenter", "high"),
        ("enableGreeks", "maybe"),
        ("strikeRange", "ATM"),
        ("optionType", "Both"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_a_bad_request(name: str, text: str) -> None:
    with pytest.raises(ApiError, match="400") as caught:
        query(**{name: text})
    assert name in caught.value.message


def test_words_are_read_in_any_case() -> None:
    asked = query(enableGreeks="FALSE", strikeRange="itm", optionType="put", spreadType="single")
    assert (asked.greeks, asked.range, asked.right) == (False, "ITM", "Put")


def test_spreads_are_not_simulated_and_say_so() -> None:
    with pytest.raises(ApiError, match="501"):
        query(spreadType="Vertical")
    check_spread_type({}.get)


def test_without_expirations_there_is_no_chain() -> None:
    with pytest.raises(ApiError, match="404"):
        ChainQuery.parse({}.get, [])


def test_a_strike_price_is_optional() -> None:
    assert asked_strike({}.get) is None
    assert asked_strike({"strikePrice": "672.5"}.get) == 672.5


# --- windows ---------------------------------------------------------------------------------


def test_by_default_five_strikes_on_either_side_are_shown() -> None:
    window = query().window(CHAIN, ALL, SPOT)
    assert strikes(window) == [106, 107, 108, 109, 110, 111, 112, 113, 114, 115]
    assert np.count_nonzero(window) == 20
    assert (window <= CHAIN.of_expiry(NEAR)).all()


def test_a_large_proximity_shows_the_whole_board_of_the_expiration() -> None:
    window = query(strikeProximity="1000", expiration="2026-11-23").window(CHAIN, ALL, SPOT)
    assert (window == CHAIN.of_expiry(FAR)).all()


def test_a_strike_range_does_not_lift_the_proximity() -> None:
    window = query(strikeProximity="2", strikeRange="All").window(CHAIN, ALL, SPOT)
    assert strikes(window) == [109, 110, 111, 112]


def test_the_centre_may_be_given() -> None:
    window = query(strikeProximity="1", priceCenter="103").window(CHAIN, ALL, SPOT)
    assert strikes(window) == [103, 104]


def test_an_interval_leaves_strikes_out_evenly() -> None:
    window = query(strikeProximity="3", strikeInterval="2").window(CHAIN, ALL, SPOT)
    assert strikes(window) == [106, 108, 110, 112, 114, 116]


def test_one_right_only() -> None:
    window = query(strikeProximity="1", optionType="Call").window(CHAIN, ALL, SPOT)
    assert shown(window) == ["C110", "C111"]


def test_in_and_out_of_the_money() -> None:
    inside = query(strikeProximity="1", strikeRange="ITM").window(CHAIN, ALL, SPOT)
    outside = query(strikeProximity="1", strikeRange="OTM").window(CHAIN, ALL, SPOT)
    assert shown(inside) == ["C110", "P111"]
    assert shown(outside) == ["P110", "C111"]
    at_the_money = query(strikeProximity="1", strikeRange="OTM").window(CHAIN, ALL, 110.0)
    assert shown(at_the_money) == ["C110", "P110", "C111"]  # no intrinsic value


def test_a_window_past_the_edge_takes_in_what_is_listed_later() -> None:
    listed = (CHAIN.strikes >= 105) & (CHAIN.strikes <= 115)
    wide = query(strikeProximity="8").window(CHAIN, listed, SPOT)
    assert strikes(wide) == list(range(100, 121))
    fits = query(strikeProximity="5").window(CHAIN, listed, SPOT)
    assert strikes(fits) == list(range(106, 116))
    below = query(strikeProximity="2").window(CHAIN, listed, 102.0)
    assert strikes(below) == [100, 101, 105, 106]  # nothing is listed below yet


def test_strikes_are_those_that_are_listed() -> None:
    listed = CHAIN.strikes >= 117
    assert strikes_of(CHAIN, NEAR, listed, 1).tolist() == [117, 118, 119, 120]
    assert strikes_of(CHAIN, NEAR, listed, 3).tolist() == [117, 120]
