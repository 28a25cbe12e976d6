"""The parts of a result: sums per chain, strike and expiration, and the zero-gamma search.

Owns the sums over contracts, which run in contract order; must not know how a result is
written or what quality it has.
"""

from __future__ import annotations

import math
from datetime import date

import msgspec
import numpy as np

from common.board import Board
from common.models import FloatArray
from common.quant import exposure, kernels
from common.quant.blackscholes import greeks
from common.quant.zero_gamma import Book, Curve, curve, nearest_root, zero_gammas
from common.settings import QuantParameters
from common.tally import Tally

NAN = float("nan")


class Totals(msgspec.Struct, frozen=True):
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


class Flip(msgspec.Struct, frozen=True):
    """Where the re-priced net gamma changes sign."""

    book: Book
    puts: FloatArray
    """The puts' positions of each expiration, its T and its F/S; (3, m)."""
    curve: Curve | None
    """None without a contract that can be re-priced."""
    roots: FloatArray
    """All zero-gamma spots, ascending [$]."""
    nearest: float
    """The one nearest the spot; NaN when there is none."""


class StrikeTable(msgspec.Struct, frozen=True):
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


class Ranking(msgspec.Struct, frozen=True):
    """Gamma exposure by strike at the price that walls are ranked at; (k,)."""

    price: float
    """[$]; NaN when it is not known, and then there are no strikes."""
    strikes: FloatArray
    call_gex: FloatArray
    put_gex: FloatArray


class ExpirationLevels(msgspec.Struct, frozen=True):
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
    own_iv: float
    """At the forward by our own IV of its quotes; NaN where none of them counts."""
    years: float
    """T [years]"""


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
    book, puts = _book(board)
    if book.strikes.size == 0 or not np.isfinite(spot):
        return Flip(book, puts, None, np.empty(0), NAN)
    grid = curve(book=book, spot=spot, width=parameters.grid_width, points=parameters.grid_points)
    roots = zero_gammas(book=book, curve=grid, spot=spot)
    return Flip(book, puts, grid, roots, nearest_root(roots=roots, spot=spot))


def _book(board: Board) -> tuple[Book, FloatArray]:
    """Contracts in force; a call and a put of one strike and one IV are one position."""
    n, head = board.puts.size, np.empty(1)
    out, held = np.empty((6, n)), np.empty((3, len(board.shards)))
    done = kernels.active().book(
        board.table, board.places, board.signs, board.puts, board.used, out, held, head
    )
    kernels.filled(done)
    return Book(*out[:, : int(head[0])]), held


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


class ByStrike(msgspec.Struct, frozen=True):
    """What is summed by strike and by expiration."""

    table: StrikeTable
    expirations: tuple[ExpirationLevels, ...]
    """Those that have not expired, by settlement."""
    skews: dict[str, float]
    """Shard → IV of the 25-delta put less that of the 25-delta call [1]."""


def by_strike(board: Board, tally: Tally, spot: float, today: date) -> ByStrike:
    """One pass over the contracts."""
    n, m = board.puts.size, len(board.shards)
    forwards = [spot * shard.solution.basis for shard in board.shards]
    shards = np.array([board.bounds[:-1], forwards], np.float64)
    out, found, room, head = np.empty((7, n)), np.empty((6, m)), np.empty((8, n)), np.empty(1)
    done = kernels.active().strikes(
        board.table,
        board.greeks.table,
        tally.table,
        board.puts,
        board.used,
        shards,
        out,
        found,
        room,
        head,
        board.solved,
        float(spot),
    )
    kernels.filled(done)
    years = board.years[shards[0].astype(np.intp)].tolist()
    said = zip(
        *(board.shards, board.bounds, board.bounds[1:], forwards, years, *found.tolist()),
        strict=False,
    )
    expirations = [
        ExpirationLevels(
            expiration=shard.expiry.expiration,
            settlement=shard.expiry.settlement,
            shard=shard.expiry.shard,
            dte=(shard.expiry.expiration - today).days,
            forward=forward,
            forward_source=shard.solution.forward_source,
            net_gex=net_gex if counted else NAN,
            atm_iv=atm_iv,
            max_pain=max_pain,
            contracts=last - first,
            own_iv=own_iv if counted else NAN,
            years=left,
        )
        for shard, first, last, forward, left, net_gex, counted, atm_iv, max_pain, _, own_iv in said
        if left > 0.0
    ]
    skews = {s.expiry.shard: skew for s, skew in zip(board.shards, found[4].tolist(), strict=True)}
    return ByStrike(StrikeTable(*out[:, : int(head[0])]), tuple(expirations), skews)


def front_expected_move(by_strike: ByStrike, rate: float) -> float:
    """From the front expiration's straddle struck at its forward, by our own IV of its quotes.

    Struck at the forward, not at the nearest listed strike, whose intrinsic part would swamp
    the time value in the last hour.
    """
    front = next(iter(by_strike.expirations), None)
    if front is None:
        return NAN
    straddle = exposure.straddle(
        forward=front.forward,
        discount=math.exp(-rate * front.years),
        total=front.own_iv * front.years**0.5,
    )
    return exposure.expected_move(straddle=straddle)
