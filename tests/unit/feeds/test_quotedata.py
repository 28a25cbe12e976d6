"""Cboe's quote table: its head in every dress, its rows, its time, and damage of any kind."""

from __future__ import annotations

import math
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.clock import iso_ms, parse_instant
from common.errors import InputError
from common.feeds.files import load_snapshot
from common.feeds.quotedata import is_quotedata, parse_quotedata
from common.models import Expiry, key_puts, key_strikes

SIDE = "Last Sale,Net,Bid,Ask,Volume,IV,Delta,Gamma,Open Interest"
HEADER = f"Expiration Date,Calls,{SIDE},Strike,Puts,{SIDE}"
NAME = "SPDR S&P 500 ETF Trust,Last: 557.65,Change:  3.93"
DATE = '"Date: May 1, 2025 at 10:15 AM EDT",Bid: 557.55,Ask: 557.62,Size: 7*1,"Volume: 60,477,472"'


def row(
    strike=557.0, root="SPY", digits="250501", call="1,0,2.5,2.6,7,0.21,0.52,0.04,30", put=None
):
    milli = f"{round(strike * 1000):08d}"
    put = put or "2,0,1.9,2.1,8,0.22,-0.48,0.041,40"
    names = (f"{root}{digits}{right}{milli}" for right in "CP")
    return "Thu May 01 2025,{},{},{:.2f},{},{}".format(*order(names, call, strike, put))


def order(names, call, strike, put):
    call_name, put_name = names
    return call_name, call, strike, put_name, put


def table(*rows, head=("", NAME, DATE, HEADER), end="\n"):
    return end.join([*head, *(rows or (row(),))]) + end


def parse(text, at=None, symbol=None):
    assert is_quotedata(text)
    return parse_quotedata(text, at_us=parse_instant(at) if at else None, symbol=symbol)


def test_a_row_is_a_call_and_a_put():
    found = parse(table())
    assert (found.symbol, found.spot, iso_ms(found.as_of)) == (
        "SPY",
        557.65,
        "2025-05-01T14:00:00.000Z",
    )
    assert found.expiries == [Expiry(date(2025, 5, 1))]
    assert key_strikes(found.quotes["key"]).tolist() == [557.0, 557.0]
    assert key_puts(found.quotes["key"]).tolist() == [False, True]
    values = {name: found.quotes[name].tolist() for name in ("bid", "ask", "last", "volume")}
    assert values == {"bid": [2.5, 1.9], "ask": [2.6, 2.1], "last": [1, 2], "volume": [7, 8]}
    assert found.quotes["open_interest"].tolist() == [30, 40]
    assert found.quotes["bid_size"].tolist() == [-1, -1]
    assert {name: column.tolist() for name, column in found.vendor.items()} == {
        "iv": [0.21, 0.22],
        "delta": [0.52, -0.48],
        "gamma": [0.04, 0.041],
    }
    assert found.option_symbols == ["SPY250501C00557000", "SPY250501P00557000"]


PADDED = "," * 19
UNQUOTED = "Date: May 1, 2025 at 10:15 AM EDT,Bid: 557.55,Ask: 557.62,Size: 7*1,Volume: 60"


@pytest.mark.parametrize(
    "text",
    [
        table(head=(NAME, DATE, HEADER)),
        table(head=("---Example Data---", NAME, DATE, HEADER)),
        table(head=(NAME + PADDED, DATE + PADDED, HEADER)),
        table(row() + ",,", head=("", NAME, DATE, HEADER + ",,")),
        table(head=("", NAME, UNQUOTED, HEADER)),
        table(head=("", NAME, "Date: 1 de mayo de 2025 10:15 GMT-4,Bid: 1", HEADER)),
        table(head=("", NAME, '"Date: May 1, 2025, 10:15 AM EDT"', HEADER)),
        table(head=("", f'"{NAME}"', DATE, HEADER)),
        table(head=("", NAME, DATE, ",".join(f'"{name}"' for name in HEADER.split(",")))),
        table(end="\r\n"),
        table() + "\n\n,,,\n",
        "\ufeff" + table(),
    ],
)
def test_heads(tmp_path, text):
    path = tmp_path / "any.name"
    path.write_text(text, encoding="utf-8", newline="")
    found = load_snapshot(path, at_us=None, symbol=None)
    assert (found.spot, found.quotes.size, found.unnamed) == (557.65, 2, 0)
    assert iso_ms(found.as_of) == "2025-05-01T14:00:00.000Z"


def test_thousands_in_the_price():
    head = ("", '"S&P 500 INDEX","Last: 4,505.10","Change: 1"', DATE, HEADER)
    assert parse(table(head=head)).spot == 4505.10


@pytest.mark.parametrize(
    ("made", "as_of", "spot_at"),
    [
        ("May 1, 2025 at 10:15 AM EDT", "2025-05-01T14:00", None),
        ("May 1, 2025 at 4:14 PM EDT", "2025-05-01T19:59", None),
        ("May 1, 2025 at 4:15 PM EDT", "2025-05-01T20:00", None),
        ("May 1, 2025 at 4:49 PM EDT", "2025-05-01T20:00", None),
        ("May 1, 2025 at 11:59 PM EDT", "2025-05-01T20:00", None),
        ("May 1, 2025 at 9:45 AM EDT", "2025-05-01T13:30", None),
        ("May 1, 2025 at 8:28 AM EDT", "2025-04-30T20:00", "2025-05-01T12:13"),
        ("May 1, 2025 at 12:05 AM EDT", "2025-04-30T20:00", None),  # 15 minutes ago: yesterday
        ("May 4, 2025 at 3:00 PM EDT", "2025-05-02T20:00", None),  # Sunday
        ("May 5, 2025 at 7:00 AM EDT", "2025-05-02T20:00", "2025-05-05T10:45"),
        ("April 18, 2025 at 12:00 PM EDT", "2025-04-17T20:00", None),  # Good Friday
        ("July 3, 2024 at 2:00 PM EDT", "2024-07-03T17:00", None),  # early close
    ],
)
def test_market_time(made, as_of, spot_at):
    head = ("", NAME, f'"Date: {made}",Bid: 1', HEADER)
    found = parse(table(head=head))
    assert iso_ms(found.as_of)[:16] == as_of
    assert (found.spot_at and iso_ms(found.spot_at)[:16]) == spot_at
    index = parse(table(row(root="SPXW"), head=head))
    assert (iso_ms(index.as_of)[:16], index.spot_at) == (as_of, None)  # it rests at night


def test_at():
    assert parse(table(), "2025-05-01T12:00").as_of == parse_instant("2025-05-01T10:00")
    with pytest.raises(InputError, match="at or before --at: the chain is of 2025-05-01T14:00"):
        parse(table(), "2025-05-01T09:59")
    for line in (
        "Date: soon,Bid: 1",
        "Date: ,Bid: 1",
        "Bid: 1",
        "Date: May 1 2026 10:15 AM,Bid: 1",
    ):
        text = table(head=("", NAME, line, HEADER))
        with pytest.raises(InputError, match="give --at"):
            parse(text)
        assert parse(text, "2025-05-01T12:00").as_of == parse_instant("2025-05-01T12:00")


def test_roots_give_symbol_and_settlement():
    rows = [row(4500.0, root, "230915") for root in ("SPX", "SPXW", "SPXW")]
    rows += [row(4505.0, "SPXW", "230915"), row(100.0, "SPY1", "230915")]
    found = parse(table(*rows), "2023-09-14T12:00")
    assert found.symbol == "SPX"
    assert [expiry.settlement for expiry in found.expiries] == ["AM", "PM"]
    assert (found.quotes.size, found.left_out, found.unnamed) == (6, 2 + 2, 0)
    assert parse(table(*rows), "2023-09-14T12:00", "SPY1").quotes.size == 2
    with pytest.raises(InputError, match="no options on QQQ"):
        parse(table(*rows), symbol="QQQ")


@pytest.mark.parametrize(
    ("bad", "unnamed"),
    [
        (row(560.0)[:60], 2),
        (row(560.0) + ",7", 2),
        (row(560.0).replace("2.5,2.6", "2.5,1,002.6"), 2),  # thousands push the cells aside
        (row(560.0).replace("560.00", "565.00"), 2),
        (row(560.0).replace("560.00", "abc"), 2),
        (row(560.0, digits="251301"), 2),
        (row(560.0).replace("SPY250501C00560000", "SPY rubbish"), 1),
        (row(560.0).replace("SPY250501P00560000", ""), 1),
        ("rubbish", 2),
    ],
)
def test_rows_that_name_no_contract_are_counted(bad, unnamed):
    found = parse(table(row(), bad))
    assert (found.unnamed, found.quotes.size) == (unnamed, 4 - unnamed)


def test_numbers_that_are_none():
    found = parse(table(row(call="x,,abc,,-,nan,,inf,-3")))
    quote = found.quotes[0]
    assert (quote["bid"], quote["volume"], quote["open_interest"]) == (-math.inf, -1, -1)
    assert math.isnan(quote["ask"])
    assert all(math.isnan(column[0]) for column in found.vendor.values())
    assert found.quotes[1]["bid"] == 1.9


def test_columns_go_by_name():
    side = "Gamma,Open Interest,Ask,Bid,IV,Delta"
    header = f"Calls,{side},Strike,Puts,{side}"
    cells = "0.04,30,2.6,2.5,0.21,0.52"
    found = parse(
        table(
            f"SPY250501C00557000,{cells},557,SPY250501P00557000,{cells}",
            head=("", NAME, DATE, header),
        )
    )
    assert (found.quotes["bid"].tolist(), found.vendor["gamma"].tolist()) == ([2.5] * 2, [0.04] * 2)
    assert (found.quotes["volume"][0], math.isnan(found.quotes["last"][0])) == (-1, True)


def test_without_greeks():
    plain = "Bid,Ask,Open Interest"
    header = f"Calls,{plain},Strike,Puts,{plain}"
    cells = "2.5,2.6,30"
    found = parse(
        table(
            f"SPY250501C00557000,{cells},557,SPY250501P00557000,{cells}",
            head=("", NAME, DATE, header),
        )
    )
    assert found.vendor == {}
    assert found.quotes["open_interest"].tolist() == [30, 30]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (table(head=("", NAME, DATE, HEADER.replace("Bid", "Bud", 1))), "column Bid of the Calls"),
        (table(head=("", NAME, DATE, HEADER[: HEADER.rindex(",")])), "Open Interest of the Puts"),
        (
            table(
                head=("", NAME, DATE, HEADER.replace("Calls", "x").replace("Puts", "Calls,Puts"))
            ),
            "column Bid, Ask, Open Interest of the Calls",
        ),
        (table(head=("", NAME, DATE, f"Puts,{SIDE},Strike,Calls,{SIDE}")), "Puts before Calls"),
        (table(head=("", "SPY", DATE, HEADER)), "no price of the underlying"),
        (table(head=("", NAME.replace("557.65", "0"), DATE, HEADER)), "no price of the underlying"),
        ("\n".join([NAME, DATE, HEADER]), "holds no option symbols"),
        (table("rubbish", "1,2"), "holds no option symbols"),
        (table(row().replace("250501", "259901")), "holds no options on SPY"),
        (table('"' + "x" * 200_000), "broken CSV"),
    ],
)
def test_tables_that_are_none(text, words):
    with pytest.raises(InputError, match=words):
        parse(text)


def test_what_is_no_table():
    for text in ("", "a,b\n1,2\n", HEADER.replace("Puts", "Gets"), "\n" * 50 + "x\n" * 50 + HEADER):
        assert not is_quotedata(text)


WHOLE = table(*(row(550.0 + k) for k in range(8)))


def check_outcome(text):
    """A snapshot that counts every row of two contracts, or one clear line."""
    if not is_quotedata(text):
        return
    try:
        found = parse_quotedata(text, at_us=None, symbol=None)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017  either outcome is fine
    else:
        assert found.quotes.size > 0
        assert found.spot > 0.0


@given(st.integers(0, len(WHOLE)))
def test_a_table_cut_anywhere(at):
    check_outcome(WHOLE[:at])


@given(st.integers(0, len(WHOLE) - 1), st.text(max_size=8), st.integers(0, 8))
def test_a_table_with_a_damaged_place(at, text, gone):
    check_outcome(WHOLE[:at] + text + WHOLE[at + gone :])


@given(st.permutations(HEADER.split(",")))
def test_shuffled_columns(names):
    check_outcome(
        table(*(row(550.0 + k) for k in range(8)), head=("", NAME, DATE, ",".join(names)))
    )


@given(st.lists(st.integers(0, 40), min_size=1, max_size=20))
def test_rows_of_any_width_are_counted(widths):
    cells = row(560.0).split(",")
    full = len(cells)
    rows = [",".join((cells * 2)[:width] or ["x"]) for width in widths]
    found = parse(table(row(), *rows))
    whole = sum(width == full for width in widths)
    bad = len(widths) - whole
    assert found.unnamed == 2 * bad
    assert found.quotes.size == (4 if whole else 2)
    assert found.left_out == max(0, 2 * (whole - 1))
