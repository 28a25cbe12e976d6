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

import msgspec
import numpy as np
import numpy.typing as npt

from common.models import FloatArray
from common.quant import kernels
from common.quant.columns import columns
from common.quant.plain.value import prices

DAYS = 365.0
"""Calendar days in the year of every T."""
MINUTES_A_DAY = 1440.0
ROOT_TWO_PI = 2.5066282746310002


GREEKS = (
    *("delta", "gamma", "theta", "vega", "rho", "vanna", "charm"),
    *("vomma", "speed", "zomma", "color"),
)
"""Rows of the table of :class:`Greeks`."""


class Greeks(msgspec.Struct, frozen=True):
    """Sensitivities per share, all of one shape."""

    table: FloatArray
    """A row per Greek, in the order of :data:`GREEKS`."""

    @property
    def delta(self) -> FloatArray:
        """dV/dS [1]"""
        return self._row(0)

    @property
    def gamma(self) -> FloatArray:
        """d2V/dS2 [1/$]"""
        return self._row(1)

    @property
    def theta(self) -> FloatArray:
        """dV/dt, t running forward [$ per calendar day]"""
        return self._row(2)

    @property
    def vega(self) -> FloatArray:
        """dV/dsigma [$ per 1.00 of sigma]"""
        return self._row(3)

    @property
    def rho(self) -> FloatArray:
        """dV/dr at fixed dividend yield [$ per 1 % point]"""
        return self._row(4)

    @property
    def vanna(self) -> FloatArray:
        """d delta/d sigma [per 1.00 of sigma]"""
        return self._row(5)

    @property
    def charm(self) -> FloatArray:
        """d delta/dt, t running forward [per calendar day]"""
        return self._row(6)

    @property
    def vomma(self) -> FloatArray:
        """d vega/d sigma [$ per 1.00 of sigma squared]"""
        return self._row(7)

    @property
    def speed(self) -> FloatArray:
        """d gamma/dS [1/$2]"""
        return self._row(8)

    @property
    def zomma(self) -> FloatArray:
        """d gamma/d sigma [1/$ per 1.00 of sigma]"""
        return self._row(9)

    @property
    def color(self) -> FloatArray:
        """d gamma/dt, t running forward [1/$ per calendar day]"""
        return self._row(10)

    @property
    def theta_per_minute(self) -> FloatArray:
        """dV/dt, t running forward [$ per minute]"""
        return self.theta / MINUTES_A_DAY

    def _row(self, at: int) -> FloatArray:
        row: FloatArray = self.table[at]
        return row


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

    Always on plain arrays: a process that prices without solving needs no compiler.

    :param forwards: F [$]. :param strikes: K [$]. :param years: T to settlement [years].
    :param sigmas: volatility [per square root of a year, 0.2 = 20 %].
    :param discounts: D [1]. :param puts: true for a put.
    :returns: [$ per share], broadcast shape; relative error near 1e-15 (1 + d1^2), in the
        wings and at T of one second too.
    """
    (F, K, T, s, D), put, shape = columns((forwards, strikes, years, sigmas, discounts), puts)
    out = np.empty(K.size)
    prices(F, K, T, s, D, put, out)
    return out.reshape(shape)


def deltas(
    *,
    spots: npt.ArrayLike,
    forwards: npt.ArrayLike,
    strikes: npt.ArrayLike,
    years: npt.ArrayLike,
    sigmas: npt.ArrayLike,
    rates: npt.ArrayLike,
    puts: npt.ArrayLike,
) -> FloatArray:
    """delta = phi exp(-qT) N(phi d1) alone; arguments as of :func:`greeks`, but ``years <= 0``
    gives what settlement leaves: phi where the option ends in the money, 0 where not.

    :returns: [1], broadcast shape.
    """
    numbers = (spots, forwards, strikes, years, sigmas, rates)
    (S, F, K, T, s, r), put, shape = columns(numbers, puts)
    with np.errstate(all="ignore"):
        growth = np.exp(-r * np.maximum(T, 0.0)) * (F / S)
    out = np.empty(K.size)
    kernels.filled(kernels.active().deltas(F, K, T, s, growth, put, out))
    return out.reshape(shape)


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

    With n1 = exp(-qT) n(d1), N1 = phi exp(-qT) N(phi d1), N2 = phi K D N(phi d2) and
    u = dd1/dT = (2 c T - d2 v)/(2 T v):

    ====== ===========================================  =====  =================================
    delta  N1                                           gamma  n1/(S v)
    vega   S n1 sqrt(T)                                 rho    0.01 T N2
    theta  (-S n1 sigma/(2 sqrt(T)) - r N2 + q S N1)/365       a day
    vanna  -n1 d2/sigma                                 charm  (q N1 - n1 u)/365
    vomma  vega d1 d2/sigma                             speed  -gamma/S (d1/v + 1)
    zomma  gamma (d1 d2 - 1)/sigma                      color  gamma (q + d1 u + 1/(2T))/365
    ====== ===========================================  =====  =================================

    :param spots: S [$]. :param forwards: F [$]. :param strikes: K [$].
    :param years: T to settlement [years]. :param sigmas: volatility [per sqrt(year)].
    :param rates: r, continuously compounded [per year]. :param puts: true for a put.
    :returns: arrays of the broadcast shape, NaN in invalid rows; error below 1e-14 of the sum
        of the sizes of a formula's terms, within twenty standard deviations. Columns, that is
        contiguous float64 arrays (n,) and a bool one, are taken as they are.
    """
    compute = kernels.active().greeks
    if type(spots) is np.ndarray and type(strikes) is np.ndarray is type(rates):
        out = np.empty((11, strikes.size))
        if compute(spots, forwards, strikes, years, sigmas, rates, puts, out):  # type: ignore[arg-type]  # it looks itself
            return Greeks(out)
    numbers = (spots, forwards, strikes, years, sigmas, rates)
    (S, F, K, T, s, r), put, shape = columns(numbers, puts)
    out = np.empty((11, K.size))
    kernels.filled(compute(S, F, K, T, s, r, put, out))
    return Greeks(out.reshape((11, *shape)))
