"""``gex compute`` from a file to both of its outputs, and its one-line errors."""

from __future__ import annotations

import json

import numpy as np
import orjson
import pytest
import typer
from synthetic_chain import AT, BASIS, EXPIRY, PARAMETERS, SPOT, chain
from typer.testing import CliRunner

from common.clock import SECOND
from common.errors import InputError, UsageError
from common.feeds.snapshot import FileSnapshot
from workers.commands.compute import compute, levels_of

HEADER = (
    "quote_ts,spot,expiry,type,strike,bid,ask,bid_size,ask_size,last_trade_price,iv,delta,gamma,"
    "volume,open_interest"
)


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(compute)

    def call(*arguments):
        result = CliRunner().invoke(app, [str(part) for part in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture
def day(market_data):
    return market_data / "intraday" / "spy_0dte_2026-08-19.csv.gz"


def series(folder, *rows, header=HEADER, name="spy_0dte_x.csv"):
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def line(strike, right, bid, ask):
    return (
        f"2026-08-19T13:00:00,750.2,2026-08-19,{right},{strike},{bid},{ask},1,1,1,0.2,0.5,0.03,5,10"
    )


@pytest.mark.data
def test_json(run, day):
    document = orjson.loads(run(day, "--json", "--contracts", "--at", "2026-08-19T12:00").stdout)
    assert document["symbol"] == "SPY"
    assert document["as_of"] <= "2026-08-19T16:00"
    assert document["levels"]["net_gex"] == document["levels"]["net_gex_0dte"]
    assert document["levels"]["zero_gamma"] == pytest.approx(document["spot"], rel=0.02)
    quality = document["quality"]
    assert len(document["contracts"]) == quality["contracts"]
    assert quality["with_iv"] + sum(quality["rejected"].values()) == quality["contracts"]
    for row in document["contracts"]:
        assert (row["iv"] is None) == (row["status"] != "ok") == (row["gamma"] is None)


@pytest.mark.data
def test_the_same_call_gives_the_same_bytes(run, day):
    assert run(day, "--json").stdout == run(day, "--json").stdout


@pytest.mark.data
def test_without_contracts_and_with_another_sign(run, day):
    index, short = (
        orjson.loads(run(day, "--json", "--sign", s).stdout) for s in ("index", "short_all")
    )
    assert "contracts" not in index
    assert short["sign"] == "short_all"
    assert short["levels"]["net_gex"] < -abs(index["levels"]["net_gex"])
    assert short["levels"]["zero_gamma"] is None


@pytest.mark.data
def test_vendor_greeks(run, day):
    own, vendor = (
        orjson.loads(run(day, "--json", "--greeks", g).stdout) for g in ("own", "vendor")
    )
    assert vendor["quality"]["with_iv"] > own["quality"]["with_iv"]
    assert vendor["levels"]["net_gex"] != own["levels"]["net_gex"]


@pytest.mark.data
def test_the_summary_is_for_people(run, day):
    text = run(day).stdout
    for word in ("SPY", "modelled", "net GEX", "zero gamma", "call wall", "no_bid", "coverage"):
        assert word in text
    assert "nan" not in text.lower().replace("finance", "")


def test_every_kind_of_bad_row_is_counted(run, tmp_path):
    rows = [line(749 + k, r, 1.0, 1.05) for k in range(4) for r in "CP"]
    path = series(
        tmp_path,
        *rows,
        line(760, "C", -1.0, 1.0),
        line(761, "C", "abc", 1.0),
        line(762, "C", 0.0, 1.0),
        line(763, "C", 1.0, ""),
        line(764, "C", 1.0, 0.9),
        line(765, "C", 0.2, 0.9),
        line(-5, "C", 1.0, 1.1),
        line("x", "C", 1.0, 1.1),
    )
    result = run(path, "--json", "--contracts")
    document = json.loads(result.stdout, parse_constant=pytest.fail)
    rejected = document["quality"]["rejected"]
    wanted = {"bad_input": 4, "no_bid": 1, "no_ask": 1, "crossed": 1, "wide": 1}
    assert {name: rejected.get(name, 0) for name in wanted} == wanted
    by_strike = {(row["strike"], row["right"]): row for row in document["contracts"]}
    assert by_strike[760.0, "C"]["status"] == by_strike[761.0, "C"]["status"] == "bad_input"
    assert by_strike[761.0, "C"]["bid"] is None


SIDE = "Last Sale,Net,Bid,Ask,Volume,IV,Delta,Gamma,Open Interest"
CALL, PUT = "1,0,2.5,2.6,7,0.21,0.52,0.04,30", "2,0,1.9,2.1,8,0.22,-0.48,0.041,40"


def quote_table(folder, made, *rows):
    path = folder / "spy_quotedata.csv"
    head = f"SPDR S&P 500 ETF Trust,Last: 557.65,Change: 3.93\nDate: {made},Bid: 557\n"
    header = f"Expiration Date,Calls,{SIDE},Strike,Puts,{SIDE}"
    path.write_text("\n".join(["", head + header, *rows]) + "\n", encoding="utf-8")
    return path


def pair(strike):
    name = f"SPY250501{{}}{strike * 1000:08d}"
    return f"Thu May 01 2025,{name.format('C')},{CALL},{strike},{name.format('P')},{PUT}"


def test_a_quote_table_with_damaged_rows_adds_up(run, tmp_path):
    rows = [pair(strike) for strike in range(554, 561)]
    path = quote_table(tmp_path, "May 1 2025 at 10:15 AM EDT", *rows, rows[0][:50], "x", rows[3])
    document = orjson.loads(run(path, "--json", "--contracts").stdout)
    quality = document["quality"]
    assert quality["contracts"] == 14 + 4
    assert quality["rejected"]["bad_input"] == 4
    assert quality["with_iv"] + sum(quality["rejected"].values()) == quality["contracts"]
    assert len(document["contracts"]) == 14
    assert document["left_out"] == 2
    assert "spot_at" not in document


@pytest.mark.parametrize("greeks", ["own", "vendor"])
def test_what_has_expired_leaves_every_sum(run, tmp_path, greeks):
    path = quote_table(tmp_path, "May 1 2025 at 4:49 PM EDT", pair(557), pair(558))
    document = orjson.loads(run(path, "--json", "--contracts", "--greeks", greeks).stdout)
    assert document["as_of"] == "2025-05-01T20:00:00.000Z"
    assert document["quality"]["rejected"] == {"expired": 4}
    assert {row["status"] for row in document["contracts"]} == {"expired"}
    assert document["levels"]["net_gex"] is document["levels"]["net_gex_0dte"] is None
    assert (document["strikes"], document["expirations"]) == ([], [])


def test_a_price_of_another_time_than_the_quotes_is_told(run, tmp_path):
    path = quote_table(tmp_path, "May 1 2025 at 8:28 AM EDT", *map(pair, range(554, 561)))
    document = orjson.loads(run(path, "--json").stdout)
    times = (document["as_of"], document["spot_at"])
    assert times == ("2025-04-30T20:00:00.000Z", "2025-05-01T12:13:00.000Z")
    text = " ".join(run(path).stdout.split())
    assert "spot of 2025-05-01T12:13:00.000Z, quotes of 2025-04-30T20:00:00.000Z" in text


def snapshot_of(spot, spot_at=None):
    """The synthetic chain, quoted with the underlying at SPOT, and a file's own price."""
    quotes = chain()
    quotes["spot"] = spot
    return FileSnapshot(
        symbol="SPY",
        as_of=AT,
        spot=spot,
        expiries=[EXPIRY],
        expiry_index=np.zeros(quotes.size, dtype=np.int64),
        quotes=quotes,
        spot_at=spot_at,
    )


def test_quotes_are_solved_at_the_price_that_they_imply():
    """A price of an hour later moves along the curve; the curve stays where it was."""
    then = levels_of(snapshot_of(SPOT), parameters=PARAMETERS)
    later = levels_of(snapshot_of(SPOT + 3.0, AT + 3600 * SECOND), parameters=PARAMETERS)
    assert later.spot == SPOT + 3.0
    apart = SPOT * (BASIS - 1.0)  # what the chain's forward holds beside the carry
    assert np.abs(later.flip.roots - then.zero_gamma).min() < apart
    assert later.expirations[0].forward == pytest.approx(SPOT + 3.0, abs=0.05)
    curve = then.flip.curve
    expected = np.interp(SPOT + 3.0, curve.spots, curve.net_gex)
    assert later.net_gex == pytest.approx(expected, rel=0.02)
    # Within the age that a quote may have the file's price stands as it is.
    soon = levels_of(snapshot_of(SPOT + 3.0, AT + 60 * SECOND), parameters=PARAMETERS)
    assert soon.expirations[0].forward == pytest.approx(SPOT, abs=0.2)


def test_a_price_of_another_time_without_parity_stands():
    snapshot = snapshot_of(SPOT, AT + 3600 * SECOND)
    snapshot.quotes["bid"] = 0.0
    assert np.isnan(levels_of(snapshot, parameters=PARAMETERS).net_gex)


def test_no_usable_quotes_are_null(run, tmp_path):
    path = series(tmp_path, line(750, "C", 0, 0.01), line(750, "P", 0, 0.01))
    document = orjson.loads(run(path, "--json").stdout)
    assert document["levels"]["net_gex"] is None
    assert document["levels"]["regime"] == "unknown"
    assert document["levels"]["max_pain"] == {"2026-08-19": 750.0}
    assert "-" in run(path).stdout


def test_errors_are_one_line(run, tmp_path):
    plain = series(tmp_path, line(750, "C", 1, 1.1), name="chain.csv")
    bare = series(
        tmp_path, line(750, "C", 1, 1.1), header=HEADER.replace("gamma", "g"), name="spy_0dte_b.csv"
    )
    for arguments, kind, words in [
        ((tmp_path / "absent",), InputError, "no such file"),
        ((plain,), InputError, "--symbol"),
        ((plain, "--symbol", "SPY", "--at", "2026-08-19T12:00"), InputError, "at or before"),
        ((plain, "--symbol", "SPY", "--at", "noon"), UsageError, "ISO 8601"),
        ((plain, "--symbol", "SPY", "--rate", "7"), UsageError, "GEX_RATE"),
        ((bare, "--greeks", "vendor"), InputError, "vendor"),
    ]:
        with pytest.raises(kind, match=words) as caught:
            run(*arguments)
        assert caught.value.exit_code == 2
        assert "\n" not in str(caught.value)


def test_bad_options_are_refused_by_the_parser(run, tmp_path):
    path = series(tmp_path, line(750, "C", 1, 1.1))
    assert run(path, "--sign", "flow").exit_code == 2
    assert run().exit_code == 2
