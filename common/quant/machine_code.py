"""The compiled kernels of this package as functions.

Owns which they are and the room they work in; must not compute. What becomes of their sources
is :mod:`common.machine.code`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.machine import code
from common.models import FLAG_WITHDRAWN, GREEKS, QUOTE, BoolArray, FloatArray, Status

_PACKAGE = Path(__file__).parent
Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]
_COLUMNS, _MARKS, _FOUND = 17, 7, 6
"""The room of the kernel ``solve``, ..."""
_CEILING, _SHARES = 9, 4
"""... of ``ceiling`` and of ``shares``."""
KERNELS = code.Kernels(
    module="common.quant.compiled",
    names=(
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
    ),
    sources=(
        _PACKAGE / "limits.py",
        _PACKAGE / "sums.py",
        *sorted((_PACKAGE / "compiled").glob("*.py")),
    ),
    constants=(
        [(status.name, int(status)) for status in Status],
        (QUOTE.descr, GREEKS.descr, FLAG_WITHDRAWN),
    ),
)


@dataclass(frozen=True, slots=True)
class MachineCode:
    """Compiled kernels, as :class:`common.quant.kernels.Kernels` says."""

    implied_vols: Callable[..., bool]
    board: Callable[..., bool]
    book: Callable[..., bool]
    deltas: Callable[..., bool]
    greeks: Callable[..., bool]
    latch: Callable[..., bool]
    merge: Callable[..., bool]
    strikes: Callable[..., bool]
    tally: Callable[..., bool]
    walls: Callable[..., bool]
    _ceiling: Callable[..., bool]
    _shares: Callable[..., bool]
    _solve: Callable[..., bool]
    _net_gex: Callable[..., bool]
    _grid: Callable[..., bool]
    _roots: Callable[..., bool]
    _linked: code.Linked

    def solve(self, quotes: Bytes, results: Bytes, rules: FloatArray, head: FloatArray) -> bool:
        """Fill ``results`` (n rows) and ``head`` (4,) from ``quotes`` (n rows)."""
        n = quotes.size // QUOTE.itemsize
        room, marks = np.empty((_COLUMNS, n)), np.empty(_MARKS * n, np.uint8)
        found = np.empty((_FOUND, int(rules[4])))
        return self._solve(quotes, results, rules, head, room, marks, found)

    def ceiling(
        self,
        quotes: Bytes,
        board: FloatArray,
        places: Places,
        puts: BoolArray,
        used: BoolArray,
        settled: FloatArray,
        out: FloatArray,
        rate: float,
    ) -> bool:
        """Fill ``out`` (1,)."""
        room, marks = np.empty((_CEILING, puts.size)), np.empty(2 * puts.size, np.uint8)
        return self._ceiling(quotes, board, places, puts, used, settled, room, marks, out, rate)

    def shares(
        self,
        K: FloatArray,
        b: FloatArray,
        T: FloatArray,
        s: FloatArray,
        q: FloatArray,
        held: FloatArray,
        gone: FloatArray,
        spots: FloatArray,
        out: FloatArray,
        rate: float,
    ) -> bool:
        """Fill ``out`` (p,)."""
        room, calls = np.empty((_SHARES, K.size)), np.zeros(K.size, np.bool_)
        return self._shares(K, b, T, s, q, held, gone, spots, room, calls, out, rate)

    def net_gex(
        self,
        K: FloatArray,
        b: FloatArray,
        T: FloatArray,
        s: FloatArray,
        D: FloatArray,
        q: FloatArray,
        spots: FloatArray,
        anchor: float,
        out: FloatArray,
    ) -> bool:
        """Fill ``out`` (g,) at ascending ``spots`` (g,) for contracts (n,)."""
        scratch = np.empty(3 * K.size + 2 * spots.size + 32)
        return self._net_gex(K, b, T, s, D, q, spots, out, scratch, anchor)

    def grid(
        self,
        K: FloatArray,
        b: FloatArray,
        T: FloatArray,
        s: FloatArray,
        out: FloatArray,
        head: FloatArray,
        spot: float,
        width: float,
        points: float,
    ) -> bool:
        """Fill ``out`` and ``head`` (1,)."""
        return self._grid(K, b, T, s, out, np.empty(K.size), head, spot, width, points)

    def roots(
        self,
        K: FloatArray,
        b: FloatArray,
        T: FloatArray,
        s: FloatArray,
        D: FloatArray,
        q: FloatArray,
        spots: FloatArray,
        values: FloatArray,
        out: FloatArray,
        head: FloatArray,
        spot: float,
        anchor: float,
    ) -> bool:
        """Fill ``out`` (g,) and ``head`` (1,)."""
        scratch = np.empty(5 * K.size)
        return self._roots(K, b, T, s, D, q, spots, values, out, scratch, head, spot, anchor)


def load(folder: Path) -> MachineCode:
    """The kernels out of the folder's file; see :func:`common.machine.code.load`.

    :raises ImportError: when they would have to be compiled and there is no compiler.
    :raises RuntimeError: when this interpreter or this LLVM cannot run them.
    :raises OSError: when the folder cannot be written.
    """
    linked = code.load(KERNELS, folder)
    found = linked.functions
    return MachineCode(
        implied_vols=found["implied_vols"],
        board=found["board"],
        book=found["book"],
        deltas=found["deltas"],
        greeks=found["greeks"],
        latch=found["latch"],
        merge=found["merge"],
        strikes=found["strikes"],
        tally=found["tally"],
        walls=found["walls"],
        _ceiling=found["ceiling"],
        _shares=found["shares"],
        _solve=found["solve"],
        _net_gex=found["net_gex"],
        _grid=found["grid"],
        _roots=found["roots"],
        _linked=linked,
    )
