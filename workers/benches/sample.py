"""Sample data of the benches: quotes and chains of the market model, or of a recorded day.

Owns making it; must not measure anything.
"""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path

import numpy as np

from common.batcher import Batcher
from common.bus.codec import Batch, BatchHeader
from common.chain import years_left
from common.clock import session_hours, wall_us
from common.feeds.playback import RecordingFeed
from common.market_model import MarketModel
from common.models import (
    QUOTE,
    SPOT,
    Expiry,
    Rows,
    contract_keys,
    key_puts,
    key_strikes,
)
from common.quant.blackscholes import price

DAY = date(2026, 8, 19)
_RATE = 0.04


def chain(contracts: int) -> tuple[Expiry, Rows, float, int]:
    """A 0DTE chain at noon: expiry, QUOTE rows sorted by key, spot [$], market time [us]."""
    model = MarketModel(symbol="SPY", seed=7, trading_date=DAY)
    at = session_hours(DAY)[0] + 9_000_000_000
    expiry = model.expiries[0]
    rows = model.quotes(at)[expiry]
    repeats = -(-contracts // len(rows))
    wide = np.concatenate([rows] * repeats)[:contracts].copy()
    wide["seq"] = np.arange(contracts)
    if repeats > 1:  # more strikes than are listed: the same quotes between the listed strikes
        wide["key"] += (np.arange(contracts) // len(rows) * 2 * 7).astype(np.uint32)
        wide.sort(order="key")
    return expiry, wide, model.spot(at), at


def whole_chain(contracts: int, expirations: int = 20) -> tuple[dict[Expiry, Rows], float, int]:
    """Expirations of the next weekdays, 0DTE at noon the first: QUOTE rows, spot [$], time [us].

    Strikes a dollar apart about the spot, a smile, quotes of a cent or more on both sides.
    """
    spot, at = 600.37, session_hours(DAY)[0] + 9_000_000_000
    pairs = contracts // expirations // 2
    days = np.busday_offset(np.datetime64(DAY, "D"), np.arange(expirations))
    strikes = np.rint(spot) + np.arange(pairs) - pairs // 2
    keys = contract_keys(strikes=strikes[:, None], puts=np.array([False, True])).ravel()
    found = {}
    for number, day in enumerate(days.tolist()):
        expiry = Expiry(day)
        rows = np.zeros(keys.size, QUOTE)
        years = years_left(times=at, expiry=expiry)
        ratio = np.log(key_strikes(keys) / spot)
        values = price(
            forwards=spot * np.exp(_RATE * years),
            strikes=key_strikes(keys),
            years=years,
            sigmas=0.14 - 0.3 * ratio + 2.0 * ratio * ratio,
            discounts=np.exp(-_RATE * years),
            puts=key_puts(keys),
        )
        rows["key"], rows["time"], rows["spot"] = keys, at, spot
        rows["seq"] = np.arange(keys.size) + number * keys.size
        rows["bid"] = np.maximum(np.floor(values * 99.0) / 100.0, 0.0)
        rows["ask"] = rows["bid"] + 0.01 + np.floor(values) / 100.0
        lean = np.where((ratio > 0.0) != key_puts(keys), 4000, 0)  # calls above, puts below
        rows["open_interest"] = 100 + (keys // 1000 * 7919 + number) % 1000 + lean
        rows["volume"], rows["last"] = rows["open_interest"] // 3, np.nan
        found[expiry] = rows
    return found, spot, at


def batches(quotes: int, size: int) -> list[Batch]:
    """Batches of ``size`` quotes of one shard, ``quotes`` in all, in order of events."""
    _, rows, spot, at = chain(300)
    made = []
    for number, start in enumerate(range(0, quotes, size), 1):
        part = np.empty(size, QUOTE)
        part[:] = rows[np.arange(start, start + size) % len(rows)]
        part["seq"] = np.arange(start, start + size)
        part["time"] = at + np.arange(start, start + size)
        price = np.array([(int(part["time"][0]), start, spot, np.nan)], SPOT)
        header = BatchHeader(
            session=f"SPY:{DAY}:bench",
            epoch=1,
            batch=number,
            received_us=wall_us(),
            quotes=size,
            spots=1,
        )
        made.append(Batch(header, part, price))
    return made


def recorded(path: Path, symbol: str = "SPY") -> list[tuple[str, Batch]]:
    """A recorded day as its ingestor would append it: (shard, batch), in order of events."""

    async def read() -> list[tuple[str, Batch]]:
        found: list[tuple[str, Batch]] = []
        async for session in RecordingFeed([path], symbol=symbol).sessions():
            batcher = Batcher(session.session, 500, clock=wall_us)
            async for frame in session.frames():
                batcher.add(frame)
                found += batcher.flush()
        return found

    return asyncio.run(read())
