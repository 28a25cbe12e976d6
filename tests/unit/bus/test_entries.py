"""Entries that cannot be read are told from the others, each with its own reason."""

from __future__ import annotations

import pytest

from common.bus.entries import Burial, Entry, decoded, sort_out
from common.errors import MalformedEntriesError, MalformedEntryError


def number(fields: dict[bytes, bytes]) -> int:
    """The number in an entry."""
    try:
        return int(fields[b"n"])
    except ValueError as error:
        raise MalformedEntryError(f"{fields[b'n']!r} is no number") from error


def test_entries_are_decoded_in_order() -> None:
    assert decoded([], number) == []
    assert decoded([Entry(f"{n}-0", {b"n": b"%d" % n}) for n in (3, 1, 2)], number) == [3, 1, 2]


def test_every_entry_that_cannot_be_decoded_is_named_and_no_other() -> None:
    entries = [Entry(f"{n}-0", {b"n": text}) for n, text in enumerate([b"0", b"x", b"2", b"y"])]
    with pytest.raises(MalformedEntriesError, match="2 entries cannot be decoded: b'x' is") as e:
        decoded(entries, number)
    assert {i: str(error) for i, error in e.value.errors.items()} == {
        "1-0": "b'x' is no number",
        "3-0": "b'y' is no number",
    }


def test_what_is_no_question_of_decoding_is_raised_as_it_is() -> None:
    with pytest.raises(KeyError):
        decoded([Entry("1-0", {})], number)


def test_each_reason_for_a_burial_has_its_own_traceback() -> None:
    texts = [b"0", b"x", b"y", b"x"]
    entries = [Entry(f"{n}-0", {b"n": text}) for n, text in enumerate(texts)]
    found = sort_out(entries, number)
    assert found.whole == [("0-0", 0)]
    burials = Burial.of_damaged(entries, found.damaged)
    assert [(each.entry, each.reason) for each in burials] == [
        (entry, f"MalformedEntryError: {entry.fields[b'n']!r} is no number")
        for entry in entries[1:]
    ]
    for each in burials:
        assert each.trace.startswith("Traceback")
        assert each.trace.rstrip().endswith(str(found.damaged[each.entry.id]))
    assert burials[0].trace == burials[2].trace
