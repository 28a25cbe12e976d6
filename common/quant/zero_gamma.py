"""The re-priced net gamma curve over a grid of spots, and its roots.

Owns the curve and the definition of a root that counts; must not decide which contracts are
in it. The curve is sticky-strike: each contract keeps its IV, its T and its F/S.

.. [1] Perfiliev, "How to calculate gamma exposure and zero gamma level" (2022).
"""

from __future__ import annotations

import msgspec
import numpy as np

from common.models import FloatArray
from common.quant import kernels
from common.quant.exposure import MULTIPLIER, ONE_PERCENT

_Columns = tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]


class Book(msgspec.Struct, frozen=True):
    """The contracts a curve is made of; arrays of one shape (n,), all of them usable."""

    strikes: FloatArray
    """K [$]"""
    bases: FloatArray
    """F/S [1]"""
    years: FloatArray
    """T [years], positive"""
    sigmas: FloatArray
    """[per square root of a year], positive"""
    discounts: FloatArray
    """D [1]"""
    positions: FloatArray
    """Signed open interest of the dealers [contracts]"""


class Curve(msgspec.Struct, frozen=True):
    """Net gamma exposure at each spot of a grid; (g,)."""

    spots: FloatArray
    """[$], ascending"""
    net_gex: FloatArray
    """[$ of delta per 1 % move]"""


def net_gex(*, book: Book, spots: FloatArray) -> FloatArray:
    """Net gamma exposure of the book at each spot.

    GEX = position · m · 0.01 · S² · Γ with Γ = D b n(d1)/(S v), d1 = ln(b S/K)/v + v/2. Sums
    run in contract order; a spot's value does not depend on the other spots.

    :param spots: S [$]; (g,). :returns: [$ of delta per 1 % move]; (g,).
    """
    out = np.empty(spots.shape)
    order = None if (spots[1:] >= spots[:-1]).all() else np.argsort(spots, kind="stable")
    ascending = spots if order is None else spots[order]
    compute = kernels.active().net_gex
    kernels.filled(compute(*_columns(book), ascending, _anchor(book), out))
    if order is not None:
        out[order] = out.copy()
    out *= MULTIPLIER * ONE_PERCENT
    return out


def curve(*, book: Book, spot: float, width: float, points: int) -> Curve:
    """The curve over ``spot · (1 ± width)``.

    The even grid is joined by the spots at which a strike is at the money wherever gamma
    stands in a peak of few even steps there, as it does in the last hours of a day.

    :param spot: S [$]. :param width: [1]. :param points: of the even grid.
    """
    spots, head = np.empty(points + book.strikes.size), np.empty(1)
    done = kernels.active().grid(
        *_columns(book)[:4], spots, head, float(spot), float(width), float(points)
    )
    kernels.filled(done)
    spots = spots[: int(head[0])]
    return Curve(spots, net_gex(book=book, spots=spots))


def zero_gammas(*, book: Book, curve: Curve, spot: float) -> FloatArray:
    """All spots at which the curve crosses zero, ascending [$]; empty when there is none.

    A crossing in the noise of the far tails does not count: where the curve within 1 % of
    spot on either side of it stays below 1e-4 of its maximum.
    """
    found, head = np.empty(curve.spots.size), np.empty(1)
    done = kernels.active().roots(
        *(*_columns(book), curve.spots, curve.net_gex),
        *(found, head, float(spot), _anchor(book)),
    )
    kernels.filled(done)
    return found[: int(head[0])]


def nearest_root(*, roots: FloatArray, spot: float) -> float:
    """The root nearest the spot [$]; NaN when there is none."""
    if roots.size == 0:
        return float("nan")
    return float(roots[np.argmin(np.abs(roots - spot))])


def _columns(book: Book) -> _Columns:
    return (
        np.ascontiguousarray(book.strikes),
        np.ascontiguousarray(book.bases),
        np.ascontiguousarray(book.years),
        np.ascontiguousarray(book.sigmas),
        np.ascontiguousarray(book.discounts),
        np.ascontiguousarray(book.positions),
    )


def _anchor(book: Book) -> float:
    """A spot that logarithms are taken against: a strike of the book, so that ln(S/anchor) is
    small and loses nothing when it is divided by a small v [$].
    """
    return float(book.strikes[book.strikes.size // 2]) if book.strikes.size else 1.0
