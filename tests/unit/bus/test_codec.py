"""Bytes of the streams: what was written is read, and anything else is called malformed."""

from __future__ import annotations

import string
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np
import pytest
from fakes import NOON, SESSION, make_batch, make_quotes, make_spots
from hypothesis import given
from hypothesis import strategies as st

from common.bus.codec import Batch, Batches, BatchHeader, Result, ResultHeader, Results, StateBlob
from common.errors import MalformedEntryError
from common.models import GREEKS, QUOTE, SPOT, Rows

NUMBERS = st.integers(0, 2**62)


def rows_of(layout: np.dtype[Any]) -> st.SearchStrategy[Rows]:
    """Any rows of a layout, whatever bytes they hold."""
    size = layout.itemsize
    return st.integers(0, 5).flatmap(
        lambda n: st.binary(min_size=n * size, max_size=n * size).map(
            lambda data: np.frombuffer(data, dtype=layout)
        )
    )


def as_read(fields: dict[str, bytes]) -> dict[bytes, bytes]:
    """The fields of an entry as Redis returns them."""
    return {name.encode(): value for name, value in fields.items()}


def full_batch() -> Batch:
    """A batch with quotes and prices."""
    return make_batch(quotes=make_quotes(), spots=make_spots(640.0))


def result_fields(rows: Rows) -> dict[bytes, bytes]:
    """A Greeks entry as the worker writes it."""
    header = ResultHeader(
        session=SESSION,
        epoch=3,
        shard="2026-08-19",
        rows=len(rows),
        basis=1.0001,
        forward_source="parity",
        last_id="17-0",
    )
    return {b"h": msgspec.msgpack.encode(header), b"r": rows.tobytes()}


def full_blob() -> StateBlob:
    """A state with two contracts."""
    quotes = make_quotes([640.0])
    return StateBlob(
        session=SESSION,
        epoch=2,
        last_id="1787148000000-3",
        spot_time=NOON,
        spot_seq=9,
        spot=640.0,
        prior_close=638.5,
        basis=1.0,
        forward_source="parity",
        forward_residual=0.01,
        parity_pairs=4,
        quotes=quotes.tobytes(),
        greeks=np.zeros(2, GREEKS).tobytes(),
    )


# --- round trips -----------------------------------------------------------------------------


@given(
    quotes=rows_of(QUOTE),
    spots=rows_of(SPOT),
    session=st.text(string.printable),
    epoch=NUMBERS,
    number=NUMBERS,
    reset=st.booleans(),
)
def test_a_batch_is_read_as_it_was_written(
    quotes: Rows, spots: Rows, session: str, epoch: int, number: int, *, reset: bool
) -> None:
    quotes = quotes.copy()  # NaN of every kind, but the numbers of one run
    quotes["seq"] = (epoch % 2**31) * 2**32 + quotes["seq"] % 2**32
    written = make_batch(
        number, quotes=quotes, spots=spots, epoch=epoch, session=session, reset=reset
    )
    read = Batch.decode(as_read(written.encode()))
    assert read.header == written.header
    assert read.quotes.tobytes() == quotes.tobytes()
    assert read.spots.tobytes() == spots.tobytes()


def test_numbers_too_far_apart_for_one_batch_are_refused_and_not_bent() -> None:
    quotes = make_quotes([640.0])
    quotes["seq"] = [5, 5 + 2**32 - 1]
    batch = make_batch(quotes=quotes)
    assert Batch.decode(as_read(batch.encode())).quotes["seq"].tolist() == [5, 2**32 + 4]
    quotes["seq"] = [5, 5 + 2**32]
    with pytest.raises(OverflowError):
        make_batch(quotes=quotes).encode()


@given(rows=rows_of(GREEKS))
def test_results_are_read_as_they_were_written(rows: Rows) -> None:
    read = Result.decode(result_fields(rows))
    assert read.rows.tobytes() == rows.tobytes()
    assert (read.header.epoch, read.header.last_id) == (3, "17-0")


def test_a_state_is_read_as_it_was_written() -> None:
    assert StateBlob.decode(full_blob().encode()) == full_blob()


def test_an_empty_state_has_no_rows_and_is_read_as_it_was_written() -> None:
    state = StateBlob.decode(StateBlob().encode())
    assert len(state.quote_rows()) == len(state.greek_rows()) == 0
    assert state.last_id == "0-0"


def test_the_rows_of_a_state_are_not_written_to() -> None:
    state = full_blob()
    for rows in (state.quote_rows(), state.greek_rows()):
        with pytest.raises(ValueError, match="read-only"):
            rows["key"] = 0


# --- damage ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [b"h", b"q", b"s"])
def test_every_truncation_of_an_entry_is_malformed(name: bytes) -> None:
    fields = as_read(full_batch().encode())
    for end in range(len(fields[name])):
        with pytest.raises(MalformedEntryError):
            Batch.decode({**fields, name: fields[name][:end]})


@pytest.mark.parametrize("name", [b"h", b"q", b"s"])
def test_an_entry_that_lacks_a_field_is_malformed(name: bytes) -> None:
    fields = as_read(full_batch().encode())
    del fields[name]
    with pytest.raises(MalformedEntryError):
        Batch.decode(fields)


def test_every_truncation_of_a_state_is_malformed() -> None:
    data = full_blob().encode()
    for end in range(len(data)):
        with pytest.raises(MalformedEntryError):
            StateBlob.decode(data[:end])


@pytest.mark.parametrize("count", [-1, 0, 1, 21, 23, 2**40])
def test_a_header_that_counts_other_rows_than_there_are_is_malformed(count: int) -> None:
    batch = full_batch()  # 22 quotes
    header = msgspec.structs.replace(batch.header, quotes=count)
    with pytest.raises(MalformedEntryError, match="field 'q' holds 1672 bytes"):
        Batch.decode(as_read(Batch(header, batch.quotes, batch.spots).encode()))


@pytest.mark.parametrize("schema", [0, 1, 3, 99])
def test_another_schema_is_malformed_and_says_so(schema: int) -> None:
    header = msgspec.structs.replace(full_batch().header, schema=schema)
    fields = {**as_read(full_batch().encode()), b"h": msgspec.msgpack.encode(header)}
    with pytest.raises(MalformedEntryError, match=f"schema {schema}, this build reads 2"):
        Batch.decode(fields)
    state = msgspec.structs.replace(full_blob(), schema=schema)
    with pytest.raises(MalformedEntryError, match=f"schema {schema}, this build reads 2"):
        StateBlob.decode(state.encode())


@pytest.mark.parametrize(
    "damage",
    [
        {"quotes": b"x" * 71},
        {"greeks": b"x" * 49},
        {"greeks": b""},
        {"quotes": b""},
        {"last_id": ""},
        {"last_id": "yesterday"},
    ],
)
def test_a_state_whose_parts_do_not_fit_is_malformed(damage: dict[str, Any]) -> None:
    state = msgspec.structs.replace(full_blob(), **damage)
    with pytest.raises(MalformedEntryError):
        StateBlob.decode(state.encode())


@pytest.mark.parametrize("data", [b"\x90", b"\x91\x02", b"\x92\x02\xa3SPY"])
def test_a_state_that_lacks_fields_is_malformed_and_not_an_empty_one(data: bytes) -> None:
    with pytest.raises(MalformedEntryError, match="fields are missing"):
        StateBlob.decode(data)


def test_nesting_without_end_is_malformed() -> None:
    bomb = b"\x9d" + full_blob().encode()[1:] + b"\x91" * 100_000  # one element too many
    with pytest.raises(MalformedEntryError):
        StateBlob.decode(bomb)


@given(header=st.binary(max_size=80), rows=st.binary(max_size=200))
def test_random_bytes_are_malformed_and_nothing_else(header: bytes, rows: bytes) -> None:
    for kind in (Batch, Result):
        with pytest.raises(MalformedEntryError):
            kind.decode({b"h": header, b"q": rows, b"s": rows, b"r": rows})
    with pytest.raises(MalformedEntryError):
        StateBlob.decode(header + rows)


@given(at=st.integers(0), value=st.integers(0, 255), data=st.data())
def test_one_flipped_byte_never_raises_anything_else(
    at: int, value: int, data: st.DataObject
) -> None:
    """It may go unnoticed (a price looks like any other), but it breaks no reader."""
    sound = {**as_read(full_batch().encode()), **{b"r": b""}}
    name = data.draw(st.sampled_from(sorted(sound)))
    for kind, damaged in ((Batch, sound), (Result, result_fields(np.zeros(2, GREEKS)))):
        field = bytearray(damaged.get(name, b""))
        if field:
            field[at % len(field)] = value
        with suppress(MalformedEntryError):
            kind.decode({**damaged, name: bytes(field)})
    blob = bytearray(full_blob().encode())
    blob[at % len(blob)] = value
    with suppress(MalformedEntryError):
        StateBlob.decode(bytes(blob)).quote_rows()


def test_headers_are_small() -> None:
    """Fields by position: a header costs no names."""
    header: BatchHeader = full_batch().header
    assert len(msgspec.msgpack.encode(header)) < 60


# --- several entries at once -----------------------------------------------------------------


def test_batches_together_are_those_one_by_one() -> None:
    sizes = ([640.0, 641.0], [], [639.0], [640.0])
    made = [
        make_batch(n, quotes=make_quotes(strikes, seq=10**10 * n), spots=make_spots(*[640.0] * n))
        for n, strikes in enumerate(sizes)
    ]
    entries = [as_read(batch.encode()) for batch in made]
    found, joined = Batches.decode(entries), Batches.of(made)
    single = [Batch.decode(entry) for entry in entries]
    assert [(h.batch, h.quotes, h.spots) for h in found.headers] == [
        (batch.header.batch, len(batch.quotes), len(batch.spots)) for batch in single
    ]
    for one in (found, joined, Batches.of([found]), Batches.of([*made[:1], Batches.of(made[1:])])):
        assert one.quotes.tobytes() == b"".join(batch.quotes.tobytes() for batch in single)
        assert one.spots.tobytes() == b"".join(batch.spots.tobytes() for batch in single)
    part = Batch.decode(as_read(found.part(2, [1]).encode()))
    assert part.quotes.tobytes() == single[2].quotes[1:].tobytes()
    assert (part.header.batch, part.header.quotes, len(part.spots)) == (2, 1, 0)


def test_results_together_are_those_one_by_one() -> None:
    rows = np.zeros(5, GREEKS)
    rows["seq"] = np.arange(5)
    entries = [result_fields(rows[:2]), result_fields(rows[:0]), result_fields(rows[2:])]
    found = Results.decode(entries)
    for one in (found, Results.of(map(Result.decode, entries)), Results.of([found])):
        assert one.rows.tobytes() == rows.tobytes()
        assert [header.rows for header in one.headers] == [2, 0, 3]
    part = Result.decode(as_read(found.part(2, [0, 2]).encode()))
    assert part.rows["seq"].tolist() == [2, 4]


@pytest.mark.parametrize("damage", [{b"q": b"?"}, {b"s": b"?"}, {b"h": b"?"}, {b"h": None}])
def test_one_damaged_batch_is_malformed_among_others(damage: dict[bytes, bytes | None]) -> None:
    entry = as_read(full_batch().encode())
    damaged = {name: value for name, value in {**entry, **damage}.items() if value is not None}
    with pytest.raises(MalformedEntryError):
        Batches.decode([entry, damaged, entry])


def test_one_damaged_result_is_malformed_among_others() -> None:
    good = result_fields(np.zeros(2, GREEKS))
    with pytest.raises(MalformedEntryError):
        Results.decode([good, {**good, b"r": good[b"r"][1:]}])


def test_nothing_together_is_nothing() -> None:
    assert (len(Batches.of([]).quotes), len(Batches.decode([]).spots)) == (0, 0)
    assert len(Results.decode([]).rows) == len(Results.of([]).rows) == 0
