"""The forward of an expiration, implied by put-call parity of its near-the-money quotes.

Owns the choice and weighting of pairs; must not filter quotes (its caller marks a side that
must not be used with NaN) or read a setting. Works in ratios F/S, because each quote was
taken at a spot of its own.

.. [1] H. R. Stoll, "The relationship between put and call option prices", J. Finance 24 (1969).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from common.models import BoolArray, FloatArray
from common.quant.limits import MAX_SPOT_GAP, NORMAL_MAD, OUTLIER

ForwardSource = Literal["parity", "carry", "none"]
SOURCES: tuple[ForwardSource, ...] = ("none", "carry", "parity")
"""By the number that a kernel gives."""


@dataclass(frozen=True, slots=True)
class Forward:
    """The forward of one expiration relative to the spot."""

    basis: float
    """F/S [1]; NaN when the source is ``none``."""
    source: ForwardSource
    residual: float
    """Weighted root mean square of the pairs' forwards about the result [$]; NaN without pairs."""
    pairs: int
    """Pairs that carried weight in the result; with source ``carry``, the too few there were."""


def imply_forward(
    *,
    strikes: FloatArray,
    call_mids: FloatArray,
    put_mids: FloatArray,
    call_spreads: FloatArray,
    put_spreads: FloatArray,
    call_spots: FloatArray,
    put_spots: FloatArray,
    discounts: FloatArray,
    carry_basis: float,
    nearest: int,
    least: int,
) -> Forward:
    """F/S from F = K + (C - P)/D of the pairs nearest the money, else the carry [1].

    Weights are 1/(combined half-spread)². A weighted median finds the centre; pairs further
    from it than three robust deviations leave, and the rest is averaged.

    :param strikes: K [$]; (n,) like every array here.
    :param call_mids: [$ per share], NaN where the call must not be used; ``put_mids`` alike.
    :param call_spreads: ask - bid [$]. :param call_spots: underlying at the call's quote [$].
    :param discounts: D at the pair's quotes [1].
    :param carry_basis: e^{(r-q)T} [1], the fall-back and the centre of 'near the money'.
    :param nearest: pairs looked at. :param least: fewer clean ones give the fall-back.
    """
    with np.errstate(all="ignore"):
        spots = 0.5 * (call_spots + put_spots)
        ratios = (strikes + (call_mids - put_mids) / discounts) / spots
        widths = 0.5 * (call_spreads + put_spreads) / (discounts * spots)
        apart = np.abs(call_spots - put_spots) > MAX_SPOT_GAP * spots
        usable = np.isfinite(ratios) & (ratios > 0.0) & (widths > 0.0) & ~apart
        distances = np.abs(strikes / spots - carry_basis)
    rows = np.flatnonzero(usable)
    rows = rows[np.argsort(distances[rows], kind="stable")][:nearest]
    if rows.size < least or rows.size == 0:
        return _carry(carry_basis, rows.size)
    ratios, widths, spots = ratios[rows], widths[rows], spots[rows]
    weights = 1.0 / np.square(widths)
    kept = _inliers(ratios, weights, widths)
    if np.count_nonzero(kept) < least:
        return _carry(carry_basis, int(np.count_nonzero(kept)))
    ratios, weights, spots = ratios[kept], weights[kept], spots[kept]
    total = float(np.sum(weights))
    basis = float(np.sum(weights * ratios)) / total
    spread = float(np.sqrt(np.sum(weights * np.square((ratios - basis) * spots)) / total))
    return Forward(basis, "parity", spread, int(ratios.size))


def weighted_median(*, values: FloatArray, weights: FloatArray) -> float:
    """The value at which half of the weight lies on either side.

    :param values: (n,), n > 0. :param weights: positive; (n,).
    """
    order = np.argsort(values, kind="stable")
    cumulated = np.cumsum(weights[order])
    at = int(np.searchsorted(cumulated, 0.5 * cumulated[-1]))
    return float(values[order[at]])


def _inliers(ratios: FloatArray, weights: FloatArray, widths: FloatArray) -> BoolArray:
    """Pairs within three robust deviations of the weighted median.

    The deviation is at least a quarter of the typical half-spread: mids that agree to less
    than their own uncertainty are not each other's outliers.
    """
    centre = weighted_median(values=ratios, weights=weights)
    deviations = np.abs(ratios - centre)
    scale = NORMAL_MAD * weighted_median(values=deviations, weights=weights)
    floor = 0.25 * float(np.median(widths))
    kept: BoolArray = deviations <= OUTLIER * max(scale, floor)
    return kept


def _carry(basis: float, pairs: int) -> Forward:
    if not np.isfinite(basis):
        return Forward(float("nan"), "none", float("nan"), pairs)
    return Forward(basis, "carry", float("nan"), pairs)


def carry_basis(*, rates: npt.ArrayLike, yields: npt.ArrayLike, years: npt.ArrayLike) -> FloatArray:
    """F/S = e^{(r-q)T} [1].

    :param rates: r [per year]. :param yields: q [per year]. :param years: T [years].
    """
    r, q, T = (np.asarray(part, dtype=np.float64) for part in (rates, yields, years))
    return np.exp((r - q) * T)
