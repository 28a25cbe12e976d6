"""What is read at once: many small entries, few large ones."""

from __future__ import annotations

import fakeredis
import pytest
from fakes import STREAM, pending

from common.bus import keys
from common.bus.entries import Entry
from common.bus.streams import Streams
from workers.mailbox import Mailbox

OTHER = keys.greeks("SPY")
SMALL, LARGE = b"x" * 10, b"x" * 1000


@pytest.fixture
def streams(client: fakeredis.FakeRedis) -> Streams:
    """Two streams without entries."""
    made = Streams(client)
    made.register(STREAM)
    made.register(OTHER)
    return made


def mailbox(streams: Streams, small_bytes: int = 4000) -> Mailbox:
    """It takes ten entries, or more while they are small."""
    return Mailbox(streams, keys.STORE_GROUP, "store-0", batch=10, small_bytes=small_bytes)


def put(streams: Streams, stream: str, count: int, payload: bytes = SMALL) -> None:
    for _ in range(count):
        streams.client.xadd(stream, {"n": payload})


def sizes(box: Mailbox) -> dict[str, int]:
    """How many entries of each stream were read."""
    return {stream: len(found) for stream, found in box.read([STREAM, OTHER], block_ms=1)}


def test_small_entries_are_read_until_there_are_no_more(
    client: fakeredis.FakeRedis, streams: Streams
) -> None:
    put(streams, STREAM, 35)
    put(streams, OTHER, 3)
    box = mailbox(streams)
    assert sizes(box) == {STREAM: 35, OTHER: 3}
    assert not box.holds_more
    ids = [entry_id.decode() for entry_id, _ in client.xrange(STREAM)]
    assert pending(client, keys.STORE_GROUP) == ids, "each once, in order"
    assert sizes(box) == {}
    assert not box.holds_more


def test_large_entries_are_read_as_few_as_always(streams: Streams) -> None:
    put(streams, STREAM, 35, LARGE)
    box = mailbox(streams)
    assert sizes(box) == {STREAM: 10}
    assert box.holds_more


def test_entries_are_as_many_as_fill_a_delivery(streams: Streams) -> None:
    put(streams, STREAM, 100, LARGE)
    box = mailbox(streams, 30_000)
    assert sizes(box) == {STREAM: 30}
    assert box.holds_more
    assert sizes(mailbox(streams, 0)) == {STREAM: 10}


def test_there_is_a_most_whatever_the_size(streams: Streams) -> None:
    put(streams, STREAM, 360)
    box = mailbox(streams, 1 << 30)
    assert sizes(box) == {STREAM: 320}
    assert box.holds_more
    assert sizes(box) == {STREAM: 40}


# --- ahead of delivery -----------------------------------------------------------------------

AWHILE = 2 * 320
"""Entries that are delivered first: two rounds of the most there is."""


def looking_ahead(streams: Streams) -> Mailbox:
    """It takes ten delivered entries of each stream, and more that are not."""
    return Mailbox(
        streams, keys.STORE_GROUP, "store-0", batch=10, small_bytes=1 << 30, look_ahead=True
    )


def ids_of(found: list[tuple[str, list[Entry]]]) -> dict[str, list[str]]:
    """The ids that were read of each stream."""
    return {stream: [entry.id for entry in entries] for stream, entries in found}


def test_of_a_backlog_what_follows_the_first_is_not_delivered(
    client: fakeredis.FakeRedis, streams: Streams
) -> None:
    put(streams, STREAM, AWHILE + 100)
    put(streams, OTHER, 15)
    box = looking_ahead(streams)
    ids = [entry_id.decode() for entry_id, _ in client.xrange(STREAM)]
    for start in (0, 320):
        found = ids_of(box.read([STREAM, OTHER], block_ms=1))
        assert found[STREAM] == ids[start : start + 320]
    assert pending(client, keys.STORE_GROUP) == ids[:AWHILE]
    ((_, entries),) = box.read([STREAM, OTHER], block_ms=1)
    assert [entry.id for entry in entries] == ids[AWHILE:], "each once, in order"
    assert [entry.delivered for entry in entries] == [True] * 10 + [False] * 90
    assert not box.holds_more
    assert pending(client, keys.STORE_GROUP) == ids[: AWHILE + 10]
    assert len(pending(client, keys.STORE_GROUP, OTHER)) == 15


def test_it_looks_ahead_no_further_than_a_round(streams: Streams) -> None:
    put(streams, STREAM, AWHILE + 400)
    box = looking_ahead(streams)
    assert [sizes(box)[STREAM] for _ in range(2)] == [320] * 2
    ((_, entries),) = box.read([STREAM], block_ms=1)
    assert [entry.delivered for entry in entries] == [True] * 10 + [False] * 310
    assert box.holds_more


def test_streams_that_are_new_and_those_that_are_not_are_read_side_by_side(
    client: fakeredis.FakeRedis, streams: Streams
) -> None:
    put(streams, STREAM, AWHILE + 60)
    box = looking_ahead(streams)
    assert [sizes(box)[STREAM] for _ in range(2)] == [320] * 2
    put(streams, OTHER, 60)
    found = dict(box.read([STREAM, OTHER], block_ms=1))
    assert [entry.delivered for entry in found[STREAM]] == [True] * 10 + [False] * 50
    assert [entry.delivered for entry in found[OTHER]] == [True] * 60
    assert ids_of(list(found.items()))[OTHER] == pending(client, keys.STORE_GROUP, OTHER)


def test_after_a_failure_everything_is_delivered_for_a_while(streams: Streams) -> None:
    put(streams, STREAM, AWHILE)
    box = looking_ahead(streams)
    assert [sizes(box)[STREAM] for _ in range(2)] == [320] * 2
    box.be_careful(STREAM)
    put(streams, STREAM, AWHILE + 20)
    for _ in range(2):
        ((_, entries),) = box.read([STREAM], block_ms=1)
        assert all(entry.delivered for entry in entries)
    ((_, entries),) = box.read([STREAM], block_ms=1)
    assert [entry.delivered for entry in entries] == [True] * 10 + [False] * 10


def test_a_few_entries_are_always_delivered(streams: Streams) -> None:
    put(streams, STREAM, AWHILE)
    box = looking_ahead(streams)
    assert [sizes(box)[STREAM] for _ in range(2)] == [320] * 2
    put(streams, STREAM, 9)
    ((_, entries),) = box.read([STREAM], block_ms=1)
    assert all(entry.delivered for entry in entries)
