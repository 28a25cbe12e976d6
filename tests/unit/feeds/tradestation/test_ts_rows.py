"""What compiled code reads and merges at once is what Python reads and merges line by line."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.feeds.tradestation import book as books
from common.feeds.tradestation import rows as reading
from common.feeds.tradestation.book import Book
from common.feeds.tradestation.columns import (
    AT,
    END,
    KEY,
    KEYS,
    NAME_AT,
    NAME_SIZE,
    PRESENT,
    READ,
    SLOT,
    VALUES,
    WIDTH,
)
from common.feeds.tradestation.messages import Row
from common.feeds.tradestation.rows import PLAIN, Rows
from common.feeds.tradestation.wire import Lines
from common.machine import code
from common.models import QuoteColumns, QuoteUpdate, one_by_one
from tools.fuzz import damaged_frames

NAME = "SPY 261124C660"


@pytest.fixture(autouse=True)
def compiled() -> Iterator[None]:
    """Compiled code reads, unless a test says otherwise."""
    assert reading.load()
    yield
    reading.use(None)


@contextmanager
def plainly() -> Iterator[None]:
    """Python alone reads."""
    reading.use(PLAIN)
    yield
    assert reading.load()


def read(*lines: str) -> Rows:
    return Rows("".join(f"{line}\n" for line in lines).encode())


def told(chunks: list[bytes]) -> tuple[list[str], list[str], dict[str, int]]:
    """Updates, controls, refusals."""
    book, lines = Book("SPY"), Lines(longest=4096)
    updates: list[str] = []
    controls: list[str] = []
    for at, chunk in enumerate(chunks):
        rows = Rows(lines.feed(chunk))
        updates += map(repr, one_by_one(book.apply_all(rows, at, 10 * at)))
        controls += map(repr, rows.controls)
    return updates, controls, dict(book.refused)


# --- what is read at once ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "name", "values"),
    [
        ('{"Symbol":"SPY 261124C660","Bid":"1.25"}', NAME, {0: 1.25}),
        ('{"Symbol":"SPY 261124C660","Bid":"-0.5","Ask":"0"}\r', NAME, {0: -0.5, 1: 0.0}),
        ('{"Last":"12345678901.25","Symbol":"SPY 261124C660"}', NAME, {2: 12345678901.25}),
        ('{"BidSize":7,"AskSize":"8","Legs":[{"Symbol":"spy"}]}', "spy", {3: 7, 4: 8}),
        (
            '{"Symbol":"a","Volume":2147483647,"Legs":[{"Ratio":1,"Symbol":"b"}]}',
            "b",
            {5: 2**31 - 1},
        ),
        ('{"Symbol":"a","DailyOpenInterest":"0","DailyOpenInteresT":"7"}', "a", {6: 0}),
        ('{"Symbol":"a","Bid":"1","Bid":"2"}', "a", {0: 2.0}),
        ('{"x":null,"y":true,"z":false,"n":-1.5,"l":["a","b"],"m":[],"Symbol":"a"}', "a", {}),
        ('{"Symbol":"a","MarketFlags":{"IsDelayed":false,"IsHalted":true}}', "a", {}),
        ('{"Symbol":"a","PreviousClose":"x"}', "a", {}),
    ],
)
def test_the_usual_spelling(line: str, name: str, values: dict[int, float]) -> None:
    rows = read('{"Symbol":"first"}', line, '{"Symbol":"last"}')
    assert len(rows) == 3
    assert not rows.odd
    row = rows.table[1]
    assert list(rows.names()) == ["first", name, "last"]
    assert {n: row[VALUES + n] for n in range(7) if int(row[PRESENT]) >> n & 1} == values
    assert rows.line(1) == line.encode() + b"\n"


@pytest.mark.parametrize(
    "fields",
    [
        '"Bid":1.25', '"Bid":null', '"Bid":""', '"Bid":"1."', '"Bid":".5"', '"Bid":"1e3"',
        '"Bid":"-"',
        '"Bid":"1.23456"', '"Bid":"1234567890123456"', '"Bid":" 1"', '"Bid":"1.5"x', '"Bid":"1,5"',
        '"BidSize":null', '"BidSize":-1', '"BidSize":1.5', '"BidSize":2147483648', '"BidSize":007',
        '"BidSize":""', '"BidSize":"7', '"BidSize":"07"', '"BidSize":1e3', '"BidSize": 7',
        '"x":"\\u0041"', '"x":"é"', '"x":"\t"', '"x":nul', '"x":tru', '"x":+1', '"x":01', '"x":1e5',
        '"x":[1]', '"x":["a",]', '"x":["a"', '"x":{}', '"x":', '"x"', "x", '"x":"y', '"":1.',
        '"x":1,',
        '"Legs":[]', '"Legs":null', '"Legs":[{}]', '"Legs":[{"Symbol":"a"},{"Symbol":"b"}]',
        '"Legs":[{"Ratio":1}]', '"Legs":[{"Symbol":null}]', '"Legs":[{"Symbol":"a"}',
        '"MarketFlags":null', '"MarketFlags":{"IsDelayed":true}', '"MarketFlags":"x"',
        '"MarketFlags":{"IsDelayed":null}', '"MarketFlags":{}', '"Heartbeat":1', '"Error":null',
        '"StreamStatus":"x"', '"PreviousClose":1.5', '"PreviousClose":false',
        '"PreviousClose":null',
    ],
)  # fmt: skip
def test_what_is_unusual_is_left_to_python(fields: str) -> None:
    line = f'{{"Symbol":"{NAME}","Ask":"2",{fields}}}'
    rows = read('{"Symbol":"first"}', line, '{"Symbol":"last"}')
    assert rows.table[:, READ].tolist() == [1.0, 0.0, 1.0]
    with plainly():
        alone = read(line)
    assert list(rows.odd.values()) == list(alone.odd.values())
    assert rows.controls == alone.controls


@pytest.mark.parametrize(
    "line", ["{}", "[]", "x", '{"Symbol":""}', '{"Bid":"1"}', '{"Symbol":"a"} ', "{"]
)
def test_what_names_no_contract_is_left_to_python(line: str) -> None:
    assert not read(line).table[0, READ]


def test_a_symbol_behind_the_legs_is_left_to_python() -> None:
    rows = read('{"Legs":[{"Symbol":"a"}],"Symbol":"b"}')
    assert [row.name for row in rows] == ["a"]
    assert rows.odd


def test_short_lines_are_all_read() -> None:
    rows = read(*['{"Symbol":"a"}'] * 500)
    assert (len(rows), rows.table[:, READ].sum()) == (500, 500)
    assert len(Rows(b"")) == len(read("", " \r")) == 0


# --- the same as line by line --------------------------------------------------------------------


@given(st.integers(0, 2**32), st.lists(st.floats(0, 1), max_size=5))
def test_damaged_frames_say_the_same(seed: int, cuts: list[float]) -> None:
    stream = b"".join(itertools.islice(damaged_frames(random.Random(seed)), 30))
    edges = [0, *sorted(round(cut * len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[a:b] for a, b in itertools.pairwise(edges)]
    found = told(chunks)
    with plainly():
        assert told(chunks) == found


TEXT = st.text(st.sampled_from('ab"\\:,{}[] é\t0'), max_size=30)
VALUE = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 2**33), st.floats(-9, 99), TEXT,
    st.decimals(-1, 9999, places=2).map(str), st.decimals(0, 99, places=5).map(str),
    st.lists(TEXT, max_size=2), st.dictionaries(TEXT, st.booleans(), max_size=2),
)  # fmt: skip
KNOWN = ["Bid", "Ask", "Last", "BidSize", "AskSize", "Volume", "DailyOpenInterest"]
OTHERS = ["PreviousClose", "MarketFlags", "IsDelayed", "Heartbeat", "DailyOpenInterestX", "Las"]
FIELDS = st.dictionaries(st.one_of(st.sampled_from([*KNOWN, *OTHERS]), TEXT), VALUE, max_size=9)


@settings(max_examples=500)
@given(st.lists(st.tuples(FIELDS, st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=6))
def test_any_object_says_the_same(objects: list[tuple[dict[str, Any], int, int]]) -> None:
    lines = []
    for fields, place, strike in objects:
        items = list(fields.items())
        name = ("Symbol", f"SPY 261124C{660 + strike}")
        items.insert(place, ("Legs", [dict([name])]) if strike % 2 else name)
        lines.append(json.dumps(dict(items), ensure_ascii=False, separators=(",", ":")))
    whole = "".join(f"{line}\n" for line in lines).encode()
    found = told([whole])
    with plainly():
        assert told([whole]) == found


@given(st.integers(0, 10**15), st.integers(0, 7), st.booleans())
def test_a_price_is_the_double_next_to_what_it_spells(
    digits: int, places: int, falls: bool
) -> None:
    text = f"{digits:0{places + 1}d}"
    text = text[:-places] + "." + text[-places:] if places else text
    line = json.dumps({"Symbol": NAME, "Bid": "-" * falls + text}, separators=(",", ":")).encode()
    (update,) = one_by_one(Book("SPY").apply_all(Rows(line + b"\n"), 1))
    assert isinstance(update, QuoteUpdate)
    assert update.bid == round(float("-" * falls + text), 4)


def test_more_keys_than_are_remembered() -> None:
    """Rows of ever other keys, and of the same keys in another order."""
    chance = random.Random(5)
    keys = [f"{'k' * (n % 30)}{n}" for n in range(3 * KEYS)]
    lines = []
    for n in range(200):
        some = dict.fromkeys(chance.sample(keys, 20), "1")
        fields = [*some.items(), ("Symbol", NAME), ("Bid", f"{n}.5"), ("Volume", n)]
        chance.shuffle(fields)
        lines.append(json.dumps(dict(fields), separators=(",", ":")))
    rows = read(*lines)
    assert rows.table[:, READ].all()
    assert rows.table[:, VALUES].tolist() == [n + 0.5 for n in range(200)]


# --- the merge -----------------------------------------------------------------------------------


def quotes(rows: Rows, book: Book) -> list[QuoteUpdate]:
    return [each for each in one_by_one(book.apply_all(rows, 1)) if isinstance(each, QuoteUpdate)]


def test_known_contracts_are_merged_at_once() -> None:
    book = Book("SPY")
    names = [f"SPY 261124{right}{strike}" for right in "CP" for strike in range(100, 500)]
    quotes(read(*(f'{{"Symbol":"{name}","Ask":"9"}}' for name in names)), book)
    (update,) = book.apply_all(read(*(f'{{"Symbol":"{name}","Bid":"1"}}' for name in names)), 5)
    assert isinstance(update, QuoteColumns)
    assert len(update) == len(book) == 800
    assert [(each.strike, each.right) for each in update] == [
        (float(name[11:]), name[10]) for name in names
    ]
    assert {(each.bid, each.ask, each.volume, each.time) for each in update} == {(1.0, 9.0, -1, 5)}


def test_spellings_of_one_contract() -> None:
    book = Book("SPY")
    spellings = [
        NAME,
        NAME.lower(),
        "SPY 261124C660.",
        "SPY 261124C660.0",
        f"SPY 261124C660.{'0' * 30}",
    ]
    for _ in range(2):
        for number, name in enumerate(spellings):
            for each in quotes(read(f'{{"Symbol":"{name}","BidSize":{number}}}'), book):
                assert (each.strike, each.bid_size) == (660.0, number)
    assert len(book) == 1


def test_spellings_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "MOST_CONTRACTS", 600)
    book = Book("SPY")
    for zeros in range(1, 1500):
        (each,) = quotes(read(f'{{"Symbol":"{NAME}.{"0" * (zeros % 40 + 1)}"}}'), book)
        assert each.strike == 660.0
    for strike in range(1, 700):
        name = f"SPY 261124C{strike}"
        assert len(quotes(read(f'{{"Symbol":"{name}"}}', f'{{"Symbol":"{name}"}}'), book)) in (0, 2)
    assert len(book) == 600
    assert len(book._named) <= 600


def test_rows_of_others_are_taken_aside_in_their_order() -> None:
    book, seen = Book("SPY"), []
    line = '{"Symbol":"%s","Last":"1.5"}'

    def aside(row: Row) -> bool:
        seen.append(row.name)
        return row.name == "$VIX.X"

    names = [NAME, "$VIX.X", NAME, "SPY", NAME, "QQQ", NAME]
    updates = book.apply_all(read(*(line % name for name in names)), 1, 100, aside=aside)
    assert [update.seq for update in one_by_one(updates)] == [100, 101, 102, 103, 104]  # type: ignore[union-attr]
    assert seen == [NAME, "$VIX.X", "SPY", "QQQ"]  # a contract is asked for once
    assert book.refused == {"foreign": 1}


# --- arguments and places ----------------------------------------------------------------------


def test_a_kernel_refuses_what_it_cannot_read() -> None:
    kernels, whole = reading.active(), b'{"Symbol":"a"}\n'
    table, memory, head = np.zeros((1, WIDTH)), np.zeros(KEY * KEYS, np.uint8), np.zeros(3)
    assert kernels.read_rows(whole, table, memory, head)
    assert table[0, [READ, AT, END, NAME_AT, NAME_SIZE]].tolist() == [1, 0, 15, 11, 1]
    for wrong in (
        (bytearray(whole), table, memory, head),
        (whole, table[0], memory, head),
        (whole, np.zeros((1, WIDTH + 1)), memory, head),
        (whole, table, memory[1:], head),
        (whole, table, memory, np.zeros(2)),
        (whole, table, memory),
    ):
        assert not kernels.read_rows(*wrong)
    chain, names = np.zeros((4, 7)), np.zeros(4 * SLOT, np.uint8)
    head = np.zeros(2)
    assert kernels.merge_rows(whole, table, chain, names, head)
    for wrong in (
        ("a", table, chain, names, head),
        (whole, table[:, 1:], chain, names, head),
        (whole, table, chain[:, 1:].copy(), names, head),
        (whole, table, chain, names[1:], head),
        (whole, table, chain, names, None),
    ):
        assert not kernels.merge_rows(*wrong)
    for bad in ((b"", names, head), (b"a" * 33, names, head), (b"a", names[1:], head), (b"a",)):
        assert not kernels.learn_name(*bad)
    assert kernels.learn_name(b"a" * 32, names, head)


def test_without_a_compiler_python_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise ImportError

    monkeypatch.setattr(code, "load", none)
    assert not reading.load()
    rows = read('{"Symbol":"SPY 261124C660","Bid":"1"}', "", '{"Heartbeat":1}')
    assert [row.name for row in rows] == list(rows.names()) == [NAME]
    assert len(rows.controls) == 1
    assert [each.bid for each in quotes(rows, Book("SPY"))] == [1.0]


def test_compiled_code_is_kept_where_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[Path] = []
    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setattr(
        code, "load", lambda _, folder: places.append(folder) or code.Linked({}, ())
    )
    monkeypatch.setattr(reading, "Kernels", lambda **_: PLAIN)
    reading.load(folder=tmp_path)
    assert places == [tmp_path]
