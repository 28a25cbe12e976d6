"""The Greeks, compiled: one vectorised pass over a chain.

Owns the arithmetic; formulas, units and validity are those of :mod:`common.quant.blackscholes`.
d1 and ln(F/K) are carried as sums of two doubles, because n(d1) multiplies a relative error of
d1 by d1²: at twenty standard deviations one bit of d1 would be 400 bits of gamma. The tails
N(-|d|) are n(d) times Mills' ratio, never 1 - N.
"""

from __future__ import annotations

from math import sqrt

from numba import njit

from common.machine.arguments import (
    BOOL,
    DOUBLE,
    ROUNDS,
    are_columns,
    column,
    entry,
    flags,
    inlined,
    is_array,
    is_column,
    length,
    python_bool,
    table,
)
from common.quant.compiled.elementary import (
    NAN,
    ROOT_TWO_PI_INVERSE,
    arrays_are_distinct,
    exp,
    fma,
    log_ratio,
    log_ratio_pair,
    mills_pair,
)

_FAR = 1416.0  # d1² beyond which n(d1) is below the smallest normal double
_DAY = 1.0 / 365.0


@inlined
def moneyness(F: float, K: float, T: float, s: float) -> tuple[float, float, float, float, float]:
    """(d1, d2, n(d1), 1/v, 1/T), v = sigma sqrt(T)."""
    root = sqrt(T)
    v = s * root
    inverse_v = 1.0 / v
    inverse_root = s * inverse_v
    root_low = fma(-root, root, T) * (0.5 * inverse_root)
    v_low = fma(s, root, -v) + s * root_low
    log, log_low = log_ratio_pair(F, K)
    h = log * inverse_v
    h_low = (fma(-h, v, log) - fma(h, v_low, -log_low)) * inverse_v
    half = 0.5 * v
    d1 = h + half
    back = d1 - h
    d1_low = (h - (d1 - back)) + (half - back) + h_low + 0.5 * v_low
    square = d1 * d1
    square_low = fma(d1, d1, -square)
    front = exp(max(-0.5 * square, -708.0))
    front = (front if square < _FAR else 0.0) * ROOT_TWO_PI_INVERSE
    density = front * (1.0 - fma(d1, d1_low, 0.5 * square_low))
    return d1, d1 - v, density, inverse_v, inverse_root * inverse_root


@inlined
def _tails(
    F: float, K: float, put: bool, d1: float, d2: float, density: float
) -> tuple[float, float]:
    """phi N(phi d1) and phi N(phi d2), phi = +1 call, -1 put."""
    sign = -1.0 if put else 1.0
    first, second = mills_pair(abs(d1), abs(d2))
    first, second = density * first, density * (F / K) * second  # n(d2) = n(d1) F/K
    first = first if sign * d1 < 0.0 else 1.0 - first
    second = second if sign * d2 < 0.0 else 1.0 - second
    return sign * first, sign * second


@inlined
def _closed_forms(S, F, K, T, s, r, put):
    """All of them, in the order of the fields of ``Greeks``; NaN where a number is no good."""
    d1, d2, density, inverse_v, inverse_T = moneyness(F, K, T, s)
    first, second = _tails(F, K, put, d1, d2, density)
    D = exp(max(min(-r * T, 700.0), -700.0))
    inverse_S, root = 1.0 / S, sqrt(T)
    yields = D * (F * inverse_S)  # exp(-q T)
    carry = log_ratio(F, S) * inverse_T
    q = r - carry
    n1, N1, N2 = yields * density, yields * first, K * D * second
    inverse_s = root * inverse_v
    drift = fma(-d2, 0.5 * inverse_T, carry * inverse_v)  # dd1/dT
    finite = (S + F + K + T + s + r + d1 + inverse_v + inverse_T + carry) * 0.0 == 0.0
    good = finite & (S > 0.0) & (F > 0.0) & (K > 0.0) & (T > 0.0) & (s > 0.0)
    gamma = n1 * inverse_S * inverse_v if good else NAN
    vega = S * n1 * root
    N1 = N1 if good else NAN
    n1 = n1 if good else NAN
    product = d1 * d2
    theta = (-0.5 * S * n1 * s * (root * inverse_T) - r * N2 + q * S * N1) * _DAY
    return (
        N1,
        gamma,
        theta,
        vega if good else NAN,
        0.01 * T * N2 if good else NAN,
        -n1 * d2 * inverse_s,
        (q * N1 - n1 * drift) * _DAY,
        vega * product * inverse_s if good else NAN,
        -gamma * inverse_S * fma(d1, inverse_v, 1.0),
        gamma * (product - 1.0) * inverse_s,
        gamma * (q + d1 * drift + 0.5 * inverse_T) * _DAY,
    )


@njit(**ROUNDS)
def _rows(
    S, F, K, T, s, r, put, delta, gamma, theta, vega, rho, vanna, charm, vomma, speed, zomma, color
):
    arrays_are_distinct()
    for i in range(K.size):
        (
            delta[i],
            gamma[i],
            theta[i],
            vega[i],
            rho[i],
            vanna[i],
            charm[i],
            vomma[i],
            speed[i],
            zomma[i],
            color[i],
        ) = _closed_forms(S[i], F[i], K[i], T[i], s[i], r[i], put[i])


@njit(**ROUNDS)
def delta_gamma(S, F, K, T, s, rate, put, delta, gamma):
    """Fill the two."""
    arrays_are_distinct()
    for i in range(K.size):
        forms = _closed_forms(S[i], F[i], K[i], T[i], s[i], rate, put[i])
        delta[i], gamma[i] = forms[0], forms[1]


@entry
def greeks(self, args, count):
    """(S, F, K, T, s, r, put, out): fill ``out`` (11, n), a row per Greek."""
    if not (count == 8 and is_array(self, args, 0, DOUBLE, 1)):
        return python_bool(0)
    n = length(args, 0, 0)
    right = are_columns(self, args, 1, 6, n) and is_column(self, args, 6, BOOL, n)
    if not (right and is_array(self, args, 7, DOUBLE, 2)):
        return python_bool(0)
    if not (length(args, 7, 0) == 11 and length(args, 7, 1) == n):
        return python_bool(0)
    out = table(args, 7, 11, n)
    _rows(
        *(column(args, 0, n), column(args, 1, n), column(args, 2, n), column(args, 3, n)),
        *(column(args, 4, n), column(args, 5, n), flags(args, 6, n)),
        *(out[0], out[1], out[2], out[3], out[4], out[5]),
        *(out[6], out[7], out[8], out[9], out[10]),
    )
    return python_bool(1)
