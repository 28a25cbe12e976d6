"""All contracts of one symbol side by side, re-priced at one spot and one instant.

Owns which contracts count at that instant (listed, not expired, fresh, with an IV) and their
Greeks there; must not sum anything: that is :mod:`common.levels`. Rows stand in contract
order: expiries by settlement, keys ascending within each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from common.chain import Solution, on_board, years_left
from common.clock import SECOND, YEAR_SECONDS, settlement_us
from common.models import (
    QUOTE,
    BoolArray,
    Expiry,
    FloatArray,
    Rows,
    Status,
    StatusArray,
    key_puts,
    key_strikes,
)
from common.quant.blackscholes import Greeks, greeks
from common.quant.exposure import dealer_signs
from common.quant.implied_vol import implied_vol
from common.settings import QuantParameters

GreeksSource = Literal["own", "vendor"]
Times = npt.NDArray[np.int64]
Index = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class ShardState:
    """The latest quotes of one expiration and what :func:`common.chain.solve` made of them."""

    expiry: Expiry
    quotes: Rows
    """Layout QUOTE, sorted by key; (n,)."""
    solution: Solution
    vendor: dict[str, FloatArray] | None = None
    """The source's own ``iv``, ``delta``, ``gamma`` where it has them; (n,) each."""


@dataclass(frozen=True, slots=True)
class Board:
    """Listed contracts as parallel columns, (n,); a number that a row lacks is NaN."""

    shards: tuple[ShardState, ...]
    """Those with a listed contract, by settlement."""
    shard_of: Index
    """Row → index into ``shards``."""
    quotes: Rows
    partners: Index
    """Row → row of the other right of its strike, -1 where there is none."""
    strikes: FloatArray
    puts: BoolArray
    years: FloatArray
    """T at the instant [years]; not positive once expired."""
    bases: FloatArray
    """F/S [1]"""
    sigmas: FloatArray
    """IV in force [per sqrt(year)]"""
    statuses: StatusArray
    used: BoolArray
    """Rows that enter the sums."""
    signs: FloatArray
    open_interests: FloatArray
    """[contracts], 0 where unknown."""
    volumes: FloatArray
    greeks: Greeks
    oldest: Times
    """Time of the oldest quote that a row rests on [us]."""

    @property
    def alive(self) -> BoolArray:
        """Rows that have not expired."""
        return self.years > 0.0


def build_board(
    *,
    shards: Sequence[ShardState],
    spot: float,
    as_of: int,
    newest: int | None,
    parameters: QuantParameters,
    source: GreeksSource,
) -> Board:
    """Lay the shards side by side and price every contract.

    :param spot: S [$]. :param as_of: the instant [us].
    :param newest: time of the spot [us], if known; a quote is stale against this or the
        newest quote, whichever is later.
    :param source: ``vendor`` takes the source's iv, delta and gamma and no filter but expiry.
    """
    ordered = tuple(
        sorted(
            (shard for shard in shards if on_board(shard.quotes).any()),
            key=lambda shard: (settlement_us(shard.expiry), shard.expiry),
        )
    )
    counts = [int(np.count_nonzero(on_board(shard.quotes))) for shard in ordered]
    shard_of = np.repeat(np.arange(len(ordered)), counts)
    quotes = _listed(ordered, [shard.quotes for shard in ordered], QUOTE)
    years = _spread([float(years_left(times=as_of, expiry=s.expiry)) for s in ordered], shard_of)
    bases = _spread([s.solution.basis for s in ordered], shard_of)
    partners = _partners(quotes, shard_of)
    oldest = _oldest_times(ordered, quotes, partners)
    if source == "vendor":
        sigmas, statuses = _vendor_vols(ordered, years)
    else:
        sigmas, statuses = _own_vols(ordered, years, oldest, newest, parameters)
    strikes, puts = key_strikes(quotes["key"]), key_puts(quotes["key"])
    priced = greeks(
        spots=spot,
        forwards=spot * bases,
        strikes=strikes,
        years=years,
        sigmas=sigmas,
        rates=parameters.rate,
        puts=puts,
    )
    if source == "vendor":
        priced = _with_vendor(priced, ordered)
    return Board(
        shards=ordered,
        shard_of=shard_of,
        quotes=quotes,
        partners=partners,
        strikes=strikes,
        puts=puts,
        years=years,
        bases=bases,
        sigmas=sigmas,
        statuses=statuses,
        used=(years > 0.0) & np.isfinite(priced.gamma) & np.isfinite(priced.delta),
        signs=dealer_signs(convention=parameters.sign, puts=puts),
        open_interests=np.maximum(quotes["open_interest"], 0).astype(np.float64),
        volumes=np.maximum(quotes["volume"], 0).astype(np.float64),
        greeks=priced,
        oldest=oldest,
    )


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
    quotes = board.quotes[asked]
    settled = np.asarray([settlement_us(shard.expiry) for shard in board.shards])
    years = (settled[board.shard_of[rows]] - quotes["time"]) / (SECOND * YEAR_SECONDS)
    found = implied_vol(
        prices=np.where((asked >= 0) & (quotes["ask"] > 0.0), quotes["ask"], np.nan),
        forwards=quotes["spot"] * board.bases[rows],
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


def parity_outliers(*, board: Board, parameters: QuantParameters) -> tuple[int, int]:
    """(outliers, pairs checked) of |C - P - D (F - K)| against the combined half-spreads.

    Mids of two-sided quotes; American exercise makes outliers of deep in-the-money puts.
    """
    partners = board.partners
    calls = np.flatnonzero(~board.puts & (partners >= 0) & board.alive)
    call, put = board.quotes[calls], board.quotes[partners[calls]]
    discounts = np.exp(-parameters.rate * board.years[calls])
    with np.errstate(invalid="ignore"):
        two_sided = (call["bid"] > 0.0) & (put["bid"] > 0.0)
        two_sided &= (call["ask"] > call["bid"]) & (put["ask"] > put["bid"])
        mids = 0.5 * (call["bid"] + call["ask"] - put["bid"] - put["ask"])
        forwards = board.bases[calls] * 0.5 * (call["spot"] + put["spot"])
        gaps = np.abs(mids - discounts * (forwards - board.strikes[calls]))
        widths = 0.5 * (call["ask"] - call["bid"] + put["ask"] - put["bid"])
        outliers = two_sided & (gaps > widths)
    return int(np.count_nonzero(outliers)), int(np.count_nonzero(two_sided))


def _own_vols(
    shards: Sequence[ShardState],
    years: FloatArray,
    oldest: Times,
    newest: int | None,
    parameters: QuantParameters,
) -> tuple[FloatArray, StatusArray]:
    """(IV, status) from the solutions, with what has expired or gone stale since."""
    sigmas = _listed(shards, [s.solution.iv for s in shards], np.dtype(np.float64))
    statuses = _listed(shards, [s.solution.status for s in shards], np.dtype(np.uint8))
    alive = years > 0.0
    latest = max(int(oldest[alive].max(initial=0)), newest or 0)
    stale = oldest < latest - round(parameters.max_quote_age_seconds * SECOND)
    statuses = np.where(stale & (statuses != Status.BAD_INPUT), Status.STALE, statuses)
    statuses = np.where(alive, statuses, Status.EXPIRED).astype(np.uint8)
    return np.where(statuses == Status.OK, sigmas, np.nan), statuses


def _vendor_vols(shards: Sequence[ShardState], years: FloatArray) -> tuple[FloatArray, StatusArray]:
    """(IV, status) of the source; a contract without one is NOT_CONVERGED at the vendor."""
    sigmas = _vendor_column(shards, "iv")
    with np.errstate(invalid="ignore"):
        sigmas = np.where((sigmas > 0.0) & np.isfinite(sigmas), sigmas, np.nan)
    statuses = np.where(np.isnan(sigmas), Status.NOT_CONVERGED, Status.OK)
    statuses = np.where(years > 0.0, statuses, Status.EXPIRED).astype(np.uint8)
    return np.where(years > 0.0, sigmas, np.nan), statuses


def _with_vendor(priced: Greeks, shards: Sequence[ShardState]) -> Greeks:
    """Our Greeks at the vendor's IV, with the vendor's delta and gamma in their place."""
    return replace(
        priced, delta=_vendor_column(shards, "delta"), gamma=_vendor_column(shards, "gamma")
    )


def _vendor_column(shards: Sequence[ShardState], name: str) -> FloatArray:
    columns = [
        (shard.vendor or {}).get(name, np.full(shard.quotes.size, np.nan)) for shard in shards
    ]
    return _listed(shards, columns, np.dtype(np.float64))


def _listed(
    shards: Sequence[ShardState],
    columns: Sequence[npt.NDArray[Any]],
    dtype: np.dtype[Any],
) -> npt.NDArray[Any]:
    """One column of the listed rows of all shards."""
    parts = [column[on_board(s.quotes)] for s, column in zip(shards, columns, strict=True)]
    return np.concatenate([np.empty(0, dtype), *parts]).astype(dtype, copy=False)


def _spread(values: Sequence[float], shard_of: Index) -> FloatArray:
    """A number per shard as a number per row."""
    return np.asarray(values, dtype=np.float64)[shard_of]


def _partners(quotes: Rows, shard_of: Index) -> Index:
    """The row of the other right of the same strike and shard, -1 where there is none."""
    keys = quotes["key"]
    calls = np.flatnonzero(
        (keys[:-1] & 1 == 0) & (keys[1:] == keys[:-1] + 1) & (shard_of[1:] == shard_of[:-1])
    )
    partners = np.full(keys.shape, -1)
    partners[calls], partners[calls + 1] = calls + 1, calls
    return partners


def _oldest_times(shards: Sequence[ShardState], quotes: Rows, partners: Index) -> Times:
    """A row rests on its own quote and on that of the side that gave its IV."""
    sides = _listed(shards, [s.solution.side for s in shards], np.dtype("S1"))
    own_side = np.where(key_puts(quotes["key"]), b"P", b"C")
    leans = (partners >= 0) & (sides != b"") & (sides != own_side)
    return np.where(leans, np.minimum(quotes["time"], quotes["time"][partners]), quotes["time"])
