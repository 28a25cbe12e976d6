"""One expiration of one symbol, solved: its forward and one implied volatility per strike.

Owns the way from the rows of a state to its solution; what makes a quote usable and whose quote
gives a strike's IV is defined in :mod:`common.quant.plain.chain`. Must not know how quotes
arrive, what the time is now, or what is summed later. :func:`solve` is a pure
function of the rows of the state, so batches of any cut give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.clock import SECOND, YEAR_SECONDS, settlement_us
from common.models import (
    FLAG_WITHDRAWN,
    BoolArray,
    Expiry,
    FloatArray,
    Rows,
    Status,
    StatusArray,
    key_puts,
    key_strikes,
)
from common.quant import kernels
from common.quant.blackscholes import greeks
from common.quant.forward import SOURCES
from common.quant.implied_vol import implied_vol
from common.settings import QuantParameters

_OK = int(Status.OK)
Sides = npt.NDArray[np.bytes_]


@dataclass(frozen=True, slots=True)
class Solution:
    """What one expiration's quotes say; arrays parallel to the QUOTE rows, (n,)."""

    iv: FloatArray
    """The strike's volatility [per sqrt(year)]; NaN unless the status is OK."""
    status: StatusArray
    side: Sides
    """Right whose quote gave the IV: b'C', b'P', b'B' for both, b'' without an IV."""
    delta: FloatArray
    """Per share, at the quote's own time and spot."""
    gamma: FloatArray
    """Per $1, at the quote's own time and spot."""
    basis: float
    """F/S [1]; NaN when the source is ``none``."""
    forward_source: str
    """``parity``, ``carry`` or ``none``."""
    forward_residual: float
    """[$]; NaN without parity."""
    parity_pairs: int


def solve(*, quotes: Rows, expiry: Expiry, parameters: QuantParameters) -> Solution:
    """Forward, one IV per strike, and each contract's delta and gamma.

    :param quotes: the state of the expiration, layout QUOTE, sorted by key, one row per
        contract; withdrawn rows get no IV and influence nothing.
    :returns: arrays parallel to ``quotes``. A contract is OK when its strike has an IV, else
        it carries the reason of the out-of-the-money side; its own BAD_INPUT or EXPIRED wins.
    """
    keys, n = np.ascontiguousarray(quotes["key"]), len(quotes)
    bids, asks, spots = (np.ascontiguousarray(quotes[name]) for name in ("bid", "ask", "spot"))
    strikes, puts, board = key_strikes(keys), key_puts(keys), on_board(quotes)
    times = np.ascontiguousarray(quotes["time"])
    years = years_left(times=times, expiry=expiry)
    with np.errstate(over="ignore"):  # of a time that is nonsense
        discounts = np.exp(-parameters.rate * years)
    newest = times if board.all() else times[board]
    ages = (newest.max(initial=0) - times).astype(np.float64)
    rules, room = _rules(parameters)
    head, own = np.empty(4), np.empty(n, np.uint8)
    compute = kernels.active()
    kernels.filled(
        compute.quote_forward(
            *(bids, asks, spots, strikes, years, discounts, ages, puts, board),
            *(rules, room, head, own),
        )
    )
    basis, source, residual, pairs = head.tolist()
    forwards = basis * spots
    rows = np.flatnonzero(own == _OK)
    solved = implied_vol(
        prices=0.5 * (bids[rows] + asks[rows]),
        forwards=forwards[rows],
        strikes=strikes[rows],
        years=years[rows],
        discounts=discounts[rows],
        puts=puts[rows],
    )
    sigmas = np.full(n, np.nan)
    sigmas[rows], own[rows] = solved.sigmas, solved.statuses
    iv, status, side = np.empty(n), np.empty(n, np.uint8), np.empty(n, np.uint8)
    kernels.filled(
        compute.strike_vols(
            *(forwards, strikes, years, bids, asks, sigmas, puts, board, own),
            *(iv, status, side),
        )
    )
    found = greeks(
        spots=spots,
        forwards=forwards,
        strikes=strikes,
        years=years,
        sigmas=iv,
        rates=np.full(n, parameters.rate),
        puts=puts,
    )
    return Solution(
        iv=iv,
        status=status,
        side=side.view("S1"),
        delta=found.delta,
        gamma=found.gamma,
        basis=basis,
        forward_source=SOURCES[int(source)],
        forward_residual=residual,
        parity_pairs=int(pairs),
    )


def _rules(parameters: QuantParameters) -> tuple[FloatArray, FloatArray]:
    """What quotes are judged by, and the room that the kernel needs."""
    rules = (
        parameters.max_spread_share,
        parameters.wing_spread * (1.0 + 1e-6),
        parameters.max_quote_age_seconds * SECOND,
        parameters.rate - parameters.dividend_yield,
        parameters.parity_pairs,
        parameters.min_parity_pairs,
    )
    return np.array(rules, np.float64), np.empty((6, parameters.parity_pairs))


def years_left(*, times: npt.ArrayLike, expiry: Expiry) -> FloatArray:
    """Calendar time from instants [us] to settlement [years of 365 days]; no floor."""
    left = settlement_us(expiry) - np.asarray(times, dtype=np.int64)
    return left.astype(np.float64) / (SECOND * YEAR_SECONDS)


def on_board(quotes: Rows) -> BoolArray:
    """Rows that the source still lists."""
    listed: BoolArray = (quotes["flags"] & np.uint32(FLAG_WITHDRAWN)) == 0
    return listed
