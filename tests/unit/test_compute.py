"""``gex compute`` from a file to both of its outputs, and its one-line errors."""

from __future__ import annotations

import json

import orjson
import pytest
import typer
from typer.testing import CliRunner

from common.errors import InputError, UsageError
from workers.commands.compute import compute

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
