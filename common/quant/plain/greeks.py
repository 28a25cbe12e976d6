"""The Greeks on arrays; the arithmetic of :mod:`common.quant.compiled.greeks`."""

from __future__ import annotations

import numpy as np

from common.models import BoolArray, FloatArray
from common.quant.columns import are_columns
from common.quant.plain.elementary import exact_product, log_ratio, log_ratio_pair, mills

_ROOT_TWO_PI_INVERSE = 0.3989422804014327
_DAY = 1.0 / 365.0


def moneyness(
    F: FloatArray, K: FloatArray, T: FloatArray, s: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(d1, v, n(d1)), v = sigma sqrt(T); d1 is carried as a sum of two doubles."""
    root = np.sqrt(T)
    square, square_low = exact_product(root, root)
    root_low = ((T - square) - square_low) * (0.5 / root)
    v, v_low = exact_product(s, root)
    v_low = v_low + s * root_low
    log, log_low = log_ratio_pair(F, K)
    h = log / v
    product, product_low = exact_product(h, v)
    h_low = (((log - product) - product_low) + (log_low - h * v_low)) / v
    half = 0.5 * v
    d1 = h + half
    back = d1 - h
    d1_low = (h - (d1 - back)) + (half - back) + h_low + 0.5 * v_low
    square, square_low = exact_product(d1, d1)
    front = np.exp(np.maximum(-0.5 * square, -708.0))
    front = np.where(square < 1416.0, front, 0.0) * _ROOT_TWO_PI_INVERSE
    return d1, v, front * (1.0 - (d1 * d1_low + 0.5 * square_low))


def greeks(
    S: FloatArray,
    F: FloatArray,
    K: FloatArray,
    T: FloatArray,
    s: FloatArray,
    r: FloatArray,
    put: BoolArray,
    out: FloatArray,
) -> bool:
    """Fill ``out`` (11, n), a row per Greek; arrays (n,); False if they are not."""
    if len(out) != 11 or not are_columns((S, F, K, T, s, r), put, out.shape[1]):
        return False
    with np.errstate(all="ignore"):
        d1, v, density = moneyness(F, K, T, s)
        d2, root = d1 - v, np.sqrt(T)
        sign = np.where(put, -1.0, 1.0)
        first, second = density * mills(np.abs(d1)), density * (F / K) * mills(np.abs(d2))
        first = sign * np.where(sign * d1 < 0.0, first, 1.0 - first)
        second = sign * np.where(sign * d2 < 0.0, second, 1.0 - second)
        D = np.exp(np.clip(-r * T, -700.0, 700.0))
        carry = log_ratio(F, S) / T
        q, yields = r - carry, D * (F / S)
        finite = (S + F + K + T + s + r + d1 + 1.0 / v + 1.0 / T + carry) * 0.0 == 0.0
        good = finite & (S > 0.0) & (F > 0.0) & (K > 0.0) & (T > 0.0) & (s > 0.0)
        n1 = np.where(good, yields * density, np.nan)
        N1, N2 = yields * first, K * D * second
        drift = carry / v - d2 * 0.5 / T  # dd1/dT
        gamma, vega = n1 / (S * v), S * n1 * root
        out[0] = np.where(good, N1, np.nan)
        out[1] = gamma
        out[2] = (-0.5 * S * n1 * s / root - r * N2 + q * S * N1) * _DAY
        out[3] = vega
        out[4] = np.where(good, 0.01 * T * N2, np.nan)
        out[5] = -n1 * d2 / s
        out[6] = (q * N1 - n1 * drift) * _DAY
        out[7] = vega * d1 * d2 / s
        out[8] = -gamma / S * (d1 / v + 1.0)
        out[9] = gamma * (d1 * d2 - 1.0) / s
        out[10] = gamma * (q + d1 * drift + 0.5 / T) * _DAY
    return True
