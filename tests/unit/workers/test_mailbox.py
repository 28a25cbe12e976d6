"""What is read at once: many small entries, few large ones."""

from __future__ import annotations

import fakeredis
import pytest
from fakes import STREAM, pending

from common.bus import keys
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
    put(streams, STREAM, 200)
    box = mailbox(streams, 1 << 30)
    assert sizes(box) == {STREAM: 160}
    assert box.holds_more
    assert sizes(box) == {STREAM: 40}
