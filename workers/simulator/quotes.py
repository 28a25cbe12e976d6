"""TradeStation's quotes: of an underlying or of an option contract.

Owns their fields, all of them strings but flags and lists; must not know who is told. A field
without a value is left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from common.clock import SECOND, to_datetime
from common.models import JsonDict
from workers.simulator.desk import Desk
from workers.simulator.rows import number_texts

INVALID_SYMBOL = "FAILED, INVALID SYMBOL"
_VENUE = "SIM"
_FIXED: JsonDict = {
    "TickSizeTier": "0",
    "LastVenue": _VENUE,
    "MarketFlags": {
        "IsDelayed": False,
        "IsHardToBorrow": False,
        "IsBats": False,
        "IsHalted": False,
    },
    "Restrictions": [],
}


@dataclass(frozen=True, slots=True)
class Quoted:
    """What a quote symbol names."""

    name: str
    """In TradeStation's spelling."""
    desk: Desk
    place: int | None
    """The contract's row, None for the underlying itself."""

    def fields(self, *, percent: bool) -> JsonDict:
        """The full quote, as last said.

        :param percent: ``NetChangePct`` in percent, as in snapshots; else a fraction.
        """
        numbers = _underlying(self.desk) if self.place is None else _option(self.desk, self.place)
        before, last = numbers["PreviousClose"], numbers["Last"]
        change = last - before
        scale = 100.0 if percent else 1.0
        numbers["NetChange"] = change
        numbers["NetChangePct"] = scale * change / before if before else math.nan
        known = {name: value for name, value in numbers.items() if math.isfinite(value)}
        texts = dict(zip(known, number_texts([*known.values()]), strict=True))
        desk, place = self.desk, self.place
        traded = desk.underlying.time if place is None else int(desk.trades.times[place])
        times = {"TradeTime": wire_time(traded)} if traded else {}
        return {"Symbol": self.name, **texts, **times, **_FIXED}


def wire_time(at_us: int) -> str:
    """An instant as TradeStation writes it: RFC 3339, UTC, whole seconds."""
    return _second(at_us // SECOND)


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    return to_datetime(seconds * SECOND).strftime("%Y-%m-%dT%H:%M:%SZ")


def _underlying(desk: Desk) -> dict[str, float]:
    shown = desk.underlying
    traded = shown.volume if shown.volume >= 0 else math.nan
    return {
        "Open": shown.open,
        "High": shown.high,
        "Low": shown.low,
        "PreviousClose": shown.previous_close,
        "Last": shown.last,
        "Ask": shown.ask,
        "Bid": shown.bid,
        "Volume": traded,
        "Close": shown.last,
        "DailyOpenInterest": 0.0,
        "VWAP": shown.vwap,
    }


def _option(desk: Desk, place: int) -> dict[str, float]:
    row, trades = desk.said[place], desk.trades
    counts = {
        name: float(row[column]) if row[column] >= 0 else math.nan
        for name, column in _COUNTS.items()
    }
    return {
        "Open": float(trades.opens[place]),
        "High": float(trades.highs[place]),
        "Low": float(trades.lows[place]),
        "PreviousClose": float(desk.day.previous_closes[place]),
        "Last": float(row["last"]),
        "Ask": float(row["ask"]),
        "Bid": float(row["bid"]),
        "Close": float(row["last"]),
        "LastSize": float(trades.sizes[place]) if trades.times[place] else math.nan,
        **counts,
    }


_COUNTS = {
    "AskSize": "ask_size",
    "BidSize": "bid_size",
    "Volume": "volume",
    "DailyOpenInterest": "open_interest",
}
