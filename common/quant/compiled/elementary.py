"""Elementary functions that vectorise: exp, log of a quotient, Mills' ratio.

Owns them and the compiler's options; must not know an option. A scalar call to the C library
keeps LLVM from vectorising a loop, so each function here is a polynomial of inlined,
individually rounded operations: a loop's vector part, its scalar remainder and any other
processor give the same bits. Fused multiply-adds are asked for by name and nothing may be
reassociated, which is why ``fastmath`` is off.

Coefficients: Chebyshev interpolation at 80 digits, rounded once.

.. [1] W. J. Cody, W. Waite, "Software Manual for the Elementary Functions" (1980).
.. [2] J. P. Mills, "Table of the ratio: area to bounding ordinate", Biometrika 18 (1926).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from common.machine.arguments import inlined

NAN = float("nan")

ROOT_TWO_PI_INVERSE = 0.3989422804014327
_LOG2_E = 1.4426950408889634
_LN2_HIGH = 6.93147180369123816490e-01  # 21 trailing zero bits: k · this is exact
_LN2_LOW = 1.90821492927058770002e-10
ROUNDER = 6755399441055744.0  # 1.5 · 2^52: adding it rounds to an integer
_TWO_52 = 4503599627370496.0
_TWO_52_BITS = 0x4330000000000000
_BIAS = 1024


@intrinsic
def fma(context: Any, a: Any, b: Any, c: Any) -> Any:
    """a · b + c, rounded once, on every processor."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return types.float64(types.float64, types.float64, types.float64), generate


@intrinsic
def bits(context: Any, a: Any) -> Any:
    """The 64 bits of a double as an integer."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), generate


@intrinsic
def from_bits(context: Any, a: Any) -> Any:
    """The double that 64 bits stand for."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), generate


@intrinsic
def exponent_field(context: Any, a: Any) -> Any:
    """The upper twelve of 64 bits: a logical shift, which AVX2 has, unlike the arithmetic one."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.lshr(args[0], ir.Constant(ir.IntType(64), 52))

    return types.int64(types.int64), generate


@intrinsic
def arrays_are_distinct(context: Any) -> Any:
    """Promise that no array argument of the calling function overlaps one that it writes.

    Without it LLVM gives up on loops that write many arrays.
    """

    def generate(target: Any, builder: Any, _signature: Any, _args: Any) -> Any:
        for argument in builder.function.args:
            if isinstance(argument.type, ir.PointerType):
                argument.add_attribute("noalias")
        return target.get_dummy_value()

    return types.void(), generate


@inlined
def exp(x: float) -> float:
    """e^x within 1 ulp, for -708 <= x <= 709; the caller keeps to that."""
    shifted = fma(x, _LOG2_E, ROUNDER)
    k = shifted - ROUNDER
    r = fma(-k, _LN2_LOW, fma(-k, _LN2_HIGH, x))
    r2 = r * r
    low = fma(
        r2,
        fma(r, 0.008333333333330051, 0.04166666666662399),
        fma(r, 0.16666666666666669, 0.5000000000000001),
    )
    middle = fma(
        r2,
        fma(r, 2.7557268378684192e-06, 2.480152119021773e-05),
        fma(r, 0.00019841269863105968, 0.0013888888917281794),
    )
    high = fma(r, 2.5100424157005067e-08, 2.7620138719733994e-07)
    r4 = r2 * r2
    p = fma(r4, fma(r4, high, middle), low)
    return from_bits(bits(1.0 + fma(r2, p, r)) + (bits(shifted) << 52))


@inlined
def _split(F: float, K: float) -> tuple[float, float]:
    """(k, K 2^k) with F/(K 2^k) within [0.66, 1.51]."""
    field = exponent_field(bits(F) - bits(K) + ((_BIAS << 52) + (1 << 51)))
    k = from_bits(field | _TWO_52_BITS) - (_TWO_52 + _BIAS)
    return k, from_bits(bits(K) + ((field - _BIAS) << 52))


@inlined
def _atanh_tail(s: float) -> float:
    """(atanh(z)/z - 1)/z² at s = z² <= 0.041, to 8e-19 of atanh."""
    s2 = s * s
    low = fma(
        s2,
        fma(s, 0.11111111574161492, 0.1428571428333432),
        fma(s, 0.20000000000004653, 0.3333333333333333),
    )
    high = fma(
        s2,
        fma(s, 0.06827130706886231, 0.06601875795220648),
        fma(s, 0.0769458706795357, 0.0909086493487262),
    )
    return fma(s2 * s2, high, low)


@inlined
def log_ratio(F: float, K: float) -> float:
    """ln(F/K) within 2 ulp for positive F and K: k ln 2 + 2 atanh((F - K')/(F + K')).

    The quotient is never rounded, so that moneyness keeps its digits next to the money.
    """
    k, near = _split(F, K)
    z = (F - near) / (F + near)
    s = z * z
    twice = z + z
    return fma(k, _LN2_HIGH, twice) + fma(twice * s, _atanh_tail(s), k * _LN2_LOW)


@inlined
def log_ratio_pair(F: float, K: float) -> tuple[float, float]:
    """ln(F/K) as a sum of two doubles, relative error near 1e-19 · |ln(F/K)/z| + 1e-18."""
    k, near = _split(F, K)
    difference, total = F - near, F + near
    inverse = 1.0 / total
    z = difference * inverse
    lost = (F - total) + near if near < F else (near - total) + F
    z_low = (fma(-z, total, difference) - z * lost) * inverse
    s = z * z
    twice = z + z
    whole = k * _LN2_HIGH
    high = whole + twice
    low = (whole - high) + twice if abs(whole) > abs(twice) else (twice - high) + whole
    low += fma(twice * s, _atanh_tail(s), fma(k, _LN2_LOW, 2.0 * z_low))
    rounded = high + low
    return rounded, (high - rounded) + low


@inlined
def rough_log(y: float) -> float:
    """ln(y) for y >= 1 with relative error 2e-7: good for a first guess."""
    shifted = bits(y) - 0x3FE6A09E667F3BCD  # of sqrt(1/2)
    field = exponent_field(shifted + (_BIAS << 52))
    k = from_bits(field | _TWO_52_BITS) - (_TWO_52 + _BIAS)
    u = from_bits(bits(y) - ((field - _BIAS) << 52)) - 1.0
    u2 = u * u
    low = fma(
        u2,
        fma(u, -0.24968904229891545, 0.33334606307193326),
        fma(u, -0.5000037510566233, 0.9999999681080813),
    )
    high = fma(
        u2,
        fma(u, -0.09895434153116106, 0.16126367683036474),
        fma(u, -0.17278229878050705, 0.1991333602762871),
    )
    return fma(u, fma(u2 * u2, high, low), k * 0.6931471805599453)


@inlined
def _mills_parts(h: float) -> tuple[float, float]:
    """Numerator and denominator of R(h)."""
    h2 = h * h
    h4 = h2 * h2
    h8 = h4 * h4
    p03 = fma(
        h2,
        fma(h, 0.8932710928603746, 1.700476071964686),
        fma(h, 2.0734393001352385, 1.2533141373155003),
    )
    p47 = fma(
        h2,
        fma(h, 0.0025852338729517093, 0.017740287074486945),
        fma(h, 0.08895873456715353, 0.3297320043555773),
    )
    p8 = fma(h2, 5.529976934508721e-07, fma(h, 1.726666941422052e-05, 0.0002644570123723719))
    q03 = fma(
        h2,
        fma(h, 1.9973289481605838, 2.8133958314729957),
        fma(h, 2.4522497661426708, 1.0),
    )
    q47 = fma(
        h2,
        fma(h, 0.018003638082759107, 0.0915094353867671),
        fma(h, 0.34694890025332376, 0.9772321662020906),
    )
    q8 = fma(
        h2,
        fma(h, 5.529976934507568e-07, 1.7266669414247877e-05),
        fma(h, 0.0002650100100628648, 0.002602500542560113),
    )
    return fma(h8, p8, fma(h4, p47, p03)), fma(h8, q8, fma(h4, q47, q03))


@inlined
def mills(h: float) -> float:
    """R(h) = N(-h)/n(h) of [2], h >= 0, within 2 ulp: rational, all coefficients positive."""
    top, bottom = _mills_parts(h)
    return top / bottom


@inlined
def mills_pair(g: float, h: float) -> tuple[float, float]:
    """(R(g), R(h)) with one division, to 3 ulp; beyond 1e13 that of 1e13."""
    g_top, g_bottom = _mills_parts(min(g, 1e13))
    h_top, h_bottom = _mills_parts(min(h, 1e13))
    inverse = 1.0 / (g_bottom * h_bottom)
    return g_top * h_bottom * inverse, h_top * g_bottom * inverse


@inlined
def mills_rest(h: float) -> float:
    """1 - h R(h), h >= 0, within 2 ulp where it is not small against 1."""
    h2 = h * h
    h4 = h2 * h2
    h8 = h4 * h4
    p03 = fma(
        h2,
        fma(h, 0.3511593880605735, 0.8322823401438927),
        fma(h, 1.279266301279522, 1.0),
    )
    p47 = fma(
        h2,
        fma(h, 0.0003905459173442169, 0.003548012603279733),
        fma(h, 0.02260614684843192, 0.10450798374261305),
    )
    p8 = fma(h, 9.645825968171583e-07, 2.755787245008821e-05)
    q03 = fma(
        h2,
        fma(h, 2.2132011542062333, 3.0064012077237114),
        fma(h, 2.5325804385950224, 1.0),
    )
    q47 = fma(
        h2,
        fma(h, 0.023771997654578332, 0.11498665791004412),
        fma(h, 0.4166754352559171, 1.1256691717600973),
    )
    q8 = fma(
        h2,
        fma(h, 9.645825968268365e-07, 2.7557872447923016e-05),
        fma(h, 0.0003934396653535675, 0.0036306862073043336),
    )
    return fma(h8, p8, fma(h4, p47, p03)) / fma(h8, q8, fma(h4, q47, q03))
