"""The budget of streams: shared by everybody, given back by whoever dies."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from common.feeds.tradestation.budget import Slot, StreamBudget

HOLD_ALL = """
import sys
from pathlib import Path
from common.feeds.tradestation.budget import StreamBudget
budget = StreamBudget(Path(sys.argv[1]), int(sys.argv[2]))
slots = [budget.take() for _ in range(int(sys.argv[2]))]
print(sum(slot is not None for slot in slots), flush=True)
sys.stdin.read()
"""


def test_there_are_as_many_slots_as_streams(tmp_path: Path) -> None:
    budget = StreamBudget(tmp_path / "streams", 2)
    first, second = budget.take(), budget.take()
    assert first is not None
    assert second is not None
    assert budget.take() is None
    assert StreamBudget(tmp_path / "streams", 2).take() is None  # another of the same login
    first.release()
    first.release()
    third = budget.take()
    assert third is not None
    assert budget.take() is None
    for slot in (second, third):
        slot.release()


def test_another_login_has_its_own(tmp_path: Path) -> None:
    slots = [StreamBudget(tmp_path / name, 1).take() for name in ("a", "b")]
    assert None not in slots
    for slot in slots:
        assert slot is not None
        slot.release()


def test_a_process_that_is_killed_gives_its_slots_back(tmp_path: Path) -> None:
    budget = StreamBudget(tmp_path, 3)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_ALL, str(tmp_path), "3"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "3\n"
        assert budget.take() is None
        other.send_signal(signal.SIGKILL)
        other.wait()
    slot = budget.take()
    assert slot is not None
    slot.release()


def test_whoever_waits_is_counted_once_and_gets_the_next_slot(tmp_path: Path) -> None:
    budget, counters = StreamBudget(tmp_path, 1), Counter[str]()
    held = budget.take()
    naps: list[float] = []

    async def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            assert held is not None
            held.release()

    async def wait() -> Slot:
        return await budget.wait("chain", counters, sleep)

    slot = asyncio.run(wait())
    assert len(naps) == 3
    assert counters == {"budget_waits": 1}
    slot.release()
