"""Figures of the feeds: reading a recorded day, and TradeStation's wire.

Owns measuring the first; the reference reads the same bytes with the csv module and nothing
else. The wire's figures stand in :mod:`workers.benches.wire`.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import tempfile
from pathlib import Path

import numpy as np

from common.clock import new_york_time, session_hours, to_datetime
from common.feeds.playback import RecordingFeed
from common.market_model import MarketModel
from common.models import key_puts, key_strikes
from workers.benches import wire
from workers.benches.figure import Figure, interleaved, ratio
from workers.benches.sample import DAY

_COLUMNS = (
    "fetched_at_et,quote_ts,spot,expiry,type,strike,bid,ask,bid_size,ask_size,last_trade_price,iv,"
    "delta,gamma,theta,vega,rho,volume,open_interest"
)


def run() -> list[Figure]:
    """The figures of `gex bench feed`."""
    return [_read_recording(), *wire.run()]


def _read_recording() -> Figure:
    """A recorded day as updates."""
    handle, name = tempfile.mkstemp(prefix="spy_0dte_", suffix=".csv.gz")
    os.close(handle)
    path = Path(name)
    try:
        rows = _write_day(path)

        def ours() -> int:
            return _count(RecordingFeed([path], symbol="SPY"))

        def bare() -> int:
            text = io.StringIO(gzip.decompress(path.read_bytes()).decode())
            return sum(1 for _ in csv.reader(text))

        times = interleaved({"ours": ours, "bare": bare}, rounds=5)
    finally:
        path.unlink()
    return ratio(
        "read_recording",
        own=rows / times["ours"],
        name="csv.reader on the same bytes",
        reference=rows / times["bare"],
        unit="rows/s",
        goal=None,
    )


def _count(feed: RecordingFeed) -> int:
    import asyncio  # noqa: PLC0415

    async def count() -> int:
        total = 0
        async for session in feed.sessions():
            async for frame in session.frames():
                total += len(frame)
        return total

    return asyncio.run(count())


def _write_day(path: Path) -> int:
    """A made-up day in the layout of the recorded series; how many rows."""
    model = MarketModel(symbol="SPY", seed=7, trading_date=DAY)
    expiry, opened = model.expiries[0], session_hours(DAY)[0]
    lines = [_COLUMNS]
    for minutes in range(5, 385, 5):
        at = opened + minutes * 60_000_000
        quotes = model.quotes(at)[expiry]
        quote_ts = f"{DAY}T{new_york_time(at)}"
        fetched = to_datetime(at).strftime("%Y-%m-%d %H:%M:%S")
        columns = zip(key_strikes(quotes["key"]), key_puts(quotes["key"]), quotes, strict=True)
        for strike, put, row in columns:
            values = [row[n] for n in ("bid", "ask", "bid_size", "ask_size", "last")]
            numbers = ",".join(str(float(np.nan_to_num(v))) for v in values)
            lines.append(
                f"{fetched},{quote_ts},{model.spot(at):.3f},{DAY},{'P' if put else 'C'},{strike},"
                f"{numbers},0.2,0.5,0.01,0,0,0,{row['volume']},{row['open_interest']}"
            )
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return len(lines) - 1
