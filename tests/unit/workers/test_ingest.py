"""The ingestor: a feed onto the streams, once each; a replay's levels in order, none too early."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import fakeredis
import pytest
import redis
from fakes import (
    NOON,
    OTHER,
    PARAMETERS,
    SESSION,
    SHARD,
    STREAM,
    TODAY,
    TOMORROW,
    FakeMemory,
    LossyRedis,
    Worker,
    everything,
    make_session,
    set_back,
)

from common.batcher import Batcher
from common.bus import keys
from common.bus.cache import Cache
from common.bus.codec import Batch
from common.bus.entries import Burial
from common.bus.producer import Keep, Producer
from common.clock import SECOND
from common.errors import FeedError, FencedError
from common.models import Expiry, QuoteUpdate, Session, SnapshotEnd, SpotUpdate, Update
from common.tick import TickPolicy, publish_tick
from workers.delivery import Delivery, Patience, Restraint
from workers.ingest import Ingestor, Pace

NEVER = Pace(flush_seconds=3600.0, flush_rows=100_000)
AT_ONCE = Pace(flush_seconds=0.0)
REPLAY = {"feed": "recording", "replay": True, "resume": False}
Frames = list[list[Update]]


class PumpedRedis(LossyRedis):
    """A Redis where waiting for news is the moment in which the workers work."""

    pump: Callable[[], None] = staticmethod(lambda: None)
    appends = 0
    after_append: Callable[[int], None] = staticmethod(lambda number: None)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command; after an append, something may happen."""
        answer = super().execute_command(*args, **options)
        if args[0] == "EVALSHA" and keys.appended("SPY") in args:
            self.appends += 1
            self.after_append(self.appends)
        return answer

    def xread(self, streams: Any, count: Any = None, block: Any = None) -> Any:
        """What is new once the workers have worked; nobody ever waits."""
        self.pump()
        return super().xread(streams, count=count)


@dataclass
class FakeFeed:
    """Sessions that were thought up, one after the other."""

    plan: list[FakeSession]

    async def sessions(self) -> AsyncIterator[FakeSession]:
        """All of them."""
        for session in self.plan:
            yield session


@dataclass
class FakeSession:
    """The frames of a session; between them, and at their end, something may happen."""

    frames_: Frames
    session: Session = field(default_factory=lambda: make_session(epoch=0))
    before: Callable[[int], None] = lambda number: None
    counters: dict[str, int] = field(default_factory=dict)
    at_end: Callable[[], None] | None = None
    """Called when all frames were given; the source then stays silent until it is left."""

    async def frames(self) -> AsyncIterator[list[Update]]:
        """The frames."""
        for number, frame in enumerate(self.frames_):
            self.before(number)
            yield frame
        if self.at_end is not None:
            self.at_end()
            await asyncio.Event().wait()


def frame(
    seconds: float = 0.0, *strikes: float, expiry: Expiry = TODAY, end: bool = False
) -> list[Update]:
    """What arrives together some time after noon."""
    at = NOON + round(seconds * SECOND)
    quotes = [
        QuoteUpdate(expiry, strike, "C", at, bid=1.0, ask=1.1, open_interest=5)
        for strike in strikes or (640.0,)
    ]
    return [SpotUpdate(at, 640.0), *quotes, *([SnapshotEnd(at)] if end else [])]


class Stage:
    """A Redis, the workers behind it, and an ingestor in front of it."""

    def __init__(self, *, pace: Pace = AT_ONCE) -> None:
        self.server = fakeredis.FakeServer()
        self.client = PumpedRedis(server=self.server)
        self.there = fakeredis.FakeRedis(server=self.server)  # the workers' own connection
        self.cache = Cache(self.there)
        self.worker = Worker(self.there)
        self.client.pump = self.worker.work  # type: ignore[method-assign]
        self.pace = pace
        self.asked: list[tuple[float, bool, bool]] = []
        """(seconds after noon, whether the session had ended, whether all was merged)."""
        self.delays: list[float] = []
        self.memory = FakeMemory()

    def ingestor(self, *plan: FakeSession) -> Ingestor:
        """An ingestor that plays a plan."""
        self.playing = Ingestor(
            *(self.client, "SPY", FakeFeed(list(plan)), self.pace, self.tick),
            memory=self.memory,
            sleep=self.sleep,
        )
        return self.playing

    def delivery(self) -> Delivery:
        """What stands between an ingestor's batches and Redis."""
        session = make_session()
        self.cache.save_session(session)
        return Delivery(
            cache=self.cache,
            session=session,
            producer=Producer(self.client, "SPY", session.epoch),
            batcher=Batcher(session, 2, clock=lambda: NOON),
            counters={},
            patience=Patience(lambda: False, self.sleep),
            check_seconds=3600.0,
            memory=self.memory,
            restraint=Restraint(),
        )

    def play(self, *plan: FakeSession) -> None:
        """Play a plan to its end."""
        asyncio.run(self.ingestor(*plan).run())

    def stop(self) -> None:
        """Tell the ingestor that plays to stop."""
        self.playing.stop()

    async def sleep(self, seconds: float) -> None:
        """No time passes."""
        self.delays.append(seconds)

    def tick(self, symbol: str, at: int) -> None:
        """What the Celery worker does when it is asked for a level."""
        session = self.session
        self.asked.append(((at - NOON) / SECOND, session.ended, self.merged_everything()))
        policy = TickPolicy(PARAMETERS, SECOND, "test")
        publish_tick(self.cache, symbol, policy, wall_us=lambda: NOON, at=at)

    def merged_everything(self) -> bool:
        """Whether the state includes the last entry of every shard."""
        marks = self.cache.watermark("SPY")
        last: dict[str, Any] = {
            shard: self.there.xrevrange(keys.quotes("SPY", shard), count=1)
            for shard in self.cache.shards("SPY")
        }
        return marks == {shard: rows[0][0].decode() for shard, rows in last.items()}

    @property
    def session(self) -> Session:
        """The present session."""
        session = self.cache.session("SPY")
        assert session is not None
        return session

    def appended(self, stream: str = STREAM) -> list[Batch]:
        """Every batch of a stream."""
        entries: Any = self.there.xrange(stream)
        return [Batch.decode(fields) for _, fields in entries]

    def quotes(self) -> int:
        """How many quotes are on the streams of both expiries."""
        return sum(
            len(batch.quotes)
            for shard in (SHARD, OTHER)
            for batch in self.appended(keys.quotes("SPY", shard))
        )


@pytest.fixture
def stage() -> Stage:
    """A stage where everything that arrives is flushed at once."""
    return Stage()


# --- live ------------------------------------------------------------------------------------


def test_what_arrives_is_on_the_streams(stage: Stage) -> None:
    both = frame(0, 640.0, 641.0) + frame(0, 640.0, expiry=TOMORROW)
    stage.play(FakeSession([both, frame(1, 642.0)]))
    assert stage.quotes() == 4
    assert stage.cache.shards("SPY") == [SHARD, OTHER]
    assert stage.cache.counters("SPY")["quotes_appended"] == 4


def test_a_session_gets_a_number_of_its_own(stage: Stage) -> None:
    stage.play(FakeSession([frame()]), FakeSession([frame()]))
    epochs = [batch.header.epoch for batch in stage.appended()]
    assert epochs[0] < epochs[1] == stage.session.epoch


def test_a_session_that_ends_is_marked_ended_when_all_of_it_is_merged(stage: Stage) -> None:
    merged_when_ended: list[bool] = []
    save = stage.client.set

    def look(name: str, value: Any, **options: Any) -> Any:
        if name == keys.session("SPY"):
            merged_when_ended.append(stage.merged_everything())
        return save(name, value, **options)

    stage.client.set = look  # type: ignore[method-assign]
    stage.play(FakeSession([frame(0), frame(1, 641.0)]))
    assert stage.session.ended
    assert merged_when_ended == [True]


def test_a_session_ends_though_nobody_merges(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(pace=Pace(flush_seconds=0.0, patience_seconds=1.0))
    stage.client.pump = lambda: None  # type: ignore[method-assign]
    with caplog.at_level(logging.ERROR):
        stage.play(FakeSession([frame()]))
    assert stage.session.ended
    assert "the last level may lack quotes" in caplog.text


def test_the_first_whole_chain_is_on_record_with_its_last_entries(stage: Stage) -> None:
    first = frame(0, 640.0, 641.0) + frame(0, 640.0, expiry=TOMORROW, end=True)
    session = FakeSession([first, frame(1), frame(2, end=True)])
    stage.play(session)
    assert stage.session.first_pass == {
        shard: stage.there.xrange(keys.quotes("SPY", shard), count=1)[0][0].decode()
        for shard in (SHARD, OTHER)
    }


def test_told_to_stop_it_appends_what_is_in_hand_and_ends_no_session() -> None:
    stage = Stage(pace=NEVER)
    session = FakeSession([frame(n, 640.0 + n) for n in range(5)], at_end=stage.stop)
    stage.play(session, FakeSession([frame(9)]))
    assert stage.quotes() == 5
    assert not stage.session.ended


def test_a_stop_leaves_nothing_behind_that_the_feed_had_given(stage: Stage) -> None:
    """Frames may stand in the queue when the signal comes."""
    session = FakeSession([frame(n, 640.0 + n) for n in range(50)])
    session.at_end = stage.stop
    stage.play(session)
    assert stage.quotes() == 50


def test_a_full_batch_does_not_wait_for_the_clock() -> None:
    stage = Stage(pace=Pace(flush_seconds=3600.0, flush_rows=2))
    session = FakeSession([frame(0, 640.0, 641.0), frame(1, 642.0)], at_end=stage.stop)
    stage.play(session)
    seen = [len(batch.quotes) for batch in stage.appended()]
    assert sum(seen) == 3
    assert max(seen) <= 2


def test_a_feed_that_breaks_off_loses_nothing_it_had_given() -> None:
    stage = Stage(pace=NEVER)

    def fail(number: int) -> None:
        if number == 2:
            raise FeedError("the stream went silent")

    with pytest.raises(FeedError, match="went silent"):
        stage.play(FakeSession([frame(0), frame(1), frame(2)], before=fail))
    assert stage.quotes() == 2
    assert not stage.session.ended


def test_lost_answers_make_no_duplicates(stage: Stage) -> None:
    def lose(number: int) -> None:
        if number:
            stage.client.lose_answers("EVALSHA", 3)

    stage.play(FakeSession([frame(n, 640.0 + n) for n in range(4)], before=lose))
    assert stage.quotes() == 4
    assert stage.cache.counters("SPY")["quotes_appended"] == 4
    assert stage.delays  # it waited before it tried again


def test_delays_grow_and_are_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    lose = lambda number: stage.client.lose_answers("EVALSHA", 9)  # noqa: E731
    stage.play(FakeSession([frame()], before=lose))
    assert stage.delays == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0, 5.0]


def test_a_second_ingestor_ends_the_first(stage: Stage) -> None:
    another = lambda number: stage.cache.next_epoch("SPY")  # noqa: E731
    with pytest.raises(FencedError):
        stage.play(FakeSession([frame(0), frame(1)], before=another))
    assert stage.quotes() == 0
    assert not stage.session.ended


@pytest.mark.parametrize(
    ("key", "resume", "kept"),
    [(SESSION, True, True), (SESSION, False, False), ("SPY:2026-08-20:simulator:1", True, False)],
)
def test_only_a_session_that_goes_on_keeps_its_board(
    stage: Stage, key: str, *, resume: bool, kept: bool
) -> None:
    stage.play(FakeSession([frame(expiry=TOMORROW)]))
    later = make_session(key=key, resume=resume, epoch=0)
    stage.play(FakeSession([frame(9)], session=later))
    assert (OTHER in stage.cache.shards("SPY")) is kept
    assert stage.appended()[-1].header.reset is not resume


# --- a Redis that fills up -------------------------------------------------------------------


SPARING = Pace(flush_seconds=0.0, flush_rows=2, restraint=Restraint(flush_seconds=0.0))


def test_at_the_second_mark_the_newest_quotes_alone_are_appended(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage(pace=Pace(flush_seconds=3600.0, flush_rows=2, restraint=Restraint()))
    stage.memory.filled = 0.8
    frames = [frame(n, 640.0 + n % 3) for n in range(30)]
    with caplog.at_level(logging.WARNING):
        stage.play(FakeSession(frames, at_end=stage.stop))
    counters = stage.cache.counters("SPY")
    assert counters["quotes_conflated_ingest"] > 20
    assert counters["quotes_appended"] == 30 - counters["quotes_conflated_ingest"]
    newest = {row["key"]: row["time"] for batch in stage.appended() for row in batch.quotes}
    assert sorted(newest.values()) == [NOON + second * SECOND for second in (27, 28, 29)]
    assert stage.session.conflated
    assert counters["conflations"] == 1
    assert caplog.text.count("the newest quotes alone are appended") == 1


def test_conflation_ends_some_way_below_where_it_began(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage(pace=SPARING)
    fillings = iter([0.81, 0.79, 0.76, 0.74, 0.79])
    look = FakeMemory.share

    def share() -> float:
        stage.memory.filled = next(fillings, 0.79)
        return look(stage.memory)

    stage.memory.share = share  # type: ignore[method-assign]
    seen: list[bool] = []

    async def play() -> None:
        delivery = stage.delivery()
        for _ in range(5):
            await delivery._look(0.0)
            seen.append(stage.session.conflated)

    with caplog.at_level(logging.WARNING):
        asyncio.run(play())
    assert seen == [True, True, True, False, False]
    assert caplog.text.count("the newest quotes alone are appended") == 1
    assert caplog.text.count("every quote again") == 1


def test_at_the_third_mark_nothing_is_appended_until_there_is_room(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage(pace=SPARING)
    stage.memory.filled = 0.9
    looks = 0

    def share() -> float:
        nonlocal looks
        looks += 1
        if looks == 3:
            assert stage.quotes() == 0
            stage.memory.filled = 0.5
        return stage.memory.filled

    stage.memory.share = share  # type: ignore[method-assign]
    stage.client.after_append = lambda number: stage.stop()  # type: ignore[method-assign]
    session = FakeSession([frame(n) for n in range(10)], at_end=lambda: None)
    with caplog.at_level(logging.WARNING):
        stage.play(session)
    assert stage.appended()[-1].quotes["time"][-1] == NOON + 9 * SECOND
    conflated = stage.cache.counters("SPY")["quotes_conflated_ingest"]
    assert stage.quotes() == 10 - conflated < 5
    assert caplog.text.count("nothing is appended") == 1
    assert caplog.text.count("appending again") == 1


def test_a_batch_that_redis_has_no_memory_for_is_tried_again(stage: Stage) -> None:
    refusals = iter([True, True])
    run = stage.client.execute_command

    def execute(*args: Any, **options: Any) -> Any:
        if keys.appended("SPY") in args and args[0] == "EVALSHA" and next(refusals, False):
            raise redis.exceptions.OutOfMemoryError("command not allowed")
        return run(*args, **options)

    stage.client.execute_command = execute  # type: ignore[method-assign]
    stage.client.after_append = lambda number: stage.stop()  # type: ignore[method-assign]
    stage.play(FakeSession([frame(n, 640.0 + n) for n in range(3)], at_end=lambda: None))
    assert stage.quotes() == 3
    assert stage.delays == []  # the feed is read on meanwhile


def test_the_first_whole_chain_is_on_record_once_it_is_appended() -> None:
    stage = Stage(pace=SPARING)
    stage.memory.filled = 0.95
    records: list[Any] = []

    def share() -> float:
        records.append(stage.session.first_pass)
        if len(records) == 2:
            stage.memory.filled = 0.1
        return stage.memory.filled

    stage.memory.share = share  # type: ignore[method-assign]
    stage.client.after_append = lambda number: stage.stop()  # type: ignore[method-assign]
    stage.play(FakeSession([frame(0, end=True)], at_end=lambda: None))
    assert records == [None, None]
    assert stage.session.first_pass == {SHARD: stage.there.xrange(STREAM, count=1)[0][0].decode()}


def test_a_replay_waits_for_memory_and_leaves_nothing_out() -> None:
    stage = Stage()
    stage.memory.filled = 0.85

    async def sleep(seconds: float) -> None:
        stage.delays.append(seconds)
        if len(stage.delays) == 3:
            stage.memory.filled = 0.5

    stage.sleep = sleep  # type: ignore[method-assign]
    stage.play(recorded(*(frame(s) for s in range(5))))
    assert len(stage.delays) == 3
    assert stage.quotes() == 5
    assert "quotes_conflated_ingest" not in stage.cache.counters("SPY")


# --- a Redis that was set back ---------------------------------------------------------------


def test_what_redis_has_lost_is_appended_again() -> None:
    stage = Stage(pace=Pace(flush_seconds=0.0, flush_rows=1))
    then: dict[bytes, bytes | None] = {}

    def lose(number: int) -> None:
        stage.worker.work()
        if number == 2:
            then.update(everything(stage.there))
        if number == 4:
            set_back(stage.there, then)

    stage.client.after_append = lose  # type: ignore[method-assign]
    stage.play(FakeSession([frame(n, 640.0 + n) for n in range(6)]))
    assert [batch.header.batch for batch in stage.appended()] == [1, 2, 3, 4, 5, 6]
    assert stage.merged_everything()
    counters = stage.cache.counters("SPY")
    assert counters["quotes_appended"] == counters["quotes_processed"] == stage.quotes() == 6
    assert counters["batches_reappended"] == counters["quotes_reappended"] == 2
    assert "batches_lost" not in counters


def test_a_loss_that_no_append_follows_is_made_good() -> None:
    stage = Stage(pace=Pace(flush_seconds=0.0, flush_rows=1, check_seconds=0.0))

    def lose(number: int) -> None:
        if number == 3:
            stage.there.flushall()
        if number == 6:
            stage.stop()

    stage.client.after_append = lose  # type: ignore[method-assign]
    session = FakeSession([frame(n, 640.0 + n) for n in range(3)], at_end=lambda: None)
    stage.play(session)
    assert stage.quotes() == 3
    assert stage.session.key == SESSION
    assert stage.cache.symbols() == ["SPY"]


def test_what_is_lost_for_good_is_on_record_and_asks_for_a_whole_chain() -> None:
    stage = Stage(pace=Pace(flush_seconds=0.0, flush_rows=1, keep=Keep(size=0)))
    lose = lambda number: stage.there.flushall() if number == 2 else None  # noqa: E731
    stage.client.after_append = lose  # type: ignore[method-assign]
    with pytest.raises(FeedError, match="lost 2 batches of SPY"):
        stage.play(FakeSession([frame(n, 640.0 + n) for n in range(4)]))
    assert stage.cache.counters("SPY")["batches_lost"] == 2
    ((since, until),) = stage.session.gaps
    assert since <= until
    stage.play(FakeSession([frame(9, end=True)]))
    assert stage.session.gaps == [(since, until)]
    stage.play(FakeSession([frame(9)], session=make_session(key="SPY:2026-08-20:simulator:1")))
    assert stage.session.gaps == []


def test_a_replay_that_loses_batches_plays_again_and_has_no_gap() -> None:
    stage = Stage(pace=Pace(keep=Keep(size=0)))
    frames = [frame(s, 640.0 + s) for s in (0, 1, 2)]
    lose = lambda number: stage.there.flushall() if number == 2 else None  # noqa: E731
    stage.client.after_append = lose  # type: ignore[method-assign]
    with pytest.raises(FeedError, match="no longer in memory"):
        stage.play(recorded(*frames))
    stage.play(recorded(*frames))
    assert stage.session.gaps == []
    state = stage.cache.state("SPY", SHARD)
    assert state is not None
    assert len(state.quote_rows()) == 3


# --- replay ----------------------------------------------------------------------------------


def recorded(*frames: list[Update]) -> FakeSession:
    """A recording of these frames."""
    return FakeSession(list(frames), session=make_session(epoch=0, **REPLAY))


def test_a_replay_asks_at_every_snapshot_and_every_instant_of_the_grid(stage: Stage) -> None:
    stage.play(recorded(*(frame(s, end=True) for s in (10, 35, 130, 180))))
    assert [at for at, _, _ in stage.asked] == [10, 35, 60, 120, 130, 180]


def test_a_level_within_a_millisecond_is_that_of_its_end(stage: Stage) -> None:
    """What is shown of an instant is all of it, and no quote of the snapshot is ahead of it."""
    stage.play(recorded(frame(10.0001231, end=True), frame(70.5, end=True)))
    assert [at for at, _, _ in stage.asked] == [10.001, 60, 70.5]


def test_an_instant_of_the_grid_on_a_frame_includes_that_frame(stage: Stage) -> None:
    """Frames that are no snapshots: the level of the instant comes when it has passed."""
    stage.play(recorded(frame(10, end=True), frame(60, 641.0), frame(130)))
    assert [at for at, _, _ in stage.asked] == [10, 60, 120, 130]
    second = stage.there.xrange(keys.level_stream("SPY"), count=2)[1][1]
    assert b'"contracts":2' in second[b"json"]


def test_there_is_no_level_before_the_first_whole_chain(stage: Stage) -> None:
    stage.play(recorded(frame(10), frame(70, 641.0, end=True), frame(130)))
    assert [at for at, _, _ in stage.asked] == [70, 120, 130]


def test_what_happens_at_the_source_is_counted(stage: Stage) -> None:
    counters = {"rows": 3, "reconnects": 1}

    def more(number: int) -> None:
        counters["rows"] += number

    stage.play(FakeSession([frame(0, end=True), frame(1)], counters=counters, before=more))
    found = stage.cache.counters("SPY")
    assert (found["feed_rows"], found["feed_reconnects"]) == (4, 1)


def test_no_level_is_asked_for_before_every_shard_has_passed_the_mark(stage: Stage) -> None:
    frames = [frame(s, end=True) + frame(s, expiry=TOMORROW, end=True) for s in (0, 60, 90, 240)]
    stage.play(recorded(*frames))
    assert [merged for _, _, merged in stage.asked] == [True] * 6


def test_only_the_last_level_comes_after_the_end(stage: Stage) -> None:
    stage.play(recorded(*(frame(s, end=True) for s in (0, 60, 120))))
    assert [(at, ended) for at, ended, _ in stage.asked] == [(0, False), (60, False), (120, True)]
    tick = stage.cache.tick("SPY")
    assert tick is not None
    assert (tick.at, tick.final) == (NOON + 120 * SECOND, True)
    assert stage.cache.levels("SPY")["state"] == "ended"


def test_empty_frames_end_no_replay_too_early_or_never(stage: Stage) -> None:
    stage.play(recorded([], frame(0, end=True), [], frame(60, end=True), []))
    assert [(at, ended) for at, ended, _ in stage.asked] == [(0, False), (60, True)]


def test_a_lost_answer_makes_no_level_come_too_early(stage: Stage) -> None:
    session = recorded(*(frame(s, 640.0 + s, end=True) for s in (0, 60, 120)))
    session.before = lambda number: stage.client.lose_answers("EVALSHA")
    stage.play(session)
    assert [(at, merged) for at, _, merged in stage.asked] == [(0, True), (60, True), (120, True)]
    assert stage.quotes() == 3


def test_an_entry_that_was_buried_holds_no_replay_up(stage: Stage) -> None:
    """It never enters a state, so the watermark alone would wait for it for ever."""
    session = recorded(*(frame(s, end=True) for s in (0, 60)))

    def bury_everything() -> None:
        for stream in stage.worker.streams.registered():
            if stream.startswith(keys.QUOTES_PREFIX):
                burials = [Burial(entry, "test") for entry in stage.worker.take()]
                stage.worker.streams.bury(keys.GREEKS_GROUP, stream, burials)

    stage.client.pump = bury_everything  # type: ignore[method-assign]
    stage.play(session)
    assert [at for at, _, _ in stage.asked] == [0, 60]
    assert stage.there.xlen(keys.dead(keys.GREEKS_GROUP)) == 2


@pytest.mark.parametrize("command", ["XREAD", "HGETALL", "XREVRANGE", "GET"])
def test_a_replay_waits_out_an_outage(stage: Stage, command: str) -> None:
    session = recorded(*(frame(s, end=True) for s in (0, 60)))
    session.before = lambda number: stage.client.lose_answers(command, 2)
    stage.play(session)
    assert sorted({at for at, _, _ in stage.asked}) == [0, 60]
    assert stage.session.ended


def test_a_replay_twice_is_the_same_to_the_byte() -> None:
    """But for the ids of its entries, which are those of the run."""
    frames = [frame(s, 638.0, 640.0 + s / 60, end=True) for s in (0, 45, 60, 200)]
    runs = []
    for _ in range(2):
        stage = Stage()
        stage.play(recorded(*frames))
        entries: Any = stage.there.xrange(keys.level_stream("SPY"))
        runs.append([fields[b"json"].partition(b'"watermark"')[0] for _, fields in entries])
    assert len(runs[0]) == 6
    assert runs[0] == runs[1]


def test_a_level_that_nobody_answers_is_asked_for_again(stage: Stage) -> None:
    """Celery may lose a message."""
    answer, lost = stage.tick, iter([True])
    times: list[int] = []

    def tick(symbol: str, at: int) -> None:
        times.append(at)
        if not next(lost, False):
            answer(symbol, at)

    stage.tick = tick  # type: ignore[method-assign]
    stage.play(recorded(frame(0, end=True)))
    assert times == [NOON, NOON]


@pytest.mark.parametrize("who", ["the Greeks workers", "the Celery worker"])
def test_a_replay_that_nobody_works_for_gives_up(who: str) -> None:
    stage = Stage(pace=Pace(patience_seconds=2.0))
    if who == "the Celery worker":
        stage.tick = lambda symbol, at: None  # type: ignore[method-assign]
    else:
        stage.client.pump = lambda: None  # type: ignore[method-assign]
    with pytest.raises(FeedError, match=f"{who} did not answer for 2 s"):
        stage.play(recorded(frame(0, end=True)))


def test_a_replay_that_is_told_to_stop_stops_and_ends_nothing(stage: Stage) -> None:
    answer = stage.tick

    def tick(symbol: str, at: int) -> None:
        answer(symbol, at)
        if at > NOON:
            stage.playing.stop()

    stage.tick = tick  # type: ignore[method-assign]
    stage.play(recorded(*(frame(s, end=True) for s in (0, 60, 120, 180))))
    assert [at for at, _, _ in stage.asked] == [0, 60]
    assert not stage.session.ended


def test_a_replay_keeps_its_pace() -> None:
    """At 60 × a minute of the market takes a second of the wall."""
    stage = Stage(pace=Pace(speed=60.0))
    waited: list[float] = []

    async def wait_for(stopped: Any, seconds: float) -> None:
        stopped.close()
        waited.append(round(seconds))
        raise TimeoutError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asyncio.wait_for", wait_for)
        stage.play(recorded(frame(0, end=True), frame(60, end=True), frame(180, end=True)))
    assert waited == [1, 2, 3]
    assert [at for at, _, _ in stage.asked] == [0, 60, 120, 180]
