"""What the frames of a simulated session say, and how they keep time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import date

from common.clock import SECOND, parse_instant
from common.feeds.model import ChainChanges, MarketModelFeed
from common.market_model import MarketModel
from common.models import QuoteUpdate, SnapshotEnd, SpotUpdate, Update, contract_keys

SEED = 7
SUNDAY = parse_instant("2026-11-22T15:00:00")
FRIDAY = date(2026, 11, 20)  # the date simulated on that Sunday, from 10:00 on


class FakeTime:
    """Wall time that only sleeping moves; it may oversleep or wake early."""

    def __init__(self, at_us: int = SUNDAY) -> None:
        self.at_us = at_us
        self.sleeps: list[float] = []
        self.error: Callable[[int], int] = lambda asked: asked

    def wall(self) -> int:
        """The fake wall time [us]."""
        return self.at_us

    async def sleep(self, seconds: float) -> None:
        """Pass the time at once."""
        self.sleeps.append(seconds)
        self.at_us += self.error(round(seconds * SECOND))


def frames_at(time: FakeTime, count: int) -> list[list[Update]]:
    """The first frames of the session that runs now."""
    feed = MarketModelFeed(
        symbol="SPY", seed=SEED, stale_after_us=SECOND, wall=time.wall, sleep=time.sleep
    )

    async def collect() -> list[list[Update]]:
        async for session in feed.sessions():
            return await take(session.frames(), count)
        return []

    return asyncio.run(collect())


async def take(frames: AsyncIterator[list[Update]], count: int) -> list[list[Update]]:
    """The first frames of a session."""
    taken = []
    async for frame in frames:
        taken.append(frame)
        if len(taken) == count:
            break
    return taken


def times_of(frame: list[Update]) -> set[int]:
    """The market times of a frame's updates."""
    return {update.time for update in frame}


def test_first_frame_is_the_whole_chain() -> None:
    frame = frames_at(FakeTime(), 1)[0]
    model = MarketModel(symbol="SPY", seed=SEED, trading_date=FRIDAY)
    at_us = parse_instant("2026-11-20T10:00:00")
    assert frame[0] == SpotUpdate(at_us, model.spot(at_us))
    assert frame[-1] == SnapshotEnd(at_us)
    expected = [
        (
            expiry,
            row["key"],
            row["bid"],
            row["ask"],
            row["bid_size"],
            row["ask_size"],
            row["volume"],
            row["open_interest"],
        )
        for expiry, rows in model.quotes(at_us).items()
        for row in rows
    ]
    told = []
    for update in frame[1:-1]:
        assert isinstance(update, QuoteUpdate)
        assert (update.time, update.seq, update.withdrawn) == (at_us, -1, False)
        key = contract_keys(strikes=update.strike, puts=update.right == "P")
        told.append(
            (
                update.expiry,
                key,
                update.bid,
                update.ask,
                update.bid_size,
                update.ask_size,
                update.volume,
                update.open_interest,
            )
        )
    assert told == expected


Contract = tuple[str, int]  # shard label and contract key


class Board:
    """What a reader of the frames knows."""

    def __init__(self) -> None:
        self.spot = float("nan")
        self.quotes: dict[Contract, QuoteUpdate] = {}

    def apply(self, updates: list[Update]) -> None:
        """Take in a frame; an update that says nothing new fails."""
        for update in updates:
            if isinstance(update, SpotUpdate):
                assert update.price != self.spot
                self.spot = update.price
            elif isinstance(update, QuoteUpdate):
                key = int(contract_keys(strikes=update.strike, puts=update.right == "P"))
                known = self.quotes.get((update.expiry.shard, key))
                assert known is None or said(update) != said(known)
                self.quotes[update.expiry.shard, key] = update


def said(update: QuoteUpdate) -> tuple[float, float, int]:
    """What an update is worth sending for."""
    return update.bid, update.ask, update.volume


def test_later_frames_say_what_changed_and_lead_to_the_same_board() -> None:
    model = MarketModel(symbol="SPY", seed=SEED, trading_date=FRIDAY)
    start = parse_instant("2026-11-20T11:00:00")
    changes, board, waits = ChainChanges(model), Board(), [0]
    board.apply(changes.full(start))
    true_at = dict.fromkeys(board.quotes, start)
    for at_us in range(start + 250_000, start + 45 * 250_000, 250_000):
        updates = changes.since_last(at_us)
        board.apply(updates)
        assert times_of(updates) == {at_us}
        assert len(updates) < len(board.quotes)
        assert board.spot == model.spot(at_us)
        for expiry, rows in model.quotes(at_us).items():
            for row in rows:
                told = board.quotes[expiry.shard, int(row["key"])]
                assert (told.bid, told.ask) == (row["bid"], row["ask"])
                if told.volume == row["volume"]:
                    true_at[expiry.shard, int(row["key"])] = at_us
                assert told.volume <= row["volume"]
        waits.append(max(at_us - since for since in true_at.values()))
    assert 0 < max(waits) < 20 * 250_000  # a volume alone waits for its turn, and no longer


def test_nothing_new_gives_no_frame() -> None:
    changes = ChainChanges(MarketModel(symbol="SPY", seed=SEED, trading_date=FRIDAY))
    changes.full(parse_instant("2026-11-20T20:00:00"))
    assert changes.since_last(parse_instant("2026-11-20T20:00:01")) == []


def test_frames_lie_on_the_step_grid_of_market_time() -> None:
    time = FakeTime(parse_instant("2026-11-23T11:00:00.123456"))
    frames = frames_at(time, 5)
    first = parse_instant("2026-11-23T11:00:00")
    assert [times_of(frame) for frame in frames] == [{first + n * 250_000} for n in range(5)]
    assert time.wall() == first + 4 * 250_000


def test_a_timer_that_rings_early_is_waited_for_again() -> None:
    time = FakeTime(parse_instant("2026-11-23T11:00:00"))
    time.error = lambda asked: max(asked - 1000, asked // 2, 1)
    frames = frames_at(time, 3)
    assert times_of(frames[2]) == {parse_instant("2026-11-23T11:00:00.500")}
    assert time.wall() == parse_instant("2026-11-23T11:00:00.500")


def test_steps_missed_by_a_busy_process_are_left_out() -> None:
    time = FakeTime(parse_instant("2026-11-23T11:00:00"))
    time.error = lambda asked: asked + 10 * SECOND + 1
    frames = frames_at(time, 3)
    assert times_of(frames[1]) == {parse_instant("2026-11-23T11:00:10.250")}
    assert times_of(frames[2]) == {parse_instant("2026-11-23T11:00:20.500")}


def test_every_step_yields_to_the_event_loop_even_when_late() -> None:
    time = FakeTime(parse_instant("2026-11-23T11:00:00"))
    time.error = lambda asked: asked + SECOND
    frames_at(time, 4)
    assert len(time.sleeps) == 3
    assert all(0 <= seconds <= 0.25 for seconds in time.sleeps)


def test_two_runs_say_the_same() -> None:
    one, other = (frames_at(FakeTime(), 6) for _ in range(2))
    assert repr(one) == repr(other)
    assert sum(len(frame) for frame in one[1:]) > 100
