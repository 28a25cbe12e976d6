"""The kernels in plain numpy, for machines without a compiler; the numbers of
:mod:`common.quant.compiled` to a few units in the last place, the same statuses.
"""

from common.quant.plain.board import board
from common.quant.plain.book import book, ceiling, shares
from common.quant.plain.chain import latch, merge, solve
from common.quant.plain.greeks import greeks
from common.quant.plain.implied_vol import implied_vols
from common.quant.plain.profile import net_gex
from common.quant.plain.roots import grid, roots
from common.quant.plain.strikes import strikes, walls
from common.quant.plain.tally import tally
from common.quant.plain.value import deltas

__all__ = [
    "board",
    "book",
    "ceiling",
    "deltas",
    "greeks",
    "grid",
    "implied_vols",
    "latch",
    "merge",
    "net_gex",
    "roots",
    "shares",
    "solve",
    "strikes",
    "tally",
    "walls",
]
