"""Damaged frames: none is lost sight of, none brings the reader down, none makes it grow."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.feeds.tradestation import book as books
from common.feeds.tradestation.book import Book
from common.feeds.tradestation.messages import Malformed, Row, parse
from common.feeds.tradestation.rows import Rows
from common.feeds.tradestation.wire import Lines, split
from common.models import QuoteUpdate, one_by_one
from tools.fuzz import Account, damaged_frames, fuzz

FRAMES = 20_000


@pytest.fixture(scope="module")
def account() -> Account:
    return fuzz(FRAMES, seed=20261124)


def test_every_line_is_accounted_for(account: Account) -> None:
    assert account.lines >= FRAMES
    assert account.accounted == account.lines
    assert account.unchanged >= 0


def test_every_fate_has_occurred(account: Account) -> None:
    assert account.applied > FRAMES / 4
    assert 0 < account.batched <= account.applied
    assert set(account.controls) == {"Heartbeat", "StreamStatus", "StreamError"}
    assert {"foreign", "spread", "too long", "names no contract"} <= set(account.rejected)
    assert all(reason and count > 0 for reason, count in account.rejected.items())


def test_the_same_seed_has_the_same_account(account: Account) -> None:
    assert fuzz(2_000, seed=3) == fuzz(2_000, seed=3) != fuzz(2_000, seed=4)
    assert fuzz(FRAMES, seed=20261124) == account


@given(st.integers(0, 2**32), st.lists(st.floats(0, 1), max_size=12))
def test_any_cut_of_damaged_frames_gives_the_same_updates(seed: int, cuts: list[float]) -> None:
    chance = random.Random(seed)
    stream = b"".join(itertools.islice(damaged_frames(chance), 15))
    edges = [0, *sorted(round(cut * len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[a:b] for a, b in itertools.pairwise(edges)]
    assert _updates(chunks) == _updates([stream])


def _updates(chunks: list[bytes]) -> tuple[list[str], list[str], object]:
    lines, book = Lines(longest=4096), Book("SPY")
    updates: list[str] = []
    controls: list[str] = []
    for chunk in chunks:
        rows = Rows(lines.feed(chunk))
        updates += map(repr, one_by_one(book.apply_all(rows, 1)))
        controls += map(repr, rows.controls)
    return updates, controls, (book.refused, lines.oversized)


@given(st.integers(0, 2**32))
def test_many_lines_at_once_are_what_each_is_alone(seed: int) -> None:
    chance = random.Random(seed)
    whole = Lines().feed(b"".join(itertools.islice(damaged_frames(chance), 15)))
    rows, alone = Rows(whole), [parse(line) for line in split(whole)]
    assert list(rows) == [message for message in alone if isinstance(message, Row)]
    assert rows.controls == [message for message in alone if not isinstance(message, Row)]


@pytest.mark.parametrize(
    "line",
    [
        b'{"Symbol":"SPY 261124C5","x":' + b"[" * 100_000,
        b'{"Symbol":"SPY 261124C5","Bid":' + b'{"a":' * 100_000,
        b'{"Symbol":"SPY 261124C5","Volume":' + b"9" * 100_000 + b"}",
    ],
)
def test_what_no_decoder_survives_is_malformed(line: bytes) -> None:
    assert isinstance(parse(line), Malformed)


def test_a_number_too_large_for_a_float_is_bad_input() -> None:
    row = parse(b'{"Symbol":"SPY 261124C5","Bid":' + b"9" * 400 + b',"Volume":' + b"9" * 400 + b"}")
    assert isinstance(row, Row)
    update = Book("SPY").apply(row, 1)
    assert isinstance(update, QuoteUpdate)
    assert (update.bid, update.volume) == (float("-inf"), -1)


def test_contracts_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "MOST_CONTRACTS", 5)
    book = Book("SPY")
    for strike in range(1, 9):
        row = parse(b'{"Symbol":"SPY 261124C%d","Bid":"1"}' % strike)
        assert isinstance(row, Row)
        book.apply(row, 1)
    assert len(book) == 5
    assert book.refused == {"crowded": 3}
    known = parse(b'{"Symbol":"SPY 261124C3","Bid":"2"}')
    assert isinstance(known, Row)
    assert book.apply(known, 2) is not None
