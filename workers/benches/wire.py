"""Figures of TradeStation's wire: bytes to merged updates, from memory and over a socket.

Owns measuring them. The rows are those that the simulator sends: a session's first pass and its
changes, the contracts nearest the money for quotes. References: msgspec decoding the same lines
into a Struct of the same fields and nothing else, the lines cut beforehand; httpx's own lines
and the json module on the same server. Everything keeps to one processor, calls take turns,
medians of the processor's time are compared: neither others on the machine nor the server's
pace count.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Callable
from typing import Any, cast

import httpx
import msgspec
import numpy as np
import orjson

from common.clock import SECOND, session_hours
from common.feeds.tradestation.book import Book
from common.feeds.tradestation.rows import Rows
from common.feeds.tradestation.wire import Lines
from common.feeds.transport import STREAM, StreamTransport
from common.models import QuoteColumns, Update
from workers.benches.figure import Figure, interleaved, one_processor, ratio
from workers.benches.sample import DAY
from workers.benches.servers import own_simulator
from workers.simulator.desk import Desk
from workers.simulator.model_market import ModelMarket
from workers.simulator.quotes import Quoted, full_quotes
from workers.simulator.subscriptions import ChainSubscription, QuoteSubscription

_ROWS_A_CHUNK, _STEPS, _QUOTES, _ROUNDS = 20, 30, 100, 41


class _Leg(msgspec.Struct):
    Symbol: str


class _Flags(msgspec.Struct):
    IsDelayed: bool = False


class _Chain(msgspec.Struct):
    """The fields of a chain row that the platform looks at."""

    Heartbeat: int | None = None
    StreamStatus: str | None = None
    Error: str | None = None
    Symbol: str | None = None
    DailyOpenInterest: int | None = None
    Ask: str | None = None
    Bid: str | None = None
    AskSize: int | None = None
    BidSize: int | None = None
    Last: str | None = None
    Volume: int | None = None
    MarketFlags: _Flags | None = None
    Legs: list[_Leg] | None = None


class _Quote(msgspec.Struct):
    """The fields of a quote that the platform looks at, all in quotes."""

    Heartbeat: int | None = None
    StreamStatus: str | None = None
    Error: str | None = None
    Symbol: str | None = None
    DailyOpenInterest: str | None = None
    Ask: str | None = None
    Bid: str | None = None
    AskSize: str | None = None
    BidSize: str | None = None
    Last: str | None = None
    Volume: str | None = None
    MarketFlags: _Flags | None = None
    Legs: list[_Leg] | None = None


def run() -> list[Figure]:
    """The figures of the wire."""
    with one_processor():
        chain, quotes, changes = _session()
        figures = [
            _parsed("parse_chain", chain, _Chain, 0.5),
            _parsed("parse_quotes", quotes, _Quote, 0.5),
            _parsed("parse_changes", changes, _Quote, None),
        ]
        return [*figures, *_over_a_socket()]


def _session() -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Lines of a chain stream, of quotes in full, and of a quote stream with its changes."""
    at = session_hours(DAY)[0] + 9000 * SECOND
    desk = Desk(ModelMarket(7).day("SPY", DAY), at)
    front = np.flatnonzero(desk.contracts.expiry_index == 0)
    distance = np.abs(desk.contracts.strikes[front] - desk.underlying.last)
    nearest = front[np.argsort(distance, kind="stable")][:_QUOTES].tolist()
    quoted = [Quoted(desk.contracts.names[place], desk, place) for place in nearest]
    chain = ChainSubscription(desk, desk.listed.copy(), greeks=True)
    stream = QuoteSubscription(quoted)
    rows, quotes, changes = chain.take(), [], stream.take()
    for step in range(_STEPS):
        desk.step(at + step * SECOND)
        rows += chain.take()
        changes += stream.take()
        quotes += [orjson.dumps(each) + b"\n" for each in full_quotes(quoted, percent=False)]
    return rows, quotes, changes


def _parsed(figure_id: str, lines: list[bytes], shape: type, goal: float | None) -> Figure:
    """Chunks to merged updates against decoding alone."""
    chunks = [
        b"".join(lines[at : at + _ROWS_A_CHUNK]) for at in range(0, len(lines), _ROWS_A_CHUNK)
    ]
    decode: Callable[[bytes], object] = msgspec.json.Decoder(shape).decode
    cut = [line.rstrip(b"\n") for line in lines]
    book, framing = Book("SPY"), Lines()

    def ours() -> int:
        return sum(_quotes(book.apply_all(Rows(framing.feed(c)), 1)) for c in chunks)

    def bare() -> None:
        for line in cut:
            decode(line)

    assert ours() == len(lines)  # noqa: S101
    times = interleaved({"ours": ours, "bare": bare}, rounds=_ROUNDS, clock=time.process_time)
    return ratio(
        figure_id,
        own=len(lines) / times["ours"],
        name="msgspec decoding the same lines into a Struct",
        reference=len(lines) / times["bare"],
        unit="rows/s",
        goal=goal,
    )


def _over_a_socket() -> list[Figure]:
    """First passes of a simulator's chain, some rows a chunk, read through httpx; its market
    stands still.
    """
    options = ("--step", "3600", "--chunking", str(_ROWS_A_CHUNK))
    with own_simulator(*options) as simulator:
        reading = _Reading(simulator.url, simulator.token)
        ways = {"ours": reading.merged, "lines": reading.lines, "bytes": reading.bytes}
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(_ROUNDS):
            for name, way in ways.items():
                seconds[name].append(way())
    rates = {name: reading.rows / statistics.median(each) for name, each in seconds.items()}
    return [
        ratio(
            figure_id,
            own=rates[own],
            name="httpx iter_lines and json on the same server",
            reference=rates["lines"],
            unit="rows/s",
            goal=goal,
        )
        for figure_id, own, goal in (("wire_chain", "ours", 5.0), ("wire_ceiling", "bytes", None))
    ]


def _quotes(updates: list[Update]) -> int:
    return sum(len(each) if isinstance(each, QuoteColumns) else 1 for each in updates)


class _Reading:
    """Three ways to read a first pass; each returns the processor's time after the head [s]."""

    def __init__(self, url: str, token: str) -> None:
        base = f"{url}/v3/marketdata"
        self._options: dict[str, Any] = {
            "headers": {"Authorization": f"Bearer {token}"},
            "trust_env": False,
        }
        self._client = httpx.Client(**self._options)
        listed = self._client.get(f"{base}/options/expirations/SPY").json()["Expirations"]
        strikes = self._client.get(f"{base}/options/strikes/SPY").json()["Strikes"]
        self._url = (
            f"{base}/stream/options/chains/SPY?strikeProximity=1000"
            f"&expiration={listed[0]['Date'][:10]}"
        )
        self.rows = 2 * len(strikes)
        self._book = Book("SPY")

    def merged(self) -> float:
        """As the platform does: chunks, lines, messages, merged updates."""
        return asyncio.run(self._merged())

    async def _merged(self) -> float:
        count, lines = 0, Lines()
        async with httpx.AsyncClient(**self._options, transport=StreamTransport()) as client:
            request = client.build_request("GET", self._url, extensions={STREAM: True})
            reply = await client.send(request, stream=True)
            began = time.process_time()
            async for chunk in cast(httpx.AsyncByteStream, reply.stream):
                count += _quotes(self._book.apply_all(Rows(lines.feed(chunk)), 1))
                if count >= self.rows:
                    break
            took = time.process_time() - began
            await reply.aclose()
            return took

    def lines(self) -> float:
        """The plain way: a line, its JSON."""
        with self._client.stream("GET", self._url) as reply:
            began = time.process_time()
            for count, line in enumerate(reply.iter_lines(), 1):
                json.loads(line)
                if count >= self.rows:
                    break
            return time.process_time() - began

    def bytes(self) -> float:
        """Nothing but the bytes: what httpx itself costs, a bound to every reader."""
        count = 0
        with self._client.stream("GET", self._url) as reply:
            began = time.process_time()
            for chunk in reply.iter_raw():
                count += chunk.count(b"\n")
                if count >= self.rows:
                    break
            return time.process_time() - began
