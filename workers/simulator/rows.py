"""TradeStation's chain rows as bytes, many at once.

Owns the fields of a row, their JSON types and their order; must not compute what is in them.
Prices and Greeks are strings, sizes, volume and open interest integers; a field without a
value is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import orjson

from common.models import FloatArray

GREEK_FIELDS = (
    "Delta",
    "Theta",
    "Gamma",
    "Rho",
    "Vega",
    "ImpliedVolatility",
    "ProbabilityITM",
    "ProbabilityOTM",
    "ProbabilityBE",
    "ProbabilityITM_IV",
    "ProbabilityOTM_IV",
    "ProbabilityBE_IV",
    "TheoreticalValue_IV",
    "StandardDeviation",
)
"""What ``enableGreeks=false`` leaves out."""
WHOLE_FIELDS = ("DailyOpenInterest", "AskSize", "BidSize", "Volume")
PRICE_FIELDS = (
    "IntrinsicValue",
    "ExtrinsicValue",
    "TheoreticalValue",
    "Ask",
    "Bid",
    "Mid",
    "Close",
    "High",
    "Last",
    "Low",
    "NetChange",
    "NetChangePct",
    "Open",
    "PreviousClose",
)
FIELDS = (*GREEK_FIELDS, *PRICE_FIELDS, *WHOLE_FIELDS)
"""Every field but those of the contract itself, in the order of a row."""
_DECIMALS = 4
_NOTHING = b"null"
"""What is not finite."""
_VOLUME = FIELDS[-1]
"""It changes with every trade, whatever else stays."""
_VOLUME_TEXT = f'"{_VOLUME}":%d,'.encode()
_KEPT = 4096
"""A paced market has up to four of each contract; each text is about a kilobyte."""


class ChainRows:
    """Writes rows. The text of what stands before the volume is kept for a while: where prices go
    up and down a cent it is needed again.
    """

    def __init__(self, kept: int = _KEPT) -> None:
        """:param kept: texts of rows with the same fields that are kept at most."""
        self._kept = kept
        self._texts: dict[tuple[str, ...], dict[bytes, bytes]] = {}

    def __len__(self) -> int:
        """How many texts are kept."""
        return sum(len(each) for each in self._texts.values())

    def lines(self, columns: Mapping[str, FloatArray], tails: Sequence[bytes]) -> list[bytes]:
        """One row a contract, each a line of JSON with its newline.

        :param columns: names of :data:`FIELDS` → values, shape (n,), NaN where there is none;
            they are rounded to four decimals.
        :param tails: the rest of each row; see ``Contracts.tails``.
        """
        if not tails:
            return []
        names = tuple(name for name in FIELDS if name in columns and name != _VOLUME)
        table = np.ascontiguousarray(_rounded([columns[name] for name in names]).T)
        keys = table.view(f"V{table.shape[1] * table.itemsize}").ravel().tolist()
        heads = self._heads(names, table, keys)
        volumes = columns.get(_VOLUME, np.full(len(tails), np.nan)).tolist()
        return [
            heads[key] + (_VOLUME_TEXT % volume if math.isfinite(volume) else b"") + tail
            for key, volume, tail in zip(keys, volumes, tails, strict=True)
        ]

    def _heads(
        self, names: tuple[str, ...], table: FloatArray, keys: list[bytes]
    ) -> Mapping[bytes, bytes]:
        """The texts of some rows of values, by their bytes.

        :param table: of each row the values of ``names``; (n, f). :param keys: its rows.
        """
        texts = self._texts.setdefault(names, {})
        new = {key: at for at, key in enumerate(keys) if key not in texts}
        if len(texts) + len(new) > self._kept:
            texts.clear()
            new = {key: at for at, key in enumerate(keys)}
        if new:
            texts |= zip(new, _rendered(names, table[list(new.values())]), strict=True)
        return texts


def _rendered(names: tuple[str, ...], table: FloatArray) -> list[bytes]:
    """The beginnings of rows; those that lack the same fields share a template."""
    patterns = (np.isfinite(table) @ (np.int64(1) << np.arange(len(names)))).tolist()
    templates = {pattern: _template(names, pattern) for pattern in set(patterns)}
    whole = (1 << len(names)) - 1
    return [
        templates[pattern]
        % tuple(texts if pattern == whole else [text for text in texts if text != _NOTHING])
        for pattern, texts in zip(patterns, _texts(table), strict=True)
    ]


def number_text(value: float) -> str:
    """A number as TradeStation writes it in a string: at most four decimals, no zeros behind."""
    return number_texts([value])[0]


def number_texts(values: Sequence[float]) -> list[str]:
    """Some finite numbers, each as :func:`number_text` writes it."""
    if not values:
        return []
    return [text.decode() for text in _texts(_rounded([values]))[0]]


def _rounded(values: npt.ArrayLike) -> FloatArray:
    """The numbers at four decimals; zero has no sign."""
    rounded = np.asarray(values, np.float64).round(_DECIMALS)
    rounded += 0.0
    return rounded


def _texts(table: FloatArray) -> list[list[bytes]]:
    """The numbers of each row of a table in their shortest form, ``.0`` left out."""
    text = orjson.dumps(table, option=orjson.OPT_SERIALIZE_NUMPY)
    text = text.replace(b".0,", b",").replace(b".0]", b"]")
    return [row.split(b",") for row in text[2:-2].split(b"],[")]


@lru_cache(maxsize=1024)
def _template(names: tuple[str, ...], pattern: int) -> bytes:
    kept = [name for at, name in enumerate(names) if pattern >> at & 1]
    parts = [f'"{name}":%b' if name in WHOLE_FIELDS else f'"{name}":"%b"' for name in kept]
    return ("{" + "".join(f"{part}," for part in parts)).encode()
