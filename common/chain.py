"""One expiration of one symbol, solved: its forward and one implied volatility per strike.

Owns the way from the rows of a state to its solution; what makes a quote usable and whose quote
gives a strike's IV is defined in :mod:`common.quant.plain.chain`. Must not know how quotes
arrive, what the time is now, or what is summed later. :func:`solve` is a pure
function of the rows of the state, so batches of any cut give the same bits.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from common.clock import SECOND, YEAR_SECONDS, settlement_us
from common.models import FLAG_WITHDRAWN, GREEKS, BoolArray, Expiry, FloatArray, Rows, StatusArray
from common.quant import kernels
from common.quant.forward import SOURCES
from common.settings import QuantParameters

Sides = npt.NDArray[np.bytes_]


class Solution(msgspec.Struct, frozen=True):
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
    return solve_rows(quotes=quotes, expiry=expiry, parameters=parameters)[1]


def solve_rows(
    *, quotes: Rows, expiry: Expiry, parameters: QuantParameters
) -> tuple[Rows, Solution]:
    """:func:`solve`, and the rows (layout GREEKS) that the arrays of its result are part of."""
    rows, head = np.zeros(len(quotes), GREEKS), np.empty(4)
    settled = float(settlement_us(expiry))
    rules = np.array((*_rules(parameters), parameters.rate, settled), np.float64)
    whole = np.ascontiguousarray(quotes).view(np.uint8)
    kernels.filled(kernels.active().solve(whole, rows.view(np.uint8), rules, head))
    basis, source, residual, pairs = head.tolist()
    return rows, solution_of(rows, basis, SOURCES[int(source)], residual, int(pairs))


def solution_of(rows: Rows, basis: float, source: str, residual: float, pairs: int) -> Solution:
    """The solution that rows of layout GREEKS are, with what is said of all of them."""
    return Solution(
        iv=rows["iv"],
        status=rows["status"],
        side=rows["side"],
        delta=rows["delta"],
        gamma=rows["gamma"],
        basis=basis,
        forward_source=source,
        forward_residual=residual,
        parity_pairs=pairs,
    )


def _rules(parameters: QuantParameters) -> tuple[float, ...]:
    """What quotes are judged by."""
    return (
        parameters.max_spread_share,
        parameters.wing_spread * (1.0 + 1e-6),
        parameters.max_quote_age_seconds * SECOND,
        parameters.rate - parameters.dividend_yield,
        parameters.parity_pairs,
        parameters.min_parity_pairs,
    )


def years_left(*, times: npt.ArrayLike, expiry: Expiry) -> FloatArray:
    """Calendar time from instants [us] to settlement [years of 365 days]; no floor."""
    left = settlement_us(expiry) - np.asarray(times, dtype=np.int64)
    return left.astype(np.float64) / (SECOND * YEAR_SECONDS)


def on_board(quotes: Rows) -> BoolArray:
    """Rows that the source still lists."""
    listed: BoolArray = (quotes["flags"] & np.uint32(FLAG_WITHDRAWN)) == 0
    return listed
