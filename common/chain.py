"""One expiration of one symbol, solved: its forward and one implied volatility per strike.

Owns the quote filters and the choice of the side whose quote gives a strike's IV; must not
know how quotes arrive, what the time is now, or what is summed later. :func:`solve` is a pure
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
class _Columns:
    """The quotes as columns, (n,): fields of rows that stand apart are slow to compute with."""

    bids: FloatArray
    asks: FloatArray
    spots: FloatArray
    strikes: FloatArray
    puts: BoolArray
    years: FloatArray
    board: BoolArray
    """Still listed."""


@dataclass(frozen=True, slots=True)
class _Strikes:
    """Row of the call and of the put of each strike, -1 where there is none; (k,)."""

    calls: Index
    puts: Index
    of_row: Index
    """Row → strike; (n,)."""
    levels: FloatArray
    """[$]"""


def solve(*, quotes: Rows, expiry: Expiry, parameters: QuantParameters) -> Solution:
    """Forward, one IV per strike, and each contract's delta and gamma.

    :param quotes: the state of the expiration, layout QUOTE, sorted by key, one row per
        contract; withdrawn rows get no IV and influence nothing.
    :returns: arrays parallel to ``quotes``. A contract is OK when its strike has an IV, else
        it carries the reason of the out-of-the-money side; its own BAD_INPUT or EXPIRED wins.
    """
    keys = np.ascontiguousarray(quotes["key"])
    columns = _Columns(
        bids=np.ascontiguousarray(quotes["bid"]),
        asks=np.ascontiguousarray(quotes["ask"]),
        spots=np.ascontiguousarray(quotes["spot"]),
        strikes=key_strikes(keys),
        puts=key_puts(keys),
        years=years_left(times=quotes["time"], expiry=expiry),
        board=on_board(quotes),
    )
    own = screen_quotes(quotes=quotes, years=columns.years, parameters=parameters)
    table = _strike_table(keys, columns)
    forward = _forward(columns, own, table, parameters)
    forwards = forward.basis * columns.spots
    iv, status, side = _strike_vols(columns, forwards, own, table, parameters)
    found = greeks(
        spots=columns.spots,
        forwards=forwards,
        strikes=columns.strikes,
        years=columns.years,
        sigmas=iv,
        rates=parameters.rate,
        puts=columns.puts,
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
    bid, ask, spot = (np.ascontiguousarray(quotes[name]) for name in ("bid", "ask", "spot"))
    board, times = on_board(quotes), np.ascontiguousarray(quotes["time"])
    newest = int(times[board].max()) if board.any() else 0
    age = newest - times
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


def _strike_table(keys: npt.NDArray[np.uint32], columns: _Columns) -> _Strikes:
    """Call and put rows of each strike on the board; keys are sorted, so strikes are."""
    begins = np.ones(keys.shape, np.bool_)
    np.not_equal(keys[1:] >> np.uint32(1), keys[:-1] >> np.uint32(1), out=begins[1:])
    of_row = np.cumsum(begins) - 1
    levels = columns.strikes[begins]
    table = _Strikes(np.full(levels.shape, -1), np.full(levels.shape, -1), of_row, levels)
    for rows, places in (
        (np.flatnonzero(columns.board & ~columns.puts), table.calls),
        (np.flatnonzero(columns.board & columns.puts), table.puts),
    ):
        places[of_row[rows]] = rows
    return table


def _forward(
    columns: _Columns, own: StatusArray, table: _Strikes, parameters: QuantParameters
) -> Forward:
    """The expiration's F/S from the pairs of which both quotes passed the screen."""
    years, spots = columns.years, columns.spots
    listed = (own != _BAD_INPUT) & (years > 0.0) & columns.board
    if not listed.any():
        return Forward(float("nan"), "none", float("nan"), 0)
    carry = carry_basis(
        rates=parameters.rate, yields=parameters.dividend_yield, years=years[listed].min()
    )
    paired = (table.calls >= 0) & (table.puts >= 0)
    calls, puts = table.calls[paired], table.puts[paired]
    mids = np.where(own == _OK, 0.5 * (columns.bids + columns.asks), np.nan)
    spreads = columns.asks - columns.bids
    return imply_forward(
        strikes=table.levels[paired],
        call_mids=mids[calls],
        put_mids=mids[puts],
        call_spreads=spreads[calls],
        put_spreads=spreads[puts],
        call_spots=spots[calls],
        put_spots=spots[puts],
        discounts=np.exp(-parameters.rate * 0.5 * (years[calls] + years[puts])),
        carry_basis=float(carry),
        nearest=parameters.parity_pairs,
        least=parameters.min_parity_pairs,
    )


def _strike_vols(
    columns: _Columns,
    forwards: FloatArray,
    own: StatusArray,
    table: _Strikes,
    parameters: QuantParameters,
) -> tuple[FloatArray, StatusArray, Sides]:
    """(iv, status, side) of every row, from the solved rows of its strike."""
    sigmas, own = _row_vols(columns, forwards, own, parameters)
    moneyness = np.abs(log_moneyness(forwards=forwards, strikes=columns.strikes))
    spreads = np.maximum(columns.asks - columns.bids, _LEAST_SPREAD)
    # a column a row, and one more, which -1 picks, for the row that is not there
    rows = np.empty((5, own.size + 1))
    rows[:, -1] = np.nan, np.nan, 0.0, np.nan, _NO_BID
    with np.errstate(invalid="ignore", divide="ignore"):
        rows[0, :-1] = sigmas
        rows[1, :-1] = moneyness / (sigmas * np.sqrt(columns.years))  # standard deviations
        rows[2, :-1] = 1.0 / np.square(np.where(own == _OK, spreads, np.inf))
        rows[3, :-1] = forwards
        rows[4, :-1] = own
        calls, puts = rows[:, table.calls], rows[:, table.puts]
        put_side = _put_is_out(calls[3], puts[3], table.levels)
        out, inside = np.where(put_side, puts, calls), np.where(put_side, calls, puts)
        nearness = 1.0 - np.fmin(out[1], inside[1]) / NEAR_SIGMAS
        nearness = np.where(np.isfinite(nearness), np.maximum(nearness, 0.0), 0.0)
        weight_out, weight_in = out[2], inside[2] * nearness
        total = weight_out + weight_in
        share = weight_in / total
        blend = out[0] * (1.0 - share) + inside[0] * share
    strike_iv = np.where(share == 0.0, out[0], np.where(share == 1.0, inside[0], blend))
    strike_side = _side_names(weight_out > 0.0, weight_in > 0.0, put_side)
    strike_status = np.where(total > 0.0, _OK, out[4])
    status = strike_status[table.of_row].astype(np.uint8)
    final = (own == _BAD_INPUT) | (own == _EXPIRED) | ~columns.board
    status = np.where(final, own, status)
    solved = status == _OK
    iv = np.where(solved, strike_iv[table.of_row], np.nan)
    return iv, status, np.where(solved, strike_side[table.of_row], b"").astype("S1")


def _row_vols(
    columns: _Columns, forwards: FloatArray, own: StatusArray, parameters: QuantParameters
) -> tuple[FloatArray, StatusArray]:
    """IV of each row from its own mid, and the screen's status with the solver's added."""
    rows = np.flatnonzero(own == _OK)
    found = implied_vol(
        prices=0.5 * (columns.bids[rows] + columns.asks[rows]),
        forwards=forwards[rows],
        strikes=columns.strikes[rows],
        years=columns.years[rows],
        discounts=np.exp(-parameters.rate * columns.years[rows]),
        puts=columns.puts[rows],
    )
    sigmas, status = np.full(own.shape, np.nan), own.copy()
    sigmas[rows], status[rows] = found.sigmas, found.statuses
    return sigmas, status


def _put_is_out(calls: FloatArray, puts: FloatArray, levels: FloatArray) -> BoolArray:
    """Per strike, whether the put is the out-of-the-money side at its mean forward; (k,)."""
    calls, puts = np.where(np.isnan(calls), puts, calls), np.where(np.isnan(puts), calls, puts)
    out: BoolArray = levels < 0.5 * (calls + puts)
    return out


def _side_names(out: BoolArray, inside: BoolArray, put_side: BoolArray) -> Sides:
    """b'C', b'P', b'B' or b'' per strike, from which sides carried weight."""
    names = np.zeros(out.shape, "S1")
    names[inside] = np.where(put_side, b"C", b"P")[inside]
    names[out] = np.where(put_side, b"P", b"C")[out]
    names[out & inside] = b"B"
    return names
