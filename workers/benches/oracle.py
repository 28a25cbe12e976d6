"""The accuracy grid and its oracle: mpmath at 60 digits, on the same doubles.

Owns both; must not judge. T from one second to two years, sigma from 1 % to 500 %, strikes up to
twenty standard deviations from the forward, and prices down to 1e-290 $.

.. [1] F. Johansson et al., "mpmath: a Python library for arbitrary-precision arithmetic".
"""

from __future__ import annotations

from dataclasses import dataclass

import mpmath as mp
import numpy as np

from common.models import BoolArray, FloatArray
from common.quant.blackscholes import GREEKS, greeks, price
from common.quant.implied_vol import ImpliedVols, implied_vol

YEAR_SECONDS = 365.0 * 86400.0
WEEK = 7.0 / 365.0
_DIGITS = 60
_RATE = 0.04
_FORWARD = 500.123
_SECONDS = (1, 10, 60, 600, 3600, 23_400, 86_400, 259_200, 604_800, 2_592_000, 7_776_000)
_YEARS = (*(seconds / YEAR_SECONDS for seconds in _SECONDS), 1.0, 2.0)
_SIGMAS = (0.01, 0.03, 0.05, 0.15, 0.3, 0.5, 1.0, 2.0, 3.5, 5.0)
_DEVIATIONS = (
    *(-20.0, -16.0, -12.0, -8.0, -5.0, -3.0, -2.0, -1.0, -0.5, -0.1, -1e-3, -1e-6, 0.0),
    *(1e-9, 1e-4, 0.05, 0.3, 1.0, 1.5, 2.5, 4.0, 6.0, 10.0, 14.0, 18.0, 20.0),
)
_TINIEST = 1e-290


@dataclass(frozen=True, slots=True)
class Grid:
    """Options as columns (n,); ``prices`` are out of the money."""

    spots: FloatArray
    forwards: FloatArray
    strikes: FloatArray
    years: FloatArray
    sigmas: FloatArray
    discounts: FloatArray
    rates: FloatArray
    puts: BoolArray
    prices: FloatArray

    def volatilities(self) -> ImpliedVols:
        """Ours."""
        return implied_vol(
            prices=self.prices,
            forwards=self.forwards,
            strikes=self.strikes,
            years=self.years,
            discounts=self.discounts,
            puts=self.puts,
        )

    def greeks(self) -> dict[str, FloatArray]:
        """Ours, by name."""
        found = greeks(
            spots=self.spots,
            forwards=self.forwards,
            strikes=self.strikes,
            years=self.years,
            sigmas=self.sigmas,
            rates=self.rates,
            puts=self.puts,
        )
        return dict(zip(GREEKS, found.table, strict=True))


def grid(*, every: int = 1, seed: int = 1) -> Grid:
    """Every ``every``-th option of the grid, its volatilities and carries moved at random."""
    T, s, z = (part.ravel() for part in np.meshgrid(_YEARS, _SIGMAS, _DEVIATIONS, indexing="ij"))
    random = np.random.default_rng(seed)
    K = _FORWARD * np.exp(z * s * np.sqrt(T))
    s = s * random.uniform(0.9, 1.1, s.size)
    S = _FORWARD * np.exp(random.uniform(-0.05, 0.03, s.size) * T)
    D = np.exp(-_RATE * T)
    F = np.full(s.shape, _FORWARD)
    put = K < F
    prices = price(forwards=F, strikes=K, years=T, sigmas=s, discounts=D, puts=put)
    rows = np.flatnonzero(prices > _TINIEST)[::every]
    S, F, K, T, s, D, p = (column[rows] for column in (S, F, K, T, s, D, prices))
    return Grid(S, F, K, T, s, D, np.full(s.shape, _RATE), put[rows], p)


def volatility_errors(options: Grid, sigmas: FloatArray) -> FloatArray:
    """Relative error of each volatility over the conditioning max(1, price/(sigma vega)); (n,).

    The oracle inverts the price by Newton's rule on its logarithm, from the volatility given.
    """
    found = np.full(sigmas.shape, np.inf)
    with mp.workdps(_DIGITS):
        for i in np.flatnonzero(np.isfinite(sigmas) & (sigmas > 0.0)):
            F, K, T = (
                mp.mpf(float(v[i])) for v in (options.forwards, options.strikes, options.years)
            )
            target = mp.mpf(float(options.prices[i])) / mp.mpf(float(options.discounts[i]))
            v = mp.mpf(float(options.sigmas[i])) * mp.sqrt(T)
            exact, conditioning = _invert(-abs(mp.log(F / K)), target / mp.sqrt(F * K), v)
            relative = mp.mpf(float(sigmas[i])) * mp.sqrt(T) / exact - 1
            found[i] = abs(float(relative)) / conditioning
    return found


def _invert(x: mp.mpf, target: mp.mpf, v: mp.mpf) -> tuple[mp.mpf, float]:
    """(v with the normalised value ``target``, max(1, price/(v vega)))."""
    for _ in range(5):
        value = mp.exp(x / 2) * mp.ncdf(x / v + v / 2) - mp.exp(-x / 2) * mp.ncdf(x / v - v / 2)
        vega = mp.exp(-((x / v) ** 2 + v * v / 4) / 2) / mp.sqrt(2 * mp.pi)
        v -= mp.log(value / target) * value / vega
    return v, max(1.0, float(target / (v * vega)))


def greek_errors(options: Grid, values: dict[str, FloatArray]) -> dict[str, FloatArray]:
    """Error of each Greek over its natural scale: the sum of the sizes of its formula's terms.

    :param values: by the names and units of :class:`common.quant.blackscholes.Greeks`; (n,).
    """
    found = {name: np.zeros(options.strikes.shape) for name in values}
    with mp.workdps(_DIGITS):
        for i in range(options.strikes.size):
            exact = exact_greeks(options, i)
            for name, column in values.items():
                value, scale = exact[name]
                if scale > _TINIEST:
                    found[name][i] = abs(float((mp.mpf(float(column[i])) - value) / scale))
    return found


def exact_greeks(options: Grid, i: int) -> dict[str, tuple[mp.mpf, mp.mpf]]:
    """(value, natural scale) of each Greek of one option of the grid."""
    S, F, K = (mp.mpf(float(v[i])) for v in (options.spots, options.forwards, options.strikes))
    T, s, r = (mp.mpf(float(v[i])) for v in (options.years, options.sigmas, options.rates))
    put = bool(options.puts[i])
    root, phi, day = mp.sqrt(T), -1 if put else 1, mp.mpf(365)
    v = s * root
    d1 = mp.log(F / K) / v + v / 2
    d2, D, carry = d1 - v, mp.exp(-r * T), mp.log(F / S) / T
    q, growth = r - carry, D * F / S
    n1, N1, N2 = growth * mp.npdf(d1), phi * growth * mp.ncdf(phi * d1), K * D * mp.ncdf(phi * d2)
    N2 = phi * N2
    gamma, vega = n1 / (S * v), S * n1 * root
    drift, turn = carry / v - d2 / (2 * T), abs(carry) / v + max(abs(d2), 1) / (2 * T)
    pull = abs(r) + abs(carry)
    decay = (-S * n1 * s / root / 2, -r * N2, q * S * N1)
    return {
        "delta": (N1, abs(N1)),
        "gamma": (gamma, gamma),
        "theta": (sum(decay) / day, (abs(decay[0]) + abs(decay[1]) + pull * S * abs(N1)) / day),
        "vega": (vega, vega),
        "rho": (T * N2 / 100, T * abs(N2) / 100),
        "vanna": (-n1 * d2 / s, n1 * max(abs(d2), 1) / s),
        "charm": ((q * N1 - n1 * drift) / day, (pull * abs(N1) + n1 * turn) / day),
        "vomma": (vega * d1 * d2 / s, vega * max(abs(d1 * d2), 1) / s),
        "speed": (-gamma / S * (d1 / v + 1), gamma / S * (abs(d1) / v + 1)),
        "zomma": (gamma * (d1 * d2 - 1) / s, gamma * (abs(d1 * d2) + 1) / s),
        "color": (
            gamma * (q + d1 * drift + 1 / (2 * T)) / day,
            gamma * (pull + abs(d1) * turn + 1 / (2 * T)) / day,
        ),
    }
