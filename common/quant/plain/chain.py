"""One expiration's quotes: which are usable, the forward they imply, one volatility a strike.

Owns these definitions; must not know how quotes arrive. Rows are contracts in the order of
strike and right; every array is (n,).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.models import (
    FLAG_WITHDRAWN,
    GREEKS,
    QUOTE,
    BoolArray,
    FloatArray,
    Status,
    StatusArray,
    key_puts,
    key_strikes,
)
from common.quant.forward import SOURCES, Forward, carry_basis, imply_forward
from common.quant.limits import LEAST_SPREAD, NEAR_SIGMAS, YEAR_US
from common.quant.plain.elementary import log_ratio
from common.quant.plain.greeks import greeks
from common.quant.plain.implied_vol import implied_vols

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]
Index = npt.NDArray[np.intp]
# Plain numbers: an enumeration's members take ten times as long to look up and to compare.
_OK, _NO_BID, _BAD_INPUT, _EXPIRED = map(
    int, (Status.OK, Status.NO_BID, Status.BAD_INPUT, Status.EXPIRED)
)


@dataclass(frozen=True, slots=True)
class _Strikes:
    """Row of the call and of the put of each strike, -1 where there is none; (k,)."""

    calls: Index
    puts: Index
    of_row: Index
    """Row → strike; (n,)."""
    levels: FloatArray
    """[$]"""


def merge(held: Bytes, new: Bytes, out: Bytes, touched: BoolArray, late: FloatArray) -> bool:
    """None: :mod:`common.state` has a way that needs no kernel."""
    del held, new, out, touched, late
    return False


def latch(
    places: Places,
    values: FloatArray,
    counts: Places,
    prices: FloatArray,
    held: Places,
    fallen: FloatArray,
) -> bool:
    """None: :mod:`common.latches` has a way that needs no kernel."""
    del places, values, counts, prices, held, fallen
    return False


@np.errstate(all="ignore")
def solve(quotes: Bytes, results: Bytes, rules: FloatArray, head: FloatArray) -> bool:
    """Fill ``results`` (n rows of GREEKS) and ``head`` (4,) from ``quotes`` (n rows of QUOTE);
    ``head`` as of :func:`quote_forward`.

    :param rules: the six of :func:`quote_forward`, r, and the settlement [us].
    """
    rows, found = quotes.view(QUOTE), results.view(GREEKS)
    keys, times = np.ascontiguousarray(rows["key"]), np.ascontiguousarray(rows["time"])
    bids, asks, spots = (np.ascontiguousarray(rows[name]) for name in ("bid", "ask", "spot"))
    K, put, board = key_strikes(keys), key_puts(keys), rows["flags"] & FLAG_WITHDRAWN == 0
    T = (np.int64(rules[7]) - times).astype(np.float64) / YEAR_US
    D = np.exp(np.clip(-rules[6] * T, -700.0, 700.0))
    ages = (times[board].max(initial=0) - times).astype(np.float64)
    n, own = keys.size, np.empty(keys.size, np.uint8)
    quote_forward(bids, asks, spots, K, T, D, ages, put, board, rules[:6], head, own)
    F, sigmas = head[0] * spots, np.full(n, np.nan)
    at = np.flatnonzero(own == _OK)
    mids, solved, reasons = 0.5 * (bids[at] + asks[at]), np.empty(at.size), own[at]
    implied_vols(mids, F[at], K[at], T[at], D[at], put[at], solved, reasons)
    sigmas[at], own[at] = solved, reasons
    iv, status, side = np.empty(n), np.empty(n, np.uint8), np.empty(n, np.uint8)
    strike_vols(F, K, T, bids, asks, sigmas, put, board, own, iv, status, side)
    table = np.empty((11, n))
    greeks(spots, F, K, T, iv, np.full(n, rules[6]), put, table)
    found["key"], found["time"], found["seq"] = keys, times, rows["seq"]
    found["iv"], found["status"], found["side"] = iv, status, side.view("S1")
    found["delta"], found["gamma"] = table[:2]
    return True


@np.errstate(all="ignore")
def quote_forward(
    bids: FloatArray,
    asks: FloatArray,
    spots: FloatArray,
    K: FloatArray,
    T: FloatArray,
    D: FloatArray,
    ages: FloatArray,
    put: BoolArray,
    board: BoolArray,
    rules: FloatArray,
    head: FloatArray,
    statuses: StatusArray,
) -> None:
    """Fill ``head`` (4,) with F/S [1], its source (0 none, 1 carry, 2 parity), residual [$] and
    pairs, and ``statuses`` with the first reason why a quote on its own cannot carry a
    volatility.

    Negative or infinite prices are BAD_INPUT (parsers give -inf for what is no number); an
    absent or zero side is NO_BID or NO_ASK; crossed includes locked; a quote much older than
    the newest of the expiration is STALE, and so is one that is off the board. The forward is
    that of the pairs whose sides are both OK.

    :param ages: behind the newest quote on the board [us].
    :param rules: spread over mid from which on a quote is WIDE, spread [$] that never is, age
        [us] from which on it is STALE, r - q, pairs looked at, least of them that give a forward.
    """
    statuses[:] = _screened(bids, asks, spots, K, T, ages, board, rules)
    strikes = _strike_table(K, put, board)
    forward = _forward(bids, asks, spots, T, D, board, statuses, strikes, rules)
    source = float(SOURCES.index(forward.source))
    head[:] = forward.basis, source, forward.residual, forward.pairs


@np.errstate(all="ignore")
def strike_vols(
    F: FloatArray,
    K: FloatArray,
    T: FloatArray,
    bids: FloatArray,
    asks: FloatArray,
    sigmas: FloatArray,
    put: BoolArray,
    board: BoolArray,
    own: StatusArray,
    iv: FloatArray,
    statuses: StatusArray,
    sides: StatusArray,
) -> None:
    """Fill ``iv``, ``statuses`` and ``sides`` (b'C', b'P', b'B' for both, 0) of every row from
    the solved rows of its strike.

    :param sigmas: of each row's own quote, NaN unless its status in ``own`` is OK.
    """
    strikes = _strike_table(K, put, board)
    spreads = np.maximum(asks - bids, LEAST_SPREAD)
    # a column a row, and one more, which -1 picks, for the row that is not there
    rows = np.empty((5, own.size + 1))
    rows[:, -1] = np.nan, np.nan, 0.0, np.nan, _NO_BID
    rows[0, :-1] = sigmas
    rows[1, :-1] = np.abs(log_ratio(F, K)) / (sigmas * np.sqrt(T))  # standard deviations
    rows[2, :-1] = 1.0 / np.square(np.where(own == _OK, spreads, np.inf))
    rows[3, :-1] = F
    rows[4, :-1] = own
    calls, puts = rows[:, strikes.calls], rows[:, strikes.puts]
    put_side = _put_is_out(calls[3], puts[3], strikes.levels)
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
    final = (own == _BAD_INPUT) | (own == _EXPIRED) | ~board
    statuses[:] = np.where(final, own, strike_status[strikes.of_row].astype(np.uint8))
    solved = statuses == _OK
    iv[:] = np.where(solved, strike_iv[strikes.of_row], np.nan)
    sides[:] = np.where(solved, strike_side[strikes.of_row], 0)


def _screened(
    bids: FloatArray,
    asks: FloatArray,
    spots: FloatArray,
    K: FloatArray,
    T: FloatArray,
    ages: FloatArray,
    board: BoolArray,
    rules: FloatArray,
) -> StatusArray:
    widest, wing, oldest = rules[:3]
    spread, mid = asks - bids, 0.5 * (bids + asks)
    bad = (bids < 0.0) | (asks < 0.0) | np.isinf(bids) | np.isinf(asks) | ~(K > 0.0)
    bad |= ~(np.isfinite(spots) & (spots > 0.0))
    last_to_first = (
        (ages > oldest, Status.STALE),
        ((spread > widest * mid) & (spread > wing), Status.WIDE),
        (asks <= bids, Status.CROSSED),
        (~(asks > 0.0), Status.NO_ASK),
        (~(bids > 0.0), Status.NO_BID),
        (T <= 0.0, Status.EXPIRED),
        (bad, Status.BAD_INPUT),
        (~board, Status.STALE),
    )
    found = np.full(bids.shape, _OK, np.uint8)
    for mask, reason in last_to_first:  # the first one stays
        found[mask] = reason
    return found


def _strike_table(K: FloatArray, put: BoolArray, board: BoolArray) -> _Strikes:
    """Call and put rows of each strike on the board."""
    begins = np.ones(K.shape, np.bool_)
    np.not_equal(K[1:], K[:-1], out=begins[1:])
    of_row = np.cumsum(begins) - 1
    levels = K[begins]
    table = _Strikes(np.full(levels.shape, -1), np.full(levels.shape, -1), of_row, levels)
    for rows, places in (
        (np.flatnonzero(board & ~put), table.calls),
        (np.flatnonzero(board & put), table.puts),
    ):
        places[of_row[rows]] = rows
    return table


def _forward(
    bids: FloatArray,
    asks: FloatArray,
    spots: FloatArray,
    T: FloatArray,
    D: FloatArray,
    board: BoolArray,
    own: StatusArray,
    strikes: _Strikes,
    rules: FloatArray,
) -> Forward:
    """The expiration's F/S from the pairs of which both quotes passed the screen."""
    carry, nearest, least = rules[3:]
    listed = (own != _BAD_INPUT) & (T > 0.0) & board
    if not listed.any():
        return Forward(float("nan"), "none", float("nan"), 0)
    paired = (strikes.calls >= 0) & (strikes.puts >= 0)
    calls, puts = strikes.calls[paired], strikes.puts[paired]
    mids = np.where(own == _OK, 0.5 * (bids + asks), np.nan)
    spreads = asks - bids
    return imply_forward(
        strikes=strikes.levels[paired],
        call_mids=mids[calls],
        put_mids=mids[puts],
        call_spreads=spreads[calls],
        put_spreads=spreads[puts],
        call_spots=spots[calls],
        put_spots=spots[puts],
        discounts=np.sqrt(D[calls] * D[puts]),
        carry_basis=float(carry_basis(rates=carry, yields=0.0, years=T[listed].min())),
        nearest=int(nearest),
        least=int(least),
    )


def _put_is_out(calls: FloatArray, puts: FloatArray, levels: FloatArray) -> BoolArray:
    """Per strike, whether the put is the out-of-the-money side at its mean forward; (k,)."""
    calls, puts = np.where(np.isnan(calls), puts, calls), np.where(np.isnan(puts), calls, puts)
    out: BoolArray = levels < 0.5 * (calls + puts)
    return out


def _side_names(out: BoolArray, inside: BoolArray, put_side: BoolArray) -> StatusArray:
    """Letter of the right that carried weight, or of both, per strike; 0 for none."""
    names = np.zeros(out.shape, np.uint8)
    names[inside] = np.where(put_side, ord("C"), ord("P"))[inside]
    names[out] = np.where(put_side, ord("P"), ord("C"))[out]
    names[out & inside] = ord("B")
    return names
