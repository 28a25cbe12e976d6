"""Dealer exposures per contract and the levels read off their sums.

Owns the sign conventions, the multipliers and every level's definition; must not price (that
is :mod:`common.quant.blackscholes`) or know expirations' dates. Zero gamma has a module of
its own, :mod:`common.quant.zero_gamma`.

The dealers' position is *modelled*: open interest says nothing about who holds it.

.. [1] Perfiliev, "How to calculate gamma exposure and zero gamma level" (2022).
.. [2] Ni, Pearson, Poteshman, White, "Does option trading have a pervasive impact on
       underlying stock prices?", Rev. Financial Studies 34 (2021).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from common.models import BoolArray, FloatArray
from common.quant import kernels
from common.quant.limits import TIE

MULTIPLIER = 100.0
"""Shares per contract."""
ONE_PERCENT = 0.01
"""A move of the spot, or a volatility point, as a fraction."""
SIGNS: dict[str, tuple[float, float]] = {
    "index": (1.0, -1.0),  # dealers long calls, short puts
    "short_all": (-1.0, -1.0),  # dealers short everything
}
"""Sign of the dealers' (call, put) position by convention; the only such table."""
FLOW = "flow"
"""The convention whose sign is that of the day's classified trades, contract by contract."""
STRADDLE_SIGMAS = 1.2533141373155001
"""Standard deviations per straddle: sqrt(pi/2) = 1/0.798."""
FLIP_SHARE = 1e-3
"""Spot within this share of zero gamma is in the regime ``flip``."""


@dataclass(frozen=True, slots=True)
class Exposures:
    """Signed dealer exposures per contract; one shape."""

    gex: FloatArray
    """[$ of delta per 1 % move]"""
    dex: FloatArray
    """[$ of delta]"""
    vex: FloatArray
    """[$ of delta per volatility point]"""
    cex: FloatArray
    """[$ of delta per calendar day]"""


class Walls(msgspec.Struct, frozen=True):
    """Strikes of the largest gamma exposure [$]; NaN where there is none."""

    call: float
    """At or above the spot."""
    put: float
    """At or below the spot."""
    call_unconstrained: float
    put_unconstrained: float


def dealer_signs(*, convention: str, puts: npt.ArrayLike) -> FloatArray:
    """The dealers' sign per contract, +1 long and -1 short.

    :raises KeyError: when ``convention`` is not in :data:`SIGNS`.
    """
    call, put = SIGNS[convention]
    return np.where(np.asarray(puts, dtype=np.bool_), put, call)


def flow_signs(*, bought: npt.ArrayLike, sold: npt.ArrayLike) -> FloatArray:
    """The dealers' sign per contract from the day's trades, whose other side they take.

    (sold - bought)/(sold + bought): -1 where customers only bought, +1 where they only sold,
    NaN without a classified trade.

    :param bought: contracts in trades that buyers began. :param sold: that sellers began.
    """
    buys, sells = np.asarray(bought, dtype=np.float64), np.asarray(sold, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        signs: FloatArray = (sells - buys) / (sells + buys)
    return signs


def gamma_exposure(
    *, signs: FloatArray, gammas: FloatArray, sizes: FloatArray, spot: float
) -> FloatArray:
    """sign · gamma · size · m · S² · 0.01, formula of [1].

    :param gammas: [1/$]. :param sizes: open interest, or volume, in contracts.
    :param spot: S [$].
    :returns: [$ of delta per 1 % move], the broadcast shape.
    """
    return signs * gammas * sizes * (MULTIPLIER * ONE_PERCENT * spot * spot)


def exposures(
    *,
    signs: FloatArray,
    deltas: FloatArray,
    gammas: FloatArray,
    vannas: FloatArray,
    charms: FloatArray,
    open_interests: FloatArray,
    spot: float,
) -> Exposures:
    """All four exposures per contract, one sign convention for all of them.

    :param deltas: [1]. :param gammas: [1/$]. :param vannas: [per 1.00 of sigma].
    :param charms: [per calendar day]. :param open_interests: contracts. :param spot: S [$].
    """
    shares = signs * open_interests * MULTIPLIER
    return Exposures(
        gex=gamma_exposure(signs=signs, gammas=gammas, sizes=open_interests, spot=spot),
        dex=shares * deltas * spot,
        vex=shares * vannas * (spot * ONE_PERCENT),
        cex=shares * charms * spot,
    )


def walls(*, strikes: FloatArray, call_gex: FloatArray, put_gex: FloatArray, spot: float) -> Walls:
    """Call and put walls of per-strike exposures, summed over expirations beforehand.

    A tie goes to the strike nearest the spot, then to the lower one.

    :param strikes: ascending, distinct [$]; (k,). :param call_gex: [$ per 1 %]; (k,).
    :param put_gex: alike, of either sign. :param spot: S [$].
    """
    found = np.empty(4)
    done = kernels.active().walls(
        np.ascontiguousarray(strikes, np.float64),
        np.ascontiguousarray(call_gex, np.float64),
        np.ascontiguousarray(put_gex, np.float64),
        found,
        float(spot),
    )
    kernels.filled(done)
    return Walls(*found.tolist())


def max_pain(
    *, strikes: FloatArray, puts: BoolArray, open_interests: FloatArray, spot: float
) -> float:
    """The strike of one expiration at which holders' intrinsic payout is least.

    :param strikes: of the contracts [$]; (n,). :param open_interests: contracts; (n,).
    :param spot: decides between equals [$].
    :returns: [$]; NaN when there is no open interest.
    """
    order = np.argsort(strikes, kind="stable")
    table = strike_groups(strikes=strikes[order], bounds=(0, strikes.size))
    held = open_interests[order]
    return float(max_pains(table=table, puts=puts[order], open_interests=held, spot=spot)[0])


@dataclass(frozen=True, slots=True)
class StrikeGroups:
    """The distinct strikes of several expirations, one after the other; (k,)."""

    strikes: FloatArray
    """Ascending within an expiration [$]."""
    of_row: npt.NDArray[np.intp]
    """Contract → its strike; (n,)."""
    bounds: npt.NDArray[np.intp]
    """Where each expiration's strikes start, and k."""


def strike_groups(*, strikes: FloatArray, bounds: Sequence[int]) -> StrikeGroups:
    """The distinct strikes of contracts that ascend within each expiration.

    :param strikes: of the contracts [$]; (n,). :param bounds: expiration i has the contracts
        ``bounds[i]`` to ``bounds[i + 1]``.
    """
    new = np.ones(strikes.size + 1, dtype=np.bool_)
    np.not_equal(strikes[1:], strikes[:-1], out=new[1:-1])
    new[np.asarray(bounds)] = True
    before = np.cumsum(new)  # how many strikes start at or before a contract
    return StrikeGroups(strikes[new[:-1]], before[:-1] - 1, before[np.asarray(bounds)] - 1)


def max_pains(
    *, table: StrikeGroups, puts: BoolArray, open_interests: FloatArray, spot: float
) -> FloatArray:
    """:func:`max_pain` of every expiration, none of them empty; (e,).

    From one strike to the next up, holders of puts above lose what those of calls below gain:
    the payout is two running sums of positive terms.
    """
    sizes = np.diff(table.bounds)
    if table.strikes.size == 0:
        return np.full(sizes.shape, np.nan)
    rows = np.repeat(np.arange(sizes.size), sizes)
    columns = np.arange(rows.size) - table.bounds[rows]
    shape = (sizes.size, int(sizes.max()))
    strikes = np.repeat(table.strikes[table.bounds[1:] - 1], shape[1]).reshape(shape)
    strikes[rows, columns] = table.strikes  # shorter rows end in repetitions of their last
    calls, others = np.zeros(shape), np.zeros(shape)
    held = np.bincount(table.of_row + rows.size * puts, open_interests, 2 * rows.size)
    calls[rows, columns], others[rows, columns] = held[: rows.size], held[rows.size :]
    steps = np.diff(strikes, axis=1)
    totals = np.zeros(shape)
    totals[:, 1:] += np.cumsum(np.cumsum(calls, axis=1)[:, :-1] * steps, axis=1)
    above = np.cumsum(others[:, ::-1], axis=1)[:, :-1] * steps[:, ::-1]
    totals[:, :-1] += np.cumsum(above, axis=1)[:, ::-1]
    least = totals <= totals.min(axis=1, keepdims=True) * (1.0 + TIE)
    at = np.argmin(np.where(least, np.abs(strikes - spot), np.inf), axis=1)
    open_ones = (calls + others).any(axis=1)
    return np.where(open_ones, strikes[np.arange(sizes.size), at], np.nan)


def atm_volatility(*, strikes: FloatArray, sigmas: FloatArray, forward: float) -> float:
    """Implied volatility at the forward, linear in strike between its neighbours.

    :param strikes: ascending, distinct, those with an IV [$]; (k,).
    :param sigmas: their IV; (k,). :param forward: F [$].
    :returns: NaN without strikes; the end's value where the forward lies outside.
    """
    if strikes.size == 0 or not np.isfinite(forward):
        return float("nan")
    return float(np.interp(forward, strikes, sigmas))


def straddle(*, forward: float, discount: float, total: float) -> float:
    """Call and put struck at the forward [$]: 2 D F (2 N(v/2) - 1) = 2 D F erf(v/(2 sqrt(2))).

    :param forward: F [$]. :param discount: D [1]. :param total: v = sigma sqrt(T) [1].
    """
    return 2.0 * discount * forward * math.erf(total / (2.0 * math.sqrt(2.0)))


def expected_move(*, straddle: float) -> float:
    """One standard deviation of the spot at settlement [$] from the at-the-money straddle [$].

    E|Z| = sqrt(2/pi) sigma, so sigma = 1.253 · straddle; a live straddle is already that of
    the remaining time.
    """
    return STRADDLE_SIGMAS * straddle


def ratio(*, puts: float, calls: float) -> float:
    """Put/call ratio [1]; NaN without calls."""
    return puts / calls if calls > 0.0 else float("nan")


def regime(*, net_gex: float, zero_gamma: float, spot: float) -> str:
    """``positive`` | ``negative`` by the sign at spot, ``flip`` near zero gamma, else ``unknown``.

    :param net_gex: [$ per 1 %], NaN when unknown. :param zero_gamma: [$], NaN when none.
    """
    if not np.isfinite(net_gex):
        return "unknown"
    if abs(spot - zero_gamma) <= FLIP_SHARE * spot:
        return "flip"
    return "positive" if net_gex > 0.0 else "negative" if net_gex < 0.0 else "unknown"
