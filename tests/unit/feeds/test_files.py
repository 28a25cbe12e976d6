"""Any chain file by its content, and one clear line for every file that is none."""

from __future__ import annotations

import gzip
import json

import pytest

from common.clock import iso_ms, parse_instant
from common.errors import InputError
from common.feeds.files import load_snapshot

HEADER = "quote_ts,spot,expiry,type,strike,bid,ask,volume,open_interest"
ROWS = [
    "2026-08-19T10:00:00,750,2026-08-19,C,750,1.0,1.1,5,10",
    "2026-08-19T10:05:00,751,2026-08-19,C,750,1.2,1.3,5,10",
    "2026-08-19T10:10:00,752,2026-08-19,C,750,1.4,1.5,5,10",
]
SERIES = "\n".join([HEADER, *ROWS]).encode()
CBOE = {
    "timestamp": "2026-08-19 15:00:20",
    "data": {
        "symbol": "SPY",
        "current_price": 750.0,
        "last_trade_time": "2026-08-19T10:44:58",
        "options": [{"option": "SPY260819C00750000", "bid": 1.0, "ask": 1.1, "open_interest": 1}],
    },
}
CHAIN = json.dumps(CBOE).encode()


def load(path, at=None, symbol=None):
    return load_snapshot(path, at_us=parse_instant(at) if at else None, symbol=symbol)


def write(folder, content, name="spy_0dte_x.csv"):
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("at", "spot"),
    [
        (None, 752.0),
        ("2026-08-19T10:05:00", 751.0),
        ("2026-08-19T10:09:59", 751.0),
        ("2026-08-19T14:00:00Z", 750.0),
        ("2027-01-01T00:00", 752.0),
    ],
)
def test_the_last_snapshot_at_or_before(tmp_path, at, spot):
    assert load(write(tmp_path, SERIES), at).spot == spot


def test_gzip_is_known_by_its_bytes_not_its_name(tmp_path):
    assert load(write(tmp_path, gzip.compress(SERIES))).spot == 752.0
    assert load(write(tmp_path, gzip.compress(CHAIN), "plain.json")).symbol == "SPY"
    assert load(write(tmp_path, SERIES, "spy_0dte_x.csv.gz")).spot == 752.0


def test_content_decides_not_the_name(tmp_path):
    assert load(write(tmp_path, CHAIN, "chain.csv")).symbol == "SPY"
    assert load(write(tmp_path, b"\xef\xbb\xbf\r\n" + SERIES, "spy_0dte_a.json")).spot == 752.0


def test_frozen_feed_the_last_fetch_counts(tmp_path):
    again = ROWS[2].replace("1.4", "1.45").replace("752", "753")
    header = "fetched_at_et," + HEADER
    rows = [f"{at},{text}" for at, text in enumerate([*ROWS, again])]
    found = load(write(tmp_path, "\n".join([header, *rows]).encode()))
    assert (found.spot, found.quotes["bid"].tolist()) == (753.0, [1.45])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (gzip.compress(SERIES * 50)[:-40], "truncated"),
        (gzip.compress(SERIES)[:12], "truncated"),
        (b"\x1f\x8bnonsense that is no gzip", "damaged"),
        (CHAIN[:-20], "truncated JSON"),
        (b'{"callExpDateMap": []}', "no chain known here"),
        (b'{"callExpDateMap": {}}', "names no symbol"),
        (b'{"symbol": "SPY", "putExpDateMap": {}}', "holds no options on SPY"),
        (b"[1, 2, 3]", "no chain known here"),
        (b"date,open,high,low,close\n2026-08-19,1,2,3,4\n", "no chain file known here"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe\x00", "no UTF-8 text"),
        (b"", "is empty"),
        (b" \n \n", "is empty"),
        (gzip.compress(b""), "is empty"),
        (SERIES.replace(b"strike", b"level"), "column strike is missing"),
        (HEADER.encode(), "holds no snapshot"),
    ],
)
def test_files_that_are_no_chain(tmp_path, content, words):
    path = write(tmp_path, content)
    with pytest.raises(InputError, match=words) as caught:
        load(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message


def test_paths_that_are_no_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "absent.json")
    with pytest.raises(InputError, match="is a directory"):
        load(tmp_path)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = write(tmp_path, SERIES)

    def refuse(_self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "read_bytes", refuse)  # root may read everything
    with pytest.raises(InputError, match="no permission"):
        load(path)


def test_too_early_and_unnamed(tmp_path):
    with pytest.raises(InputError, match="no snapshot at or before --at; the first is of 2026"):
        load(write(tmp_path, SERIES), "2026-08-19T09:59:59")
    with pytest.raises(InputError, match="no snapshot at or before"):
        load(write(tmp_path, CHAIN), "2026-08-19T09:59:59")
    with pytest.raises(InputError, match="give --symbol"):
        load(write(tmp_path, SERIES, "series.csv"))
    flat = json.dumps({"current_price": 1.0, "options": CBOE["data"]["options"]}).encode()
    with pytest.raises(InputError, match="give --at"):
        load(write(tmp_path, flat))


def test_a_truncated_last_line_is_one_bad_row(tmp_path):
    found = load(write(tmp_path, SERIES + b"\n2026-08-19T10:10:00,752,2026-08-19,C,75"))
    assert found.quotes.size in {1, 2}
    assert iso_ms(found.as_of) == "2026-08-19T14:10:00.000Z"


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "at", "facts"),
    [
        ("spy_cboe_2022-07-12_1857et", None, ("SPY", 380.88, 9208, 34)),
        ("spy_cboe_2022-04-03_flat_noquotes", "2022-04-03T20:00", ("SPY", 452.92, 9798, 34)),
        ("iwm_cboe_2025-06-06_close", None, ("IWM", 211.90, 4314, 31)),
        ("rut_cboe_2025-06-04_2344et", None, ("RUT", 2098.4824, 7882, 32)),
    ],
)
def test_real_chains(market_data, name, at, facts):
    found = load(market_data / "cboe_json" / f"{name}.json.gz", at)
    dates = {expiry.expiration for expiry in found.expiries}
    assert (found.symbol, found.spot, found.quotes.size, len(dates)) == facts
    assert (found.unnamed, found.left_out) == (0, 0)


@pytest.mark.data
def test_other_real_files_are_told_apart(market_data):
    for name in (
        "cboe_json/iwm_cboe_2025-06-06_close.gex_reference.json.gz",
        "intraday/spx_0dte_gex_profile_2026-08-19.csv.gz",
        "bars/spx_1min_2026-07-17_to_2026-08-21.csv.gz",
    ):
        with pytest.raises(InputError, match="known here"):
            load(market_data / name)
