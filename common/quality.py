"""How much of the chain a result rests on: coverage, rejections, ages, parity.

Owns the coverage figures; must not change what is summed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from common.board import Board
from common.clock import SECOND, YEAR_SECONDS, settlement_us
from common.models import FloatArray, Status
from common.quant import exposure
from common.quant.blackscholes import greeks
from common.quant.exposure import Exposures
from common.quant.implied_vol import implied_vol
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
    sums: Exposures,
    spot: float,
    parameters: QuantParameters,
    oi_date: date,
    unnamed: int,
    conflated: bool,
) -> Quality:
    good, alive = board.statuses == Status.OK, board.alive
    counted = board.open_interests * alive
    bounds = exposure.gamma_exposure(
        signs=np.ones(counted.shape),
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
    quotes = board.quotes
    sided = float(np.sum(quotes["bought"][alive], dtype=np.float64))
    sided += float(np.sum(quotes["sold"][alive], dtype=np.float64))
    outliers, pairs = parity_outliers(board)
    return Quality(
        contracts=int(board.statuses.size) + unnamed,
        with_iv=int(np.count_nonzero(good)),
        coverage_oi=_share(float(np.sum(counted[good & board.used])), float(np.sum(counted))),
        coverage_gamma=_share(known, known + missing),
        coverage_flow=_share(sided, float(np.sum(board.volumes[alive]))),
        oldest_quote_at=int(board.oldest[board.used].min()) if board.used.any() else None,
        oi_date=oi_date,
        rejected=rejected,
        parity_pairs=pairs,
        parity_outliers=outliers,
        conflated=conflated,
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


def ceiling_gammas(*, board: Board, spot: float, parameters: QuantParameters) -> FloatArray:
    """Upper bounds of gamma for rows that are alive but not used; NaN where nothing is known.

    The ask of the out-of-the-money side bounds the option's value, hence its IV, hence the
    gamma of a wing. Both rights of a strike get the strike's bound.

    :returns: [1/$]; (n,).
    """
    rows = np.flatnonzero(board.alive & ~board.used)
    bounds = np.full(board.years.shape, np.nan)
    if rows.size == 0:
        return bounds
    partners = board.partners[rows]
    forwards = spot * board.bases
    out = board.puts[rows] == (board.strikes[rows] < forwards[rows])
    asked = np.where(out, rows, partners)
    asks, spots = board.quotes["ask"][asked], board.quotes["spot"][asked]
    settled = np.asarray([settlement_us(shard.expiry) for shard in board.shards])
    times = board.quotes["time"][asked]
    years = (settled[board.shard_of[rows]] - times) / (SECOND * YEAR_SECONDS)
    found = implied_vol(
        prices=np.where((asked >= 0) & (asks > 0.0), asks, np.nan),
        forwards=spots * board.bases[rows],
        strikes=board.strikes[rows],
        years=years,
        discounts=np.exp(-parameters.rate * years),
        puts=board.puts[asked],
    )
    bounds[rows] = greeks(
        spots=spot,
        forwards=forwards[rows],
        strikes=board.strikes[rows],
        years=board.years[rows],
        sigmas=found.sigmas,
        rates=parameters.rate,
        puts=board.puts[rows],
    ).gamma
    return bounds


def parity_outliers(board: Board) -> tuple[int, int]:
    """(outliers, pairs checked) of |C - P - D (F - K)| against the combined half-spreads.

    Mids of two-sided quotes; American exercise makes outliers of deep in-the-money puts.
    """
    calls = np.flatnonzero(~board.puts & (board.partners >= 0) & board.alive)
    puts = board.partners[calls]
    bid, ask, spot = board.quotes["bid"], board.quotes["ask"], board.quotes["spot"]
    discounts = board.discounts[calls]
    with np.errstate(invalid="ignore"):
        good = (bid > 0.0) & (ask > bid)
        two_sided = good[calls] & good[puts]
        mids = 0.5 * (bid[calls] + ask[calls] - bid[puts] - ask[puts])
        forwards = board.bases[calls] * 0.5 * (spot[calls] + spot[puts])
        gaps = np.abs(mids - discounts * (forwards - board.strikes[calls]))
        widths = 0.5 * (ask[calls] - bid[calls] + ask[puts] - bid[puts])
        outliers = two_sided & (gaps > widths)
    return int(np.count_nonzero(outliers)), int(np.count_nonzero(two_sided))
