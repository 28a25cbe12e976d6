"""The chain, its levels and its profile as of any second of a stored day.

Owns building them anew from stored quotes, through the very entries that a published level
names in its watermark; must not write anything. Where every quote was stored, what comes out is
what was published then.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from common.chain import solve
from common.clock import from_datetime, iso_ms, new_york_date, to_datetime
from common.db import queries
from common.db.connection import Connection
from common.errors import UsageError
from common.levels import Levels, ShardState, evaluate
from common.models import FLAG_WITHDRAWN, QUOTE, SPOT, Expiry, JsonDict, Rows, contract_keys
from common.settings import QuantParameters
from common.state import priced

_MARGIN = timedelta(days=32)
"""Rows of a session are stored within this of its date."""


@dataclass(frozen=True, slots=True)
class AsOf:
    """A moment of a stored session."""

    levels: Levels
    session: str
    feed: str
    published: JsonDict | None
    """What was published at this very instant, without its strikes; None between levels."""
    vix: JsonDict
    """The VIX and when it was quoted, as the last level by then says."""
    last_level_at: int
    """Time of the last level stored by then [us]; the quotes are hardly any newer."""

    def to_json(self, *, contracts: bool = False) -> JsonDict:
        """The JSON of ``latest``, the profile, and whether they are what was published."""
        return {
            **self.levels.to_json(contracts=contracts),
            "session": self.session,
            "feed": self.feed,
            **self.vix,
            "last_level_at": iso_ms(self.last_level_at),
            "profile": self.levels.profile_json(),
            "published": None
            if self.published is None
            else {"equal": not self.differences(), "differences": self.differences()},
        }

    def differences(self) -> list[str]:
        """Names of what differs from what was published."""
        mine = self.levels.to_json()
        there = self.published or {}
        return sorted(name for name in mine if name in there and mine[name] != there[name])


def as_of(
    connection: Connection,
    symbol: str,
    at: int,
    parameters: QuantParameters,
    *,
    session: str | None = None,
) -> AsOf:
    """A symbol's chain and levels at an instant [us].

    At the instant of a published level it is built of the entries in the level's watermark;
    between two, of every entry by then.

    :param parameters: where the level does not say which it was computed with.
    :param session: key of the session; the last stored one of the date by default.
    :raises UsageError: when nothing is stored of that moment.
    :raises StorageError: when the database is out of reach.
    """
    level = queries.level_at(
        connection, symbol, at=to_datetime(at), trading_date=new_york_date(at), session=session
    )
    if level is None:
        raise UsageError(f"no level of {symbol} is stored at or before {iso_ms(at)} on its day")
    last_level_at = from_datetime(level["time"])
    exact = last_level_at == at
    marks = queries.chain_marks(
        connection,
        level["session_id"],
        watermark=level["watermark"],
        until=None if exact else to_datetime(at),
    )
    if not marks or any(mark["epoch"] is None for mark in marks):
        raise UsageError(f"the quotes behind the level of {iso_ms(at)} are not stored")
    parameters = QuantParameters(**level["result"].get("parameters", parameters.model_dump()))
    place = _place(level)
    spots = _newest_spot(connection, marks, place)
    levels = evaluate(
        symbol=symbol,
        shards=[_shard(connection, mark, place, parameters) for mark in marks],
        spot=float(spots["price"][0]),
        as_of=at,
        parameters=parameters,
        spot_time=int(spots["time"][0]),
        prior_close=float(spots["prior_close"][0]),
        oi_date=level["trading_date"],
        conflated=exact and level["result"]["quality"].get("conflated", False),
    )
    said = level["result"]
    vix = {name: said.get(name) for name in ("vix", "vix_at")}
    published = said if exact else None
    return AsOf(levels, level["key"], level["feed"], published, vix, last_level_at)


def _place(level: dict[str, Any]) -> dict[str, Any]:
    noon = datetime.combine(level["trading_date"], datetime.min.time(), level["time"].tzinfo)
    return {
        "session_id": level["session_id"],
        "since": noon - _MARGIN,
        "until": noon + _MARGIN,
    }


def _newest_spot(
    connection: Connection, marks: list[dict[str, Any]], place: dict[str, Any]
) -> Rows:
    """The newest price of the underlying that any shard had, layout SPOT, (1,)."""
    known = [mark for mark in marks if mark["spot_seq"] is not None]
    newest = max(known, key=lambda mark: (mark["epoch"], mark["spot_seq"]), default=None)
    found = _spots(connection, place, newest["spot_seq"], newest["spot_seq"]) if newest else None
    if found is None or not len(found):
        raise UsageError("no price of the underlying is stored of that moment")
    return found


def _spots(connection: Connection, place: dict[str, Any], first: int, last: int) -> Rows:
    """Prices of the underlying by their seq, layout SPOT."""
    found = queries.spots_between(connection, {**place, "first": first, "last": last})
    return np.array(found, dtype=SPOT)


def _shard(
    connection: Connection,
    mark: dict[str, Any],
    place: dict[str, Any],
    parameters: QuantParameters,
) -> ShardState:
    expiry = Expiry.from_shard(mark["shard"])
    found: list[tuple[Any, ...]] = []
    if mark["high"] is not None:
        names = ("expiration", "settlement", "low", "high")
        found = queries.chain_quotes(connection, {**place, **{name: mark[name] for name in names}})
    rows = quote_rows(found)
    unpriced = rows["seq"][np.isnan(rows["spot"])]
    if len(unpriced) and mark["spot_seq"] is not None:
        spots = _spots(connection, place, int(unpriced.min()), mark["spot_seq"])
        rows = priced(rows, spots)
    return ShardState(expiry, rows, solve(quotes=rows, expiry=expiry, parameters=parameters))


def quote_rows(found: list[tuple[Any, ...]]) -> Rows:
    """Stored quotes as rows of the state, layout QUOTE, sorted by key."""
    rows = np.zeros(len(found), QUOTE)
    if not found:
        return rows
    strikes, puts, withdrawn, *columns = zip(*found, strict=True)
    rows["key"] = contract_keys(strikes=strikes, puts=puts)
    rows["flags"] = np.where(withdrawn, FLAG_WITHDRAWN, 0)
    names = "time seq spot bid ask last bid_size ask_size volume open_interest bought sold".split()
    for name, column in zip(names, columns, strict=True):
        rows[name] = column
    ordered: Rows = rows[np.argsort(rows["key"])]
    return ordered
