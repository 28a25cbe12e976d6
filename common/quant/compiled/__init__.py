"""The kernels compiled by numba; importing this compiles them, or loads them from the cache."""

from common.quant.compiled.deltas import deltas
from common.quant.compiled.greeks import greeks
from common.quant.compiled.implied_vol import implied_vols
from common.quant.compiled.profile import net_gex, refine

__all__ = ["deltas", "greeks", "implied_vols", "net_gex", "refine"]
