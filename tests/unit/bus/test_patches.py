"""Patches: put over what was, they make what is; and they are less."""

from __future__ import annotations

import numpy as np
import pytest

from common.bus.patches import patches

SIZE = 20_005
"""No multiple of a word."""


def applied(before: bytes, found: list[tuple[int, bytes]]) -> bytes:
    """As Redis' SETRANGE does."""
    value = bytearray(before)
    for at, part in found:
        value[at : at + len(part)] = part
    return bytes(value)


@pytest.mark.parametrize("seed", range(200))
def test_a_few_changes_anywhere_are_a_few_patches(seed: int) -> None:
    random = np.random.default_rng(seed)
    before = random.bytes(SIZE)
    after = bytearray(before)
    for at in random.integers(0, SIZE, random.integers(1, 9)).tolist():
        part = random.bytes(int(random.integers(1, 200)))[: SIZE - at]
        after[at : at + len(part)] = part
    found = patches(before, bytes(after))
    assert found is not None
    assert applied(before, found) == bytes(after)
    assert sum(len(part) for _, part in found) < SIZE // 2


@pytest.mark.parametrize("at", [0, 1, 7, 8, SIZE - 9, SIZE - 6, SIZE - 5, SIZE - 1])
def test_one_byte_is_found_wherever_it_is(at: int) -> None:
    before = bytes(SIZE)
    after = before[:at] + b"x" + before[at + 1 :]
    ((place, part),) = patches(before, after) or []
    assert place <= at < place + len(part) <= place + 8
    assert applied(before, [(place, part)]) == after


def test_what_is_near_goes_together() -> None:
    before = bytes(SIZE)
    after = bytearray(before)
    after[800] = after[1000] = 1
    assert len(patches(before, bytes(after)) or []) == 1
    after[2000] = 1
    assert len(patches(before, bytes(after)) or []) == 2


def test_nothing_new_is_no_patch() -> None:
    assert patches(bytes(SIZE), bytes(SIZE)) == []
    assert patches(b"", b"") == []
    assert patches(b"abc", b"abc") == []
    assert patches(b"abc", b"abd") is None, "more than half of it"


def test_much_is_sent_whole() -> None:
    before = bytes(SIZE)
    assert patches(before, bytes(SIZE + 1)) is None, "another length"
    assert patches(b"", bytes(8)) is None
    assert patches(before, b"x" * SIZE) is None
    half = before[: SIZE // 2] + b"x" * (SIZE - SIZE // 2)
    assert patches(before, half) is None
    scattered = bytearray(before)
    scattered[::1000] = b"x" * len(scattered[::1000])
    assert patches(before, bytes(scattered)) is None, "more patches than it is worth"
