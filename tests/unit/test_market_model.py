"""The market model: reproducible bit for bit; its chain, open interest and volume."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from common.clock import SECOND
from common.market_model import MarketModel, listed_expiries
from common.models import QUOTE, Expiry, FloatArray, Rows, key_puts, key_strikes

MONDAY = date(2026, 11, 23)
HALF_DAY = date(2026, 11, 27)
HOUR = 3600 * SECOND
SHARES = (0.0, 0.1, 0.5, 0.9, 0.999)


@pytest.fixture(scope="module")
def model() -> MarketModel:
    """SPY on a Monday with five distinct expiries."""
    return MarketModel(symbol="SPY", seed=20261123, trading_date=MONDAY)


def instant(model: MarketModel, share: float) -> int:
    """The instant at which ``share`` of the session has passed [us]."""
    return model.path.open_us + int(share * (model.path.close_us - model.path.open_us))


def everything(model: MarketModel, at_us: int) -> bytes:
    """All that the model says about an instant, as bytes."""
    parts = [rows.tobytes() for rows in model.quotes(at_us).values()]
    parts += [vols.tobytes() for vols in model.implied_vols(at_us).values()]
    parts += [np.float64(model.forward(each, at_us)).tobytes() for each in model.expiries]
    return b"".join([*parts, np.float64(model.spot(at_us)).tobytes()])


def columns(rows: Rows) -> tuple[FloatArray, FloatArray]:
    """Strikes [$] and signs (+1 call, -1 put) of rows."""
    return key_strikes(rows["key"]), np.where(key_puts(rows["key"]), -1.0, 1.0)


# --- reproducibility -------------------------------------------------------------------------


def test_same_arguments_give_the_same_bits_whatever_was_asked_before() -> None:
    first = MarketModel(symbol="SPY", seed=5, trading_date=MONDAY)
    instants = [instant(first, share) for share in (*SHARES, 1.0)]
    forwards = {at_us: everything(first, at_us) for at_us in instants}

    MarketModel(symbol="QQQ", seed=5, trading_date=HALF_DAY).quotes(instants[0])
    second = MarketModel(symbol="SPY", seed=5, trading_date=MONDAY)
    backwards = {at_us: everything(second, at_us) for at_us in reversed(instants)}
    again = {at_us: everything(first, at_us) for at_us in instants[::2]}

    assert backwards == forwards
    assert again == {at_us: forwards[at_us] for at_us in instants[::2]}


def test_rows_handed_out_are_the_callers_own(model: MarketModel) -> None:
    at_us = instant(model, 0.5)
    before = everything(model, at_us)
    for rows in model.quotes(at_us).values():
        rows["open_interest"] = -5
        rows["bid"] = 1e9
    assert everything(model, at_us) == before


@pytest.mark.parametrize(
    ("symbol", "seed", "day"),
    [("QQQ", 5, MONDAY), ("SPY", 6, MONDAY), ("SPY", 5, date(2026, 11, 24))],
)
def test_symbol_seed_and_date_each_matter(symbol: str, seed: int, day: date) -> None:
    one = MarketModel(symbol="SPY", seed=5, trading_date=MONDAY)
    other = MarketModel(symbol=symbol, seed=seed, trading_date=day)
    ours = [one.spot(instant(one, share)) for share in SHARES]
    theirs = [other.spot(instant(other, share)) for share in SHARES]
    assert ours != theirs


# --- the chain -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (MONDAY, ["2026-11-23", "2026-11-24", "2026-11-27", "2026-12-04", "2026-12-18"]),
        # A third Friday: it is this week's and the monthly one; the next month's follows.
        (date(2026, 11, 20), ["2026-11-20", "2026-11-23", "2026-11-27", "2026-12-18"]),
        # Before Thanksgiving the next trading day is the half-day Friday.
        (date(2026, 11, 25), ["2026-11-25", "2026-11-27", "2026-12-04", "2026-12-18"]),
        # Good Friday 2026-04-03: that week ends on Thursday.
        (date(2026, 3, 30), ["2026-03-30", "2026-03-31", "2026-04-02", "2026-04-10", "2026-04-17"]),
        (date(2026, 4, 2), ["2026-04-02", "2026-04-06", "2026-04-10", "2026-04-17"]),
        # Good Friday 2022-04-15 was a third Friday: the monthly one is on Thursday ...
        (date(2022, 4, 12), ["2022-04-12", "2022-04-13", "2022-04-14", "2022-04-22"]),
        # ... on which May's comes next.
        (date(2022, 4, 14), ["2022-04-14", "2022-04-18", "2022-04-22", "2022-05-20"]),
        # Into the next year.
        (date(2026, 12, 31), ["2026-12-31", "2027-01-04", "2027-01-08", "2027-01-15"]),
    ],
)
def test_expiries_follow_the_trading_calendar(day: date, expected: list[str]) -> None:
    assert [each.shard for each in listed_expiries(day)] == expected


def test_a_day_without_trading_has_no_model() -> None:
    with pytest.raises(ValueError, match="2026-11-26 is no trading day"):
        MarketModel(symbol="SPY", seed=1, trading_date=date(2026, 11, 26))


def test_strikes_stand_a_dollar_apart_within_six_per_cent(model: MarketModel) -> None:
    level = model.path.previous_close
    for expiry, keys in model.contracts.items():
        strikes, puts = key_strikes(keys), key_puts(keys)
        assert (np.diff(keys.astype(np.int64)) > 0).all()
        assert (strikes[::2] == strikes[1::2]).all()
        assert not puts[::2].any()
        assert puts[1::2].all()
        step = 5.0 if expiry.expiration >= date(2026, 12, 18) else 1.0
        assert set(np.diff(strikes[::2])) == {step}
        assert 0.94 * level <= strikes.min() < 0.94 * level + step
        assert 1.06 * level - step < strikes.max() <= 1.06 * level
    assert 600 < sum(keys.size for keys in model.contracts.values()) < 800


def test_quotes_come_as_rows_of_the_contracts(model: MarketModel) -> None:
    at_us = instant(model, 0.25)
    quotes = model.quotes(at_us)
    assert tuple(quotes) == model.expiries
    for expiry, rows in quotes.items():
        assert rows.dtype == QUOTE
        assert (rows["key"] == model.contracts[expiry]).all()
        assert set(rows["time"]) == {at_us}
        assert set(rows["seq"]) == {-1}
        assert set(rows["spot"]) == {model.spot(at_us)}


def test_open_interest_is_constant_lumpy_and_on_its_side(model: MarketModel) -> None:
    opening, closing = model.quotes(model.path.open_us), model.quotes(model.path.close_us)
    for expiry, rows in opening.items():
        interest = rows["open_interest"]
        assert (interest == closing[expiry]["open_interest"]).all()
        assert (interest >= 0).all()
        strikes, signs = columns(rows)
        offset = np.log(strikes / model.path.previous_close)
        below, above = (offset < -0.01) & (offset > -0.04), (offset > 0.01) & (offset < 0.04)
        assert interest[below & (signs < 0)].sum() > interest[below & (signs > 0)].sum()
        assert interest[above & (signs > 0)].sum() > interest[above & (signs < 0)].sum()
    front = opening[model.expiries[0]]
    strikes, _ = columns(front)
    tens, fives = strikes % 10 == 0, strikes % 10 == 5
    others = ~(tens | fives)
    means = [front["open_interest"][part].mean() for part in (tens, fives, others)]
    assert means[0] > 1.5 * means[1] > 1.5 * 1.2 * means[2] > 0


def test_open_interest_of_a_contract_changes_a_little_from_date_to_date(
    model: MarketModel,
) -> None:
    tomorrow = MarketModel(symbol="SPY", seed=20261123, trading_date=date(2026, 11, 24))
    friday = Expiry(HALF_DAY)
    ours, theirs = (each.quotes(each.path.open_us)[friday] for each in (model, tomorrow))
    _, mine, other = np.intersect1d(ours["key"], theirs["key"], return_indices=True)
    first = np.log(ours["open_interest"][mine] + 1.0)
    second = np.log(theirs["open_interest"][other] + 1.0)
    assert (first != second).any()
    assert np.corrcoef(first, second)[0, 1] > 0.9


def test_volume_starts_at_zero_and_never_falls(model: MarketModel) -> None:
    before = {each: np.zeros(keys.size) for each, keys in model.contracts.items()}
    for share in np.linspace(0.0, 1.0, 131):
        for expiry, rows in model.quotes(instant(model, float(share))).items():
            assert (rows["volume"] >= before[expiry]).all()
            before[expiry] = rows["volume"]
            if share == 0.0:
                assert (rows["volume"] == 0).all()
                assert np.isnan(rows["last"]).all()
    later = model.quotes(model.path.close_us + HOUR)
    assert all((later[each]["volume"] == before[each]).all() for each in model.expiries)


def test_volume_grows_by_whole_steps_across_the_edge_of_a_bin(model: MarketModel) -> None:
    edge = model.path.open_us + 4 * 900 * SECOND
    around = [model.quotes(edge + offset) for offset in (-1, 0, 1)]
    for expiry in model.expiries:
        moves = np.diff([quotes[expiry]["volume"] for quotes in around], axis=0)
        assert set(moves.ravel()) <= {0, 1}


def test_volume_is_busy_at_both_ends_and_near_the_money(model: MarketModel) -> None:
    front = model.expiries[0]
    at = [model.quotes(instant(model, step / 13))[front]["volume"].sum() for step in range(14)]
    halves = np.diff(at)
    assert halves[0] > 1.5 * halves[6] < halves[12] / 1.5
    rows = model.quotes(model.path.close_us)[front]
    distance = np.abs(columns(rows)[0] / model.path.previous_close - 1.0)
    near, far = rows["volume"][distance < 0.01], rows["volume"][distance > 0.04]
    assert near.mean() > 20 * far.mean()
