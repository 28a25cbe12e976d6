"""Where CPython and numpy keep what a kernel reads: the fields of arrays and numbers.

Owns these offsets and the proof that they hold in this process; must not read anything else.
They are the public C structures PyObject, PyFloatObject, PyArrayObject and PyArray_Descr, the
same since numpy 1 and 2 and CPython 3.11; an interpreter without the global lock has others.
"""

from __future__ import annotations

import ctypes
import struct

import numpy as np

TYPE = 8
"""Offsets [bytes]: of an object's type,"""
NUMBER = 16
"""of a float's value,"""
DATA, DIMENSIONS, SHAPE, DESCRIPTION, FLAGS = 16, 24, 32, 56, 64
"""of an array's first item, number of dimensions, their lengths, item type, flags,"""
KIND, ORDER = 25, 26
"""of an item type's letter and byte order,"""
LENGTH, BYTES = 16, 32
"""of a bytes object's length and its first byte."""
PLAIN = 0x0101
"""Flags of an array that is contiguous (C order) and aligned."""


def types() -> bytes:
    """The addresses of the types that kernels take: arrays, floats, bytes."""
    return struct.pack("qqq", id(np.ndarray), id(float), id(bytes))


def holds() -> bool:
    """Whether arrays, floats and bytes of this process are laid out like that."""
    if object.__basicsize__ != TYPE + ctypes.sizeof(ctypes.c_void_p):
        return False
    samples = (np.array([1.5, 2.5, 3.5]), np.zeros((2, 3), np.uint8), np.ones(4, np.bool_))
    packed, number = types(), 0.1 + 0.2
    return (
        all(_reads(sample) for sample in samples)
        and ctypes.c_double.from_address(id(number) + NUMBER).value == number
        and ctypes.c_int64.from_address(id(packed) + LENGTH).value == len(packed)
        and ctypes.string_at(id(packed) + BYTES, len(packed) + 1) == packed + b"\0"
    )


def _reads(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> bool:
    """Whether the fields of this array are found where they should be."""

    def word(address: int) -> int:
        return ctypes.c_int64.from_address(address).value

    def character(address: int) -> str:
        return chr(ctypes.c_uint8.from_address(address).value)

    at = id(array)
    if word(at + TYPE) != id(np.ndarray) or word(at + DESCRIPTION) != id(array.dtype):
        return False  # nothing behind these may be looked at
    lengths, description = word(at + SHAPE), word(at + DESCRIPTION)
    return (
        word(at + DATA) == array.ctypes.data
        and ctypes.c_int32.from_address(at + DIMENSIONS).value == array.ndim
        and tuple(word(lengths + 8 * axis) for axis in range(array.ndim)) == array.shape
        and ctypes.c_int32.from_address(at + FLAGS).value & PLAIN == PLAIN
        and character(description + KIND) == array.dtype.char
        and character(description + ORDER) == array.dtype.byteorder
    )
