"""What a session follows: strikes, contracts next to the money, VIX; and how that moves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from broker import Broker

from common.clock import parse_instant
from common.feeds.frames import FrameWriter, Header
from common.feeds.playback import RecordingFeed
from common.feeds.tradestation.budget import StreamBudget
from common.feeds.tradestation.feed import TradeStationFeed, TradeStationSession
from common.feeds.tradestation.following import PAUSE_SECONDS
from common.feeds.tradestation.listing import Choice
from common.feeds.tradestation.open_streams import OVERLAP_SECONDS, Allowance
from common.models import QuoteUpdate, SnapshotEnd, Update, VixUpdate, one_by_one
from common.selection import ExpirationRule, StrikeRule

NOON = parse_instant("2026-11-24T12:00")
CHAIN = "/v3/marketdata/stream/options/chains/SPY"
STRIKES = "/v3/marketdata/options/strikes/SPY"
SNAPSHOT = "/v3/marketdata/quotes/SPY"
LISTED = list(range(640, 701))


def lines(*rows: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def contract(strike: int, right: str = "C", **fields: Any) -> dict[str, Any]:
    return {"Bid": "1", "Ask": "1.1", **fields, "Legs": [{"Symbol": f"SPY 261124{right}{strike}"}]}


def spot(price: float, **fields: Any) -> dict[str, Any]:
    return {"Symbol": "SPY", "Last": str(price), **fields}


class SpokenLine(httpx.AsyncByteStream):
    """A stream that says what the test wants, when it wants it."""

    def __init__(self, *first: bytes) -> None:
        self.said: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.closed = False
        for part in first:
            self.said.put_nowait(part)

    def reply(self) -> httpx.Response:
        return httpx.Response(200, stream=self)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (part := await self.said.get()) is not None:
            yield part

    async def aclose(self) -> None:
        self.closed = True


class Stage:
    """One session against a scripted broker; time moves by the test alone."""

    def __init__(self, folder: Path, choice: Choice, allowance: Allowance | None = None) -> None:
        self.broker, self.time = Broker(folder), 1000.0
        self.chains: list[SpokenLine] = []
        self.quotes: dict[str, SpokenLine] = {}
        self.updates: list[Update] = []
        self.prices = 670.0
        self.feed = TradeStationFeed(
            self.broker.client, "SPY", choice, allowance or Allowance(),
            wall=lambda: NOON, sleep=self.broker.sleep, now=lambda: self.time,
        )  # fmt: skip
        self.session: TradeStationSession
        days = [{"Date": "2026-11-24T00:00:00Z", "Type": "Weekly"}]
        on = self.broker.on
        on("/v3/marketdata/options/spreadtypes", httpx.Response(200, json={}))
        on(
            "/v3/marketdata/options/expirations/SPY",
            httpx.Response(200, json={"Expirations": days}),
        )
        self.list_strikes(LISTED)
        on(SNAPSHOT, lambda: httpx.Response(200, json={"Quotes": [spot(self.prices)]}))
        on(CHAIN, self._open_chain)

    def list_strikes(self, strikes: list[int]) -> None:
        legs = [[str(strike)] for strike in strikes]
        self.broker.on(STRIKES, httpx.Response(200, json={"Strikes": legs}))

    def _open_chain(self) -> httpx.Response:
        self.chains.append(SpokenLine())
        return self.chains[-1].reply()

    def quote(self, names: str, *rows: dict[str, Any]) -> None:
        """What the stream of these symbols begins with."""

        def open_quotes() -> httpx.Response:
            self.quotes[names] = SpokenLine(lines(*rows))
            return self.quotes[names].reply()

        self.broker.on(f"/v3/marketdata/stream/quotes/{names}", open_quotes)

    def asked(self, number: int = -1) -> dict[str, str]:
        return dict(self.broker.asked(CHAIN)[number].url.params)

    def play(self, act: Callable[[Stage], Any]) -> None:
        """Read the session while ``act`` (a coroutine function) goes on."""

        async def run() -> None:
            self.session = await anext(self.feed.sessions())

            async def read() -> None:
                async for frame in self.session.frames():
                    self.updates += one_by_one(frame)

            reading = asyncio.create_task(read())
            acting = asyncio.create_task(act(self))
            await asyncio.wait({reading, acting}, return_when=asyncio.FIRST_COMPLETED)
            reading.cancel()
            acting.cancel()
            for outcome in await asyncio.gather(reading, acting, return_exceptions=True):
                if isinstance(outcome, Exception):
                    raise outcome

        asyncio.run(asyncio.wait_for(run(), 20.0))

    async def until(self, true: Callable[[], object]) -> None:
        """Let the session go on until something is so."""
        while not true():
            await asyncio.sleep(0)

    async def say(self, line: SpokenLine, *rows: dict[str, Any]) -> None:
        """Say rows and let the session take them all."""
        count = self.session.counters["rows"] + len(rows)
        line.said.put_nowait(lines(*rows))
        await self.until(lambda: self.session.counters["rows"] >= count)

    async def first_pass(self, *strikes: int) -> None:
        """Show a chain and end its first pass."""
        await self.until(lambda: self.chains and self.quotes)
        rows = [contract(strike, right) for strike in strikes for right in "CP"]
        self.chains[0].said.put_nowait(lines(*rows, {"StreamStatus": "EndSnapshot"}))
        await self.until(lambda: any(isinstance(each, SnapshotEnd) for each in self.updates))

    async def move(self, price: float) -> None:
        """Let spot be another one, after the pause between two moves."""
        self.time += PAUSE_SECONDS
        self.prices = price
        newest = list(self.quotes.values())[-1]
        await self.say(newest, spot(price))


def choice(**options: Any) -> Choice:
    return Choice(ExpirationRule.parse("1"), **options)


def centred(stage: Stage, number: int = -1) -> tuple[str, str]:
    asked = stage.asked(number)
    return asked["priceCenter"], asked["strikeProximity"]


# --- windows ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "asked", "contracts"),
    [
        ("1%", ("670", "8"), 32),  # 664 to 676: seven at or below, and one for the edge
        ("5", ("670", "6"), 24),
        ("1000", None, 122),
        ("60", None, 122),
    ],
)
def test_a_rule_for_strikes_becomes_a_request(
    tmp_path: Path, rule: str, asked: tuple[str, str] | None, contracts: int
) -> None:
    stage = Stage(tmp_path, choice(strikes=StrikeRule.parse(rule)))
    stage.quote("SPY", spot(670.0))

    async def act(stage: Stage) -> None:
        await stage.until(lambda: stage.chains)

    stage.play(act)
    assert stage.session.chains[0].contracts == contracts
    if asked is None:
        assert "priceCenter" not in stage.asked()
        assert stage.asked()["strikeProximity"] == "1000"
    else:
        assert centred(stage) == asked


def test_a_delta_is_turned_into_strikes_by_the_straddle(tmp_path: Path) -> None:
    stage = Stage(tmp_path, choice(strikes=StrikeRule.parse("delta 0.02")))
    stage.quote("SPY", spot(670.0))
    straddle = [{"Symbol": f"spy 261124{right}670", "Bid": "2.60", "Ask": "2.74"} for right in "cp"]
    stage.broker.on(
        "/v3/marketdata/quotes/SPY 261124C670,SPY 261124P670",
        httpx.Response(200, json={"Quotes": straddle}),
    )

    async def act(stage: Stage) -> None:
        await stage.until(lambda: stage.chains)

    stage.play(act)
    window = stage.session.chains[0].window
    assert window is not None
    assert (window.low, window.high) == (
        pytest.approx(653.1, abs=0.1),
        pytest.approx(687.4, abs=0.1),
    )


@pytest.mark.parametrize(
    "reply", [{"Quotes": []}, {}, {"Quotes": [{"Symbol": "SPY", "Last": ""}]}, None]
)
def test_without_a_price_the_whole_board_is_followed(tmp_path: Path, reply: Any) -> None:
    stage = Stage(tmp_path, choice(strikes=StrikeRule.parse("1%")))
    answer = httpx.Response(404) if reply is None else httpx.Response(200, json=reply)
    stage.broker.on(SNAPSHOT, answer)
    stage.quote("SPY", spot(670.0))

    async def act(stage: Stage) -> None:
        await stage.until(lambda: stage.chains)

    stage.play(act)
    assert stage.session.chains[0].window is None
    assert stage.asked()["strikeProximity"] == "1000"


def test_no_wanted_expiration_is_waited_for(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Choice(ExpirationRule.parse("monthlies")))
    monthly = [{"Date": "2026-12-18T00:00:00Z", "Type": "Monthly"}]
    weekly = [{"Date": "2026-11-24T00:00:00Z", "Type": "Weekly"}]
    stage.broker.on(
        "/v3/marketdata/options/expirations/SPY",
        *(httpx.Response(200, json={"Expirations": days}) for days in (weekly, weekly + monthly)),
    )
    session = asyncio.run(anext(stage.feed.sessions()))  # type: ignore[arg-type]
    assert [str(chain.expiry.expiration) for chain in session.chains] == ["2026-12-18"]
    assert len(stage.broker.slept) == 1


# --- centred anew ----------------------------------------------------------------------------


def drifting(stage: Stage) -> None:
    stage.quote("SPY", spot(670.0))


def test_a_new_window_holds_the_old_one_and_overlaps_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path, choice(strikes=StrikeRule.parse("1%")))
    drifting(stage)

    async def act(stage: Stage) -> None:
        await stage.first_pass(669, 670)
        await stage.move(671.0)  # less than a quarter of the way
        await stage.move(672.0)
        await stage.until(lambda: len(stage.chains) == 2)
        old, new = stage.chains
        await stage.say(new, contract(678))
        await stage.say(old, contract(664, Bid="3"))  # still heard
        stage.time += OVERLAP_SECONDS
        await stage.until(lambda: old.closed)
        await stage.say(new, contract(664, Bid="4"))

    stage.play(act)
    assert centred(stage) == ("672", "10")  # down to 664, which the first one followed
    assert stage.session.counters["recentred_chains"] == 1
    assert stage.session.counters["reconnects"] == 0
    assert [u.bid for u in stage.updates if isinstance(u, QuoteUpdate) and u.strike == 664] == [
        3,
        4,
    ]


def test_spot_that_swings_opens_no_stream_before_the_pause_is_over(tmp_path: Path) -> None:
    stage = Stage(tmp_path, choice(strikes=StrikeRule.parse("1%")))
    drifting(stage)

    async def act(stage: Stage) -> None:
        await stage.first_pass(669, 670)
        await stage.move(673.0)
        await stage.until(lambda: len(stage.chains) == 2)
        stage.time += PAUSE_SECONDS - 1.0
        for price in (664.0, 680.0, 664.0, 680.0):
            await stage.say(stage.quotes["SPY"], spot(price))
        await stage.say(stage.chains[1], contract(673))
        assert len(stage.chains) == 2
        await stage.move(680.0)
        await stage.say(stage.quotes["SPY"], spot(680.5))
        await stage.until(lambda: len(stage.chains) == 3)

    stage.play(act)


@pytest.mark.parametrize("rule", ["1%", "1000"])
def test_nothing_moves_where_it_is_not_wanted(tmp_path: Path, rule: str) -> None:
    never = 0.0 if rule == "1%" else 0.25
    stage = Stage(tmp_path, choice(strikes=StrikeRule.parse(rule), recentre=never))
    drifting(stage)

    async def act(stage: Stage) -> None:
        await stage.first_pass(669, 670)
        for price in (680.0, 690.0):
            await stage.move(price)
        await stage.say(stage.chains[0], contract(670))

    stage.play(act)
    assert len(stage.chains) == 1
    assert len(stage.broker.asked(STRIKES)) == 1


def test_a_window_at_the_end_of_the_board_needs_no_new_stream(tmp_path: Path) -> None:
    stage = Stage(tmp_path, choice(strikes=StrikeRule.parse("1%")))
    stage.list_strikes(list(range(665, 676)))
    drifting(stage)

    async def act(stage: Stage) -> None:
        await stage.first_pass(669, 670)
        await stage.move(675.0)
        await stage.until(lambda: len(stage.broker.asked(STRIKES)) == 2)
        await stage.move(674.9)
        await stage.say(stage.chains[0], contract(670))

    stage.play(act)
    assert len(stage.chains) == 1
    assert stage.session.counters["recentred_chains"] == 0


def test_a_window_that_cannot_be_had_is_tried_again(tmp_path: Path) -> None:
    stage = Stage(tmp_path, choice(strikes=StrikeRule.parse("1%")))
    drifting(stage)

    async def act(stage: Stage) -> None:
        await stage.first_pass(669, 670)
        stage.broker.on(STRIKES, httpx.Response(501))
        await stage.move(675.0)
        await stage.until(lambda: stage.session.counters["recentring_failures"] == 1)
        stage.list_strikes(LISTED)
        await stage.move(675.1)
        await stage.until(lambda: len(stage.chains) == 2)

    stage.play(act)


def test_a_replacement_that_is_refused_leaves_the_old_stream(tmp_path: Path) -> None:
    stage = Stage(tmp_path, choice(strikes=StrikeRule.parse("1%")))
    drifting(stage)

    async def act(stage: Stage) -> None:
        await stage.first_pass(669, 670)
        stage.broker.on(CHAIN, httpx.Response(400, json={"Error": "BadRequest"}))
        await stage.move(675.0)
        await stage.until(lambda: stage.session.counters["refused_replacements"] == 1)
        await stage.say(stage.chains[0], contract(670, Bid="5"))
        await stage.until(lambda: getattr(stage.updates[-1], "bid", 0) == 5)

    stage.play(act)


# --- the budget --------------------------------------------------------------------------------


@pytest.mark.parametrize(("streams", "gaps"), [(3, 0), (2, 1)])
def test_a_stream_is_replaced_within_the_budget(tmp_path: Path, streams: int, gaps: int) -> None:
    budget = StreamBudget(tmp_path / "streams", streams)
    stage = Stage(tmp_path, choice(strikes=StrikeRule.parse("1%")), Allowance(budget))
    drifting(stage)

    async def act(stage: Stage) -> None:
        await stage.first_pass(669, 670)
        await stage.move(675.0)
        await stage.until(lambda: len(stage.chains) == 2)
        assert stage.chains[0].closed is bool(gaps)
        await stage.say(stage.chains[1], contract(678))
        stage.time += OVERLAP_SECONDS
        await stage.until(lambda: stage.chains[0].closed)

    stage.play(act)
    assert stage.session.counters["gaps_for_want_of_streams"] == gaps
    assert stage.session.counters["budget_waits"] == 0
    free = [budget.take() for _ in range(streams)]
    assert None not in free  # all are given back at the end
    for slot in free:
        assert slot is not None
        slot.release()


@pytest.mark.parametrize(("counts", "waits"), [(True, 1), (False, 0)])
def test_streams_of_quotes_count_or_do_not(tmp_path: Path, counts: bool, waits: int) -> None:
    allowance = Allowance(StreamBudget(tmp_path / "streams", 1), counts_quotes=counts)
    stage = Stage(tmp_path, choice(), allowance)
    drifting(stage)

    async def act(stage: Stage) -> None:
        await stage.until(lambda: stage.quotes)
        await stage.until(lambda: stage.chains or stage.session.counters["budget_waits"])

    stage.play(act)
    assert stage.session.counters["budget_waits"] == waits
    assert len(stage.chains) == 1 - waits


# --- quotes ------------------------------------------------------------------------------------

NEAR = "SPY,spy 261124C670,spy 261124P670"


def test_contracts_next_to_the_money_are_quoted_in_the_hosts_own_spelling(tmp_path: Path) -> None:
    stage = Stage(tmp_path, choice(near_money=2))
    drifting(stage)
    first = {"Symbol": "spy 261124c670", "Bid": "2"}
    stage.quote(NEAR, spot(670.2), first)
    stage.quote(NEAR.replace("670", "675"), spot(675.0))

    async def act(stage: Stage) -> None:
        rows = [contract(strike, right) for strike in (669, 670, 675) for right in "CP"]
        for row in rows:
            row["Legs"][0]["Symbol"] = row["Legs"][0]["Symbol"].replace("SPY", "spy")
        await stage.until(lambda: stage.chains)
        stage.chains[0].said.put_nowait(lines(*rows, {"StreamStatus": "EndSnapshot"}))
        await stage.until(lambda: NEAR in stage.quotes)
        await stage.say(stage.chains[0], contract(670, Bid="1.5"))
        await stage.say(stage.quotes[NEAR], {"Symbol": "SPY 261124C670", "BidSize": "7"})
        await stage.until(lambda: getattr(stage.updates[-1], "bid_size", 0) == 7)
        await stage.move(675.0)
        await stage.until(lambda: len(stage.quotes) == 3)

    stage.play(act)
    of_670 = [
        (u.bid, u.bid_size)
        for u in stage.updates
        if isinstance(u, QuoteUpdate) and u.strike == 670 and u.right == "C"
    ]
    assert of_670 == [(1.0, -1), (2.0, -1), (1.5, -1), (1.5, 7)]  # the newest wins
    assert stage.session.counters["refused_rows"] == 0
    assert stage.session.counters["recentred_quotes"] == 2


def test_long_lists_of_quotes_become_several_streams(tmp_path: Path) -> None:
    stage = Stage(tmp_path, choice(near_money=4, symbols_per_stream=3))
    drifting(stage)
    stage.quote(NEAR.upper(), spot(670.0))
    stage.quote("SPY 261124C669,SPY 261124P669", {"Symbol": "SPY 261124C669", "Bid": "9"})

    async def act(stage: Stage) -> None:
        await stage.first_pass(669, 670)
        await stage.until(lambda: any(getattr(u, "bid", 0) == 9 for u in stage.updates))

    stage.play(act)
    assert len(stage.quotes) == 3


def test_vix_is_kept_beside_and_is_no_price_of_the_underlying(tmp_path: Path) -> None:
    stage = Stage(tmp_path, choice(quote_symbols=("VIX", "SPY")))
    path = tmp_path / "spy.frames.gz"
    stage.feed.tap = lambda session: FrameWriter(path, Header(session=session))
    vix = {"Symbol": "$vix.x", "Last": "17.31"}
    stage.quote("SPY,$VIX.X", spot(670.0), vix, {"Symbol": "$VIX.X", "NetChange": "1"}, vix)

    async def act(stage: Stage) -> None:
        await stage.first_pass(669, 670)

    stage.play(act)
    assert stage.session.beside.levels == {"VIX": 17.31}
    assert stage.session.counters["other_quotes"] == 2
    assert stage.session.counters["refused_rows"] == 0

    async def replay() -> tuple[list[VixUpdate], int]:
        async for session in RecordingFeed([path], "SPY").sessions():
            played = [update async for frame in session.frames() for update in frame]
            found = [update for update in played if isinstance(update, VixUpdate)]
            return found, session.counters["refused_rows"]
        raise AssertionError

    told = [update for update in stage.updates if isinstance(update, VixUpdate)]
    assert [update.level for update in told] == [17.31]  # said once, however often it comes
    assert asyncio.run(replay()) == (told, 0)


@pytest.mark.parametrize(
    ("flags", "delayed"),
    [
        ({"IsDelayed": True, "IsHalted": False}, 1),
        ({"IsDelayed": False}, 0),
        ({"IsDelayed": None}, 0),
        (None, 0),
        ("delayed", 0),
    ],
)
def test_delayed_quotes_are_noticed_once(
    tmp_path: Path, flags: Any, delayed: int, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(tmp_path, choice())
    stage.quote("SPY", spot(670.0, MarketFlags=flags), spot(671.0, MarketFlags=flags))

    async def act(stage: Stage) -> None:
        await stage.first_pass(669, 670)

    stage.play(act)
    assert stage.session.counters["delayed_symbols"] == delayed
    assert caplog.text.count("is quoted with a delay") == delayed
    assert not stage.session.counters["malformed_lines"]


def test_quotes_of_many_symbols_are_asked_for_in_parts(tmp_path: Path) -> None:
    stage = Stage(tmp_path, choice(symbols_per_stream=4))
    session = asyncio.run(anext(stage.feed.sessions()))  # type: ignore[arg-type]
    on, path = stage.broker.on, "/v3/marketdata/quotes/"
    on(f"{path}A,B,C,D", httpx.Response(414))
    for part in ("A,B", "C,D", "E"):
        rows = [{"Symbol": name} for name in part.split(",")]
        on(path + part, httpx.Response(200, json={"Quotes": rows}))
    found = asyncio.run(session.listing.snapshot(("A", "B", "C", "D", "E")))
    assert sorted(found) == ["A", "B", "C", "D", "E"]
