"""Entries as people read them."""

from __future__ import annotations

import math

import fakeredis
import numpy as np
import orjson
import pytest
from fakes import SHARD, STREAM, append, make_batch, make_quotes, make_spots

from common.bus import keys
from common.errors import MalformedEntryError, UsageError
from common.models import FLAG_WITHDRAWN
from workers.commands import tail as module


def fields_of(batch: object) -> dict[bytes, bytes]:
    return {name.encode(): value for name, value in batch.encode().items()}


def test_a_quote_reads_like_a_quote() -> None:
    rows = make_quotes([640.5])
    rows["bid"], rows["ask"], rows["bid_size"] = 1.25, math.nan, -1
    rows["flags"] = np.where(rows["key"] % 2 == 0, 0, FLAG_WITHDRAWN)
    decoded = module.decode(STREAM, fields_of(make_batch(quotes=rows, spots=make_spots(640.0))))
    assert decoded[0]["price"] == 640.0
    first = decoded[1]
    assert (first["strike"], first["right"], first["bid"]) == (640.5, "C", 1.25)
    assert first["ask"] is first["bid_size"] is None
    assert [row["withdrawn"] for row in decoded[1:]] == [False, True]
    assert orjson.dumps(decoded)
    line = module.describe(STREAM, "17-0", fields_of(make_batch(quotes=rows)))[0]
    assert line.startswith(f"{STREAM} 17-0 ")
    assert "strike 640.5 right C" in line
    assert "bid 1.25" in line
    assert " ask " not in line


def test_what_cannot_be_read_says_why_and_how_long_it_is() -> None:
    (line,) = module.describe(STREAM, "17-0", {b"h": b"rubbish", b"q": b"12345"})
    assert "17-0 cannot be read" in line
    assert "q 5 B" in line
    (line,) = module.describe(keys.level_stream("SPY"), "17-0", {b"json": b"[]"})
    assert "cannot be read" in line
    with pytest.raises(MalformedEntryError):
        module.decode(keys.greeks("SPY"), {})


def test_a_name_means_itself_and_what_begins_with_it(client: fakeredis.FakeRedis) -> None:
    append(client, make_batch(quotes=make_quotes([640.0])))
    client.sadd(keys.STREAMS, keys.quotes("SPYX", SHARD))
    client.xadd(keys.dead("store"), {"reason": "x"})
    assert module._names(client, "quotes:SPY") == [STREAM]
    assert module._names(client, STREAM) == [STREAM]
    assert module._names(client, "dead") == ["dead:store"]
    with pytest.raises(UsageError, match=f"there are: .*{STREAM}"):
        module._names(client, "quotes:QQQ")


def test_only_the_last_are_shown_and_then_what_comes(
    client: fakeredis.FakeRedis, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2, 3):
        append(client, make_batch(number, quotes=make_quotes([640.0 + number])))
    place = module._show_last(client, STREAM, 2, as_json=True)
    shown = [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted({row["strike"] for row in shown}) == [642.0, 643.0]
    places = {STREAM: place}
    append(client, make_batch(4, quotes=make_quotes([650.0])))
    module._show_new(client, places, as_json=False)
    assert "strike 650" in capsys.readouterr().out
    assert places[STREAM] > place
