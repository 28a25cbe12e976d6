"""TD Ameritrade's and Schwab's chain JSON: names, absent numbers, times, what is left out."""

from __future__ import annotations

import json
import math
from datetime import date

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.clock import iso_ms, parse_instant
from common.errors import InputError
from common.feeds.tdameritrade import is_tdameritrade, parse_chain
from common.models import Expiry, key_puts, key_strikes

NOON = parse_instant("2024-05-17T12:00") // 1000  # [ms]


def contract(symbol="SPY   240517C00530000", strike=530.0, **changes):
    row = {
        "symbol": symbol,
        "strikePrice": strike,
        "bid": 1.0,
        "ask": 1.1,
        "last": 1.05,
        "bidSize": 3,
        "askSize": 4,
        "totalVolume": 50,
        "openInterest": 60,
        "volatility": 21.5,
        "delta": 0.5,
        "gamma": 0.04,
        "quoteTimeInLong": NOON,
        "settlementType": "P",
        "multiplier": 100.0,
        "nonStandard": False,
        "mini": False,
    }
    return {**row, **changes}


def document(*calls, puts=(), label="2024-05-17:0", **changes):
    def strikes(rows):
        found = {}
        for row in rows:
            found.setdefault(str(row["strikePrice"]), []).append(row)
        return {label: found}

    chain = {
        "symbol": "SPY",
        "status": "SUCCESS",
        "underlying": None,
        "underlyingPrice": 529.5,
        "callExpDateMap": strikes(calls),
        "putExpDateMap": strikes(puts),
    }
    return {**chain, **changes}


def parse(document, at=None, symbol=None):
    assert is_tdameritrade(document)
    return parse_chain(document, at_us=parse_instant(at) if at else None, symbol=symbol)


def test_a_contract():
    found = parse(document(contract(), puts=[contract("SPY_051724P530.5", 530.5, bid=2.0)]))
    assert (found.symbol, found.spot, found.spot_at) == ("SPY", 529.5, None)
    assert iso_ms(found.as_of) == "2024-05-17T16:00:00.000Z"
    assert found.expiries == [Expiry(date(2024, 5, 17))]
    assert key_strikes(found.quotes["key"]).tolist() == [530.0, 530.5]
    assert key_puts(found.quotes["key"]).tolist() == [False, True]
    assert found.quotes["bid"].tolist() == [1.0, 2.0]
    names = ("ask", "last", "bid_size", "ask_size", "volume", "open_interest")
    assert [found.quotes[name][0] for name in names] == [1.1, 1.05, 3, 4, 50, 60]
    assert {name: column[0] for name, column in found.vendor.items()} == {
        "iv": 0.215,
        "delta": 0.5,
        "gamma": 0.04,
    }
    assert found.option_symbols[0] == "SPY   240517C00530000"


@pytest.mark.parametrize("absent", [-999.0, -999, "NaN", None, "", math.nan])
def test_absent_greeks(absent):
    found = parse(document(contract(volatility=absent, delta=absent, gamma=absent)))
    assert all(math.isnan(column[0]) for column in found.vendor.values())
    assert found.quotes["bid"][0] == 1.0


def test_names_of_the_documentation():
    row = contract()
    for name in ("bid", "ask", "last"):
        row[f"{name}Price"] = row.pop(name)
    quote = parse(document(row)).quotes[0]
    assert (quote["bid"], quote["ask"], quote["last"]) == (1.0, 1.1, 1.05)


@pytest.mark.parametrize(
    "changes",
    [
        {"nonStandard": True},
        {"isNonStandard": True},
        {"mini": True},
        {"isMini": True},
        {"multiplier": 10.0},
        {"multiplier": "NaN"},
        {"symbol": "SPY1  240517C00530000"},
        {"symbol": "SPY7_051724C530"},
        {"symbol": "QQQ_051724C530"},
    ],
)
def test_other_deliverables_are_left_out_and_counted(changes):
    found = parse(document(contract(), contract(strike=531.0, **changes)))
    assert (found.quotes.size, found.left_out, found.unnamed) == (1, 1, 0)


@pytest.mark.parametrize(
    "changes", [{"symbol": None}, {"symbol": "??"}, {"strikePrice": 0}, {"strikePrice": "x"}]
)
def test_rows_that_name_no_contract_are_counted(changes):
    found = parse(document(contract(), contract(**changes)))
    assert (found.quotes.size, found.left_out, found.unnamed) == (1, 0, 1)


@pytest.mark.parametrize(
    "broken",
    [
        {"callExpDateMap": [1]},
        {"callExpDateMap": {"2024-05-17:0": 5}},
        {"callExpDateMap": {"2024-05-17:0": {"530.0": None}}},
        {"callExpDateMap": {"2024-05-17:0": {"530.0": [7]}}},
        {"callExpDateMap": {"soon": {"530.0": [contract()]}}},
    ],
)
def test_maps_that_are_none_are_counted(broken):
    found = parse(document(puts=[contract("SPY_051724P530")], **broken))
    assert (found.quotes.size, found.unnamed) == (1, 1)


@pytest.mark.parametrize(
    ("symbol", "name", "style", "settlement"),
    [
        ("$SPX.X", "SPX_051724C5300", " ", "AM"),
        ("$SPX.X", "SPXW_051724C5300", " ", "PM"),
        ("$SPX", "SPX   240517C05300000", "A", "AM"),
        ("$SPX", "SPXW  240517C05300000", "P", "PM"),
        ("$SPX", "SPXW  240517C05300000", None, "PM"),
        ("$SPX", "SPX   240517C05300000", "P", "PM"),  # what the broker says comes first
        ("SPY", "SPY_051724C530", "A", "AM"),
        ("$NDX", "NDXP  240517C05300000", "P", "PM"),
        ("BRK/B", "BRKB  240517C00530000", "P", "PM"),
    ],
)
def test_symbols_and_settlement(symbol, name, style, settlement):
    found = parse(document(contract(name, settlementType=style), symbol=symbol))
    assert [expiry.settlement for expiry in found.expiries] == [settlement]
    assert found.quotes.size == 1


def test_one_strike_of_both_styles():
    rows = [
        contract(f"{root:<6}240517C05300000", 5300.0, settlementType=style)
        for root, style in (("SPX", "A"), ("SPXW", "P"))
    ]
    found = parse(document(*rows, symbol="$SPX"))
    assert found.symbol == "SPX"
    assert found.expiries == [Expiry(date(2024, 5, 17), "AM"), Expiry(date(2024, 5, 17), "PM")]
    assert found.quotes.size == 2


def test_every_quote_has_its_own_time():
    rows = [
        contract(strike=529.0, quoteTimeInLong=NOON - 60_000),
        contract(strike=530.0),
        contract(strike=531.0, quoteTimeInLong=0),
        contract(strike=532.0, quoteTimeInLong=1e300),
    ]
    found = parse(document(*rows))
    assert found.as_of == NOON * 1000
    assert (found.as_of - found.quotes["time"]).tolist() == [60_000_000, 0, 0, 0]


@pytest.mark.parametrize(
    ("underlying", "price", "spot", "spot_at"),
    [
        (None, 529.5, 529.5, None),
        ({"last": 530.0, "mark": 531.0, "quoteTime": NOON}, 529.5, 529.5, None),
        ({"last": 530.0, "mark": 531.0, "quoteTime": NOON + 1}, None, 530.0, NOON + 1),
        ({"last": 0.0, "mark": 531.0, "tradeTime": NOON + 9, "quoteTime": 1}, 0, 531.0, NOON + 9),
        ({"close": 532.0, "quoteTime": "x"}, "NaN", 532.0, None),
    ],
)
def test_price_of_the_underlying(underlying, price, spot, spot_at):
    found = parse(document(contract(), underlying=underlying, underlyingPrice=price))
    assert (found.spot, found.spot_at) == (spot, spot_at and spot_at * 1000)


def test_time_of_a_chain_without_quote_times():
    given_ = document(contract(quoteTimeInLong=None))
    with pytest.raises(InputError, match="carries no time; give --at"):
        parse(given_)
    assert iso_ms(parse(given_, "2024-05-17T12:00").as_of) == "2024-05-17T16:00:00.000Z"
    given_["underlying"] = {"quoteTime": NOON}
    assert parse(given_).as_of == NOON * 1000
    with pytest.raises(InputError, match="at or before --at"):
        parse(given_, "2024-05-17T11:00")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"symbol": None}, "give --symbol"),
        ({"symbol": "QQQ"}, "no options on QQQ"),
        ({"callExpDateMap": {}}, "no options on SPY"),
        ({"callExpDateMap": {}, "status": "FAILED"}, "status FAILED"),
        ({"underlyingPrice": None}, "underlyingPrice"),
        ({"underlyingPrice": -1, "underlying": {"last": "x"}}, "underlyingPrice"),
    ],
)
def test_what_a_chain_must_hold(changes, words):
    with pytest.raises(InputError, match=words):
        parse(document(contract(), **changes))
    assert parse(document(contract(), symbol=None), symbol="SPY").symbol == "SPY"


def test_what_is_none():
    for other in ([], {}, {"callExpDateMap": None}, {"putExpDateMap": []}, {"options": []}, 5):
        assert not is_tdameritrade(other)


WHOLE = orjson.dumps(document(contract(), puts=[contract("SPY_051724P530")]))
VALUES = st.none() | st.booleans() | st.floats() | st.text(max_size=4) | st.integers()
JSON = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
)


@given(st.data())
def test_any_value_in_any_place(data):
    """A snapshot or one clear line, whatever stands where a value is expected."""
    document = json.loads(WHOLE)
    place = document
    for _ in range(data.draw(st.integers(0, 4))):
        inner = [key for key, value in place.items() if isinstance(value, dict)]
        if not inner:
            break
        place = place[data.draw(st.sampled_from(sorted(inner)))]
    rows = [value[0] for value in place.values() if isinstance(value, list) and value]
    place = rows[0] if rows and data.draw(st.booleans()) else place
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(JSON)
    if not is_tdameritrade(document):
        return
    try:
        found = parse_chain(document, at_us=None, symbol=None)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017  either outcome is fine
    else:
        assert found.quotes.size + found.unnamed + found.left_out in {1, 2, 3, 4}
        assert found.spot > 0.0
