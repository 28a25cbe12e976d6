"""One stream kept alive: what each ending costs, and when the first pass is complete."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest
from broker import Broker, Chunks

from common.errors import CredentialsError, UsageError
from common.feeds.tradestation.first_pass import IDLE_SECONDS, PATIENCE_SECONDS, FirstPass
from common.feeds.tradestation.messages import Row
from common.feeds.tradestation.sources import Source
from common.feeds.tradestation.streams import (
    DUAL_LOGON_PAUSE,
    HEALTHY_SECONDS,
    Arrival,
    Patience,
    StreamReader,
)
from common.feeds.tradestation.symbols import Contract
from common.models import Expiry

SOURCE = Source("chain SPY 2026-11-24", "/stream", {"strikeProximity": "1000"})
ROW = b'{"Symbol":"SPY 261124C%d","Bid":"1"}\n'


class Watched:
    """A reader, what it delivered, and what it counted."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.now = 1000.0
        self.is_open = True
        self.patience = Patience(20.0, 60.0, lambda: self.is_open, lambda: self.now)
        self.counters: Counter[str] = Counter()
        self.arrivals: list[Arrival] = []

    def after(self, seconds: float) -> Callable[[], None]:
        """Lets time pass in the midst of a body."""

        def pass_time() -> None:
            self.now += seconds

        return pass_time

    def run(self, *bodies: bytes | Chunks | httpx.Response | Exception, until: int) -> list[str]:
        """Serve one body a connection until so many rows came; the contracts of the rows."""
        rest: list[None] = [None]  # the last connection stays open
        replies = [
            httpx.Response(200, stream=Chunks(body, *(rest if body is bodies[-1] else [])))
            if isinstance(body, bytes)
            else httpx.Response(200, stream=body)
            if isinstance(body, Chunks)
            else body
            for body in bodies
        ]
        silent = httpx.Response(200, stream=Chunks(None))
        self.broker.on("/v3/stream", *replies, silent)
        enough = asyncio.Event()

        async def deliver(arrival: Arrival) -> None:
            self.arrivals.append(arrival)
            if sum(len(each.rows) for each in self.arrivals) >= until:
                enough.set()

        async def watch() -> None:
            reader = StreamReader(
                self.broker.client, SOURCE, deliver, self.counters,
                sleep=self.broker.sleep, patience=self.patience,
            )  # fmt: skip
            reading = asyncio.create_task(reader.run())
            waiting = asyncio.create_task(enough.wait())
            await asyncio.wait({reading, waiting}, return_when=asyncio.FIRST_COMPLETED)
            for task in (reading, waiting):
                task.cancel()
            failures = await asyncio.gather(reading, waiting, return_exceptions=True)
            for failure in failures:
                if isinstance(failure, Exception):
                    raise failure

        asyncio.run(watch())
        return [row.name[-1] for each in self.arrivals for row in each.rows]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(Broker(tmp_path))


def test_rows_are_delivered_and_the_request_is_complete(watched: Watched) -> None:
    assert watched.run(ROW % 1 + ROW % 2, until=2) == ["1", "2"]
    request = watched.broker.asked("/v3/stream")[0]
    assert request.url.params["strikeProximity"] == "1000"
    assert request.headers["Accept-Encoding"] == "identity"
    assert watched.counters["rows"] == 2
    assert watched.arrivals[0].lines == [(ROW % 1).strip(), (ROW % 2).strip()]


@pytest.mark.parametrize(
    "bye", [b'{"StreamStatus":"GoAway"}\n', b'{"Error":"GoAway","Message":"x"}\n']
)
def test_a_go_away_is_no_failure(watched: Watched, bye: bytes) -> None:
    assert watched.run(ROW % 1 + bye + ROW % 9, ROW % 2, until=3) == ["1", "9", "2"]
    assert watched.broker.slept == [0.0]
    assert watched.counters["go_aways"] == watched.counters["reconnects"] == 1


def test_another_login_is_not_fought(watched: Watched) -> None:
    watched.run(b'{"Symbol":"SPY","Error":"DualLogon"}\n', ROW % 1, until=1)
    assert watched.broker.slept == [DUAL_LOGON_PAUSE]
    assert watched.counters["dual_logons"] == 1


@pytest.mark.parametrize(
    "ending",
    [
        b'{"Error":"Failed","Message":"Internal server error"}\n',
        b'{"Error":"InternalServerError"}\n',
        b"",
        b'{"Symbol":"SPY 261124C1","Bi',
        httpx.ConnectError("refused"),
        httpx.Response(503),
    ],
)
def test_what_breaks_is_connected_again(
    watched: Watched, ending: bytes | httpx.Response | Exception
) -> None:
    assert watched.run(ending, ROW % 1, until=1) == ["1"]
    assert len(watched.broker.slept) == 1
    assert watched.broker.slept[0] <= 1.0
    assert watched.counters["reconnects"] == 1


def test_a_quota_of_streams_is_waited_out(watched: Watched) -> None:
    full = httpx.Response(429, json={"Error": "TooManyRequests", "Message": "Stream quota"})
    watched.run(full, ROW % 1, until=1)
    assert watched.broker.slept == [60.0]


def test_a_refused_symbol_leaves_the_stream_open(watched: Watched) -> None:
    bad = b'{"Symbol":"BAD 261123C1","Error":"FAILED, INVALID SYMBOL"}\n'
    assert watched.run(bad + ROW % 1, until=1) == ["1"]
    assert watched.counters == {"rows": 1, "refused_symbols": 1, "oversized_lines": 0}
    assert watched.broker.slept == []


def test_rubbish_is_counted_and_passed_over(watched: Watched) -> None:
    assert watched.run(b"{]\n" + ROW % 1 + b'{"Heartbeat":1}\n' + ROW % 2, until=2) == ["1", "2"]
    assert watched.counters["malformed_lines"] == watched.counters["heartbeats"] == 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (b'{"Error":"BadRequest","Message":"expiration"}\n', UsageError),
        (b'{"Error":"InvalidSymbol"}\n', UsageError),
        (httpx.Response(404), UsageError),
        (httpx.Response(403, json={"Error": "Forbidden"}), CredentialsError),
    ],
)
def test_what_cannot_be_mended_ends_the_reader(
    watched: Watched, reply: bytes | httpx.Response, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        watched.run(reply, until=1)
    assert watched.broker.slept == []


# --- connections without data ----------------------------------------------------------------

BEAT = b'{"Heartbeat":1}\n'


def test_a_connection_that_shows_no_row_is_made_again(watched: Watched) -> None:
    patient = Chunks(BEAT, watched.after(19.9), BEAT, watched.after(0.1), BEAT, None)
    watched.run(patient, ROW % 1, until=1)
    assert watched.counters["first_row_timeouts"] == watched.counters["reconnects"] == 1
    assert watched.counters["heartbeats"] == 3


def test_heartbeats_alone_are_no_data_while_the_market_is_open(watched: Watched) -> None:
    quiet = Chunks(ROW % 1, watched.after(59.9), BEAT, watched.after(0.1), BEAT, None)
    assert watched.run(quiet, ROW % 2, until=2) == ["1", "2"]
    assert watched.counters["data_timeouts"] == watched.counters["reconnects"] == 1


def test_every_row_starts_the_watch_anew(watched: Watched) -> None:
    parts = [ROW % 1, watched.after(59.0), BEAT] * 5
    watched.run(Chunks(*parts, ROW % 2, None), until=6)
    assert watched.counters["data_timeouts"] == watched.counters["reconnects"] == 0


def test_while_the_market_is_closed_quiet_is_normal(watched: Watched) -> None:
    watched.is_open = False
    watched.run(Chunks(ROW % 1, watched.after(3600.0), BEAT, ROW % 2, None), until=2)
    assert watched.counters["data_timeouts"] == 0


def failing(watched: Watched, count: int, *before: Any) -> list[Chunks]:
    return [Chunks(*before, httpx.RemoteProtocolError("cut")) for _ in range(count)]


def longest_pauses(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Instead of a pause with jitter, its upper bound."""
    monkeypatch.setattr("common.feeds.backoff.random.uniform", lambda _, most: most)
    return watched.broker.slept


def test_pauses_double_and_health_with_data_starts_them_over(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = longest_pauses(watched, monkeypatch)
    bad = failing(watched, 3)
    idle = failing(watched, 1, BEAT, watched.after(HEALTHY_SECONDS))
    good = failing(watched, 1, ROW % 1, watched.after(HEALTHY_SECONDS))
    watched.run(*bad, *idle, *good, ROW % 2, until=2)
    assert slept == [1.0, 2.0, 4.0, 8.0, 1.0]


def test_connections_that_never_last_are_spoken_of(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.run(*failing(watched, 5, BEAT), ROW % 1, until=1)
    assert watched.counters["short_lived"] == 1
    assert "too many streams (GEX_TRADESTATION_STREAMS)" in caplog.text


# --- symbols -----------------------------------------------------------------------------------


def read_source(watched: Watched, source: Source, until: int) -> None:
    """Read a source until so many rows came."""
    seen: list[Row] = []
    enough = asyncio.Event()

    async def deliver(arrival: Arrival) -> None:
        seen.extend(arrival.rows)
        if len(seen) >= until:
            enough.set()

    async def watch() -> None:
        reader = StreamReader(
            watched.broker.client, source, deliver, watched.counters, sleep=watched.broker.sleep
        )
        reading = asyncio.create_task(reader.run())
        waiting = asyncio.create_task(enough.wait())
        await asyncio.wait({reading, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if reading.done():
            reading.result()
        reading.cancel()
        await asyncio.gather(reading, waiting, return_exceptions=True)

    asyncio.run(watch())


def quotes(watched: Watched, *symbols: str, then: Any = None) -> None:
    body = "".join(f'{{"Symbol":"{symbol}","Bid":"1"}}\n' for symbol in symbols).encode()
    path = f"/v3/marketdata/stream/quotes/{','.join(symbols)}"
    watched.broker.on(path, httpx.Response(200, stream=Chunks(body, then)))


def test_a_list_that_is_too_long_is_halved_until_it_is_not(watched: Watched) -> None:
    for long in ("A,B,C,D,E", "A,B,C"):
        watched.broker.on(f"/v3/marketdata/stream/quotes/{long}", httpx.Response(414, text="long"))
    for part in (["A", "B"], ["C"], ["D", "E"]):
        quotes(watched, *part)
    read_source(watched, Source.of_quotes("quotes", ("A", "B", "C", "D", "E")), until=5)
    assert watched.counters["split_streams"] == 2
    assert watched.counters["rows"] == 5
    assert watched.broker.slept == []


def test_one_symbol_cannot_be_halved(watched: Watched) -> None:
    path = "/v3/marketdata/stream/quotes/A"
    watched.broker.on(path, httpx.Response(414))
    with pytest.raises(UsageError, match="414"):
        read_source(watched, Source.of_quotes("quotes", ("A",)), until=1)


def test_a_refused_symbol_is_not_asked_for_again_but_the_first_always_is(
    watched: Watched,
) -> None:
    refused = b'{"Symbol":"bad","Error":"FAILED, INVALID SYMBOL"}\n'
    refused += b'{"Symbol":"SPY","Error":"FAILED, EX_NOT_ENTITLED"}\n'
    path = "/v3/marketdata/stream/quotes/SPY,BAD,$VIX.X"
    watched.broker.on(path, httpx.Response(200, stream=Chunks(refused)))
    quotes(watched, "SPY", "$VIX.X")
    read_source(watched, Source.of_quotes("quotes", ("SPY", "BAD", "$VIX.X")), until=2)
    assert watched.counters["refused_symbols"] == 2
    assert watched.counters["reconnects"] == 1


# --- the first pass --------------------------------------------------------------------------


def contract(strike: float) -> Contract:
    return Contract("SPY", Expiry(date(2026, 11, 24)), strike, "C")


def test_a_pass_is_complete_when_every_listed_contract_was_seen() -> None:
    first = FirstPass({"a": 2, "b": 1}, began=0.0)
    first.saw("a", contract(1), 0.1)
    first.saw("a", contract(1), 0.2)
    first.saw("b", contract(1), 0.2)
    assert not first.is_complete(0.2, has_spot=True)
    assert first.missing() == {"a": 1}
    first.saw("a", contract(2), 0.3)
    assert not first.is_complete(0.3, has_spot=False)
    assert first.is_complete(0.3, has_spot=True)
    assert first.missing() == {}


def test_a_stream_that_falls_silent_has_shown_what_it_has() -> None:
    first = FirstPass({"a": 0, "b": 50}, began=0.0)
    first.saw("a", contract(1), 1.0)
    first.saw("b", contract(1), 2.0)
    assert not first.is_complete(2.0 + 0.9 * IDLE_SECONDS, has_spot=True)
    assert first.is_complete(2.0 + IDLE_SECONDS, has_spot=True)


def test_an_end_marker_is_accepted() -> None:
    first = FirstPass({"a": 50}, began=0.0)
    first.saw("a", contract(1), 0.1)
    first.ended("a")
    first.ended("quotes")
    assert first.is_complete(0.1, has_spot=True)


def test_an_empty_chain_is_waited_for_until_the_patience_is_over() -> None:
    first = FirstPass({"a": 1, "empty": 0}, began=0.0)
    first.saw("a", contract(1), 0.1)
    assert not first.is_complete(PATIENCE_SECONDS - 0.1, has_spot=True)
    assert first.is_complete(PATIENCE_SECONDS, has_spot=True)
    assert not FirstPass({"a": 1}, began=0.0).is_complete(PATIENCE_SECONDS, has_spot=True)
