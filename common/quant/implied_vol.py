"""Implied volatility: definition, domain and statuses of the one solver.

Owns what a volatility is and when there is none; must not filter quotes or choose a forward.
The arithmetic is in :mod:`common.quant.compiled` and :mod:`common.quant.plain`. A row that has
no volatility gives NaN and a status, never a bound or a constant, and its neighbours in the
batch change no bit of any result.

.. [1] P. Jäckel, "Let's Be Rational", Wilmott (2015).
.. [2] L. Bachelier, "Théorie de la spéculation" (1900): the limit of small v.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from common.models import FloatArray, StatusArray
from common.quant import kernels
from common.quant.columns import columns

_CODE = np.dtype(np.uint8)


class ImpliedVols(NamedTuple):
    """What the solver found; both of the broadcast shape."""

    sigmas: FloatArray
    """[per square root of a year], NaN unless the status is OK."""
    statuses: StatusArray


def implied_vol(
    *,
    prices: npt.ArrayLike,
    forwards: npt.ArrayLike,
    strikes: npt.ArrayLike,
    years: npt.ArrayLike,
    discounts: npt.ArrayLike,
    puts: npt.ArrayLike,
) -> ImpliedVols:
    """The volatility at which the Black-76 price equals ``prices``.

    An in-the-money price is taken to the other side by parity, with the digits that costs; one
    whose time value is below the rounding of the price itself is NO_TIME_VALUE.

    :param prices: discounted option prices [$ per share].
    :param forwards: F [$]. :param strikes: K [$]. :param years: T to settlement [years].
    :param discounts: D [1]. :param puts: true for a put.
    :returns: volatilities within 8 ulp, times the conditioning max(1, price/(sigma vega)) of
        the out-of-the-money price, for T from a second to two years, sigma from 1 % to 500 %
        and strikes within twenty standard deviations; and one of OK, BAD_INPUT, EXPIRED,
        NO_FORWARD, BELOW_INTRINSIC, NO_TIME_VALUE, ABOVE_BOUND, NOT_CONVERGED. Columns, that
        is contiguous float64 arrays (n,) and a bool one, are taken as they are.
    """
    solve = kernels.active().implied_vols
    if type(prices) is np.ndarray and type(forwards) is np.ndarray is type(years):
        shape = prices.shape
        sigmas, statuses = np.empty(shape), np.empty(shape, _CODE)
        if solve(prices, forwards, strikes, years, discounts, puts, sigmas, statuses):  # type: ignore[arg-type]  # it looks itself
            return ImpliedVols(sigmas, statuses)
    (p, F, K, T, D), put, shape = columns((prices, forwards, strikes, years, discounts), puts)
    sigmas, statuses = np.empty(p.size), np.empty(p.size, np.uint8)
    kernels.filled(solve(p, F, K, T, D, put, sigmas, statuses))
    return ImpliedVols(sigmas.reshape(shape), statuses.reshape(shape))
