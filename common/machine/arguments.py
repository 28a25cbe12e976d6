"""What a Python call hands to a kernel, read without the interpreter.

Owns the entry of a kernel, which CPython calls as it calls its own functions
(``METH_FASTCALL``), and the checks that make reading safe; must not compute. A kernel looks at
an argument only once its type is known, and takes contiguous, aligned arrays of the item type
it was compiled for; anything else makes it return False.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, cfunc, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from common.machine import layout

ROUNDS = {"error_model": "numpy"}
"""Options of every kernel: a division by zero gives infinity, as in numpy."""
inlined = njit(forceinline=True, **ROUNDS)
entry = cfunc(types.intp(types.intp, types.intp, types.intp), **ROUNDS)
"""Of (self, address of the arguments' addresses, how many): the address of a bool."""
python_bool = types.ExternalFunction("PyBool_FromLong", types.intp(types.intp))
DOUBLE, BOOL, BYTE = ord("d"), ord("?"), ord("B")
WHOLE = ord(np.dtype(np.int64).char)
_NATIVE, _NO_ORDER = ord("="), ord("|")
_TYPE, _NUMBER, _DATA = layout.TYPE, layout.NUMBER, layout.DATA
_DIMENSIONS, _SHAPE, _DESCRIPTION = layout.DIMENSIONS, layout.SHAPE, layout.DESCRIPTION
_FLAGS, _KIND, _ORDER = layout.FLAGS, layout.KIND, layout.ORDER
_ARRAY, _FLOAT, _TEXT = layout.BYTES, layout.BYTES + 8, layout.BYTES + 16
_LENGTH, _BYTES, _PLAIN = layout.LENGTH, layout.BYTES, layout.PLAIN


def _reader(name: str, kind: ir.Type, found: Any, *, anywhere: bool = False) -> Any:
    def read(context: Any, address: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            value = builder.load(builder.inttoptr(args[0], kind.as_pointer()))
            if anywhere:
                value.align = 1
            if isinstance(kind, ir.DoubleType) or kind.width == 64:
                return value
            return builder.zext(value, ir.IntType(64))

        return found(types.intp), generate

    read.__name__ = name
    return intrinsic(read)


_word = _reader("_word", ir.IntType(64), types.intp)
_half = _reader("_half", ir.IntType(32), types.intp)
_byte = _reader("_byte", ir.IntType(8), types.intp)
_double = _reader("_double", ir.DoubleType(), types.float64)
byte_at = _reader("byte_at", ir.IntType(8), types.uint64)
"""The byte at an address."""
eight_at = _reader("eight_at", ir.IntType(64), types.uint64, anywhere=True)
"""Eight bytes at any address, the first one lowest."""
whole_at = _reader("whole_at", ir.IntType(64), types.int64, anywhere=True)
"""The same as a whole number with a sign."""


@intrinsic
def set_eight(context: Any, address: Any, value: Any) -> Any:
    """Write eight bytes at an address, the lowest first."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        store = builder.store(args[1], builder.inttoptr(args[0], ir.IntType(64).as_pointer()))
        store.align = 1
        return _context.get_dummy_value()

    return types.void(types.intp, types.uint64), generate


@intrinsic
def _pointer(context: Any, address: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.intp), generate


def stack(doubles: int) -> Any:
    """A function that gives room for so many doubles until the kernel that calls it returns."""

    def room(context: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
            space = cgutils.alloca_once(builder, ir.DoubleType(), size=doubles)
            return builder.bitcast(space, ir.IntType(8).as_pointer())

        return types.voidptr(), generate

    return intrinsic(room)


@inlined
def is_array(self, args, at, kind, dimensions):
    """Whether an argument is an array (contiguous, aligned) of items of this kind."""
    array = _word(args + 8 * at)
    if _word(array + _TYPE) != _word(self + _ARRAY):
        return False
    item = _word(array + _DESCRIPTION)
    order = _byte(item + _ORDER)
    right = (
        _half(array + _DIMENSIONS) == dimensions
        and _half(array + _FLAGS) & _PLAIN == _PLAIN
        and _byte(item + _KIND) == kind
    )
    return right and order in (_NATIVE, _NO_ORDER)


@inlined
def length(args, at, axis):
    """Items of an argument that is an array, along an axis."""
    return _word(_word(_word(args + 8 * at) + _SHAPE) + 8 * axis)


@inlined
def is_column(self, args, at, kind, n):
    """Whether an argument is an array (n,) of items of this kind."""
    return is_array(self, args, at, kind, 1) and length(args, at, 0) == n


@inlined
def are_columns(self, args, first, last, n):
    """Whether these arguments are arrays (n,) of doubles."""
    wrong = 0
    for at in range(first, last):
        wrong += 0 if is_column(self, args, at, DOUBLE, n) else 1
    return wrong == 0


@inlined
def is_number(self, args, at):
    """Whether an argument is a float."""
    return _word(_word(args + 8 * at) + _TYPE) == _word(self + _FLOAT)


@inlined
def number(args, at):
    """An argument that is a float."""
    return _double(_word(args + 8 * at) + _NUMBER)


@inlined
def _items(args, at):
    return _pointer(_word(_word(args + 8 * at) + _DATA))


@inlined
def column(args, at, n):
    """An argument that is an array (n,) of doubles."""
    return carray(_items(args, at), (n,), np.float64)


@inlined
def whole_column(args, at, n):
    """An argument that is an array (n,) of 64-bit whole numbers."""
    return carray(_items(args, at), (n,), np.int64)


@inlined
def flags(args, at, n):
    """An argument that is an array (n,) of bools."""
    return carray(_items(args, at), (n,), np.bool_)


@inlined
def codes(args, at, n):
    """An argument that is an array (n,) of bytes."""
    return carray(_items(args, at), (n,), np.uint8)


@inlined
def table(args, at, rows, n):
    """An argument that is an array (rows, n) of doubles."""
    return carray(_items(args, at), (rows, n), np.float64)


@inlined
def whole_table(args, at, rows, n):
    """An argument that is an array (rows, n) of 64-bit whole numbers."""
    return carray(_items(args, at), (rows, n), np.int64)


@inlined
def is_text(self, args, at):
    """Whether an argument is a bytes object, behind whose last byte stands a zero."""
    return _word(_word(args + 8 * at) + _TYPE) == _word(self + _TEXT)


@inlined
def text(args, at):
    """Where the first byte of an argument that is a bytes object is, and how many there are."""
    address = _word(args + 8 * at)
    return address + _BYTES, _word(address + _LENGTH)


@inlined
def items_at(args, at):
    """Where the first item of an argument that is an array is."""
    return _word(_word(args + 8 * at) + _DATA)


@inlined
def flags_at(address, n):
    """The bools from an address on, (n,)."""
    return carray(_pointer(address), (n,), np.bool_)


@inlined
def bytes_at(address, n):
    """The bytes from an address on, (n,)."""
    return carray(_pointer(address), (n,), np.uint8)
