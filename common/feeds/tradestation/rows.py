"""Data rows of some lines, as columns where they are spelled in the usual way.

Owns reading them at once, by compiled code; must not merge anything. What that code does not
read - an unusual spelling, or no data at all - is decoded alone, as everything is where there
is no compiler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import cast

import numpy as np

from common.feeds.snapshot import HIGHEST_COUNT
from common.feeds.tradestation.columns import AT, END, KEY, KEYS, NAME_AT, NAME_SIZE, READ, WIDTH
from common.feeds.tradestation.messages import Control, Row, parse
from common.models import FloatArray

_PACKAGE = Path(__file__).parent
Kernel = Callable[..., bool]
_USUAL_LINE, _SPARE = 400, 16
"""Bytes of most lines, at least; rows to spare."""
_MEMORY = np.zeros(KEYS * KEY, np.uint8)
"""Which field followed which the last time: a hint, looked at by compiled code alone."""
_HEAD = np.zeros(3)
"""What compiled code is told, and answers."""


@dataclass(frozen=True, slots=True)
class Kernels:
    """See :mod:`common.feeds.tradestation.compiled`."""

    read_rows: Kernel
    merge_rows: Kernel
    learn_name: Kernel
    linked: object = None
    """What they need alive."""


def _read_nothing(whole: bytes, rows: FloatArray, _: object, head: FloatArray, /) -> bool:
    """Every line is left to Python."""
    begun = int(head[2])
    lines = whole[begun:].split(b"\n", len(rows))[:-1]
    ends = list(accumulate((len(line) + 1 for line in lines), initial=begun))
    rows[: len(lines)] = 0.0
    rows[: len(lines), AT], rows[: len(lines), END] = ends[:-1], ends[1:]
    head[:] = len(lines), len(lines), ends[-1]
    return True


def _do_nothing(*_: object) -> bool:
    """No row was read, so none is merged by its name."""
    return True


PLAIN = Kernels(_read_nothing, _do_nothing, _do_nothing)
"""What is there without a compiler."""


class _Choice:
    """The kernels in use."""

    kernels: Kernels | None = None


def load(*, folder: Path | None = None) -> bool:
    """Load the compiled code, compiling it if need be; whether there is any now.

    :param folder: where to keep it if it cannot be kept beside the modules.
    """
    try:
        _Choice.kernels = _compiled(folder)
    except (ImportError, RuntimeError, OSError):  # no compiler, none that works, no folder
        _Choice.kernels = PLAIN
    return _Choice.kernels is not PLAIN


def active() -> Kernels:
    """The kernels in use; the first call loads them."""
    if _Choice.kernels is None:
        load()
    assert _Choice.kernels is not None  # noqa: S101
    return _Choice.kernels


def use(kernels: Kernels | None) -> None:
    """Read and merge with these from now on; None for what can be had."""
    _Choice.kernels = kernels


def _compiled(folder: Path | None) -> Kernels:
    from common.machine import code  # noqa: PLC0415  # LLVM is 50 MB

    wanted = code.Kernels(
        module="common.feeds.tradestation.compiled",
        names=("learn_name", "merge_rows", "read_rows"),
        sources=[_PACKAGE / "columns.py", *sorted((_PACKAGE / "compiled").glob("*.py"))],
        constants=HIGHEST_COUNT,
    )
    linked = code.load(wanted, code.cache_folder(_PACKAGE, folder))
    return Kernels(**linked.functions, linked=linked)


class Rows:
    """Rows in the order of their lines."""

    def __init__(self, whole: bytes) -> None:
        """Read whole lines, each with its newline."""
        kernels = active()
        self.whole = whole
        self.table: FloatArray = np.empty((len(whole) // _USUAL_LINE + _SPARE, WIDTH))
        """One row a line: :mod:`common.feeds.tradestation.columns`."""
        odd = self._read(kernels.read_rows)
        self.odd: dict[int, Row] = {}
        """Data among the lines that were not read, by their place."""
        self.controls: list[Control] = []
        """What is no data."""
        self._count = len(self.table) - odd
        if odd:
            self._look_at_the_others()

    def _read(self, read_rows: Kernel) -> int:
        """Fill the table, which grows while there is more; how many lines were not read."""
        parts, odd, head = [], 0, _HEAD
        head[2] = 0.0
        while True:
            done = read_rows(self.whole, self.table, _MEMORY, head)
            assert done  # noqa: S101
            rows, others, at = map(int, head.tolist())
            parts.append(self.table[:rows])
            odd += others
            if at >= len(self.whole) or not rows:
                break
            self.table = np.empty((4 * len(self.table), WIDTH))
        self.table = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return odd

    def __len__(self) -> int:
        """How many there are."""
        return self._count

    def __iter__(self) -> Iterator[Row]:
        """Each as it would be if it had come alone."""
        return filter(None, map(self.row, range(len(self.table))))

    def row(self, place: int) -> Row | None:
        """The data of a line; None where it has none."""
        if self.table[place, READ]:
            return cast(Row, parse(self.line(place)))
        return self.odd.get(place)

    def names(self) -> Iterator[str]:
        """The symbol of each."""
        places = self.table[:, [NAME_AT, NAME_SIZE]].astype(int).tolist()
        for place, (start, size) in enumerate(places):
            if place in self.odd:
                yield self.odd[place].name
            elif self.table[place, READ]:
                yield self.whole[start : start + size].decode()

    def line(self, place: int) -> bytes:
        """A line as it came."""
        start, end = self.table[place, [AT, END]].astype(int).tolist()
        return self.whole[start:end]

    def _look_at_the_others(self) -> None:
        for place in np.flatnonzero(self.table[:, READ] == 0.0).tolist():
            line = self.line(place).strip()
            if not line:
                continue
            message = parse(line)
            if isinstance(message, Row):
                self.odd[place] = message
                self._count += 1
            else:
                self.controls.append(message)
