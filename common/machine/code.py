"""Compiled kernels as machine code: made once by numba, kept in a file, run without it.

Owns that file and the functions that Python calls; must not know what they compute. numba is
0.4 s and 60 MB of every process that imports it, so only the process that finds no file does.
The file is what LLVM makes of numba's modules for this processor; the functions in it have
CPython's own calling convention (:mod:`common.machine.arguments`) and are called like any
built-in.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import os
import re
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import platformdirs

from common.machine import layout

_NEEDLESS = ("scipy.linalg", "cffi", "yaml")
"""What numba imports where it is to be had, and no kernel needs."""
_SEAL = hashlib.sha256().digest_size
_FASTCALL = 0x0080  # METH_FASTCALL of CPython's methodobject.h
_NUMBAS_OWN = re.compile(r"^declare (.*@(?:numba|NRT)_\w+\(.*)$", re.MULTILINE)
"""Functions of numba's library. A kernel has no errors to report and no memory to free, so that
none is ever called; one that is would end the process.
"""
_TRAP = r"define internal \1 {\n  call void @llvm.trap()\n  unreachable\n}"


class _Method(ctypes.Structure):
    """PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("documentation", ctypes.c_char_p),
    )


@dataclass(frozen=True, slots=True)
class Kernels:
    """Which kernels there are, and what they are made of."""

    module: str
    """Has them in ``KERNELS``, by name; importing it imports numba."""
    names: tuple[str, ...]
    sources: Sequence[Path]
    """What goes into the machine code beside this package."""
    constants: object = None
    """The same of values that stand elsewhere."""

    def digest(self) -> str:
        """Of all that goes into the machine code."""
        found = hashlib.sha256()
        for path in (*sorted(Path(__file__).parent.glob("*.py")), *self.sources):
            found.update(path.read_bytes())
        machine = (llvmlite.__version__, sys.platform, llvm.get_host_cpu_name(), _features())
        found.update(repr((machine, self.constants)).encode())
        return found.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Linked:
    """Kernels that can be called."""

    functions: dict[str, Callable[..., bool]]
    _kept: tuple[object, ...]
    """What they need alive: LLVM's engine, their definitions."""


def cache_folder(beside: Path, folder: Path | None) -> Path:
    """Where machine code is kept: beside these modules if that can be written, the given folder,
    the user's.
    """
    if os.access(beside, os.W_OK):
        return beside / "__pycache__"
    return folder or platformdirs.user_cache_path("gex-platform", appauthor=False)


def load(kernels: Kernels, folder: Path) -> Linked:
    """The kernels out of the folder's file; made there first if it has no whole one.

    :raises ImportError: when they would have to be compiled and there is no compiler.
    :raises RuntimeError: when this interpreter or this LLVM cannot run them.
    :raises OSError: when the folder cannot be written.
    """
    if sysconfig.get_config_var("Py_GIL_DISABLED") or not layout.holds():
        raise RuntimeError("objects are laid out in another way by this interpreter")
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    file = folder / f"{kernels.digest()}.o"
    code = _kept(file)
    if code is None:
        code = _compile(kernels)
        _keep(file, code)
    return _link(code, kernels.names)


def _compile(kernels: Kernels) -> bytes:
    """All kernels in one object file."""
    with _without_needless():
        entries = importlib.import_module(kernels.module).KERNELS
    whole = llvm.parse_assembly("")
    for name in kernels.names:
        kernel = entries[name]
        part = llvm.parse_assembly(_NUMBAS_OWN.sub(_TRAP, kernel.inspect_llvm()))
        part.get_function(kernel.native_name).name = f"gex_{name}"
        whole.link_in(part)
    code: bytes = _target().emit_object(whole)
    return code


def _link(code: bytes, names: Sequence[str]) -> Linked:
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.argtypes = (ctypes.POINTER(_Method), ctypes.py_object, ctypes.py_object)
    make.restype = ctypes.py_object
    methods = {
        name: _Method(name.encode(), engine.get_function_address(f"gex_{name}"), _FASTCALL, b"")
        for name in names
    }
    if not all(method.address for method in methods.values()):
        raise RuntimeError("the file of compiled kernels lacks one of them")
    types = layout.types()
    functions = {name: make(ctypes.byref(method), types, None) for name, method in methods.items()}
    return Linked(functions, (engine, methods))


def _target() -> Any:
    """This processor, as numba's own code generator describes it."""
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=_features(),
        opt=3,
        reloc="static" if target.name.startswith("x86") else "default",
        codemodel="jitdefault",
        jit=True,
    )


def _features() -> str:
    found: str = llvm.get_host_cpu_features().flatten()
    return found


def _kept(file: Path) -> bytes | None:
    """What :func:`_keep` wrote; None where there is nothing, or not all of it."""
    try:
        found = file.read_bytes()
    except FileNotFoundError:
        return None
    code = found[_SEAL:]
    return code if found[:_SEAL] == hashlib.sha256(code).digest() else None


def _keep(file: Path, code: bytes) -> None:
    """Write the file whole or not at all; two processes that compile at once both do."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f"{file.stem}.")
    try:
        with os.fdopen(handle, "wb") as new:
            new.write(hashlib.sha256(code).digest() + code)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def _without_needless() -> Iterator[None]:
    """Let what numba would import and no kernel needs not be found, unless it is there already."""
    hidden = [name for name in _NEEDLESS if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # import's own sign for 'none there'
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
