"""One expiration of one symbol, solved: its forward and one implied volatility per strike.

Owns the quote filters and the choice of the side whose quote gives a strike's IV; must not
know how quotes arrive, what the time is now, or what is summed later. :func:`solve` is a pure
function of the rows of the state, so batches of any cut give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
from common.quant.blackscholes import greeks, log_moneyness
from common.quant.forward import Forward, carry_basis, imply_forward
from common.quant.implied_vol import implied_vol
from common.settings import QuantParameters

NEAR_SIGMAS = 0.5
"""Within this many standard deviations of the forward both sides of a strike have a say."""
_LEAST_SPREAD = 1e-9  # [$]: the weight of a quote is one over its square
# Plain numbers: an enumeration's members take ten times as long to look up and to compare.
_OK, _NO_BID, _BAD_INPUT, _EXPIRED = map(
    int, (Status.OK, Status.NO_BID, Status.BAD_INPUT, Status.EXPIRED)
)
Sides = npt.NDArray[np.bytes_]
Index = npt.NDArray[np.intp]


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


@dataclass(frozen=True, slots=True)
class _Strikes:
    """Row of the call and of the put of each strike, -1 where there is none; (k,)."""

    calls: Index
    puts: Index
    of_row: Index
    """Row → strike; (n,)."""


def solve(*, quotes: Rows, expiry: Expiry, parameters: QuantParameters) -> Solution:
    """Forward, one IV per strike, and each contract's delta and gamma.

    :param quotes: the state of the expiration, layout QUOTE, sorted by key, one row per
        contract; withdrawn rows get no IV and influence nothing.
    :returns: arrays parallel to ``quotes``. A contract is OK when its strike has an IV, else
        it carries the reason of the out-of-the-money side; its own BAD_INPUT or EXPIRED wins.
    """
    years = years_left(times=quotes["time"], expiry=expiry)
    own = screen_quotes(quotes=quotes, years=years, parameters=parameters)
    table = _strike_table(quotes)
    forward = _forward(quotes, years, own, table, parameters)
    forwards = forward.basis * quotes["spot"]
    iv, status, side = _strike_vols(
        quotes=quotes,
        years=years,
        forwards=forwards,
        own=own,
        table=table,
        parameters=parameters,
    )
    found = greeks(
        spots=quotes["spot"],
        forwards=forwards,
        strikes=key_strikes(quotes["key"]),
        years=years,
        sigmas=iv,
        rates=parameters.rate,
        puts=key_puts(quotes["key"]),
    )
    return Solution(
        iv=iv,
        status=status,
        side=side,
        delta=found.delta,
        gamma=found.gamma,
        basis=forward.basis,
        forward_source=forward.source,
        forward_residual=forward.residual,
        parity_pairs=forward.pairs,
    )


def years_left(*, times: npt.ArrayLike, expiry: Expiry) -> FloatArray:
    """Calendar time from instants [us] to settlement [years of 365 days]; no floor."""
    left = settlement_us(expiry) - np.asarray(times, dtype=np.int64)
    return left.astype(np.float64) / (SECOND * YEAR_SECONDS)


def on_board(quotes: Rows) -> BoolArray:
    """Rows that the source still lists."""
    listed: BoolArray = (quotes["flags"] & np.uint32(FLAG_WITHDRAWN)) == 0
    return listed


def screen_quotes(*, quotes: Rows, years: FloatArray, parameters: QuantParameters) -> StatusArray:
    """Whether each quote on its own can carry an IV, and the first reason why not.

    Negative or infinite prices are BAD_INPUT (parsers give −inf for what is no number); an
    absent or zero side is NO_BID or NO_ASK; crossed includes locked; a spread of one tick is
    never WIDE; a quote much older than the newest of the expiration is STALE, and so is a
    withdrawn contract.

    :param quotes: layout QUOTE, (n,). :param years: T of each [years].
    """
    bid, ask, spot = quotes["bid"], quotes["ask"], quotes["spot"]
    board = on_board(quotes)
    newest = int(quotes["time"][board].max()) if board.any() else 0
    age = newest - quotes["time"]
    with np.errstate(invalid="ignore"):
        spread, mid = ask - bid, 0.5 * (bid + ask)
        bad = (bid < 0.0) | (ask < 0.0) | np.isinf(bid) | np.isinf(ask) | (quotes["key"] < 2)
        bad |= ~(np.isfinite(spot) & (spot > 0.0))
        wide = (spread > parameters.max_spread_share * mid) & (
            spread > parameters.wing_spread * (1.0 + 1e-6)
        )
        last_to_first = (
            (age > parameters.max_quote_age_seconds * SECOND, Status.STALE),
            (wide, Status.WIDE),
            (ask <= bid, Status.CROSSED),
            (~(ask > 0.0), Status.NO_ASK),
            (~(bid > 0.0), Status.NO_BID),
            (years <= 0.0, Status.EXPIRED),
            (bad, Status.BAD_INPUT),
            (~board, Status.STALE),
        )
    found = np.full(quotes.shape, _OK, np.uint8)
    for mask, reason in last_to_first:  # the first one stays
        found[mask] = reason
    return found


def _strike_table(quotes: Rows) -> _Strikes:
    """Call and put rows of each strike on the board."""
    strikes, of_row = np.unique(quotes["key"] >> np.uint32(1), return_inverse=True)
    rows = np.arange(quotes.size)
    board, puts = on_board(quotes), key_puts(quotes["key"])
    table = _Strikes(np.full(strikes.size, -1), np.full(strikes.size, -1), of_row)
    table.calls[of_row[board & ~puts]] = rows[board & ~puts]
    table.puts[of_row[board & puts]] = rows[board & puts]
    return table


def _forward(
    quotes: Rows,
    years: FloatArray,
    own: StatusArray,
    table: _Strikes,
    parameters: QuantParameters,
) -> Forward:
    """The expiration's F/S from the pairs of which both quotes passed the screen."""
    listed = (own != _BAD_INPUT) & (years > 0.0) & on_board(quotes)
    if not listed.any():
        return Forward(float("nan"), "none", float("nan"), 0)
    carry = carry_basis(
        rates=parameters.rate, yields=parameters.dividend_yield, years=years[listed].min()
    )
    paired = (table.calls >= 0) & (table.puts >= 0)
    calls, puts = table.calls[paired], table.puts[paired]
    mids = np.where(own == _OK, 0.5 * (quotes["bid"] + quotes["ask"]), np.nan)
    spreads = quotes["ask"] - quotes["bid"]
    return imply_forward(
        strikes=key_strikes(quotes["key"][calls]),
        call_mids=mids[calls],
        put_mids=mids[puts],
        call_spreads=spreads[calls],
        put_spreads=spreads[puts],
        call_spots=quotes["spot"][calls],
        put_spots=quotes["spot"][puts],
        discounts=np.exp(-parameters.rate * 0.5 * (years[calls] + years[puts])),
        carry_basis=float(carry),
        nearest=parameters.parity_pairs,
        least=parameters.min_parity_pairs,
    )


def _strike_vols(
    *,
    quotes: Rows,
    years: FloatArray,
    forwards: FloatArray,
    own: StatusArray,
    table: _Strikes,
    parameters: QuantParameters,
) -> tuple[FloatArray, StatusArray, Sides]:
    """(iv, status, side) of every row, from the solved rows of its strike."""
    strikes = key_strikes(quotes["key"])
    sigmas, own = _row_vols(quotes, years, forwards, own, parameters)
    moneyness = np.abs(log_moneyness(forwards=forwards, strikes=strikes))
    with np.errstate(invalid="ignore", divide="ignore"):
        distances = moneyness / (sigmas * np.sqrt(years))  # standard deviations; NaN unsolved
    good = own == _OK
    put_side = _put_is_out(forwards, strikes, table)
    out = np.where(put_side, table.puts, table.calls)
    inside = np.where(put_side, table.calls, table.puts)
    nearness = 1.0 - np.fmin(_pick(distances, out), _pick(distances, inside)) / NEAR_SIGMAS
    nearness = np.where(np.isfinite(nearness), np.maximum(nearness, 0.0), 0.0)
    spreads = np.maximum(quotes["ask"] - quotes["bid"], _LEAST_SPREAD)
    certainty = 1.0 / np.square(np.where(good, spreads, np.inf))
    weight_out, weight_in = _pick(certainty, out, 0.0), _pick(certainty, inside, 0.0)
    weight_in *= nearness
    total = weight_out + weight_in
    with np.errstate(invalid="ignore"):
        share = weight_in / total
        blend = _pick(sigmas, out) * (1.0 - share) + _pick(sigmas, inside) * share
    strike_iv = np.where(share == 0.0, _pick(sigmas, out), blend)
    strike_iv = np.where(share == 1.0, _pick(sigmas, inside), strike_iv)
    strike_side = _side_names(weight_out > 0.0, weight_in > 0.0, put_side)
    strike_status = np.where(total > 0.0, _OK, _pick(own, out, _NO_BID))
    status = strike_status[table.of_row].astype(np.uint8)
    final = (own == _BAD_INPUT) | (own == _EXPIRED) | ~on_board(quotes)
    status = np.where(final, own, status)
    solved = status == _OK
    iv = np.where(solved, strike_iv[table.of_row], np.nan)
    return iv, status, np.where(solved, strike_side[table.of_row], b"").astype("S1")


def _row_vols(
    quotes: Rows,
    years: FloatArray,
    forwards: FloatArray,
    own: StatusArray,
    parameters: QuantParameters,
) -> tuple[FloatArray, StatusArray]:
    """IV of each row from its own mid, and the screen's status with the solver's added."""
    rows = np.flatnonzero(own == _OK)
    found = implied_vol(
        prices=0.5 * (quotes["bid"][rows] + quotes["ask"][rows]),
        forwards=forwards[rows],
        strikes=key_strikes(quotes["key"][rows]),
        years=years[rows],
        discounts=np.exp(-parameters.rate * years[rows]),
        puts=key_puts(quotes["key"][rows]),
    )
    sigmas, status = np.full(own.shape, np.nan), own.copy()
    sigmas[rows], status[rows] = found.sigmas, found.statuses
    return sigmas, status


def _put_is_out(forwards: FloatArray, strikes: FloatArray, table: _Strikes) -> BoolArray:
    """Per strike, whether the put is the out-of-the-money side at its mean forward; (k,)."""
    calls, puts = _pick(forwards, table.calls), _pick(forwards, table.puts)
    calls, puts = np.where(np.isnan(calls), puts, calls), np.where(np.isnan(puts), calls, puts)
    levels = np.zeros(table.calls.shape)
    levels[table.of_row] = strikes
    out: BoolArray = levels < 0.5 * (calls + puts)
    return out


def _pick(values: npt.NDArray[Any], rows: Index, missing: float = np.nan) -> FloatArray:
    """``values[rows]``, with ``missing`` where the row is -1."""
    if values.size == 0:
        return np.full(rows.shape, missing)
    picked: FloatArray = np.where(rows >= 0, values[rows], missing)
    return picked


def _side_names(out: BoolArray, inside: BoolArray, put_side: BoolArray) -> Sides:
    """b'C', b'P', b'B' or b'' per strike, from which sides carried weight."""
    names = np.zeros(out.shape, "S1")
    names[inside] = np.where(put_side, b"C", b"P")[inside]
    names[out] = np.where(put_side, b"P", b"C")[out]
    names[out & inside] = b"B"
    return names
