"""The re-priced net gamma curve over a grid of spots, and its roots.

Owns the curve and the definition of a root that counts; must not decide which contracts are
in it. The curve is sticky-strike: each contract keeps its IV, its T and its F/S.

.. [1] Perfiliev, "How to calculate gamma exposure and zero gamma level" (2022).
.. [2] Dowell, Jarratt, "A modified regula falsi method", BIT 11 (1971): the Illinois rule.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.models import BoolArray, FloatArray
from common.quant.blackscholes import ROOT_TWO_PI
from common.quant.exposure import MULTIPLIER, ONE_PERCENT

NOISE_WINDOW = 0.01
"""A sign change counts only if the curve is visible within this share of spot around it ..."""
NOISE_SHARE = 1e-4
"""... that is, reaches this share of the curve's largest value."""
PEAK_STEPS = 4.0
"""A gamma peak with a deviation below this many grid steps gets a grid point of its own."""
ROOT_TOLERANCE = 1e-10
"""Roots are bracketed to this share of spot, far below a cent."""
_CHUNK = 250_000


@dataclass(frozen=True, slots=True)
class Book:
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


@dataclass(frozen=True, slots=True)
class Curve:
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
    if book.strikes.size == 0:
        return np.zeros(spots.shape)
    v = book.sigmas * np.sqrt(book.years)
    scale = book.positions * book.discounts * book.bases / v * (MULTIPLIER * ONE_PERCENT)
    shift = np.log(book.bases / book.strikes) / v + 0.5 * v
    inverse = 1.0 / v
    logs = np.log(spots)
    sums = np.empty(spots.shape)
    step = max(1, _CHUNK // book.strikes.size)
    with np.errstate(under="ignore"):
        for start in range(0, spots.size, step):
            part = slice(start, start + step)
            d1 = logs[part, None] * inverse
            d1 += shift
            np.square(d1, out=d1)
            d1 *= -0.5
            np.exp(d1, out=d1)
            d1 *= scale
            sums[part] = d1.sum(axis=1)
    return sums * spots / ROOT_TWO_PI


def curve(*, book: Book, spot: float, width: float, points: int) -> Curve:
    """The curve over ``spot · (1 ± width)``.

    The even grid is joined by the spots at which a strike is at the money wherever gamma
    stands in a peak of few even steps there, as it does in the last hours of a day.

    :param spot: S [$]. :param width: [1]. :param points: of the even grid.
    """
    low, high = spot * (1.0 - width), spot * (1.0 + width)
    even = np.linspace(low, high, points)
    narrow = book.sigmas * np.sqrt(book.years) * spot < PEAK_STEPS * (even[1] - even[0])
    peaks = (book.strikes / book.bases)[narrow]
    spots = np.unique(np.concatenate([even, peaks[(peaks > low) & (peaks < high)]]))
    return Curve(spots, net_gex(book=book, spots=spots))


def zero_gammas(*, book: Book, curve: Curve, spot: float) -> FloatArray:
    """All spots at which the curve crosses zero, ascending [$]; empty when there is none.

    A crossing in the noise of the far tails does not count: where the curve within 1 % of
    spot on either side of it stays below 1e-4 of its maximum.
    """
    seen = np.flatnonzero(curve.net_gex)
    if seen.size < 2:
        return np.empty(0)
    signs = np.sign(curve.net_gex[seen])
    at = np.flatnonzero(signs[1:] != signs[:-1])
    lower, upper = seen[at], seen[at + 1]
    kept = _visible(curve, lower, upper, NOISE_WINDOW * spot)
    lower, upper = lower[kept], upper[kept]
    if lower.size == 0:
        return np.empty(0)
    return _refine(book, curve, lower, upper, ROOT_TOLERANCE * spot)


def nearest_root(*, roots: FloatArray, spot: float) -> float:
    """The root nearest the spot [$]; NaN when there is none."""
    if roots.size == 0:
        return float("nan")
    return float(roots[np.argmin(np.abs(roots - spot))])


def _visible(
    curve: Curve, lower: np.typing.NDArray[np.intp], upper: np.typing.NDArray[np.intp], reach: float
) -> BoolArray:
    """Which crossings lie where the curve is more than noise."""
    sizes = np.abs(curve.net_gex)
    threshold = NOISE_SHARE * float(sizes.max())
    middle = 0.5 * (curve.spots[lower] + curve.spots[upper])
    first = np.minimum(np.searchsorted(curve.spots, middle - reach), lower)
    last = np.maximum(np.searchsorted(curve.spots, middle + reach, side="right"), upper + 1)
    peaks = [sizes[i:j].max() for i, j in zip(first, last, strict=True)]
    return np.asarray(peaks, dtype=np.float64) >= threshold


def _refine(
    book: Book,
    curve: Curve,
    lower: np.typing.NDArray[np.intp],
    upper: np.typing.NDArray[np.intp],
    tolerance: float,
) -> FloatArray:
    """Shrink all brackets at once by the Illinois rule [2], halving every fourth turn."""
    a, b = curve.spots[lower], curve.spots[upper]
    fa, fb = curve.net_gex[lower], curve.net_gex[upper]
    sign = np.sign(fa)
    moved = np.zeros(a.shape)  # end that moved last: -1 the left, +1 the right
    with np.errstate(all="ignore"):
        for turn in range(1, 120):
            secant = (a * fb - b * fa) / (fb - fa)
            use_secant = (secant > a) & (secant < b) & (turn % 4 != 0)
            x = np.where(use_secant, secant, 0.5 * (a + b))
            fx = net_gex(book=book, spots=x)
            left, exact = np.sign(fx) == sign, fx == 0.0
            # The end that stays a second time lends only half of its value to the secant.
            fa = np.where(left, fx, np.where(moved > 0.0, 0.5 * fa, fa))
            fb = np.where(left, np.where(moved < 0.0, 0.5 * fb, fb), fx)
            moved = np.where(left, -1.0, 1.0)
            a, b = np.where(left | exact, x, a), np.where(left, b, x)
            if np.all(b - a <= tolerance):
                break
    return 0.5 * (a + b)
