"""The parts of a result: sums per chain, strike and expiration, and the zero-gamma search.

Owns the sums over contracts, which run in contract order; must not know how a result is
written or what quality it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from common.board import Board
from common.models import FloatArray, key_strikes
from common.quant import exposure
from common.quant.blackscholes import greeks
from common.quant.exposure import Exposures, StrikeGroups
from common.quant.zero_gamma import Book, Curve, curve, nearest_root, zero_gammas
from common.settings import QuantParameters
from common.tally import Tally

NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all contracts that count; NaN where none does."""

    net_gex: float
    """[$ of delta per 1 % move]"""
    net_gex_0dte: float
    dex: float
    """[$]"""
    vex: float
    """[$ of delta per volatility point]"""
    cex: float
    """[$ of delta per calendar day]"""
    net_volume_gex: float
    """With the day's volume in place of open interest [$ of delta per 1 % move]."""
    put_call_oi: float
    put_call_volume: float


@dataclass(frozen=True, slots=True)
class Flip:
    """Where the re-priced net gamma changes sign."""

    book: Book
    curve: Curve | None
    """None without a contract that can be re-priced."""
    roots: FloatArray
    """All zero-gamma spots, ascending [$]."""
    nearest: float
    """The one nearest the spot; NaN when there is none."""


@dataclass(frozen=True, slots=True)
class StrikeTable:
    """Sums per strike over all expirations that have not expired; (k,) each."""

    strikes: FloatArray
    """Ascending [$]."""
    call_gex: FloatArray
    """Signed [$ of delta per 1 % move]; 0 where no contract contributes."""
    put_gex: FloatArray
    call_oi: FloatArray
    """[contracts], of all listed contracts, with an IV or not."""
    put_oi: FloatArray
    call_volume: FloatArray
    put_volume: FloatArray

    @property
    def net_gex(self) -> FloatArray:
        """[$ of delta per 1 % move]"""
        return self.call_gex + self.put_gex


@dataclass(frozen=True, slots=True)
class Ranking:
    """Gamma exposure by strike at the price that walls are ranked at; (k,)."""

    price: float
    """[$]; NaN when it is not known, and then there are no strikes."""
    strikes: FloatArray
    call_gex: FloatArray
    put_gex: FloatArray


@dataclass(frozen=True, slots=True)
class ExpirationLevels:
    """One expiration that has not expired; NaN where there is no number."""

    expiration: date
    settlement: str
    shard: str
    dte: int
    """Calendar days from the New York date of the instant."""
    forward: float
    forward_source: str
    net_gex: float
    atm_iv: float
    max_pain: float
    contracts: int


def totals(tally: Tally) -> Totals:
    """The sums that are published."""
    return Totals(
        net_gex=tally.total("gex", "used"),
        net_gex_0dte=tally.total("same_day_gex", "same_day"),
        dex=tally.total("dex", "used"),
        vex=tally.total("vex", "used"),
        cex=tally.total("cex", "used"),
        net_volume_gex=tally.total("volume_gex", "traded"),
        put_call_oi=_put_call(tally, "oi"),
        put_call_volume=_put_call(tally, "volume"),
    )


def _put_call(tally: Tally, what: str) -> float:
    puts, calls = tally.total(f"put_{what}", "puts"), tally.total(f"call_{what}", "calls")
    return exposure.ratio(puts=puts, calls=calls)


def flip(board: Board, spot: float, parameters: QuantParameters) -> Flip:
    """The book that can be re-priced, its curve and its roots."""
    book = _book(board)
    if book.strikes.size == 0 or not np.isfinite(spot):
        return Flip(book, None, np.empty(0), NAN)
    grid = curve(book=book, spot=spot, width=parameters.grid_width, points=parameters.grid_points)
    roots = zero_gammas(book=book, curve=grid, spot=spot)
    return Flip(book, grid, roots, nearest_root(roots=roots, spot=spot))


def _book(board: Board) -> Book:
    """Contracts in force; a call and a put of one strike and one IV are one position.

    Merging halves the work, and positions that offset each other cancel exactly instead of
    leaving rounding noise whose signs would look like roots.
    """
    usable = board.used & np.isfinite(board.sigmas) & np.isfinite(board.bases)
    positions = np.where(usable, board.signs * board.open_interests, 0.0)
    puts = np.flatnonzero(board.puts & usable & (board.partners >= 0))
    calls = board.partners[puts]
    same = usable[calls] & (board.sigmas[calls] == board.sigmas[puts])
    positions[calls[same]] += positions[puts[same]]
    usable[puts[same]] = False
    rows = np.flatnonzero(usable)
    return Book(
        strikes=board.strikes[rows],
        bases=board.bases[rows],
        years=board.years[rows],
        sigmas=board.sigmas[rows],
        discounts=board.discounts[rows],
        positions=positions[rows],
    )


def ranking_at(board: Board, price: float, rate: float) -> Ranking:
    """Gamma exposure by strike with the underlying at another price [$], IV and T as they are."""
    rows = np.flatnonzero(board.used)
    if not price > 0.0:
        rows = rows[:0]
    strikes, at = np.unique(board.strikes[rows], return_inverse=True)
    gammas = greeks(
        spots=np.full(rows.size, price),
        forwards=price * board.bases[rows],
        strikes=board.strikes[rows],
        years=board.years[rows],
        sigmas=board.sigmas[rows],
        rates=np.full(rows.size, rate),
        puts=board.puts[rows],
    ).gamma
    gex = exposure.gamma_exposure(
        signs=board.signs[rows],
        gammas=np.nan_to_num(gammas),
        sizes=board.open_interests[rows],
        spot=price,
    )
    side = at + strikes.size * board.puts[rows]
    sums = np.bincount(side, gex, 2 * strikes.size).astype(np.float64)
    return Ranking(price, strikes, sums[: strikes.size], sums[strikes.size :])


def strike_table(board: Board, sums: Exposures, groups: StrikeGroups) -> StrikeTable:
    """:param groups: the strikes of each expiration; those that have settled come first."""
    settled = int(np.searchsorted(board.years > 0.0, True))
    first = int(groups.of_row[settled]) if settled < board.years.size else groups.strikes.size
    strikes, of_group = np.unique(groups.strikes[first:], return_inverse=True)
    at = of_group[groups.of_row[settled:] - first]
    side = at + strikes.size * board.puts[settled:]

    def split(values: FloatArray) -> tuple[FloatArray, FloatArray]:
        sums = np.bincount(side, values[settled:], 2 * strikes.size).astype(np.float64)
        return sums[: strikes.size], sums[strikes.size :]

    return StrikeTable(
        strikes, *split(sums.gex), *split(board.open_interests), *split(board.volumes)
    )


def expirations(
    board: Board, sums: Exposures, table: StrikeGroups, spot: float, today: date
) -> tuple[ExpirationLevels, ...]:
    pains = exposure.max_pains(
        table=table, puts=board.puts, open_interests=board.open_interests, spot=spot
    )
    smile = _smiles(board, table)
    starts = list(board.bounds[:-1])
    nets = np.add.reduceat(sums.gex, starts) if starts else np.empty(0)
    counted = np.add.reduceat(board.used, starts) if starts else np.empty(0)
    rows = []
    for at, shard in enumerate(board.shards):
        if not board.years[board.bounds[at]] > 0.0:
            continue
        forward = spot * shard.solution.basis
        group = slice(smile.bounds[at], smile.bounds[at + 1])
        rows.append(
            ExpirationLevels(
                expiration=shard.expiry.expiration,
                settlement=shard.expiry.settlement,
                shard=shard.expiry.shard,
                dte=(shard.expiry.expiration - today).days,
                forward=forward,
                forward_source=shard.solution.forward_source,
                net_gex=float(nets[at]) if counted[at] else NAN,
                atm_iv=exposure.atm_volatility(
                    strikes=smile.strikes[group], sigmas=smile.sigmas[group], forward=forward
                ),
                max_pain=float(pains[at]),
                contracts=board.bounds[at + 1] - board.bounds[at],
            )
        )
    return tuple(rows)


@dataclass(frozen=True, slots=True)
class _Smiles:
    """Strikes with a volatility, both rights averaged, expiration after expiration; (k,)."""

    strikes: FloatArray
    sigmas: FloatArray
    bounds: list[int]
    """Where each expiration's strikes start, and k."""


def _smiles(board: Board, table: StrikeGroups) -> _Smiles:
    solved = board.used & np.isfinite(board.sigmas)
    size = table.strikes.size
    counts = np.bincount(table.of_row, solved, size)
    sums = np.bincount(table.of_row, np.where(solved, board.sigmas, 0.0), size)
    has = counts > 0.0
    before = np.concatenate([[0], np.cumsum(has)])
    return _Smiles(table.strikes[has], sums[has] / counts[has], before[table.bounds].tolist())


def front_expected_move(board: Board, spot: float, parameters: QuantParameters) -> float:
    """From the front expiration's straddle struck at its forward, by our own IV of its quotes.

    Struck at the forward, not at the nearest listed strike, whose intrinsic part would swamp
    the time value in the last hour.
    """
    alive = np.flatnonzero(board.alive)
    if alive.size == 0:
        return NAN
    front = int(board.shard_of[alive[0]])
    shard, mine = board.shards[front], board.shard_of == front
    forward = spot * shard.solution.basis
    strikes, solved = key_strikes(shard.quotes["key"]), np.isfinite(shard.solution.iv)
    if board.statuses[mine].size and not board.used[mine].any():
        return NAN
    strikes, first = np.unique(strikes[solved], return_index=True)
    sigma = exposure.atm_volatility(
        strikes=strikes, sigmas=shard.solution.iv[solved][first], forward=forward
    )
    years = float(board.years[alive[0]])
    straddle = exposure.straddle(
        forward=forward,
        discount=float(np.exp(-parameters.rate * years)),
        total=sigma * years**0.5,
    )
    return exposure.expected_move(straddle=straddle)
