"""Which kernels compute: compiled ones, or plain numpy where no compiler is to be had.

Owns that choice and where compiled code is kept between runs; must not compute anything.
Nothing is compiled, and numba is not imported, before the first volatility is asked for or
:func:`load` is called, so that processes that solve nothing pay nothing.

Compiled code is kept beside these modules if that folder can be written, else in the folder
that :func:`load` is given, else where numba keeps its own; in a folder named after a digest of
the sources, because numba looks only at the file of a kernel and not at what it inlines. It
holds what was compiled for each processor, and two processes that compile at once both
replace the files whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, Protocol, cast

from common.models import BoolArray, FloatArray, StatusArray

Name = Literal["compiled", "plain"]
_PACKAGE = Path(__file__).parent
_NEEDLESS = ("scipy.linalg", "cffi", "yaml")
"""What numba imports where it is to be had, and no kernel needs."""


class Kernels(Protocol):
    """What both implementations offer. Arrays are one-dimensional and contiguous; a kernel
    returns False, or raises TypeError, where they are not, and fills its last arguments else.
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

    def refine(
        self,
        K: FloatArray,
        b: FloatArray,
        T: FloatArray,
        s: FloatArray,
        D: FloatArray,
        q: FloatArray,
        anchor: float,
        tolerance: float,
        brackets: FloatArray,
        /,
    ) -> bool: ...


class _Choice:
    """The kernels in use."""

    kernels: Kernels | None = None
    name: Name = "plain"


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
            _import_compiled(folder)
        except (ImportError, RuntimeError, OSError):  # no numba, none that works, no folder
            use("plain")
    return _Choice.name


def use(name: Name) -> None:
    """Compute with these kernels from now on.

    :raises ImportError: when there is no compiler for the compiled ones.
    """
    module = importlib.import_module(f"common.quant.{name}")
    _Choice.kernels, _Choice.name = cast(Kernels, module), name


def _import_compiled(folder: Path | None) -> None:
    with _without(_NEEDLESS):
        config = importlib.import_module("numba").config
    given: str = config.CACHE_DIR
    base = _cache_folder(given, folder)
    if base is not None:
        config.CACHE_DIR = str(base / f"kernels-{_digest()}")
    try:
        with _without(_NEEDLESS):
            use("compiled")
    finally:
        config.CACHE_DIR = given


@contextlib.contextmanager
def _without(names: Sequence[str]) -> Iterator[None]:
    """Let these modules not be found, unless they are there already.

    scipy's BLAS alone is 0.3 s and 25 MB of every worker.
    """
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # import's own sign for 'none there'
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def _cache_folder(given: str, folder: Path | None) -> Path | None:
    """NUMBA_CACHE_DIR of the user, this package, the given folder; None is numba's choice."""
    if given:
        return Path(given)
    return _PACKAGE / "__pycache__" if os.access(_PACKAGE, os.W_OK) else folder


def _digest() -> str:
    """Of all sources that go into the compiled code."""
    found = hashlib.sha256()
    for path in [_PACKAGE / "limits.py", *sorted((_PACKAGE / "compiled").glob("*.py"))]:
        found.update(path.read_bytes())
    return found.hexdigest()[:12]
