"""A minute of everything going wrong at once, and nothing of it is to be seen afterwards.

``GEX_TEST_CHAOS_SEED`` chooses what goes wrong when; `tests/chaos/run.py` runs many, and longer.
"""

from __future__ import annotations

import os
import re

import msgspec
from chaos import SYMBOL, Rest, at_rest
from plan import What

from common.bus import keys
from common.bus.cache import Cache
from common.bus.codec import StateBlob

SEED = int(os.environ.get("GEX_TEST_CHAOS_SEED") or "20261123")
SECONDS = 60.0


def test_nothing_is_lost_and_nothing_is_there_twice() -> None:
    acts: list[str] = []
    with at_rest(SEED, SECONDS, acts.append) as rest:
        assert list(rest.problems()) == [], f"seed {SEED}: {acts}"
        assert set(rest.havoc.done) == {str(what) for what in What}
        assert rest.report.figures["restarts"] >= rest.havoc.done["kill"] + 2
        assert rest.report.figures["runs of the ingestor"] >= 2
        assert rest.report.figures["quotes_appended"] > 20_000
        _spoil(rest)
        found = "\n".join(rest.problems())
    for said in (
        "quotes of .* not stored",
        "prices not stored",
        "the state of .* differs in quotes",
        "was published 2 times",
        "beat had to start again",
        "batches 1 .* are not in the log",
        "was seen and is not in the log",
        "not read",
    ):
        assert re.search(said, found), f"{said!r} is not among:\n{found}"


def _spoil(rest: Rest) -> None:
    """One of each of what must not be, to see that it would have been found."""
    rest.havoc.stop("store")  # it would mend some of it
    client, shards = rest.client, Cache(rest.client).shards(SYMBOL)
    first, *_, last = shards
    with rest.database() as connection:
        connection.execute("DELETE FROM gex.quotes WHERE seq = (SELECT max(seq) FROM gex.quotes)")
        connection.execute("DELETE FROM gex.spots WHERE seq = (SELECT max(seq) FROM gex.spots)")
        connection.commit()
    state = Cache(client).state(SYMBOL, first)
    assert state is not None
    rows = state.quote_rows().copy()
    rows["bid_size"][0] += 1
    spoiled: StateBlob = msgspec.structs.replace(state, quotes=rows.tobytes())
    client.set(keys.chain(SYMBOL, first), spoiled.encode())
    level = client.xrevrange(keys.level_stream(SYMBOL), count=1)[0][1]  # type: ignore[index]
    client.xadd(keys.level_stream(SYMBOL), level)
    rest.havoc.caused["beat"] += 1
    oldest = client.xrange(keys.quotes(SYMBOL, last), count=1)[0][0]  # type: ignore[index]
    client.xdel(keys.quotes(SYMBOL, last), oldest)
    client.xgroup_setid(keys.quotes(SYMBOL, first), keys.STORE_GROUP, "0")
