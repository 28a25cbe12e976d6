"""When the wire got what: noted once a batch, before it is written, never too late."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from fake_site import MARKET, MONDAY_AT_11, FakeTimers
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from workers.simulator.exchange import Exchange
from workers.simulator.market import Market
from workers.simulator.paced_market import Pace, PacedMarket
from workers.simulator.quotas import RateLimits
from workers.simulator.server import application
from workers.simulator.site import Site
from workers.simulator.timeline import Timeline
from workers.simulator.tokens import Login, Tokens
from workers.simulator.wire_log import Note, WireLog

STEP = 5000
CHAIN = "/v3/marketdata/stream/options/chains/SPY?strikeProximity=1000"
QUOTES = "/v3/marketdata/stream/quotes/SPY"
FORM = {"grant_type": "refresh_token", **dict.fromkeys(("client_id", "client_secret"), "simulator")}

# --- notes -----------------------------------------------------------------------------------


def test_a_stream_that_is_behind_is_noted_as_early_as_it_could_have_written() -> None:
    log = WireLog()
    log.note("near", 100, 107, behind=False)
    log.note("far", 100, 108, behind=True)
    log.note("near", 400, 455, behind=True)
    log.note("near", 450, 457, behind=False)
    log.note("near", 500, 590, behind=True)
    assert log.since(0) == {
        "near": [(100, 107), (400, 107), (450, 457), (500, 457)],
        "far": [(100, 0)],
    }


def test_notes_are_chosen_by_when_a_board_was_due() -> None:
    log = WireLog()
    for due in (100, 200, 300):
        log.note("near", due, due + 250, behind=False)
    assert log.since(200) == {"near": [(200, 450), (300, 550)]}


def test_the_oldest_notes_go_and_the_log_says_so() -> None:
    log = WireLog(kept=2)
    log.note("near", 100, 101, behind=False)
    log.note("near", 200, 201, behind=False)
    assert log.dropped_until_us == 0
    log.note("near", 300, 301, behind=False)
    assert log.dropped_until_us == 100
    assert log.since(0) == {"near": [(200, 201), (300, 301)]}


# --- streams ---------------------------------------------------------------------------------


class Connection:
    """A reader: what it was written, beside what was noted by then."""

    no_keep_alive = False

    def __init__(self, site: Site) -> None:
        self._site = site
        self.written: list[tuple[bytes, dict[str, list[Note]]]] = []
        self.head = self.body = b""
        self.full = False
        self.held: asyncio.Future[None] | None = None

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Nobody closes it."""

    def write_headers(
        self, start_line: Any, headers: HTTPHeaders, chunk: bytes = b""
    ) -> asyncio.Future[None]:
        """The head of the reply."""
        self.head, self.body = str(start_line).encode(), chunk or b""
        return self._taken()

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        """A chunk; what it holds is taken at once unless the reader is ``full``."""
        notes = self._site.wire.since(0) if self._site.wire else {}
        self.written.append((chunk, notes))
        return self._taken()

    def finish(self) -> None:
        """The end."""

    def _taken(self) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.full:
            self.held = future
        else:
            future.set_result(None)
        return future


class Served:
    """A market at 2,000 quotes a second, and a reader of it."""

    def __init__(self, market: Market) -> None:
        self.timers = FakeTimers()
        exchange = Exchange(market, Timeline(market.dates), step_us=STEP, wall=self.timers.wall)
        self.site = Site(
            exchange, Tokens(Login(), self.timers), RateLimits(self.timers), heartbeat_seconds=60.0
        )
        self.application = application(self.site)
        self.connection = Connection(self.site)
        token = self.site.tokens.grant({**FORM, "refresh_token": "simulator"})["access_token"]
        self._headers = HTTPHeaders({"Authorization": f"Bearer {token}", "Host": "simulator"})

    def ask(self, path: str) -> Awaitable[None] | None:
        """Begin a request."""
        request = HTTPServerRequest(
            start_line=RequestStartLine("GET", path, "HTTP/1.1"),
            headers=self._headers,
            connection=self.connection,  # type: ignore[arg-type]  as far as it is used
        )
        return self.application(request)

    async def open(self, path: str) -> None:
        """Open a stream and let it tell all there is."""
        self.ask(path)
        await self.settle()

    async def step(self, late_us: int = 0) -> int:
        """A step of the market, taken so late; when it was due."""
        exchange = self.site.exchange
        exchange.at_us += STEP
        self.timers.now = 100.0 + (exchange.at_us - MONDAY_AT_11 + late_us) / 1e6
        desk = exchange.desk("SPY")
        assert desk is not None
        desk.step(exchange.at_us)
        await self.settle()
        return exchange.at_us

    async def settle(self) -> None:
        """Let whatever is ready run."""
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
def served() -> Served:
    return Served(PacedMarket(MARKET, Pace(2000.0)))


def test_a_batch_is_noted_once_before_it_is_written(served: Served) -> None:
    async def story() -> None:
        await served.open(CHAIN)
        desk = served.site.exchange.desk("SPY")
        assert desk is not None
        shard = desk.contracts.expiries[0].shard
        assert served.site.wire is not None
        assert served.site.wire.since(0) == {shard: [(MONDAY_AT_11, 0)]}
        due = [await served.step(late_us=700) for _ in range(3)]
        told = [(MONDAY_AT_11, 0), *((each, each + 700) for each in due)]
        assert [notes for _, notes in served.connection.written[-4:]] == [
            {shard: told[: count + 1]} for count in range(4)
        ]

    asyncio.run(story())


def test_lines_in_chunks_of_their_own_are_noted_once(served: Served) -> None:
    async def story() -> None:
        served.site.chunking = "line"
        await served.open(CHAIN)
        before = len(served.connection.written)
        due = await served.step(late_us=700)
        assert served.site.wire is not None
        ((_, notes),) = served.site.wire.since(0).items()
        assert notes == [(MONDAY_AT_11, 0), (due, due + 700)]
        assert len(served.connection.written) > before + 1
        assert all(
            seen == served.site.wire.since(0) for _, seen in served.connection.written[before:]
        )

    asyncio.run(story())


def test_a_stream_of_quotes_is_noted_under_no_shard(served: Served) -> None:
    async def story() -> None:
        await served.open(QUOTES)
        assert served.site.wire is not None
        assert served.site.wire.since(0) == {"": [(MONDAY_AT_11, 0)]}
        await served.step()  # the underlying stands still
        assert served.site.wire.since(0) == {"": [(MONDAY_AT_11, 0)]}

    asyncio.run(story())


def test_what_a_reader_holds_up_is_not_noted_later_than_it_could_have_gone(served: Served) -> None:
    async def story() -> None:
        await served.open(CHAIN)
        first = await served.step(late_us=500)
        served.connection.full = True
        second = await served.step(late_us=500)
        held = await served.step(late_us=500)
        served.connection.full = False
        assert served.connection.held is not None
        served.connection.held.set_result(None)
        await served.settle()
        after = await served.step(late_us=500)
        assert served.site.wire is not None
        ((_, notes),) = served.site.wire.since(first).items()
        assert notes == [
            (first, first + 500),
            (second, second + 500),
            (held, second + 500),
            (after, after + 500),
        ]

    asyncio.run(story())


def test_a_heartbeat_tells_no_board(served: Served) -> None:
    async def story() -> None:
        await served.open(QUOTES)
        served.site.heartbeat_seconds, served.connection.full = 0.0, True
        before = len(served.connection.written)
        for stream in served.site.streams:
            stream.wake()
        await served.settle()
        assert b"Heartbeat" in served.connection.written[before][0]
        assert served.site.wire is not None
        assert served.site.wire.since(0) == {"": [(MONDAY_AT_11, 0)]}

    asyncio.run(story())


# --- the endpoint ----------------------------------------------------------------------------


def asked(served: Served, path: str) -> tuple[bytes, Any]:
    """Head and body of a reply."""

    async def ask() -> None:
        served.ask(path)
        await served.settle()

    asyncio.run(ask())
    return served.connection.head, orjson.loads(served.connection.body)


def test_the_notes_can_be_asked_for(served: Served) -> None:
    assert served.site.wire is not None
    served.site.wire.note("near", 100, 101, behind=False)
    served.site.wire.note("", 200, 201, behind=False)
    head, body = asked(served, "/_simulator/wire")
    assert b"200" in head
    assert body["notes"] == {"near": [[100, 101]], "": [[200, 201]]}
    assert body["dropped_until_wall_us"] == 0
    assert asked(served, "/_simulator/wire?from_wall_us=150")[1]["notes"] == {"": [[200, 201]]}
    head, body = asked(served, "/_simulator/wire?from_wall_us=noon")
    assert b"400" in head
    assert "from_wall_us" in body["Message"]


def test_a_market_without_a_pace_notes_nothing() -> None:
    served = Served(MARKET)
    asyncio.run(served.open(CHAIN))
    assert served.connection.written
    head, body = asked(served, "/_simulator/wire")
    assert b"400" in head
    assert "--quotes-per-second" in body["Message"]
