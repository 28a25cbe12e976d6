"""A known state goes on by patches: Redis holds what the worker holds, whatever happens between."""

from __future__ import annotations

from typing import Any

import fakeredis
import numpy as np
import pytest
from fakes import NOON, SHARD, STREAM, Worker, append, make_batch, make_quotes, make_spots, pending

from common.bus import keys
from common.bus.cache import Cache
from common.bus.codec import Batch
from common.errors import FencedError

STRIKES = np.arange(600.0, 680.0)
CHAIN = keys.chain("SPY", SHARD)


def whole_board() -> Batch:
    """All quotes of 160 contracts, and a price."""
    return make_batch(1, quotes=make_quotes(STRIKES), spots=make_spots(640.0))


def few(number: int, *, strikes: Any = (640.0, 655.0), **columns: Any) -> Batch:
    """New quotes of some contracts."""
    seq, time = 1000 * number, NOON + 1000 * number
    return make_batch(number, quotes=make_quotes(strikes, seq=seq, time=time, **columns))


class Sent:
    """What a worker gave to Redis for its states."""

    def __init__(self, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
        self.patches: list[int] = []
        """Of each commit: how many."""
        self.sizes: list[int] = []
        """Of each commit: bytes of all arguments together."""
        arguments = worker.handler._arguments

        def told(move: Any) -> tuple[list[Any], list[Any]]:
            names, values = arguments(move)
            self.patches.append(values[9])
            self.sizes.append(sum(len(value) for value in values if isinstance(value, bytes)))
            return names, values

        monkeypatch.setattr(worker.handler, "_arguments", told)


def held(worker: Worker) -> bytes:
    """The state as its worker knows it."""
    return worker.handler._states[STREAM].state.encode()


def begun(client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch) -> tuple[Worker, Sent]:
    """A worker that has the whole board, and what it sends."""
    worker = Worker(client)
    sent = Sent(worker, monkeypatch)
    append(client, whole_board())
    worker.work()
    return worker, sent


def test_a_few_quotes_are_a_few_patches(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, sent = begun(client, monkeypatch)
    for number in range(2, 8):
        append(client, few(number))
        worker.work()
        assert client.get(CHAIN) == held(worker)
    assert sent.patches[0] == 0
    assert all(0 < count < 9 for count in sent.patches[-6:])
    assert max(sent.sizes[-6:]) < sent.sizes[0] / 20
    alone = fakeredis.FakeRedis()
    append(alone, whole_board(), *(few(number) for number in range(2, 8)))
    Worker(alone).work()
    ours, theirs = (Cache(each).state("SPY", SHARD) for each in (client, alone))
    assert ours is not None
    assert theirs is not None
    assert (ours.quotes, ours.greeks) == (theirs.quotes, theirs.greeks)


def test_a_new_contract_is_a_new_length_and_a_new_whole(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, sent = begun(client, monkeypatch)
    append(client, few(2, strikes=(900.0,)))
    worker.work()
    append(client, few(3))
    worker.work()
    assert sent.patches[-2] == 0
    assert sent.patches[-1] > 0
    assert client.get(CHAIN) == held(worker)


def test_whoever_takes_over_begins_with_a_whole_state(
    client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has read the state from Redis, and may be another build that writes another one."""
    first = Worker(client)
    append(client, whole_board())
    first.work()
    first.handler.close()
    second = Worker(client, "b")
    sent = Sent(second, monkeypatch)
    for number in (2, 3):
        append(client, few(number))
        second.work()
    assert sent.patches[0] == 0
    assert sent.patches[1] > 0
    assert client.get(CHAIN) == held(second)


@pytest.mark.parametrize("spoil", ["gone", "longer"])
def test_nothing_is_patched_onto_another_state(client: fakeredis.FakeRedis, spoil: str) -> None:
    worker = Worker(client)
    append(client, whole_board())
    worker.work()
    (entry_id,) = append(client, few(2))
    entries = worker.take()
    if spoil == "gone":
        client.delete(CHAIN)
    else:
        client.append(CHAIN, b"x")
    before = client.get(CHAIN)
    with pytest.raises(FencedError, match="the state is another one"):
        worker.handler.handle(STREAM, entries)
    assert client.get(CHAIN) == before
    assert pending(client, keys.GREEKS_GROUP) == [entry_id]
    worker.work()  # it looks again, and goes on from what is there
    append(client, few(3))
    worker.work()
    assert pending(client, keys.GREEKS_GROUP) == []
    assert client.get(CHAIN) == held(worker)
