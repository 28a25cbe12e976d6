"""Which kernels compute: compiled ones, or plain numpy where no compiler is to be had.

Owns that choice; must not compute anything.
Nothing is compiled or loaded before the first volatility is asked for or :func:`load` is
called, so that processes that solve nothing pay nothing.

Compiled code is kept beside these modules if that folder can be written, else in the folder
that :func:`load` is given, else in the user's cache.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Literal, Protocol, cast

import numpy as np
import numpy.typing as npt

from common.models import BoolArray, FloatArray, StatusArray

Name = Literal["compiled", "plain"]
Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]


class Kernels(Protocol):
    """What both implementations offer. Arrays are one-dimensional and contiguous; a kernel
    returns False where they are not, and fills its last arguments else.
    """

    def implied_vols(
        self,
        p: FloatArray,
        F: FloatArray,
        K: FloatArray,
        T: FloatArray,
        D: FloatArray,
        put: BoolArray,
        sigmas: FloatArray,
        statuses: StatusArray,
        /,
    ) -> bool: ...

    def solve(
        self, quotes: Bytes, results: Bytes, rules: FloatArray, head: FloatArray, /
    ) -> bool: ...

    def merge(
        self, held: Bytes, new: Bytes, out: Bytes, touched: BoolArray, late: FloatArray, /
    ) -> bool: ...

    def latch(
        self,
        places: Places,
        values: FloatArray,
        counts: Places,
        prices: FloatArray,
        held: Places,
        fallen: FloatArray,
        /,
    ) -> bool: ...

    def board(
        self,
        quotes: Bytes,
        of_shard: FloatArray,
        iv: FloatArray,
        sides: StatusArray,
        terms: FloatArray,
        out: FloatArray,
        places: Places,
        puts: BoolArray,
        statuses: StatusArray,
        /,
    ) -> bool: ...

    def book(
        self,
        board: FloatArray,
        places: Places,
        signs: FloatArray,
        puts: BoolArray,
        used: BoolArray,
        out: FloatArray,
        held: FloatArray,
        head: FloatArray,
        /,
    ) -> bool: ...

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
        /,
    ) -> bool: ...

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
        /,
    ) -> bool: ...

    def deltas(
        self,
        F: FloatArray,
        K: FloatArray,
        T: FloatArray,
        s: FloatArray,
        growth: FloatArray,
        put: BoolArray,
        out: FloatArray,
        /,
    ) -> bool: ...

    def greeks(
        self,
        S: FloatArray,
        F: FloatArray,
        K: FloatArray,
        T: FloatArray,
        s: FloatArray,
        r: FloatArray,
        put: BoolArray,
        out: FloatArray,
        /,
    ) -> bool: ...

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
        /,
    ) -> bool: ...

    def tally(
        self,
        quotes: Bytes,
        board: FloatArray,
        greeks: FloatArray,
        places: Places,
        signs: FloatArray,
        puts: BoolArray,
        statuses: StatusArray,
        used: BoolArray,
        dates: FloatArray,
        terms: FloatArray,
        out: FloatArray,
        sums: FloatArray,
        /,
    ) -> bool: ...

    def strikes(
        self,
        board: FloatArray,
        greeks: FloatArray,
        exposures: FloatArray,
        puts: BoolArray,
        used: BoolArray,
        shards: FloatArray,
        out: FloatArray,
        found: FloatArray,
        room: FloatArray,
        head: FloatArray,
        own: FloatArray,
        spot: float,
        /,
    ) -> bool: ...

    def walls(
        self,
        strikes: FloatArray,
        call_gex: FloatArray,
        put_gex: FloatArray,
        out: FloatArray,
        spot: float,
        /,
    ) -> bool: ...

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
        /,
    ) -> bool: ...

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
        /,
    ) -> bool: ...


class _Choice:
    """The kernels in use."""

    kernels: Kernels | None = None
    name: Name = "plain"
    compiled: Kernels | None = None
    """The compiled ones, once they were loaded."""


def filled(done: bool) -> None:
    """What a kernel returned is looked at here where its arguments must be columns.

    :raises ValueError: when they were none, and nothing was computed.
    """
    if not done:
        raise ValueError("a kernel takes contiguous columns of one length")


def active() -> Kernels:
    """The kernels in use; the first call loads them."""
    chosen = _Choice.kernels
    if chosen is not None:
        return chosen
    load()
    return cast(Kernels, _Choice.kernels)


def load(*, folder: Path | None = None) -> Name:
    """Load the compiled kernels, compiling them if need be; the plain ones without a compiler.

    :param folder: where to keep compiled code if it cannot be kept beside the modules.
    :returns: which they are. A second call changes nothing.
    """
    if _Choice.kernels is None:
        try:
            _use_compiled(folder)
        except (ImportError, RuntimeError, OSError):  # no compiler, none that works, no folder
            use("plain")
    return _Choice.name


def use(name: Name) -> None:
    """Compute with these kernels from now on.

    :raises ImportError: when there is no compiler for the compiled ones.
    """
    if name == "compiled":
        _use_compiled(None)
    else:
        plain = importlib.import_module("common.quant.plain")
        _Choice.kernels, _Choice.name = cast(Kernels, plain), name


def _use_compiled(folder: Path | None) -> None:
    if _Choice.compiled is None:
        from common.machine.code import cache_folder  # noqa: PLC0415  # LLVM is 50 MB
        from common.quant import machine_code  # noqa: PLC0415

        _Choice.compiled = machine_code.load(cache_folder(Path(__file__).parent, folder))
    _Choice.kernels, _Choice.name = _Choice.compiled, "compiled"
