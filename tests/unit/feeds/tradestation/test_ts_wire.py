"""Framing and messages: whatever the chunks are, the same lines; whatever the line, a verdict."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from common.feeds.tradestation.book import Book
from common.feeds.tradestation.messages import (
    Heartbeat,
    Malformed,
    Row,
    StreamError,
    StreamStatus,
    parse,
)
from common.feeds.tradestation.rows import Rows
from common.feeds.tradestation.wire import Lines, split
from common.models import one_by_one

NUMBERS = st.one_of(
    st.floats(0, 999, allow_nan=False).map(lambda value: f"{value:.2f}"),
    st.integers(0, 10**6),
    st.sampled_from([None, "", "NaN", "-", "0", "1e3"]),
)
FIELDS = ("Bid", "Ask", "Last", "BidSize", "AskSize", "Volume", "DailyOpenInterest")
PARTIAL = st.dictionaries(st.sampled_from(FIELDS), NUMBERS)


def chain_row(strike: int, right: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "Side": "Call", "Legs": [{"Symbol": f"SPY 261124{right}{strike}"}]}


ROWS = st.one_of(
    st.builds(chain_row, st.integers(660, 663), st.sampled_from("CP"), PARTIAL),
    PARTIAL.map(lambda fields: {"Symbol": "spy", **fields}),
    st.builds(lambda n: {"Heartbeat": n, "Timestamp": "2026-11-24T15:00:00Z"}, st.integers(1, 99)),
    st.just({"Symbol": "BÄD 261124C1", "Error": "FAILED, INVALID SYMBOL"}),
)


@st.composite
def chunked(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A byte stream and a way to cut it."""
    rows = draw(st.lists(ROWS, max_size=12))
    ends = st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\n \r\n"])
    stream = b"".join(json.dumps(row, ensure_ascii=False).encode() + draw(ends) for row in rows)
    cuts = draw(st.lists(st.integers(0, len(stream)), max_size=20).map(sorted))
    edges = [0, *cuts, len(stream)]
    return stream, [stream[a:b] for a, b in itertools.pairwise(edges)]


def updates(chunks: list[bytes]) -> list[Any]:
    """What a byte stream makes known, chunk by chunk."""
    lines, book = Lines(), Book("SPY")
    messages = [parse(line) for chunk in chunks for line in split(lines.feed(chunk))]
    return [
        repr(book.apply(message, at)) if isinstance(message, Row) else message
        for at, message in enumerate(messages)
    ]


@given(chunked())
def test_any_chunks_give_the_same_updates(cut: tuple[bytes, list[bytes]]) -> None:
    stream, chunks = cut
    assert updates(chunks) == updates([stream])
    assert updates([bytes([byte]) for byte in stream]) == updates([stream])


@given(chunked())
def test_every_line_is_a_message_of_the_protocol(cut: tuple[bytes, list[bytes]]) -> None:
    stream, _ = cut
    messages = [parse(line) for line in split(Lines().feed(stream))]
    assert len(messages) == len([line for line in stream.split(b"\n") if line.strip()])
    assert not any(isinstance(message, Malformed) for message in messages)


@given(st.integers(660, 663), st.sampled_from("CP"), PARTIAL)
def test_however_a_row_is_decoded_it_says_the_same(
    strike: int, right: str, fields: dict[str, Any]
) -> None:
    row = chain_row(strike, right, fields)
    usual, field_by_field = json.dumps(row), json.dumps({**row, "Error": None})
    said = [
        list(one_by_one(Book("SPY").apply_all(Rows(line.encode() + b"\n"), 1)))
        for line in (usual, field_by_field)
    ]
    assert len(said[0]) == 1
    assert repr(said[0]) == repr(said[1])


def test_a_line_is_given_only_when_it_is_complete() -> None:
    lines = Lines()
    assert lines.feed(b'{"a"') == b""
    assert lines.feed(b":1}") == b""
    assert lines.feed(b"\n") == b'{"a":1}\n'
    assert lines.feed(b"") == b""
    assert lines.feed(b'\n{"b":2}\r\n \r\n{"c"') == b'\n{"b":2}\r\n \r\n'
    assert split(b'\n{"b":2}\r\n \r\n') == [b'{"b":2}']


@pytest.mark.parametrize("size", [1, 7, 64, 5000])
def test_a_line_without_an_end_is_skipped_and_counted(size: int) -> None:
    lines = Lines(longest=100)
    stream = b"first\n" + b"x" * 1000 + b"\nlast\n"
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert b"".join(map(lines.feed, pieces)) == b"first\nlast\n"
    assert lines.oversized == 1


def test_a_line_that_is_skipped_ends_where_it_ends() -> None:
    lines = Lines(longest=10)
    assert lines.feed(b"x" * 11) == b""
    assert lines.feed(b"y" * 11 + b"\n" + b"z" * 11 + b"\nlast\n") == b"last\n"
    assert lines.oversized == 2


ROW = '{"Symbol":"SPY 261124C660","Bid":"1.5"}'


@pytest.mark.parametrize(
    "lines",
    [
        [ROW + ROW],
        [f"{ROW},{ROW}"],
        [f"{ROW}],[{ROW}"],
        [f"[{ROW}]"],
        ['{"Symbol":', '"SPY 261124C660"}'],
        ['{"Symbol":"SPY 261124C660"', '"Bid":"1.5"}'],
        ['{"Symbol":"SPY 261124C660","x":["1"', '"2"]}', f"{ROW},{ROW}"],
        ['{"Symbol":"SPY', '261124C660"}'],
        ['{"Symbol":"SPY 261124C660","x":[[1', "2]]}"],
        ["]", "["],
        ["{}"],
        [""],
    ],
)
def test_lines_that_are_not_one_message_each_are_told_apart(lines: list[str]) -> None:
    some = [ROW, *lines, ROW]
    rows = Rows("".join(f"{line}\n" for line in some).encode())
    alone = [parse(line.encode()) for line in some if line]
    assert list(rows) == [each for each in alone if isinstance(each, Row)]
    assert rows.controls == [each for each in alone if not isinstance(each, Row)]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ('{"Heartbeat":3,"Timestamp":"2026-11-23T14:32:11Z"}', Heartbeat(3)),
        ('{"StreamStatus":"GoAway"}', StreamStatus("GoAway")),
        ('{"StreamStatus":"EndSnapshot"}', StreamStatus("EndSnapshot")),
        ('{"Error":"GoAway","Message":"bye"}', StreamError("GoAway", "bye", "")),
        ('{"Error":"Failed"}', StreamError("Failed", "", "")),
        ('{"Symbol":"X","Error":"FAILED, X"}', StreamError("FAILED, X", "", "X")),
        ("END", StreamStatus("GoAway")),
        ("ERROR - too slow", StreamError("Failed", "ERROR - too slow", "")),
    ],
)
def test_what_is_no_data(line: str, wanted: object) -> None:
    assert parse(line.encode()) == wanted


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"{",
        b"null",
        b'"text"',
        b"{}",
        b'{"Bid":"1"}',
        b'{"Symbol":"SPY","Bid":{}}',
        b'{"Symbol":7}',
        b'{"Legs":[],"Bid":"1"}',
        b"\xff\xfe",
        b'{"Symbol":"\xff"}',
        b"<html>502</html>",
    ],
)
def test_what_is_no_message(line: bytes) -> None:
    assert isinstance(parse(line), Malformed)


def test_absent_null_and_zero_are_three_things() -> None:
    row = parse(b'{"Symbol":"SPY","Bid":null,"Ask":"0"}')
    assert isinstance(row, Row)
    assert (row.Bid, row.Ask, row.Last) == (None, "0", UNSET)
    book = Book("SPY")
    full = parse(b'{"Legs":[{"Symbol":"SPY 261124C660"}],"Bid":"1.5","Ask":"1.6","Last":"1.55"}')
    delta = parse(b'{"Legs":[{"Symbol":"SPY 261124C660"}],"Bid":null,"Ask":"0"}')
    assert isinstance(full, Row)
    assert isinstance(delta, Row)
    book.apply(full, 1)
    after = book.apply(delta, 2)
    assert after is not None
    assert math.isnan(after.bid)  # type: ignore[union-attr]
    assert (after.ask, after.last) == (0.0, 1.55)  # type: ignore[union-attr]
