"""European option prices and Greeks from a forward and a discount factor (Black 1976).

Owns the closed forms; must not solve for a volatility, choose a forward or read a setting.
Every function broadcasts its arguments, returns float64 and gives NaN, never an exception,
where an input is not finite, a price or a volatility is not positive, or ``years <= 0``.

Notation of the sources: F = forward, D = exp(-r T), v = sigma sqrt(T),
d1 = ln(F/K)/v + v/2, d2 = d1 - v, phi = +1 call, -1 put, b = F/S. The spot Greeks hold b
fixed when S moves; when time moves, the carry c = ln(b)/T is what stays.

.. [1] F. Black, "The pricing of commodity contracts", J. Financial Economics 3 (1976).
.. [2] E. G. Haug, "The Complete Guide to Option Pricing Formulas", 2nd ed. (2007), ch. 2.
.. [3] P. Jäckel, "Let's Be Rational", Wilmott (2015), eqs. 2.8-2.15.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import erfcx, ndtr

from common.models import BoolArray, FloatArray

DAYS = 365.0
"""Calendar days in the year of every T."""
ROOT_TWO_PI = 2.5066282746310002
_ROOT_HALF = 0.7071067811865476
_SERIES_BELOW = 0.25
_FACTORIALS = (6.0, 120.0, 5040.0, 362880.0, 39916800.0, 6227020800.0, 1307674368000.0)


@dataclass(frozen=True, slots=True)
class Greeks:
    """Sensitivities per share, all of one shape."""

    delta: FloatArray
    """dV/dS [1]"""
    gamma: FloatArray
    """d2V/dS2 [1/$]"""
    theta: FloatArray
    """dV/dt, t running forward [$ per calendar day]"""
    vega: FloatArray
    """dV/dsigma [$ per 1.00 of sigma]"""
    rho: FloatArray
    """dV/dr at fixed dividend yield [$ per 1 % point]"""
    vanna: FloatArray
    """d delta/d sigma [per 1.00 of sigma]"""
    charm: FloatArray
    """d delta/dt, t running forward [per calendar day]"""
    vomma: FloatArray
    """d vega/d sigma [$ per 1.00 of sigma squared]"""
    speed: FloatArray
    """d gamma/dS [1/$2]"""
    zomma: FloatArray
    """d gamma/d sigma [1/$ per 1.00 of sigma]"""
    color: FloatArray
    """d gamma/dt, t running forward [1/$ per calendar day]"""


@dataclass(frozen=True, slots=True)
class _Terms:
    """What the closed forms share; broadcast to one shape, NaN in invalid rows."""

    phis: FloatArray
    v: FloatArray
    d1: FloatArray
    d2: FloatArray
    density: FloatArray


def log_moneyness(*, forwards: npt.ArrayLike, strikes: npt.ArrayLike) -> FloatArray:
    """ln(F/K) without the rounding of F/K: 2 atanh((F - K)/(F + K)).

    :param forwards: [$], positive, broadcast against ``strikes`` [$].
    :returns: [1]; at 0DTE the rounding of the quotient alone would cost five digits of it.
    """
    F = np.asarray(forwards, dtype=np.float64)
    K = np.asarray(strikes, dtype=np.float64)
    with np.errstate(all="ignore"):
        ratio = (F - K) / (F + K)
        near = np.abs(ratio) < 0.5
        return np.where(near, 2.0 * np.arctanh(np.where(near, ratio, 0.0)), np.log(F / K))


def price(
    *,
    forwards: npt.ArrayLike,
    strikes: npt.ArrayLike,
    years: npt.ArrayLike,
    sigmas: npt.ArrayLike,
    discounts: npt.ArrayLike,
    puts: npt.ArrayLike,
) -> FloatArray:
    """Black-76 price [1], from the out-of-the-money side plus the discounted intrinsic value.

    :param forwards: F [$]. :param strikes: K [$]. :param years: T to settlement [years].
    :param sigmas: volatility [per square root of a year, 0.2 = 20 %].
    :param discounts: D [1]. :param puts: true for a put.
    :returns: [$ per share], broadcast shape; relative error near 1e-15 (1 + d1^2), in the
        wings and at T of one second too.
    """
    F, K, T, s, D, put = _broadcast(forwards, strikes, years, sigmas, discounts, puts)
    valid = _valid(F, K, T, s) & np.isfinite(D)
    with np.errstate(all="ignore"):
        x = log_moneyness(forwards=F, strikes=K)
        v = s * np.sqrt(T)
        value = np.sqrt(F * K) * normalised_value(logs=-np.abs(x), totals=v)
        intrinsic = np.maximum(np.where(put > 0.0, K - F, F - K), 0.0)
        return np.where(valid, D * (value + intrinsic), np.nan)


def normalised_value(*, logs: FloatArray, totals: FloatArray) -> FloatArray:
    """Undiscounted out-of-the-money value over sqrt(F K): eq. 2.2 of [3].

    :param logs: -|ln(F/K)| [1], not above 0. :param totals: v = sigma sqrt(T) [1], positive.
    :returns: b(x, v) in [0, exp(x/2)]; the branches are those of :func:`value_branches`.
    """
    value, rest = value_branches(logs=logs, totals=totals)
    return np.where(np.isnan(rest), value, np.exp(0.5 * logs) - rest)


def value_branches(*, logs: FloatArray, totals: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The normalised value b(x, v), and exp(x/2) - b where that is the accurate one.

    With h = x/v and t = v/2 the value is ½ exp(-(h² + t²)/2) [erfcx(-(h+t)/√2) -
    erfcx(-(h-t)/√2)], eq. 2.9 of [3]. The difference cancels at small t, where an odd series
    in t replaces it (eq. 2.14), and overflows at h + t > 0, where the complement is summed.

    :param logs: x = -|ln(F/K)| [1]. :param totals: v [1], positive; one shape.
    :returns: (b, exp(x/2) - b); the second is NaN where it was not needed.
    """
    with np.errstate(all="ignore"):
        h = logs / totals
        t = 0.5 * totals
        front = np.exp(-0.5 * (h * h + t * t))
        small = t < _SERIES_BELOW
        upper = ~small & (h + t > 0.0)
        inner = 0.5 * front * erfcx(np.abs(h + t) * _ROOT_HALF)
        outer = 0.5 * front * erfcx((t - h) * _ROOT_HALF)
        rest = np.where(upper, inner + outer, np.nan)
        direct = np.where(upper, np.exp(0.5 * logs) - rest, inner - outer)
        if not small.any():
            return direct, rest
        return np.where(small, front * _odd_series(h, t) / ROOT_TWO_PI, direct), rest


def _odd_series(h: FloatArray, t: FloatArray) -> FloatArray:
    """Y(h+t) - Y(h-t) with Y(z) = Phi(z)/n(z), by odd derivatives of Y at h; eq. 2.14 of [3].

    Y' = 1 + h Y and Y(n+1) = n Y(n-1) + h Y(n); seven terms give 1e-17 at t = 0.25.
    """
    even = np.sqrt(0.5 * np.pi) * erfcx(-h * _ROOT_HALF)
    odd = 1.0 + h * even
    total = odd.copy()
    power = np.ones_like(t)
    square = t * t
    for order, factorial in enumerate(_FACTORIALS):
        n = 2 * order + 1
        even = n * even + h * odd
        odd = (n + 1) * odd + h * even
        power = power * square
        total = total + power * odd / factorial
    series: FloatArray = 2.0 * t * total
    return series


def greeks(
    *,
    spots: npt.ArrayLike,
    forwards: npt.ArrayLike,
    strikes: npt.ArrayLike,
    years: npt.ArrayLike,
    sigmas: npt.ArrayLike,
    rates: npt.ArrayLike,
    puts: npt.ArrayLike,
) -> Greeks:
    """All spot Greeks, chapter 2 of [2] with carry c = ln(F/S)/T, so q = r - c.

    :param spots: S [$]. :param forwards: F [$]. :param strikes: K [$].
    :param years: T to settlement [years]. :param sigmas: volatility [per sqrt(year)].
    :param rates: r, continuously compounded [per year]. :param puts: true for a put.
    :returns: arrays of the broadcast shape, NaN in invalid rows.
    """
    S, F, K, T, s, r, put = _broadcast(spots, forwards, strikes, years, sigmas, rates, puts)
    valid = _valid(F, K, T, s) & np.isfinite(S) & (S > 0.0) & np.isfinite(r)
    S, F, K, T, s = (np.where(valid, part, np.nan) for part in (S, F, K, T, s))
    with np.errstate(all="ignore"):
        terms = _terms(F, K, T, s, put)
        c = log_moneyness(forwards=F, strikes=S) / T
        return _closed_forms(S=S, F=F, K=K, T=T, s=s, r=r, c=c, terms=terms)


def _terms(F: FloatArray, K: FloatArray, T: FloatArray, s: FloatArray, put: FloatArray) -> _Terms:
    v = s * np.sqrt(T)
    d1 = log_moneyness(forwards=F, strikes=K) / v + 0.5 * v
    return _Terms(
        phis=np.where(put > 0.0, -1.0, 1.0),
        v=v,
        d1=d1,
        d2=d1 - v,
        density=np.exp(-0.5 * d1 * d1) / ROOT_TWO_PI,
    )


def _closed_forms(
    *,
    S: FloatArray,
    F: FloatArray,
    K: FloatArray,
    T: FloatArray,
    s: FloatArray,
    r: FloatArray,
    c: FloatArray,
    terms: _Terms,
) -> Greeks:
    v, d1, d2, phis = terms.v, terms.d1, terms.d2, terms.phis
    D = np.exp(-r * T)
    yields = D * F / S  # exp(-q T)
    q = r - c
    n1 = yields * terms.density
    N1 = phis * yields * ndtr(phis * d1)
    N2 = phis * K * D * ndtr(phis * d2)
    # dd1/dT, so that a forward step in t of any function of d1 takes its minus.
    drift = (2.0 * c * T - d2 * v) / (2.0 * T * v)
    gamma = n1 / (S * v)
    vega = S * n1 * np.sqrt(T)
    return Greeks(
        delta=N1,
        gamma=gamma,
        theta=(-0.5 * S * n1 * s / np.sqrt(T) - r * N2 + q * S * N1) / DAYS,
        vega=vega,
        rho=0.01 * T * N2,
        vanna=-n1 * d2 / s,
        charm=(q * N1 - n1 * drift) / DAYS,
        vomma=vega * d1 * d2 / s,
        speed=-gamma / S * (d1 / v + 1.0),
        zomma=gamma * (d1 * d2 - 1.0) / s,
        color=gamma * (q + d1 * drift + 0.5 / T) / DAYS,
    )


def _broadcast(*parts: npt.ArrayLike) -> tuple[FloatArray, ...]:
    """Everything as float64 of one shape, masks as 0 and 1."""
    return tuple(np.broadcast_arrays(*(np.asarray(part, dtype=np.float64) for part in parts)))


def _valid(F: FloatArray, K: FloatArray, T: FloatArray, s: FloatArray) -> BoolArray:
    finite = np.isfinite(F) & np.isfinite(K) & np.isfinite(T) & np.isfinite(s)
    valid: BoolArray = finite & (F > 0.0) & (K > 0.0) & (T > 0.0) & (s > 0.0)
    return valid
