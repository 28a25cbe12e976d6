"""Contract keys, shard labels, layouts and the records that cross process borders."""

from __future__ import annotations

from datetime import date, timedelta

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.models import (
    GREEKS,
    QUOTE,
    SPOT,
    Expiry,
    MarketClock,
    QuoteUpdate,
    Session,
    SpotUpdate,
    Status,
    contract_keys,
    key_puts,
    key_strikes,
)

MILLIS = st.integers(1, 2_147_483_000)
CONTRACTS = st.tuples(MILLIS, st.booleans())
EXPIRIES = st.builds(
    Expiry, st.dates(date(2000, 1, 1), date(2099, 12, 31)), st.sampled_from(["PM", "AM"])
)


# --- contract keys ---------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(CONTRACTS, min_size=1))
def test_keys_round_trip(contracts: list[tuple[int, bool]]) -> None:
    strikes = np.array([milli / 1000.0 for milli, _ in contracts])
    puts = np.array([put for _, put in contracts])
    keys = contract_keys(strikes=strikes, puts=puts)
    assert keys.dtype == np.uint32
    assert (key_strikes(keys) == strikes).all()
    assert (key_puts(keys) == puts).all()


@settings(deadline=None)
@given(CONTRACTS, CONTRACTS)
def test_keys_sort_by_strike_and_put_the_call_first(
    one: tuple[int, bool], other: tuple[int, bool]
) -> None:
    keys = [int(contract_keys(strikes=milli / 1000.0, puts=put)) for milli, put in (one, other)]
    assert (keys[0] < keys[1]) == (one < other)
    assert (keys[0] == keys[1]) == (one == other)


def test_keys_broadcast_and_forgive_rounding() -> None:
    strikes = np.array([[670.0], [0.1 + 0.2], [2_147_483.0]])
    keys = contract_keys(strikes=strikes, puts=[False, True])
    assert keys.tolist() == [[1_340_000, 1_340_001], [600, 601], [4_294_966_000, 4_294_966_001]]


# --- expiries --------------------------------------------------------------------------------


@settings(deadline=None)
@given(EXPIRIES)
def test_shard_labels_round_trip(expiry: Expiry) -> None:
    assert Expiry.from_shard(expiry.shard) == expiry
    assert hash(Expiry.from_shard(expiry.shard)) == hash(expiry)


def test_shard_labels() -> None:
    assert Expiry(date(2026, 8, 19)).shard == "2026-08-19"
    assert Expiry(date(2026, 8, 21), "AM").shard == "2026-08-21-AM"
    assert Expiry(date(2026, 8, 21), "AM") != Expiry(date(2026, 8, 21), "PM")


@settings(deadline=None)
@given(EXPIRIES, EXPIRIES)
def test_expiries_sort_by_date_and_settle_in_the_morning_first(one: Expiry, other: Expiry) -> None:
    if one.expiration != other.expiration:
        assert (one < other) == (one.expiration < other.expiration)
    else:
        assert (one < other) == ((one.settlement, other.settlement) == ("AM", "PM"))


@pytest.mark.parametrize("label", ["", "SPY", "2026-8-1", "2026-02-30", "AM-2026-08-21"])
def test_what_is_no_shard_label_is_refused(label: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Expiry.from_shard(label)


# --- layouts and reasons ---------------------------------------------------------------------


def test_layouts_keep_their_size_and_hold_no_gaps() -> None:
    for layout, size in ((QUOTE, 80), (SPOT, 32), (GREEKS, 48)):
        assert layout.itemsize == size
        assert layout.fields is not None
        assert sum(field[0].itemsize for field in layout.fields.values()) == size
        names = layout.names or ()
        assert all(layout[name].byteorder in "<|=" for name in names)


def test_status_labels_are_the_published_reasons() -> None:
    assert [status.label for status in Status] == [
        "ok",
        "no_bid",
        "no_ask",
        "crossed",
        "wide",
        "below_intrinsic",
        "above_bound",
        "no_time_value",
        "expired",
        "stale",
        "no_forward",
        "not_converged",
        "bad_input",
    ]
    assert list(Status) == list(range(13))


def test_updates_start_without_what_the_source_did_not_say() -> None:
    quote = QuoteUpdate(Expiry(date(2026, 8, 19)), 670.0, "C", 5)
    assert np.isnan([quote.bid, quote.ask, quote.last]).all()
    assert (quote.bid_size, quote.ask_size, quote.volume, quote.open_interest) == (-1,) * 4
    assert (quote.seq, SpotUpdate(5, 670.0).seq) == (-1, -1)
    assert not quote.withdrawn


# --- sessions --------------------------------------------------------------------------------


SESSIONS = st.builds(
    Session,
    key=st.text(),
    symbol=st.text(min_size=1, max_size=8),
    feed=st.sampled_from(["simulator", "recording", "tradestation", "cboe"]),
    trading_date=st.dates(),
    open_us=st.integers(-(2**62), 2**62),
    close_us=st.integers(-(2**62), 2**62),
    stale_after_us=st.integers(0, 2**62),
    replay=st.booleans(),
    clock=st.builds(
        MarketClock, st.integers(0, 2**53), st.integers(0, 2**53), st.floats(1e-3, 1e4)
    ),
    source=st.text(),
    resume=st.booleans(),
    epoch=st.integers(0, 2**62),
    ended=st.booleans(),
)


@settings(deadline=None)
@given(SESSIONS)
def test_sessions_round_trip_through_json(session: Session) -> None:
    data = session.to_json()
    assert Session.from_json(data) == session
    assert Session.from_json(data.decode()) == session


def test_a_session_of_an_older_writer_is_read_with_defaults() -> None:
    session = Session.from_json(
        '{"key":"k","symbol":"SPY","feed":"cboe","trading_date":"2026-08-19",'
        '"open_us":1,"close_us":2,"stale_after_us":3,"of_a_newer_writer":4}'
    )
    assert session.trading_date == date(2026, 8, 19)
    assert (session.epoch, session.clock, session.source) == (0, MarketClock(), "")
    assert session.resume
    assert not session.ended


@pytest.mark.parametrize(
    "data", ["", "{}", "[]", '{"key":1}', '{"key":"k","symbol":"S","feed":"magic"}']
)
def test_what_is_no_session_is_refused(data: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        Session.from_json(data)


def test_sessions_and_expiries_cannot_be_changed() -> None:
    expiry = Expiry(date(2026, 8, 19))
    with pytest.raises(AttributeError):
        expiry.expiration += timedelta(days=1)  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize("strike", [float("nan"), -1.0, 0.0, float("inf"), 2_147_484.0])
def test_a_strike_that_names_no_contract_is_refused(strike: float) -> None:
    with pytest.raises(ValueError, match="names no contract"):
        contract_keys(strikes=[670.0, strike], puts=False)


# --- market time -----------------------------------------------------------------------------


def test_market_time_is_wall_time_unless_a_session_says_otherwise() -> None:
    assert MarketClock().market(12_345) == MarketClock().wall(12_345) == 12_345


@given(
    st.integers(0, 2**51), st.integers(0, 2**51), st.floats(0.01, 1e4), st.integers(-(2**40), 2**40)
)
def test_wall_time_of_a_market_instant_and_back(
    wall_us: int, market_us: int, rate: float, later: int
) -> None:
    clock = MarketClock(wall_us, market_us, rate)
    assert clock.market(wall_us) == market_us
    assert clock.market(clock.wall(market_us + later)) == pytest.approx(
        market_us + later, abs=rate + 1
    )
