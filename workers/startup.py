"""How processes start quickly and keep their pace: Python's collector and the C heap.

Owns both settings; must not import what a command may not need.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
from collections.abc import Iterator

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT = 32 << 20
"""Bytes; the most that glibc takes for the second."""
_NICE = 5


@contextlib.contextmanager
def without_collecting() -> Iterator[None]:
    """Import and load without garbage collections: what that makes stays, all of it.

    They are a seventh of the time that a worker takes to start.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def be_prompt() -> None:
    """After starting: let a reply that came be taken up soon.

    What was made until now stays and is not looked through by any garbage collection; a thread
    that has its reply gets the interpreter from another after half a millisecond instead of five.
    """
    gc.freeze()
    sys.setswitchinterval(0.0005)


def step_back() -> None:
    """Let who is on the way from a quote to a level have the processor first.

    What is stored and shown can wait for milliseconds, with what it starts.
    """
    with contextlib.suppress(OSError, AttributeError):  # a sandbox, or a system without it
        os.nice(_NICE)


def keep_heap() -> bool:
    """Keep up to 32 MB of freed memory in this process; false where the C library is another.

    By default glibc gives the megabytes that an aggregation frees back to the system and
    faults them in again at the next one, which is a sixth of its time.
    """
    try:
        library = ctypes.CDLL(None)
        trim, set_option = library.malloc_trim, library.mallopt
    except (OSError, AttributeError, TypeError):  # no glibc: musl, macOS, Windows
        return False
    trim(0)  # not what starting has freed
    return bool(set_option(_TRIM_THRESHOLD, _KEPT)) and bool(set_option(_MMAP_THRESHOLD, _KEPT))
