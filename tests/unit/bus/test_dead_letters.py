"""Dead letters: found by name, driven again once, and never twice."""

from __future__ import annotations

import fakeredis
import pytest
from fakes import SHARD, STREAM, append, letters, make_batch, make_quotes

from common.bus import keys
from common.bus.codec import Batch
from common.bus.dead_letters import DeadLetters, Letter
from common.bus.entries import Burial, Entry
from common.bus.streams import Streams
from common.errors import UsageError

GREEKS, STORE = keys.GREEKS_GROUP, keys.STORE_GROUP


@pytest.fixture
def box(client: fakeredis.FakeRedis) -> DeadLetters:
    """The dead letters of the Redis in memory."""
    return DeadLetters(client)


def bury(client: fakeredis.FakeRedis, *, group: str = STORE, reason: str = "why") -> str:
    """Append a batch and bury its entry; the id it had."""
    (entry_id,) = append(client, make_batch(quotes=make_quotes([640.0])))
    fields = client.xrange(STREAM, min=entry_id, max=entry_id)[0][1]
    entry = Entry(entry_id, fields)
    Streams(client).bury(group, STREAM, [Burial(entry, reason, "Traceback", 3)])
    return entry_id


def test_a_letter_tells_what_happened_to_which_entry(
    client: fakeredis.FakeRedis, box: DeadLetters
) -> None:
    entry_id = bury(client, reason="ValueError: é")
    (letter,) = box.all()
    assert (letter.group, letter.stream, letter.entry_id) == (STORE, STREAM, entry_id)
    assert (letter.reason, letter.traceback, letter.deliveries) == ("ValueError: é", "Traceback", 3)
    assert Batch.decode(letter.fields).header.quotes == len(make_quotes([640.0]))
    assert box.find(letter.name) == letter


def test_all_letters_of_a_group_come_in_order_page_after_page(
    client: fakeredis.FakeRedis, box: DeadLetters
) -> None:
    for number in range(1101):
        client.xadd(keys.dead(STORE), {"reason": str(number)})
    bury(client, group=GREEKS)
    assert [letter.reason for letter in box.all(STORE)] == [str(n) for n in range(1101)]
    assert len(list(box.all())) == 1102


def test_a_letter_driven_again_is_an_entry_like_the_first(
    client: fakeredis.FakeRedis, box: DeadLetters
) -> None:
    first = bury(client)
    (letter,) = box.all()
    again = box.retry(letter)
    assert letters(client, STORE) == []
    (_, before), (last, after) = client.xrange(STREAM)[-2:]
    assert last.decode() == again != first
    assert after == before
    assert client.hget(keys.counters("SPY"), f"dead_{STORE}_retried") == b"1"
    ids = [
        e.id
        for _, es in Streams(client).read(STORE, "c", [STREAM], count=9, block_ms=1)
        for e in es
    ]
    assert again in ids


def test_a_letter_is_driven_again_once(client: fakeredis.FakeRedis, box: DeadLetters) -> None:
    bury(client)
    (letter,) = box.all()
    box.retry(letter)
    length = client.xlen(STREAM)
    with pytest.raises(UsageError, match="in the meantime"):
        box.retry(letter)
    assert client.xlen(STREAM) == length


def test_an_entry_that_is_gone_cannot_be_driven_again(
    client: fakeredis.FakeRedis, box: DeadLetters
) -> None:
    Streams(client).bury(STORE, STREAM, [Burial(Entry("1-0", {}), "trimmed", deliveries=0)])
    (letter,) = box.all()
    with pytest.raises(UsageError, match="nothing is left"):
        box.retry(letter)
    assert list(box.all()) == [letter]


@pytest.mark.parametrize("name", ["", "store", "store:", "store:1-1", "store:-", "x:1-0", "a:b:c"])
def test_a_name_of_no_letter_is_refused(box: DeadLetters, name: str) -> None:
    with pytest.raises(UsageError, match="gex dead list"):
        box.find(name)


def test_the_letter_of_another_shards_entry_goes_back_there(
    client: fakeredis.FakeRedis, box: DeadLetters
) -> None:
    gone = keys.quotes("QQQ", SHARD)
    letter_id = client.xadd(keys.dead(GREEKS), {"stream": gone, "id": "1-0", "f:h": b"x"}).decode()
    box.retry(box.find(f"{GREEKS}:{letter_id}"))
    assert client.xlen(gone) == 1
    assert {state.name for state in Streams(client).groups(gone)} == {GREEKS, STORE}


def test_the_name_of_a_letter_is_what_find_takes() -> None:
    letter = Letter(GREEKS, "17-3", STREAM, "1-0", "", "", 0, {})
    assert (letter.name, letter.buried_ms) == ("greeks:17-3", 17)
