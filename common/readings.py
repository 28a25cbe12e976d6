"""Further readings of a chain: gamma near the spot, by sign and by week, the largest strikes, skew.

Owns them; must not price. Every sum runs over the contracts of the board that count.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from common.board import Board
from common.models import FloatArray
from common.quant.exposure import SIGNS, Exposures

LOCAL_SHARE = 0.01
"""Strikes within this share of the spot are local."""
LARGEST = 5
"""Strikes that are named for their net gamma."""
SKEW_DELTA = 0.25
NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Readings:
    """NaN where there is no number."""

    local_gex: float
    """Net GEX of strikes within 1 % of the spot [$ per 1 % move]."""
    net_gex_week: float
    """Net GEX of what expires by the end of this week, today included [$ per 1 % move]."""
    net_gex_by_sign: dict[str, float]
    """Net GEX under each convention of the dealers' position [$ per 1 % move]."""
    largest_strikes: tuple[tuple[float, float], ...]
    """(strike [$], net GEX) of the largest |net GEX|, the largest first."""
    skews: dict[str, float]
    """Shard → IV of the 25-delta put less that of the 25-delta call [1]."""


def readings(
    board: Board,
    sums: Exposures,
    *,
    spot: float,
    today: date,
    strikes: FloatArray,
    net_gex: FloatArray,
) -> Readings:
    """:param strikes: of the strike table [$]; (k,). :param net_gex: of each [$ per 1 %]; (k,)."""
    used = board.used
    near = used & (np.abs(board.strikes - spot) <= LOCAL_SHARE * spot)
    friday = today + timedelta(days=(4 - today.weekday()) % 7)
    by_friday = np.asarray([s.expiry.expiration <= friday for s in board.shards], dtype=np.bool_)
    return Readings(
        local_gex=_total(sums.gex, near),
        net_gex_week=_total(sums.gex, used & by_friday[board.shard_of]),
        net_gex_by_sign=_by_sign(board, sums),
        largest_strikes=_largest(strikes, net_gex),
        skews=_skews(board),
    )


def _total(values: FloatArray, mask: np.typing.NDArray[np.bool_]) -> float:
    return float(np.sum(values[mask])) if mask.any() else NAN


def _by_sign(board: Board, sums: Exposures) -> dict[str, float]:
    if not board.used.any():
        return dict.fromkeys(SIGNS, NAN)
    long = sums.gex * board.signs  # each sign is its own inverse
    calls = float(np.sum(long[board.used & ~board.puts]))
    puts = float(np.sum(long[board.used & board.puts]))
    return {name: call * calls + put * puts for name, (call, put) in SIGNS.items()}


def _largest(strikes: FloatArray, net_gex: FloatArray) -> tuple[tuple[float, float], ...]:
    order = np.argsort(-np.nan_to_num(np.abs(net_gex)), kind="stable")[:LARGEST]
    found = zip(strikes[order].tolist(), net_gex[order].tolist(), strict=True)
    return tuple((strike, gex) for strike, gex in found if abs(gex) > 0.0)


def _skews(board: Board) -> dict[str, float]:
    """Shard → IV at the put delta -0.25 less that at the call delta 0.25, linear in delta."""
    columns = []
    for side, sign in ((board.puts, -1.0), (~board.puts, 1.0)):
        rows = np.flatnonzero(board.used & side)
        columns.append(
            (
                np.searchsorted(rows, board.bounds).tolist(),
                sign * board.greeks.delta[rows],
                board.sigmas[rows],
            )
        )
    (put_at, puts, put_vols), (call_at, calls, call_vols) = columns
    found = {}
    for at, shard in enumerate(board.shards):
        put = slice(put_at[at], put_at[at + 1])
        call = slice(call_at[at], call_at[at + 1])
        down = _at_delta(puts[put], put_vols[put])
        found[shard.expiry.shard] = down - _at_delta(calls[call][::-1], call_vols[call][::-1])
    return found


def _at_delta(sizes: FloatArray, sigmas: FloatArray) -> float:
    """IV at a delta of 0.25 in size, ascending; NaN where the chain does not reach it."""
    if sizes.size == 0 or not sizes[0] <= SKEW_DELTA <= sizes[-1]:
        return NAN
    return float(np.interp(SKEW_DELTA, sizes, sigmas))
