"""The JSON of levels and profiles: names and shapes of the public contract.

Owns the field names; must not compute anything. Plain Python types only, null for a number
that is missing, so any JSON library writes the same.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from common.clock import iso_ms
from common.models import FloatArray, JsonDict, Status
from common.quant.blackscholes import GREEKS

if TYPE_CHECKING:
    from common.levels import Levels

SCHEMA = 1
"""Version of both documents; a field that changes its meaning raises it."""


def public(levels: Levels, *, contracts: bool = False) -> JsonDict:
    """The whole result, as under ``gex:{symbol}:latest``."""
    document: JsonDict = {
        "schema": SCHEMA,
        "symbol": levels.symbol,
        "as_of": iso_ms(levels.as_of),
        "spot": number(levels.spot),
        "sign": levels.sign,
        "levels": _levels(levels),
        "strikes": _strikes(levels),
        "expirations": _expirations(levels),
        "quality": _quality(levels),
    }
    if contracts:
        document["contracts"] = _contracts(levels)
    return document


def profile(levels: Levels, *, strikes: list[JsonDict] | None = None) -> JsonDict:
    """Per-strike exposures and the re-priced curve, as under ``gex:{symbol}:profile``.

    :param strikes: the records of the strike table, where they have been made already.
    """
    curve = levels.flip.curve
    return {
        "schema": SCHEMA,
        "symbol": levels.symbol,
        "as_of": iso_ms(levels.as_of),
        "spot": number(levels.spot),
        "strikes": _strikes(levels) if strikes is None else strikes,
        "curve": {
            "spots": numbers(curve.spots) if curve else [],
            "net_gex": numbers(curve.net_gex) if curve else [],
        },
        "zero_gamma": number(levels.zero_gamma),
        "call_wall": number(levels.walls.call),
        "put_wall": number(levels.walls.put),
    }


def number(value: float) -> float | None:
    """The value, or None where it is not finite."""
    return float(value) if math.isfinite(value) else None


def numbers(values: FloatArray) -> list[float | None]:
    """The values, None where not finite."""
    return [value if math.isfinite(value) else None for value in values.tolist()]


def _counts(values: npt.NDArray[Any]) -> list[int]:
    counts: list[int] = values.astype(np.int64).tolist()
    return counts


def _known(values: npt.NDArray[Any]) -> list[int | None]:
    """Counts, None where unknown (-1)."""
    return [value if value >= 0 else None for value in values.tolist()]


def _levels(levels: Levels) -> JsonDict:
    totals, walls = levels.totals, levels.walls
    return {
        "net_gex": number(totals.net_gex),
        "net_gex_0dte": number(totals.net_gex_0dte),
        "zero_gamma": number(levels.zero_gamma),
        "zero_gamma_all": numbers(levels.flip.roots),
        "call_wall": number(walls.call),
        "put_wall": number(walls.put),
        "call_wall_unconstrained": number(walls.call_unconstrained),
        "put_wall_unconstrained": number(walls.put_unconstrained),
        "max_pain": {day: number(strike) for day, strike in levels.max_pain.items()},
        "expected_move": number(levels.expected_move),
        "dex": number(totals.dex),
        "vex": number(totals.vex),
        "cex": number(totals.cex),
        "cex_per_minute": number(levels.cex_per_minute),
        "net_volume_gex": number(totals.net_volume_gex),
        "put_call_oi": number(totals.put_call_oi),
        "put_call_volume": number(totals.put_call_volume),
        "atm_iv": number(levels.atm_iv),
        "regime": levels.regime,
        **_further(levels),
    }


def _further(levels: Levels) -> JsonDict:
    """Moves and minutes are keyed by their number: ``-0.5`` is half a percent down."""
    readings, hedging = levels.readings, levels.hedging
    front = levels.expirations[0].shard if levels.expirations else ""
    return {
        "net_gex_week": number(readings.net_gex_week),
        "net_gex_by_sign": {name: number(v) for name, v in readings.net_gex_by_sign.items()},
        "prior_close": number(levels.prior_close),
        "walls_at": levels.walls_at,
        "local_gex": number(readings.local_gex),
        "largest_strikes": [
            {"strike": strike, "net_gex": net_gex} for strike, net_gex in readings.largest_strikes
        ],
        "skew_25_delta": number(readings.skews.get(front, math.nan)),
        "charm_into_close": number(hedging.charm_into_close),
        "dealer_delta_by_move": {f"{100 * m:g}": number(v) for m, v in hedging.by_spot.items()},
        "dealer_delta_by_minutes": {f"{m}": number(v) for m, v in hedging.by_minutes.items()},
    }


def _strikes(levels: Levels) -> list[JsonDict]:
    table = levels.strikes
    columns = zip(
        table.strikes.tolist(),
        table.call_gex.tolist(),
        table.put_gex.tolist(),
        table.net_gex.tolist(),
        _counts(table.call_oi),
        _counts(table.put_oi),
        _counts(table.call_volume),
        _counts(table.put_volume),
        strict=True,
    )
    return [
        {
            "strike": strike,
            "call_gex": call_gex,
            "put_gex": put_gex,
            "net_gex": net_gex,
            "call_oi": call_oi,
            "put_oi": put_oi,
            "call_volume": call_volume,
            "put_volume": put_volume,
        }
        for strike, call_gex, put_gex, net_gex, call_oi, put_oi, call_volume, put_volume in columns
    ]


def _expirations(levels: Levels) -> list[JsonDict]:
    return [
        {
            "expiration": row.expiration.isoformat(),
            "settlement": row.settlement,
            "dte": row.dte,
            "forward": number(row.forward),
            "forward_source": row.forward_source,
            "net_gex": number(row.net_gex),
            "atm_iv": number(row.atm_iv),
            "skew_25_delta": number(levels.readings.skews[row.shard]),
            "contracts": row.contracts,
        }
        for row in levels.expirations
    ]


def _quality(levels: Levels) -> JsonDict:
    quality = levels.quality
    oldest = quality.oldest_quote_at
    return {
        "contracts": quality.contracts,
        "with_iv": quality.with_iv,
        "coverage_oi": number(quality.coverage_oi),
        "coverage_gamma": number(quality.coverage_gamma),
        "coverage_flow": number(quality.coverage_flow),
        "oldest_quote_at": None if oldest is None else iso_ms(oldest),
        "oi_date": quality.oi_date.isoformat(),
        "rejected": dict(quality.rejected),
        "parity_pairs": quality.parity_pairs,
        "parity_outliers": quality.parity_outliers,
        "conflated": quality.conflated,
    }


def _contracts(levels: Levels) -> list[JsonDict]:
    """Every listed contract in contract order; vega, vanna per 1.00 of sigma, rho per 1 %."""
    board = levels.board
    dates = [shard.expiry.expiration.isoformat() for shard in board.shards]
    styles = [shard.expiry.settlement for shard in board.shards]
    where = board.shard_of.tolist()
    labels = [status.label for status in Status]
    columns: dict[str, list[Any]] = {
        "symbol": [levels.symbol] * len(where),
        "expiration": [dates[at] for at in where],
        "settlement": [styles[at] for at in where],
        "strike": board.strikes.tolist(),
        "right": np.where(board.puts, "P", "C").tolist(),
        "bid": numbers(board.quotes["bid"]),
        "ask": numbers(board.quotes["ask"]),
        "iv": numbers(board.sigmas),
        "status": [labels[code] for code in board.statuses.tolist()],
    }
    for name in GREEKS:
        columns[name] = numbers(getattr(board.greeks, name))
    columns["theta_per_minute"] = numbers(board.greeks.theta_per_minute)
    columns["open_interest"] = _known(board.quotes["open_interest"])
    columns["volume"] = _known(board.quotes["volume"])
    return _records(columns)


def _records(columns: dict[str, list[Any]]) -> list[JsonDict]:
    names = list(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def front_max_pain(latest: JsonDict) -> float | None:
    """Max pain of the front expiration [$] in the JSON of ``latest``: the first of its kind."""
    return next(iter((latest["levels"]["max_pain"] or {}).values()), None)
