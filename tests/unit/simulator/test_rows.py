"""Chain rows: their fields, the types of these, and what is left out."""

from __future__ import annotations

import math
from datetime import date
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.clock import SECOND, YEAR_SECONDS, parse_instant, settlement_us
from common.market_model import MarketModel
from common.quant import blackscholes
from workers.simulator.desk import Desk
from workers.simulator.model_market import ModelMarket
from workers.simulator.rows import FIELDS, GREEK_FIELDS, WHOLE_FIELDS, ChainRows, number_text

DAY = date(2026, 11, 20)
AT_US = parse_instant("2026-11-20T14:30:00")
DOCUMENTED = set(
    "Delta Theta Gamma Rho Vega ImpliedVolatility IntrinsicValue ExtrinsicValue TheoreticalValue "
    "ProbabilityITM ProbabilityOTM ProbabilityBE ProbabilityITM_IV ProbabilityOTM_IV "
    "ProbabilityBE_IV TheoreticalValue_IV StandardDeviation DailyOpenInterest Ask Bid Mid AskSize "
    "BidSize Close High Last Low NetChange NetChangePct Open PreviousClose Volume Side Strikes "
    "Legs".split()
)


@pytest.fixture(scope="module")
def desk() -> Desk:
    """SPY in the afternoon."""
    return Desk(ModelMarket(7).day("SPY", DAY), AT_US)


def rows(desk: Desk, *, greeks: bool = True) -> list[dict[str, Any]]:
    """All rows of the desk."""
    return [
        orjson.loads(line) for line in desk.lines(np.arange(desk.contracts.size), greeks=greeks)
    ]


def test_a_full_row_has_every_documented_field_and_no_other(desk: Desk) -> None:
    full = max(rows(desk), key=len)
    assert set(full) == DOCUMENTED
    assert "Symbol" not in full


def test_prices_and_greeks_are_strings_and_counts_are_integers(desk: Desk) -> None:
    for row in rows(desk):
        for name in set(FIELDS) & set(row):
            if name in WHOLE_FIELDS:
                assert type(row[name]) is int, name
            else:
                assert isinstance(row[name], str), name
                assert math.isfinite(float(row[name]))
                assert "e" not in row[name]
                assert not row[name].startswith("-0") or float(row[name]) < 0
                assert not ("." in row[name] and row[name].endswith("0")), (name, row[name])


def test_a_row_names_its_contract_in_its_legs(desk: Desk) -> None:
    place = desk.contracts.places["SPY 261123P700"]
    row = rows(desk)[place]
    assert row["Side"] == "Put"
    assert row["Strikes"] == ["700"]
    assert row["Legs"] == [
        {
            "Symbol": "SPY 261123P700",
            "Ratio": 1,
            "StrikePrice": "700",
            "Expiration": "2026-11-23T00:00:00Z",
            "OptionType": "Put",
            "AssetType": "StockOption",
        }
    ]


def test_options_on_an_index_are_index_options() -> None:
    desk = Desk(ModelMarket(7).day("SPX", DAY), AT_US)
    leg = rows(desk)[0]["Legs"][0]
    assert leg["AssetType"] == "IndexOption"
    assert leg["Symbol"].startswith("SPXW 261120C")


def test_without_greeks_only_their_fields_are_gone(desk: Desk) -> None:
    for full, plain in zip(rows(desk), rows(desk, greeks=False), strict=True):
        assert set(plain) == set(full) - set(GREEK_FIELDS)
        assert all(plain[name] == full[name] for name in plain)


def test_greeks_are_those_of_the_true_volatility(desk: Desk) -> None:
    model = MarketModel(symbol="SPY", seed=7, trading_date=DAY)
    vols = np.concatenate(list(model.implied_vols(AT_US).values()))
    contracts = desk.contracts
    for place, row in enumerate(rows(desk)):
        expiry = contracts.expiries[contracts.expiry_index[place]]
        years = (settlement_us(expiry) - AT_US) / (YEAR_SECONDS * SECOND)
        true = blackscholes.greeks(
            spots=model.spot(AT_US),
            forwards=model.forward(expiry, AT_US),
            strikes=contracts.strikes[place],
            years=years,
            sigmas=vols[place],
            rates=model.rate,
            puts=contracts.puts[place],
        )
        for name, value in [
            ("Delta", true.delta),
            ("Gamma", true.gamma),
            ("Theta", true.theta),
            ("Vega", 0.01 * true.vega),
            ("Rho", true.rho),
            ("ImpliedVolatility", vols[place]),
            ("StandardDeviation", vols[place] * math.sqrt(years)),
        ]:
            assert float(row[name]) == pytest.approx(float(value), abs=0.51e-4), name


def test_values_and_probabilities_hang_together(desk: Desk) -> None:
    for row in rows(desk):
        number = {name: float(row[name]) for name in FIELDS if name in row}
        assert number["Bid"] <= number["TheoreticalValue_IV"] + 1e-4 <= number["Ask"] + 2e-4
        mid = 0.5 * (number["Bid"] + number["Ask"])
        assert number["Mid"] == pytest.approx(mid, abs=1e-4)
        total = number["IntrinsicValue"] + number["ExtrinsicValue"]
        assert total == pytest.approx(mid, abs=2e-4)
        for suffix in ("", "_IV"):
            inside, outside = number[f"ProbabilityITM{suffix}"], number[f"ProbabilityOTM{suffix}"]
            assert inside + outside == pytest.approx(1.0, abs=1.1e-4)
            assert 0.0 <= number[f"ProbabilityBE{suffix}"] <= inside <= 1.0
        if "Last" in row and "PreviousClose" in row:
            change = number["Last"] - number["PreviousClose"]
            assert number["NetChange"] == pytest.approx(change, abs=1e-4)
            share = change / number["PreviousClose"]
            assert number["NetChangePct"] == pytest.approx(share, abs=1e-4)


def test_a_settled_contract_has_no_greeks() -> None:
    close = parse_instant("2026-11-20T16:00:00")
    desk = Desk(ModelMarket(7).day("SPY", DAY), close)
    first, last = rows(desk)[0], rows(desk)[-1]
    assert not {"Delta", "ImpliedVolatility", "ProbabilityITM", "StandardDeviation"} & set(first)
    assert {"Bid", "Ask", "IntrinsicValue", "Volume"} <= set(first)
    assert "Delta" in last  # of the monthly expiration


# --- rendering -------------------------------------------------------------------------------

values = st.one_of(
    st.just(float("nan")),
    st.integers(-1, 10_000_000).map(float),
    st.floats(-5000, 5000),
    st.sampled_from([0.0, -0.0, 1e-9, -1e-9, 0.00005, 0.0001, 1e15, float("inf")]),
)
counts = st.one_of(st.just(float("nan")), st.integers(0, 2**31).map(float))
NAMES = ("Delta", "Bid", "Last", "Mid", "Volume")
tables = st.lists(st.tuples(values, values, values, values, counts), min_size=1, max_size=12)


def written(rows: ChainRows, table: list[tuple[float, ...]]) -> list[bytes]:
    """The lines of a table, each with its number behind."""
    columns = {name: np.array([row[at] for row in table]) for at, name in enumerate(NAMES)}
    return rows.lines(columns, [f'"Row":{at}}}\n'.encode() for at in range(len(table))])


@given(tables)
def test_each_row_holds_its_own_numbers_and_lacks_what_is_not_finite(
    table: list[tuple[float, ...]],
) -> None:
    lines = written(ChainRows(), table)
    assert all(line.endswith(b"}\n") and line.count(b"\n") == 1 for line in lines)
    for at, (line, row) in enumerate(zip(lines, table, strict=True)):
        found = orjson.loads(line)
        assert found.pop("Row") == at
        wanted = {
            name: value for name, value in zip(NAMES, row, strict=True) if math.isfinite(value)
        }
        assert found.keys() == wanted.keys()
        for name, value in wanted.items():
            assert float(found[name]) == pytest.approx(value, abs=0.51e-4)


@given(st.lists(tables, min_size=2, max_size=5), st.integers(1, 20))
def test_lines_do_not_depend_on_what_was_written_before(
    found: list[list[tuple[float, ...]]], kept: int
) -> None:
    rows = ChainRows(kept)
    for table in [*found, *found]:
        assert written(rows, table) == written(ChainRows(), table)
        assert len(rows) <= max(kept, len(table))


def test_no_rows_give_no_lines() -> None:
    assert ChainRows().lines({"Bid": np.array([])}, []) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [(672.0, "672"), (0.5, "0.5"), (589.39, "589.39"), (-0.00001, "0"), (1e6, "1000000")],
)
def test_numbers_are_written_in_their_shortest_form(value: float, text: str) -> None:
    assert number_text(value) == text
