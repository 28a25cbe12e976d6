"""Arrays as parameters of statements, in PostgreSQL's binary format.

Owns that format; must not know tables nor talk to a server. Psycopg would write a list element
by element.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from psycopg.adapt import Dumper
from psycopg.pq import Format

from common.db.binary import POSTGRES_EPOCH_US
from common.models import BoolArray

_TYPES = {"?": 16, ">i8": 20, ">i4": 23, ">f8": 701}
"""Numpy type → number of the element's type in PostgreSQL."""
_TIMESTAMPTZ = 1184


@dataclass(frozen=True, slots=True)
class Array:
    """A one-dimensional array, as the server takes it; the statement casts it to its type."""

    data: bytes


class ArrayDumper(Dumper):
    """How psycopg hands it on."""

    format = Format.BINARY

    def dump(self, obj: Array) -> bytes:
        """As it is."""
        return obj.data


def array(values: npt.ArrayLike, kind: str, nulls: BoolArray | None = None) -> Array:
    """Numbers of a numpy type: ``?``, ``>i4``, ``>i8`` or ``>f8``; null where ``nulls``."""
    return _packed(np.asarray(values), kind, _TYPES[kind], nulls)


def instant_array(times_us: npt.NDArray[np.int64]) -> Array:
    """``timestamptz[]`` of instants [us since the Unix epoch]."""
    return _packed(times_us - POSTGRES_EPOCH_US, ">i8", _TIMESTAMPTZ, None)


def _packed(values: npt.NDArray[Any], kind: str, number: int, nulls: BoolArray | None) -> Array:
    if not len(values):
        return Array(struct.pack(">iii", 0, 0, number))
    fields = np.empty(len(values), [("length", ">i4"), ("value", kind)])
    fields["length"], fields["value"] = fields["value"].itemsize, values
    data = fields.tobytes()
    if nulls is not None and nulls.any():
        fields["length"][nulls] = -1
        kept = np.ones((len(fields), fields.itemsize), np.bool_)
        kept[nulls, 4:] = False
        data = fields.view(np.uint8).reshape(kept.shape)[kept].tobytes()
    return Array(struct.pack(">iiiii", 1, int(nulls is not None), number, len(values), 1) + data)
