"""A recorded series as a market: snapshots, what lies between them, what leaves the window."""

from __future__ import annotations

import gzip
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from common.clock import SECOND, parse_instant
from common.errors import InputError
from common.feeds.recording import read_recording
from common.feeds.source import read_source
from workers.simulator.desk import Desk
from workers.simulator.recorded_market import RecordedMarket

DAY = date(2026, 8, 19)
_HEADER = (
    "fetched_at_et,quote_ts,spot,expiry,type,strike,bid,ask,bid_size,ask_size,last_trade_price,iv,"
    "delta,gamma,theta,vega,rho,volume,open_interest"
)


def line(time: str, right: str, strike: float, bid: float | str, **values: float) -> str:
    """A row of a recording; spot is 700 at 10:00 and 701 later."""
    iv, volume, spot = values.get("iv", 0.2), values.get("volume", 10), values.get("spot", 700)
    return (
        f"{DAY} {time},{DAY}T{time},{spot},{DAY},{right},{strike},{bid},{float(bid or 0) + 0.02},5,"
        f"6,1.01,{iv},0.5,0.01,0,0,0,{volume},100"
    )


SERIES = [
    line("10:00:00", "C", 700, 1.0),
    line("10:00:00", "P", 700, 2.0, iv=0.0),
    line("10:05:00", "C", 700, 1.1, spot=701),
    line("10:05:00", "C", 702, 0.4, spot=701),
    line("10:10:00", "C", 702, 0.3, spot=701, volume=20),
]


def market(
    tmp_path: Path, lines: list[str], name: str = "spy_0dte_2026-08-19.csv"
) -> RecordedMarket:
    """The market of a file."""
    path = tmp_path / name
    path.write_text("\n".join([_HEADER, *lines]) + "\n")
    source = read_source(path)
    return RecordedMarket(source, read_recording(source, symbol=None))


def at(text: str) -> int:
    """Market time [us]."""
    return parse_instant(f"{DAY}T{text}")


def said(desk: Desk) -> dict[str, float]:
    """Contract → bid, as last said."""
    return {
        name.split()[1][6:]: float(desk.said["bid"][place])
        for place, name in enumerate(desk.contracts.names)
        if desk.listed[place]
    }


def test_it_runs_from_the_first_snapshot_to_the_close(tmp_path: Path) -> None:
    found = market(tmp_path, SERIES)
    assert found.symbols == {"SPY"}
    assert found.dates.first(0) == (DAY, at("10:00:00"))
    assert found.dates.hours(DAY) == (at("10:00:00"), at("16:00:00"))
    assert found.dates.hours(date(2026, 8, 20)) is None
    assert found.dates.after(DAY) is None


def test_its_name_is_that_of_the_bytes(tmp_path: Path) -> None:
    one, other = market(tmp_path, SERIES), market(tmp_path, SERIES[:3])
    assert one.dates.source.startswith("recording-")
    assert len(one.dates.source) == len("recording-") + 12
    assert one.dates.source != other.dates.source


def test_nothing_changes_between_two_snapshots(tmp_path: Path) -> None:
    day = market(tmp_path, SERIES).day("SPY", DAY)
    desk = Desk(day, at("10:00:00"))
    assert said(desk) == {"C700": 1.0, "P700": 2.0}
    assert desk.underlying.last == 700.0
    before = desk.said.copy()
    for second in range(1, 300):
        desk.step(at("10:00:00") + second * SECOND)
    assert (desk.said == before).all()
    desk.step(at("10:05:00"))
    assert said(desk) == {"C700": 1.1, "P700": 2.0, "C702": 0.4}
    assert desk.underlying.last == 701.0


def test_a_contract_that_left_the_recorders_window_keeps_its_last_quote(tmp_path: Path) -> None:
    day = market(tmp_path, SERIES).day("SPY", DAY)
    desk = Desk(day, at("15:59:59"))
    assert said(desk) == {"C700": 1.1, "P700": 2.0, "C702": 0.3}
    assert desk.contracts.names == ["SPY 260819C700", "SPY 260819P700", "SPY 260819C702"]


def test_the_vendors_numbers_are_shown_where_its_volatility_is_not_zero(tmp_path: Path) -> None:
    day = market(tmp_path, SERIES).day("SPY", DAY)
    fields = day.analytics(at("10:00:00"), np.arange(3), np.ones(3))
    assert fields["ImpliedVolatility"][:1] == 0.2
    assert (fields["Delta"][0], fields["Gamma"][0]) == (0.5, 0.01)
    assert np.isnan([fields[name][1:] for name in fields]).all()  # iv 0, and not listed yet
    assert set(fields) == {"ImpliedVolatility", "Delta", "Gamma"}


def test_a_price_that_is_no_number_is_not_shown(tmp_path: Path) -> None:
    broken = line("10:00:00", "C", 700, 1.0).replace(",1.0,", ",n/a,")
    day = market(tmp_path, [broken, line("10:00:00", "P", 700, 2.0)]).day("SPY", DAY)
    rows = day.board(at("10:00:00")).rows
    assert np.isnan(rows["bid"][0])
    assert rows["ask"][0] == 1.02


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([line("10:00:00", "X", 700, 1.0)], "no snapshot holds a spot and a contract"),
        ([line("10:00:00", "C", 700, 1.0, spot=0)], "no snapshot holds a spot and a contract"),
        ([line("10:00:00", "C", 700, 1.0).replace(str(DAY), "2026-08-22")], "no trading day"),
    ],
)
def test_a_recording_that_cannot_be_played_is_refused(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        market(tmp_path, lines)


def test_the_bytes_on_disk_name_it_compressed_or_not(tmp_path: Path) -> None:
    path = tmp_path / "spy_0dte_x.csv.gz"
    path.write_bytes(gzip.compress("\n".join([_HEADER, *SERIES]).encode()))
    source = read_source(path)
    found = RecordedMarket(source, read_recording(source, symbol=None))
    assert found.dates.source == f"recording-{source.digest[:12]}"


@pytest.mark.data
@pytest.mark.parametrize("day", ["2026-07-20", "2026-07-31", "2026-08-07", "2026-08-19"])
def test_every_snapshot_of_a_recorded_day_is_shown_as_it_is(market_data: Path, day: str) -> None:
    source = read_source(market_data / f"intraday/spy_0dte_{day}.csv.gz")
    recording = read_recording(source, symbol=None)
    shown = RecordedMarket(source, recording).day("SPY", date.fromisoformat(day))
    for snapshot in recording.snapshots():
        board = shown.board(snapshot.as_of + SECOND)
        assert board.underlying.last == snapshot.spot
        assert board.underlying.time == snapshot.as_of
        places = np.searchsorted(shown.contracts.keys, snapshot.quotes["key"])
        for name in ("key", "bid", "ask", "last", "bid_size", "volume", "open_interest"):
            assert np.array_equal(board.rows[name][places], snapshot.quotes[name], equal_nan=True)
