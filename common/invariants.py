"""What must hold for every published level.

Owns the checks; must not repair anything. Each breach is one line for the log and the
counter; no breach, no line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.models import FloatArray
from common.quant import kernels
from common.quant.exposure import MULTIPLIER, ONE_PERCENT

if TYPE_CHECKING:
    from common.levels import Levels

_SUM_TOLERANCE = 1e-9
_BUMP_TOLERANCE = 1e-5


def check_invariants(levels: Levels) -> list[str]:
    """Breaches found in one result, as sentences; empty when all is well."""
    breaches = [*_sums(levels), *_walls(levels), *_roots(levels)]
    if levels.source == "own":
        breaches += _share_delta(levels)
    return breaches


def _sums(levels: Levels) -> list[str]:
    """Strike sums equal totals; 0DTE and the rest equal all."""
    net = levels.totals.net_gex
    if not np.isfinite(net):
        return []
    table, board = levels.strikes, levels.board
    gross = float(np.sum(np.abs(table.call_gex)) + np.sum(np.abs(table.put_gex)))
    breaches = []
    by_strike = float(np.sum(table.net_gex))
    if not abs(by_strike - net) <= _SUM_TOLERANCE * gross:
        breaches.append(f"strikes sum to {by_strike:.6g}, the total is {net:.6g}")
    parts = [row.net_gex for row in levels.expirations if np.isfinite(row.net_gex)]
    if not abs(sum(parts) - net) <= _SUM_TOLERANCE * gross:
        breaches.append(f"expirations sum to {sum(parts):.6g}, the total is {net:.6g}")
    today = [r.net_gex for r in levels.expirations if r.dte == 0 and np.isfinite(r.net_gex)]
    zero_dte = levels.totals.net_gex_0dte
    if not abs(sum(today) - np.nan_to_num(zero_dte)) <= _SUM_TOLERANCE * gross:
        breaches.append(f"0DTE expirations sum to {sum(today):.6g}, published {zero_dte:.6g}")
    if np.any(board.used & ~board.alive):
        breaches.append("an expired contract is in the sums")
    return breaches


def _walls(levels: Levels) -> list[str]:
    """Each wall is the largest of the strikes on its side, at the price they are ranked at."""
    table, walls = levels.ranking, levels.walls
    spot = table.price
    every = np.ones(table.strikes.shape, dtype=np.bool_)
    cases = [
        ("call wall", walls.call, np.abs(table.call_gex), table.strikes >= spot),
        ("put wall", walls.put, np.abs(table.put_gex), table.strikes <= spot),
        ("unconstrained call wall", walls.call_unconstrained, np.abs(table.call_gex), every),
        ("unconstrained put wall", walls.put_unconstrained, np.abs(table.put_gex), every),
    ]
    breaches = []
    for name, wall, sizes, side in cases:
        largest = float(np.max(sizes[side], initial=0.0))
        if np.isnan(wall):
            if largest > 0.0:
                breaches.append(f"no {name}, but the strike table has one")
            continue
        at = side & (table.strikes == wall)
        if not at.any() or sizes[at][0] < largest * (1.0 - _SUM_TOLERANCE):
            breaches.append(f"{name} {wall:g} is not the largest in the strike table")
    return breaches


def _roots(levels: Levels) -> list[str]:
    """Every root lies in a sign change of the published curve, and zero gamma is the nearest."""
    flip = levels.flip
    breaches = [
        f"zero gamma {root:.6g} is no root of the published curve"
        for root in flip.roots.tolist()
        if flip.curve is None or not _crosses(flip.curve.spots, flip.curve.net_gex, root)
    ]
    if flip.roots.size:
        gap = float(np.min(np.abs(flip.roots - levels.spot)))
        if abs(flip.nearest - levels.spot) != gap:
            breaches.append(f"zero gamma {flip.nearest:.6g} is not the root nearest spot")
    elif np.isfinite(flip.nearest):
        breaches.append(f"zero gamma {flip.nearest:.6g} without a root")
    return breaches


def _crosses(spots: FloatArray, values: FloatArray, root: float) -> bool:
    seen = np.flatnonzero(values)
    left, right = seen[spots[seen] <= root], seen[spots[seen] >= root]
    if not left.size or not right.size:
        return False
    before, after = left[-1], right[0]
    if before == after:  # the root falls on a point of the grid
        before, after = max(before - 1, 0), min(after + 1, spots.size - 1)
    return bool(np.sign(values[before]) != np.sign(values[after]))


def _share_delta(levels: Levels) -> list[str]:
    """The slope of N(S) = sum sign · delta · OI · m, times S² · 0.01, equals net GEX."""
    board, spot, net = levels.board, levels.spot, levels.totals.net_gex
    rows = np.flatnonzero(board.used)
    if rows.size == 0:
        return []
    v = board.sigmas[rows] * np.sqrt(board.years[rows])
    bump = 1e-4 * float(v.min()) * spot
    shares = []
    position = board.signs[rows] * board.open_interests[rows] * MULTIPLIER
    bases, strikes, puts = board.bases[rows], board.strikes[rows], board.puts[rows]
    years, sigmas = board.years[rows], board.sigmas[rows]
    growth = board.discounts[rows] * bases
    for at in (spot - bump, spot + bump):
        found = np.empty(rows.size)
        compute = kernels.active().deltas
        kernels.filled(compute(at * bases, strikes, years, sigmas, growth, puts, found))
        shares.append(float(np.sum(position * found)))
    slope = (shares[1] - shares[0]) / (2.0 * bump) * spot * spot * ONE_PERCENT
    table = levels.strikes
    gross = float(np.sum(np.abs(table.call_gex)) + np.sum(np.abs(table.put_gex)))
    # Rounding of N itself limits what a bump this small can show.
    rounding = 1e-14 * float(np.sum(np.abs(board.open_interests[rows]))) * MULTIPLIER / bump
    limit = _BUMP_TOLERANCE * gross + rounding * spot * spot * ONE_PERCENT
    if abs(slope - net) > limit:
        return [f"the slope of the share delta gives {slope:.6g}, net GEX is {net:.6g}"]
    return []
