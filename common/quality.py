"""How much of the chain a result rests on: coverage, rejections, ages, parity.

Owns the coverage figures; must not change what is summed.
"""

from __future__ import annotations

from datetime import date

import msgspec
import numpy as np

from common.board import Board
from common.models import Status
from common.quant import kernels
from common.quant.exposure import MULTIPLIER, ONE_PERCENT
from common.settings import QuantParameters
from common.tally import Tally

_REASONS = tuple((int(status), status.label) for status in Status if status != Status.OK)


class Quality(msgspec.Struct, frozen=True):
    """How much of the chain the levels rest on."""

    contracts: int
    """Listed contracts, the expired and unusable too: with_iv plus everything rejected."""
    with_iv: int
    coverage_oi: float
    """Share of open interest with an IV; NaN without open interest."""
    coverage_gamma: float
    """Share of gross |GEX|, unusable contracts bounded by their ask."""
    coverage_flow: float
    """Share of the day's volume whose side is known; NaN without volume."""
    oldest_quote_at: int | None
    """Oldest quote that a level rests on [us]."""
    oi_date: date
    rejected: dict[str, int]
    parity_pairs: int
    """Two-sided pairs whose parity was checked ..."""
    parity_outliers: int
    """... and those off by more than their half-spreads."""
    conflated: bool
    """Redis is short of memory: of the quotes of a contract only the newest are appended."""


def measure(
    *,
    board: Board,
    tally: Tally,
    spot: float,
    parameters: QuantParameters,
    oi_date: date,
    unnamed: int,
    conflated: bool,
) -> Quality:
    sums = tally.sums
    known = sums["gross_gex"]
    missing = ceiling_gex(board=board, spot=spot, parameters=parameters)
    rejected = _rejected(board)
    if unnamed:
        label = Status.BAD_INPUT.label
        rejected[label] = rejected.get(label, 0) + unnamed
    return Quality(
        contracts=int(board.statuses.size) + unnamed,
        with_iv=int(sums["solved"]),
        coverage_oi=_share(sums["solved_oi"], sums["call_oi"] + sums["put_oi"]),
        coverage_gamma=_share(known, known + missing),
        coverage_flow=_share(sums["sided"], sums["call_volume"] + sums["put_volume"]),
        oldest_quote_at=int(sums["oldest"]) if sums["used"] else None,
        oi_date=oi_date,
        rejected=rejected,
        parity_pairs=int(sums["pairs"]),
        parity_outliers=int(sums["outliers"]),
        conflated=conflated,
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0.0 else float("nan")


def _rejected(board: Board) -> dict[str, int]:
    """Reason → contracts, in the order of the enumeration."""
    counts = np.bincount(board.statuses, minlength=len(Status)).tolist()
    return {label: counts[status] for status, label in _REASONS if counts[status]}


def ceiling_gex(*, board: Board, spot: float, parameters: QuantParameters) -> float:
    """Upper bound of the gross gamma exposure of the rows that live but do not count.

    :returns: [$ of delta per 1 % move]
    """
    out = np.empty(1)
    done = kernels.active().ceiling(
        *(board.quotes.view(np.uint8), board.table, board.places, board.puts, board.used),
        *(board.settled, out, float(parameters.rate)),
    )
    kernels.filled(done)
    return float(out[0]) * MULTIPLIER * ONE_PERCENT * spot * spot
