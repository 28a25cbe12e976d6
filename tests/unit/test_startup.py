"""The collector rests while a process starts, and works afterwards."""

from __future__ import annotations

import gc
import platform

import pytest

from workers.startup import keep_heap, without_collecting


def test_the_collector_rests_and_works_again() -> None:
    seen = []

    def fail() -> None:
        with without_collecting():
            seen.append(gc.isenabled())
            raise ImportError

    with pytest.raises(ImportError):
        fail()
    assert seen == [False]
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with without_collecting():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_heap_is_kept_with_glibc() -> None:
    assert keep_heap() == (platform.libc_ver()[0] == "glibc")
