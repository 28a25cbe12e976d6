"""Mills' ratio, logs of quotients and exact products on arrays.

Owns them; must not know an option. The approximations are those of
:mod:`common.quant.compiled.elementary`; without a fused multiply-add, exact products are
taken apart by [1].

.. [1] T. J. Dekker, "A floating-point technique for extending the available precision",
       Numerische Mathematik 18 (1971).
"""

from __future__ import annotations

import numpy as np

from common.models import FloatArray

_MILLS_TOP = (
    *(1.2533141373155003, 2.0734393001352385, 1.700476071964686, 0.8932710928603746),
    *(0.3297320043555773, 0.08895873456715353, 0.017740287074486945, 0.0025852338729517093),
    *(0.0002644570123723719, 1.726666941422052e-05, 5.529976934508721e-07),
)
_MILLS_BOTTOM = (
    *(1.0, 2.4522497661426708, 2.8133958314729957, 1.9973289481605838),
    *(0.9772321662020906, 0.34694890025332376, 0.0915094353867671, 0.018003638082759107),
    *(0.002602500542560113, 0.0002650100100628648, 1.7266669414247877e-05, 5.529976934507568e-07),
)
_REST_TOP = (
    *(1.0, 1.279266301279522, 0.8322823401438927, 0.3511593880605735),
    *(0.10450798374261305, 0.02260614684843192, 0.003548012603279733, 0.0003905459173442169),
    *(2.755787245008821e-05, 9.645825968171583e-07),
)
_REST_BOTTOM = (
    *(1.0, 2.5325804385950224, 3.0064012077237114, 2.2132011542062333),
    *(1.1256691717600973, 0.4166754352559171, 0.11498665791004412, 0.023771997654578332),
    *(0.0036306862073043336, 0.0003934396653535675, 2.7557872447923016e-05, 9.645825968268365e-07),
)
_ATANH = (
    *(0.3333333333333333, 0.20000000000004653, 0.1428571428333432, 0.11111111574161492),
    *(0.0909086493487262, 0.0769458706795357, 0.06601875795220648, 0.06827130706886231),
)
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
_SPLITTER = 134217729.0  # 2^27 + 1
_LARGEST_H = 1e20  # the rational's powers stay finite; R(h) = 1/h there all the same


def mills(h: FloatArray) -> FloatArray:
    """R(h) = N(-h)/n(h), h >= 0 [1]; relative error 4e-16."""
    h = np.minimum(h, _LARGEST_H)
    return _polynomial(_MILLS_TOP, h) / _polynomial(_MILLS_BOTTOM, h)


def mills_rest(h: FloatArray) -> FloatArray:
    """1 - h R(h), h >= 0 [1]; relative error 4e-16."""
    h = np.minimum(h, _LARGEST_H)
    return _polynomial(_REST_TOP, h) / _polynomial(_REST_BOTTOM, h)


def _polynomial(coefficients: tuple[float, ...], x: FloatArray) -> FloatArray:
    """Horner's rule, ascending coefficients."""
    total = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total *= x
        total += coefficient
    return total


def exact_product(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(a b rounded, what rounding lost); 0 lost where an intermediate overflows."""
    product = a * b
    a_high, b_high = _upper_half(a), _upper_half(b)
    a_low, b_low = a - a_high, b - b_high
    lost = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, np.where(np.isfinite(lost), lost, 0.0)


def _upper_half(a: FloatArray) -> FloatArray:
    scaled = _SPLITTER * a
    high: FloatArray = scaled - (scaled - a)
    return high


def log_ratio_pair(F: FloatArray, K: FloatArray) -> tuple[FloatArray, FloatArray]:
    """ln(F/K) as a sum of two doubles: k ln 2 + 2 atanh((F - K')/(F + K')), K' = K 2^k."""
    k = np.rint(np.log2(F / K))
    k = np.where(np.isfinite(k), k, 0.0)
    near = np.ldexp(K, k.astype(np.int64))
    difference, total = F - near, F + near
    z = difference / total
    lost = np.where(near < F, (F - total) + near, (near - total) + F)
    product, product_low = exact_product(z, total)
    z_low = (((difference - product) - product_low) - z * lost) / total
    s = z * z
    whole, twice = k * _LN2_HIGH, z + z
    high = whole + twice
    low = np.where(np.abs(whole) > np.abs(twice), (whole - high) + twice, (twice - high) + whole)
    low = low + (twice * s * _polynomial(_ATANH, s) + (k * _LN2_LOW + 2.0 * z_low))
    rounded = high + low
    return rounded, (high - rounded) + low


def log_ratio(F: FloatArray, K: FloatArray) -> FloatArray:
    """ln(F/K) within 1 ulp [1]."""
    return log_ratio_pair(F, K)[0]
