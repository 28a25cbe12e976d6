"""Sample data of the benches: quotes and chains of the market model.

Owns making it; must not measure anything.
"""

from __future__ import annotations

from datetime import date

import numpy as np

from common.bus.codec import Batch, BatchHeader
from common.clock import session_hours, wall_us
from common.market_model import MarketModel
from common.models import QUOTE, SPOT, Expiry, Rows

DAY = date(2026, 8, 19)


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


def batches(quotes: int, size: int) -> list[Batch]:
    """Batches of ``size`` quotes of one shard, ``quotes`` in all, in order of events."""
    _, rows, spot, at = chain(300)
    made = []
    for number, start in enumerate(range(0, quotes, size), 1):
        part = np.empty(size, QUOTE)
        part[:] = rows[np.arange(start, start + size) % len(rows)]
        part["seq"] = np.arange(start, start + size)
        part["time"] = at + np.arange(start, start + size)
        price = np.array([(int(part["time"][0]), start, spot)], SPOT)
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
