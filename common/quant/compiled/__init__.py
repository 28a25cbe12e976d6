"""The kernels' sources, compiled by numba when this is imported: see
:mod:`common.quant.machine_code` for what becomes of them.
"""

from common.quant.compiled.chain import quote_forward, strike_vols
from common.quant.compiled.deltas import deltas
from common.quant.compiled.greeks import greeks
from common.quant.compiled.implied_vol import implied_vols
from common.quant.compiled.profile import net_gex, refine

KERNELS = {
    "deltas": deltas,
    "greeks": greeks,
    "implied_vols": implied_vols,
    "net_gex": net_gex,
    "quote_forward": quote_forward,
    "refine": refine,
    "strike_vols": strike_vols,
}
"""Name: compiled entry."""
