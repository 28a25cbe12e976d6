"""How processes start."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys

import pytest

from workers.startup import be_prompt, keep_heap, without_collecting


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


def test_what_was_made_at_the_start_is_not_looked_through_again() -> None:
    interval, before = sys.getswitchinterval(), gc.get_freeze_count()
    kept = [[] for _ in range(1000)]
    try:
        be_prompt()
        assert gc.get_freeze_count() >= before + len(kept)
        assert sys.getswitchinterval() < 0.001
    finally:
        gc.unfreeze()
        sys.setswitchinterval(interval)


def test_who_steps_back_says_so_to_the_system() -> None:
    program = "import os; from workers.startup import step_back; a = os.nice(0); step_back();"
    found = subprocess.run(
        [sys.executable, "-c", f"{program} print(os.nice(0) - a)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "5"
