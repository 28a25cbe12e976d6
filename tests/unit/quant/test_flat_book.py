"""The flat-volatility reference book to its last digit, through the whole of levels."""

from __future__ import annotations

import csv
from datetime import UTC, date, datetime

import numpy as np
import pytest

from common.board import ShardState
from common.chain import Solution, years_left
from common.clock import from_datetime
from common.levels import check_invariants, evaluate
from common.models import QUOTE, Expiry, Status, contract_keys
from common.settings import QuantParameters

SPOT, RATE, YIELD, SIGMA = 500.0, 0.045, 0.015, 0.23
AS_OF = from_datetime(datetime(2026, 1, 15, 21, 0, tzinfo=UTC))  # 16:00 New York: whole days
PARAMETERS = QuantParameters(rate=RATE, dividend_yield=YIELD)


def flat_book(folder):
    with (folder / "books" / "flat_vol_book.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    shards = []
    for day in sorted({row["expiration"] for row in rows}):
        chosen = [row for row in rows if row["expiration"] == day]
        quotes = np.zeros(len(chosen), QUOTE)
        quotes["key"] = contract_keys(
            strikes=[float(row["strike"]) for row in chosen],
            puts=[row["right"] == "P" for row in chosen],
        )
        quotes["open_interest"] = [int(row["open_interest"]) for row in chosen]
        quotes["time"], quotes["spot"], quotes["volume"] = AS_OF, SPOT, -1
        quotes = np.sort(quotes, order="key")
        expiry = Expiry(date.fromisoformat(day))
        basis = float(np.exp((RATE - YIELD) * years_left(times=AS_OF, expiry=expiry)))
        solution = Solution(
            iv=np.full(quotes.size, SIGMA),
            status=np.full(quotes.size, Status.OK, dtype=np.uint8),
            side=np.full(quotes.size, b"B", dtype="S1"),
            delta=np.full(quotes.size, np.nan),
            gamma=np.full(quotes.size, np.nan),
            basis=basis,
            forward_source="carry",
            forward_residual=float("nan"),
            parity_pairs=0,
        )
        shards.append(ShardState(expiry, quotes, solution))
    return shards


def levels_of(folder, **changes):
    given = {"spot": SPOT, "as_of": AS_OF, "parameters": PARAMETERS, **changes}
    return evaluate(symbol="BOOK", shards=flat_book(folder), **given)


@pytest.mark.data
def test_reference_figures(market_data):
    levels = levels_of(market_data)
    assert round(levels.net_gex, 2) == -128_769_694.44
    assert round(levels.totals.dex, 2) == 2_919_968_651.48
    assert round(levels.totals.vex, 2) == 18_658_486.80
    assert round(levels.zero_gamma, 5) == 519.50221
    assert (levels.walls.call, levels.walls.put) == (520.0, 500.0)
    assert levels.regime == "negative"
    assert check_invariants(levels) == []


@pytest.mark.data
def test_the_expired_contracts_do_not_count(market_data):
    levels = levels_of(market_data)
    assert levels.quality.rejected == {"expired": 2}
    assert levels.quality.contracts == 38
    assert [row.dte for row in levels.expirations] == [7, 35]


@pytest.mark.data
def test_unknown_volume_is_null_not_zero(market_data):
    document = levels_of(market_data).to_json()
    assert document["levels"]["net_volume_gex"] is None
    assert document["levels"]["put_call_volume"] is None
    assert document["levels"]["net_gex_0dte"] is None


@pytest.mark.data
def test_short_everything(market_data):
    short = levels_of(market_data, parameters=PARAMETERS.model_copy(update={"sign": "short_all"}))
    table = levels_of(market_data).strikes
    gross = float(np.sum(np.abs(table.call_gex)) + np.sum(np.abs(table.put_gex)))
    assert short.net_gex == pytest.approx(-gross, rel=1e-12)
    assert np.isnan(short.zero_gamma)
    assert short.to_json()["levels"]["zero_gamma"] is None
    assert short.flip.roots.size == 0
    assert check_invariants(short) == []
