"""Exposures of contracts and the sums over them.

Owns these definitions beside those of :mod:`common.quant.exposure` and :mod:`common.quant.sums`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from common.models import QUOTE, BoolArray, FloatArray, Status, StatusArray
from common.quant.exposure import exposures, flow_signs, gamma_exposure
from common.quant.plain.board import Bytes, Places
from common.quant.sums import PLACE

Values = npt.NDArray[np.generic]


def tally(
    quotes: Bytes,
    board: FloatArray,
    greeks: FloatArray,
    places: Places,
    signs: FloatArray,
    puts: BoolArray,
    statuses: StatusArray,
    used: BoolArray,
    dates: FloatArray,
    terms: FloatArray,
    out: FloatArray,
    sums: FloatArray,
) -> bool:
    """Fill ``out`` (4, n) with GEX, DEX, VEX and CEX of each contract, 0 where it does not count,
    and ``sums`` with :data:`common.quant.sums.SUMS`.

    :param board: and ``places``, as :func:`common.quant.plain.board.board` fills them.
    :param greeks: delta, gamma, theta, vega, rho, vanna, charm, ...; (11, n).
    :param signs: of the dealers, 0 where there is none; (n,).
    :param used: which contracts count; (n,).
    :param dates: whether a shard expires today, and this week; (2, m).
    :param terms: S [$], gamma exposure of a contract of gamma 1, the distance within which a
        strike is near the spot [$].
    """
    rows, spot, near = quotes.view(QUOTE), float(terms[0]), float(terms[2])
    shards, oi, volumes = places[0], board[8], board[9]
    alive, solved = board[1] > 0.0, statuses == Status.OK
    delta, gamma, _, _, _, vanna, charm = greeks[:7]

    def usable(values: FloatArray) -> FloatArray:
        return np.where(used & np.isfinite(values), values, 0.0)

    found = exposures(
        signs=signs,
        deltas=usable(delta),
        gammas=usable(gamma),
        vannas=usable(vanna),
        charms=usable(charm),
        open_interests=oi,
        spot=spot,
    )
    out[:] = found.gex, found.dex, found.vex, found.cex
    sums[:] = 0.0

    def add(rows: BoolArray, count: str, **values: Values) -> None:
        sums[PLACE[count]] = np.count_nonzero(rows)
        for name, each in values.items():
            sums[PLACE[name]] = each[rows].sum(dtype=np.float64)

    gex, volume_gex = (
        found.gex,
        gamma_exposure(signs=signs, gammas=gamma, sizes=volumes, spot=spot),
    )
    add(used, "used", gex=gex, dex=found.dex, vex=found.vex, cex=found.cex, gross_gex=np.abs(gex))
    if used.any():
        sums[PLACE["oldest"]] = places[2][used].min()
    add(used & (dates[0, shards] != 0.0), "same_day", same_day_gex=gex)
    add(used & (dates[1, shards] != 0.0), "week", week_gex=gex)
    add(used & (np.abs(board[0] - spot) <= near), "near", near_gex=gex)
    add(used & (rows["volume"] >= 0), "traded", volume_gex=volume_gex)
    add(alive & ~puts, "calls", call_oi=oi, call_volume=volumes)
    add(alive & puts, "puts", put_oi=oi, put_volume=volumes)
    bought, sold = rows["bought"].astype(np.float64), rows["sold"].astype(np.float64)
    sums[PLACE["sided"]] = (bought + sold)[alive].sum()
    add(solved, "solved", solved_oi=oi * used)
    known = alive & solved
    sizes = gamma_exposure(signs=np.ones(oi.size), gammas=_finite(gamma), sizes=oi, spot=spot)
    add(known, "priced", call_size=sizes * ~puts, put_size=sizes * puts)
    flow = flow_signs(bought=bought, sold=sold)
    add(known & np.isfinite(flow), "flow", flow_gex=_finite(flow) * sizes)
    sums[PLACE["pairs"]], sums[PLACE["outliers"]] = _parity(rows, board, places[1], puts)
    return True


def _finite(values: FloatArray) -> FloatArray:
    return np.where(np.isfinite(values), values, 0.0)


def _parity(
    rows: npt.NDArray[np.void], board: FloatArray, partners: Places, puts: BoolArray
) -> tuple[int, int]:
    """(pairs checked, outliers) of |C - P - D (F - K)| against the combined half-spreads.

    Mids of two-sided quotes; American exercise makes outliers of deep in-the-money puts.
    """
    strikes, years, discounts, bases = board[:4]
    calls = np.flatnonzero(~puts & (partners >= 0) & (years > 0.0))
    others = partners[calls]
    bid, ask, spot = rows["bid"], rows["ask"], rows["spot"]
    with np.errstate(invalid="ignore"):
        good = (bid > 0.0) & (ask > bid)
        two_sided = good[calls] & good[others]
        mids = 0.5 * (bid[calls] + ask[calls] - bid[others] - ask[others])
        forwards = bases[calls] * 0.5 * (spot[calls] + spot[others])
        gaps = np.abs(mids - discounts[calls] * (forwards - strikes[calls]))
        widths = 0.5 * (ask[calls] - bid[calls] + ask[others] - bid[others])
        outliers = two_sided & (gaps > widths)
    return int(np.count_nonzero(two_sided)), int(np.count_nonzero(outliers))
