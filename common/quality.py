"""How much of the chain a result rests on: coverage, rejections, ages, parity.

Owns the coverage figures; must not change what is summed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from common.board import Board, ceiling_gammas, parity_outliers
from common.models import Status
from common.quant import exposure
from common.quant.exposure import Exposures
from common.settings import QuantParameters


@dataclass(frozen=True, slots=True)
class Quality:
    """How much of the chain the levels rest on."""

    contracts: int
    """Listed contracts, the expired and unusable too: with_iv plus everything rejected."""
    with_iv: int
    coverage_oi: float
    """Share of open interest with an IV; NaN without open interest."""
    coverage_gamma: float
    """Share of gross |GEX|, unusable contracts bounded by their ask."""
    oldest_quote_at: int | None
    """Oldest quote that a level rests on [us]."""
    oi_date: date
    rejected: dict[str, int]
    parity_pairs: int
    """Two-sided pairs whose parity was checked ..."""
    parity_outliers: int
    """... and those off by more than their half-spreads."""


def measure(
    *,
    board: Board,
    sums: Exposures,
    spot: float,
    parameters: QuantParameters,
    oi_date: date,
    unnamed: int,
) -> Quality:
    good, alive = board.statuses == Status.OK, board.alive
    counted = board.open_interests * alive
    bounds = exposure.gamma_exposure(
        signs=board.signs,
        gammas=np.nan_to_num(ceiling_gammas(board=board, spot=spot, parameters=parameters)),
        sizes=counted,
        spot=spot,
    )
    known = float(np.sum(np.abs(sums.gex[board.used])))
    missing = float(np.sum(np.abs(bounds[alive & ~board.used])))
    rejected = _rejected(board)
    if unnamed:
        label = Status.BAD_INPUT.label
        rejected[label] = rejected.get(label, 0) + unnamed
    outliers, pairs = parity_outliers(board=board, parameters=parameters)
    return Quality(
        contracts=int(board.statuses.size) + unnamed,
        with_iv=int(np.count_nonzero(good)),
        coverage_oi=_share(float(np.sum(counted[good & board.used])), float(np.sum(counted))),
        coverage_gamma=_share(known, known + missing),
        oldest_quote_at=int(board.oldest[board.used].min()) if board.used.any() else None,
        oi_date=oi_date,
        rejected=rejected,
        parity_pairs=pairs,
        parity_outliers=outliers,
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0.0 else float("nan")


def _rejected(board: Board) -> dict[str, int]:
    """Reason → contracts, in the order of the enumeration."""
    counts: npt.NDArray[np.intp] = np.bincount(board.statuses, minlength=len(Status))
    return {
        status.label: int(counts[status])
        for status in Status
        if status != Status.OK and counts[status]
    }
