"""TradeStation's quotes: of an underlying or of an option contract.

Owns their fields, all of them strings but flags and lists; must not know who is told. A field
without a value is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

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
        return full_quotes([self], percent=percent)[0]


def full_quotes(quoted: Sequence[Quoted], *, percent: bool) -> list[JsonDict]:
    """The full quotes of some symbols, as last said; see :meth:`Quoted.fields`."""
    numbers = _numbers(quoted)
    scale = 100.0 if percent else 1.0
    for each in numbers:
        before = each["PreviousClose"]
        each["NetChange"] = change = each["Last"] - before
        each["NetChangePct"] = scale * change / before if before else math.nan
    known = [{name: v for name, v in each.items() if math.isfinite(v)} for each in numbers]
    texts = iter(number_texts([value for each in known for value in each.values()]))
    return [
        {"Symbol": one.name, **{name: next(texts) for name in each}, **_times(one), **_FIXED}
        for one, each in zip(quoted, known, strict=True)
    ]


def _times(quoted: Quoted) -> JsonDict:
    desk, place = quoted.desk, quoted.place
    traded = desk.underlying.time if place is None else int(desk.trades.times[place])
    return {"TradeTime": wire_time(traded)} if traded else {}


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


def _numbers(quoted: Sequence[Quoted]) -> list[dict[str, float]]:
    """The numbers of each, NaN where there is none."""
    places: dict[Desk, list[int]] = {}
    for each in quoted:
        if each.place is not None:
            places.setdefault(each.desk, []).append(each.place)
    options = {desk: iter(_options(desk, rows)) for desk, rows in places.items()}
    return [
        _underlying(each.desk) if each.place is None else next(options[each.desk])
        for each in quoted
    ]


def _options(desk: Desk, places: list[int]) -> list[dict[str, float]]:
    rows, trades = desk.said.take(places), desk.trades
    columns = {
        "Open": trades.opens[places],
        "High": trades.highs[places],
        "Low": trades.lows[places],
        "PreviousClose": desk.day.previous_closes[places],
        "Last": rows["last"],
        "Ask": rows["ask"],
        "Bid": rows["bid"],
        "Close": rows["last"],
        "LastSize": np.where(trades.times[places] > 0, trades.sizes[places], np.nan),
    }
    for name, column in _COUNTS.items():
        columns[name] = np.where(rows[column] >= 0, rows[column], np.nan)
    table = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, values, strict=True)) for values in table]


_COUNTS = {
    "AskSize": "ask_size",
    "BidSize": "bid_size",
    "Volume": "volume",
    "DailyOpenInterest": "open_interest",
}
