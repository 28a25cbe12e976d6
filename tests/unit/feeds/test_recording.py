"""The recorded series: grouping, frozen feeds, withdrawn contracts, replay order."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import math

import pytest

from common.clock import SECOND, iso_ms
from common.errors import InputError
from common.feeds.playback import RecordingFeed
from common.feeds.recording import looks_recorded, read_recording
from common.feeds.source import read_source
from common.models import QuoteUpdate, SnapshotEnd, SpotUpdate

HEADER = (
    "fetched_at_et,quote_ts,spot,expiry,type,strike,bid,ask,bid_size,ask_size,last_trade_price,"
    "iv,delta,gamma,theta,vega,rho,volume,open_interest"
)


def row(at, strike, right="C", *, fetched="", bid="1.0", spot="750.5", expiry="2026-08-19"):
    stamp = f"2026-08-19T{at}" if "T" not in at else at
    return (
        f"{fetched or stamp},{stamp},{spot},{expiry},{right},{strike},{bid},1.1,5.0,6.0,1.05,"
        "0.2,0.5,0.02,-1,1,0,100.0,250.0"
    )


def write(folder, *rows, name="spy_0dte_2026-08-19.csv", header=HEADER):
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def snapshots(path, symbol=None):
    return list(read_recording(read_source(path), symbol=symbol).snapshots())


def replay(*paths, symbol=None):
    async def run():
        found = []
        async for session in RecordingFeed(paths, symbol=symbol).sessions():
            frames = [frame async for frame in session.frames()]
            found.append((session.session, frames))
        return found

    return asyncio.run(run())


def test_a_snapshot_per_market_time_in_new_york(tmp_path):
    path = write(tmp_path, row("09:33:37", 750), row("09:33:37", 751), row("09:38:30", 750))
    found = snapshots(path)
    assert [iso_ms(s.as_of) for s in found] == [
        "2026-08-19T13:33:37.000Z",
        "2026-08-19T13:38:30.000Z",
    ]
    first = found[0]
    assert (first.symbol, first.spot, first.quotes.size) == ("SPY", 750.5, 2)
    quote = first.quotes[0]
    assert (quote["bid"], quote["ask"], quote["last"]) == (1.0, 1.1, 1.05)
    assert (quote["bid_size"], quote["volume"], quote["open_interest"]) == (5, 100, 250)
    assert first.vendor["gamma"].tolist() == [0.02, 0.02]


def test_a_frozen_feed_is_one_snapshot_and_one_frame(tmp_path):
    path = write(
        tmp_path,
        row("09:33:37", 750, fetched="1"),
        row("09:33:37", 750, fetched="2", bid="1.05"),
        row("09:38:30", 750, fetched="3"),
    )
    assert [s.quotes["bid"][0] for s in snapshots(path)] == [1.05, 1.0]
    [(_, frames)] = replay(path)
    assert len(frames) == 2
    quotes = [event for event in frames[0] if isinstance(event, QuoteUpdate)]
    assert [(quote.bid, quote.time) for quote in quotes] == [
        (1.0, frames[0][-1].time),
        (1.05, frames[0][-1].time),
    ]


def test_events_are_numbered_once(tmp_path):
    path = write(tmp_path, *(row(f"09:3{m}:00", k) for m in range(4) for k in (750, 751, 752)))
    [(_, frames)] = replay(path)
    numbered = [
        event.seq for frame in frames for event in frame if not isinstance(event, SnapshotEnd)
    ]
    assert numbered == list(range(16))
    for frame in frames:
        assert isinstance(frame[0], SpotUpdate)
        assert isinstance(frame[-1], SnapshotEnd)
        assert len({event.time for event in frame}) == 1
    assert replay(path)[0][1] == frames or str(replay(path)[0][1]) == str(frames)


def test_contracts_that_leave_the_window_are_withdrawn(tmp_path):
    path = write(
        tmp_path,
        row("09:33:00", 750),
        row("09:33:00", 751, "P"),
        row("09:38:00", 750),
        row("09:43:00", 750),
        row("09:43:00", 751, "P"),
    )
    [(_, frames)] = replay(path)
    gone = [[e for e in frame if isinstance(e, QuoteUpdate) and e.withdrawn] for frame in frames]
    assert [len(events) for events in gone] == [0, 1, 0]
    assert (gone[1][0].strike, gone[1][0].right) == (751.0, "P")
    assert math.isnan(gone[1][0].bid)
    assert [sum(isinstance(e, QuoteUpdate) for e in frame) for frame in frames] == [2, 2, 2]


def test_the_session(tmp_path):
    times = ["09:33:00", "09:38:00", "09:43:00", "12:00:00"]
    path = write(tmp_path, *(row(at, 750) for at in times))
    [(session, _)] = replay(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    assert session.key == f"SPY:2026-08-19:recording:{digest}"
    assert (session.replay, session.resume, session.feed) == (True, False, "recording")
    assert session.stale_after_us == 3 * 300 * SECOND
    assert iso_ms(session.open_us) == "2026-08-19T13:30:00.000Z"
    assert iso_ms(session.close_us) == "2026-08-19T20:00:00.000Z"


def test_one_session_per_file_and_date(tmp_path):
    one = write(tmp_path, row("09:33:00", 750), row("2026-08-20T09:33:00", 750))
    other = write(tmp_path, row("09:34:00", 750), name="spy_0dte_b.csv")
    found = replay(one, other)
    assert [session.trading_date.day for session, _ in found] == [19, 20, 19]
    assert len({session.key for session, _ in found}) == 3
    for _, frames in found:
        assert frames[0][0].seq == 0


def test_rows_out_of_time_order_are_replayed_in_order(tmp_path):
    path = write(tmp_path, row("09:38:00", 750), row("09:33:00", 750))
    [(_, frames)] = replay(path)
    assert frames[0][-1].time < frames[1][-1].time


def test_bad_rows_are_counted_never_raised(tmp_path):
    path = write(
        tmp_path,
        row("09:33:00", 750, bid="-1.0"),
        row("09:33:00", 751, bid="abc"),
        row("09:33:00", 752, bid=""),
        row("09:33:00", -5),
        row("09:33:00", "x"),
        row("09:33:00", 753, "Q"),
        row("09:33:00", 754, expiry="soon"),
        row("never", 755),
        "2026-08-19T09:33:00,2026-08-19T09:33:00,750.5",
    )
    [found] = snapshots(path)
    assert found.quotes["bid"].tolist()[:2] == [-1.0, -math.inf]
    assert math.isnan(found.quotes["bid"][2])
    assert found.unnamed == 6


def test_the_symbol_comes_from_the_name_or_is_asked_for(tmp_path):
    rows = [row("09:33:00", 750)]
    assert snapshots(write(tmp_path, *rows, name="qqq_0dte_x.csv"))[0].symbol == "QQQ"
    assert snapshots(write(tmp_path, *rows), symbol="iwm")[0].symbol == "IWM"
    nameless = write(tmp_path, *rows, name="chain.csv")
    with pytest.raises(InputError, match="give --symbol"):
        snapshots(nameless)
    assert snapshots(nameless, symbol="SPY")[0].symbol == "SPY"


@pytest.mark.parametrize("column", ["quote_ts", "spot", "strike", "bid", "open_interest"])
def test_a_missing_column_is_named(tmp_path, column):
    path = write(tmp_path, row("09:33:00", 750), header=HEADER.replace(column, "other", 1))
    assert looks_recorded(path.read_text().splitlines()[0])
    with pytest.raises(InputError, match=f"column {column} is missing"):
        snapshots(path)


def test_without_vendor_columns_there_are_none(tmp_path):
    path = write(tmp_path, row("09:33:00", 750), header=HEADER.replace("gamma", "g"))
    assert snapshots(path)[0].vendor == {}


def test_what_is_no_recording(tmp_path):
    path = write(tmp_path, "1,2", header="date,time_et")
    with pytest.raises(InputError, match="no recorded series"):
        replay(path)
    with pytest.raises(InputError, match="no snapshot"):
        replay(write(tmp_path))
    weekend = write(tmp_path, row("2026-08-22T09:33:00", 750))
    with pytest.raises(InputError, match="no trading day"):
        replay(weekend)


@pytest.mark.data
def test_a_recorded_day(market_data):
    path = market_data / "intraday" / "spy_0dte_2026-07-20.csv.gz"
    with gzip.open(path, "rt") as lines:
        rows = sum(1 for _ in lines) - 1
    [(session, frames)] = replay(path)
    quotes = [e for frame in frames for e in frame if isinstance(e, QuoteUpdate)]
    assert session.symbol == "SPY"
    assert len(frames) == 72  # 76 fetches, 4 of a frozen feed
    assert sum(not quote.withdrawn for quote in quotes) == rows == 11344
    assert len({quote.seq for quote in quotes}) == len(quotes)
    times = [frame[-1].time for frame in frames]
    assert times == sorted(set(times))
