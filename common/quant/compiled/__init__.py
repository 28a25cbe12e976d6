"""The kernels' sources, compiled by numba when this is imported: see
:mod:`common.quant.machine_code` for what becomes of them.
"""

from common.quant.compiled.board import board
from common.quant.compiled.book import book, ceiling, shares
from common.quant.compiled.deltas import deltas
from common.quant.compiled.greeks import greeks
from common.quant.compiled.implied_vol import implied_vols
from common.quant.compiled.latch import latch
from common.quant.compiled.merge import merge
from common.quant.compiled.profile import net_gex
from common.quant.compiled.roots import grid, roots
from common.quant.compiled.solve import solve
from common.quant.compiled.strikes import strikes, walls
from common.quant.compiled.tally import tally

KERNELS = {
    "board": board,
    "book": book,
    "ceiling": ceiling,
    "deltas": deltas,
    "greeks": greeks,
    "grid": grid,
    "implied_vols": implied_vols,
    "latch": latch,
    "merge": merge,
    "net_gex": net_gex,
    "roots": roots,
    "shares": shares,
    "solve": solve,
    "strikes": strikes,
    "tally": tally,
    "walls": walls,
}
"""Name: compiled entry."""
