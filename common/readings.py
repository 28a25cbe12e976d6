"""Further readings of a chain: gamma near the spot, by sign and by week, the largest strikes, skew.

Owns them; must not price. Every sum runs over the contracts of the board that count.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from common.board import Board, Index
from common.models import FloatArray, Status
from common.quant.exposure import FLOW, SIGNS, Exposures, flow_signs, gamma_exposure

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
        net_gex_by_sign=_by_sign(board, spot),
        largest_strikes=_largest(strikes, net_gex),
        skews=_skews(board),
    )


def _total(values: FloatArray, mask: np.typing.NDArray[np.bool_]) -> float:
    return float(np.sum(values[mask])) if mask.any() else NAN


def _by_sign(board: Board, spot: float) -> dict[str, float]:
    """NaN under a convention that no contract has a sign in."""
    rows = np.flatnonzero((board.statuses == Status.OK) & board.alive)
    if not rows.size:
        return dict.fromkeys((*SIGNS, FLOW), NAN)
    puts = board.puts[rows]
    sizes = gamma_exposure(
        signs=np.ones(rows.size),
        gammas=np.nan_to_num(board.greeks.gamma[rows]),
        sizes=board.open_interests[rows],
        spot=spot,
    )
    sums = float(sizes[~puts].sum()), float(sizes[puts].sum())
    found = {name: call * sums[0] + put * sums[1] for name, (call, put) in SIGNS.items()}
    quotes = board.quotes
    signs = flow_signs(bought=quotes["bought"][rows], sold=quotes["sold"][rows])
    known = np.isfinite(signs)
    return {**found, FLOW: float((signs[known] * sizes[known]).sum()) if known.any() else NAN}


def _largest(strikes: FloatArray, net_gex: FloatArray) -> tuple[tuple[float, float], ...]:
    order = np.argsort(-np.nan_to_num(np.abs(net_gex)), kind="stable")[:LARGEST]
    found = zip(strikes[order].tolist(), net_gex[order].tolist(), strict=True)
    return tuple((strike, gex) for strike, gex in found if abs(gex) > 0.0)


def _skews(board: Board) -> dict[str, float]:
    """Shard → IV at the put delta -0.25 less that at the call delta 0.25, linear in delta."""
    puts = np.flatnonzero(board.used & board.puts)
    calls = np.flatnonzero(board.used & ~board.puts)[::-1]
    skews = _at_delta(board, puts, -1.0) - _at_delta(board, calls, 1.0)
    return {s.expiry.shard: skew for s, skew in zip(board.shards, skews.tolist(), strict=True)}


def _at_delta(board: Board, rows: Index, sign: float) -> FloatArray:
    """IV of each expiration at a delta of 0.25 in size; NaN where it does not reach it; (e,).

    :param rows: contracts of one right, by expiration, deltas ascending in size within it.
    """
    found = np.full(len(board.shards), NAN)
    sizes, shards = sign * board.greeks.delta[rows], board.shard_of[rows]
    low = np.flatnonzero(sizes <= SKEW_DELTA)
    low = low[low + 1 < rows.size]
    low = low[(shards[low + 1] == shards[low]) & (sizes[low + 1] > SKEW_DELTA)]
    share = (SKEW_DELTA - sizes[low]) / (sizes[low + 1] - sizes[low])
    sigmas = board.sigmas[rows]
    found[shards[low]] = sigmas[low] + share * (sigmas[low + 1] - sigmas[low])
    return found
