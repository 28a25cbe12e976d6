"""A commit that goes on from what was looked at is the commit that would have been made anew."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import NOON, PARAMETERS, SHARD, STREAM, make_batch, make_quotes, make_spots
from hypothesis import given as for_any
from hypothesis import settings
from hypothesis import strategies as st

from common.bus.codec import Batch, StateBlob
from common.bus.entries import Entry
from common.state import Advance, advance
from workers.ahead import StatesAhead

FIRST = make_batch(quotes=make_quotes(), spots=make_spots(640.0))


def entry_of(number: int, batch: Batch, **damage: bytes) -> Entry:
    fields = {name.encode(): value for name, value in batch.encode().items()}
    return Entry(f"{number}-0", {**fields, **{name.encode(): v for name, v in damage.items()}})


def anew(state: StateBlob, entries: list[Entry]) -> Advance:
    batches = [(entry.id, Batch.decode(entry.fields)) for entry in entries]
    return advance(state, SHARD, batches, PARAMETERS, solved=True)


def quoted(number: int, *, places: list[int], seq: int, spot: bool) -> Batch:
    """Some contracts of the first batch, quoted again."""
    rows = make_quotes(seq=seq, time=NOON + number * 1000, spot=640.0 + number / 100.0)[places]
    return make_batch(number, quotes=rows, spots=make_spots(641.0, seq=seq) if spot else None)


@pytest.fixture
def base() -> StateBlob:
    return anew(StateBlob(), [entry_of(1, FIRST)]).state


def look(states: StatesAhead, base: StateBlob, *parts: list[Entry]) -> None:
    for part in parts:
        states.go_on([(base, STREAM, part)])


def commit(states: StatesAhead, base: StateBlob, entries: list[Entry]) -> Advance | None:
    return states.committed(states.pop(STREAM), base, STREAM, entries)


@settings(deadline=None, max_examples=60)
@for_any(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, len(FIRST.quotes) - 1), max_size=6, unique=True),
            st.integers(-2, 3),  # how the numbers of its quotes stand to those before
            st.booleans(),
        ),
        min_size=1,
        max_size=6,
    ),
    st.data(),
)
def test_however_it_was_looked_at(
    rows: list[tuple[list[int], int, bool]], data: st.DataObject
) -> None:
    base = anew(StateBlob(), [entry_of(1, FIRST)]).state
    seq, entries = 1, []
    for number, (places, further, spot) in enumerate(rows, 2):
        seq = max(1, seq + further * len(FIRST.quotes))
        entries.append(entry_of(number, quoted(number, places=places, seq=seq, spot=spot)))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(entries)), min_size=1)))
    states = StatesAhead(PARAMETERS)
    look(states, base, *(entries[a:b] for a, b in zip([0, *cuts], cuts, strict=False)))
    found, expected = commit(states, base, entries), anew(base, entries)
    assert found is not None
    assert found.state.encode() == expected.state.encode()
    assert np.array_equal(found.touched, expected.touched)
    assert found.results.tobytes() == expected.results.tobytes()
    assert found.quotes == expected.quotes


def test_a_contract_that_is_new_is_committed_anew(base: StateBlob) -> None:
    states = StatesAhead(PARAMETERS)
    known = entry_of(2, quoted(2, places=[0], seq=100, spot=False))
    strange = entry_of(3, make_batch(3, quotes=make_quotes([700.0], rights="C", seq=200)))
    look(
        states, base, [known], [strange], [entry_of(4, quoted(4, places=[1], seq=300, spot=False))]
    )
    ahead = states.state(STREAM)
    assert ahead is not None
    assert len(ahead.quote_rows()) == len(FIRST.quotes) + 1
    assert commit(states, base, [known, strange]) is None


def test_a_contract_that_is_new_after_the_last_look(base: StateBlob) -> None:
    states = StatesAhead(PARAMETERS)
    known = entry_of(2, quoted(2, places=[0], seq=100, spot=False))
    look(states, base, [known])
    strange = entry_of(3, make_batch(3, quotes=make_quotes([700.0], rights="C", seq=200)))
    assert commit(states, base, [known, strange]) is None


def test_another_run_that_starts_empty(base: StateBlob) -> None:
    """As many contracts as before, none of which the first look had seen."""
    states = StatesAhead(PARAMETERS)
    known = entry_of(2, quoted(2, places=[0], seq=100, spot=False))
    strikes = 700.0 + np.arange(len(FIRST.quotes) // 2)
    other = make_batch(1, quotes=make_quotes(strikes), spots=make_spots(701.0), epoch=2, reset=True)
    look(states, base, [known], [entry_of(3, other)])
    entries = [known, entry_of(3, other)]
    found, expected = commit(states, base, entries), anew(base, entries)
    assert found is not None
    assert found.state.encode() == expected.state.encode()
    assert found.results.tobytes() == expected.results.tobytes()


@pytest.mark.parametrize("at", [0, 1, 2])
def test_what_cannot_be_read_is_left_to_a_commit_that_names_it(at: int, base: StateBlob) -> None:
    states = StatesAhead(PARAMETERS)
    entries = [entry_of(n, quoted(n, places=[n], seq=100 * n, spot=False)) for n in (2, 3, 4)]
    entries[at] = entry_of(at + 2, FIRST, q=b"rubbish")
    look(states, base, entries[:1], entries[1:2])  # the last has not been looked at
    assert commit(states, base, entries) is None


def test_entries_that_were_never_looked_at(base: StateBlob) -> None:
    states = StatesAhead(PARAMETERS)
    entries = [entry_of(n, quoted(n, places=[n], seq=100 * n, spot=False)) for n in (2, 3, 4)]
    look(states, base, entries[1:2])  # the one before it came otherwise
    assert commit(states, base, entries) is None
    assert commit(states, base, entries) is None, "it is forgotten"


def test_another_state_than_it_was_looked_at_from(base: StateBlob) -> None:
    states = StatesAhead(PARAMETERS)
    entry = entry_of(2, quoted(2, places=[0], seq=100, spot=False))
    look(states, base, [entry])
    again = StateBlob.decode(base.encode())
    assert commit(states, again, [entry]) is None
    look(states, base, [entry])
    look(states, again, [entry])  # a look from another state starts there
    found = commit(states, again, [entry])
    assert found is not None
    assert found.quotes == 1
