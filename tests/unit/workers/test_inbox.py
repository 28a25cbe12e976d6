"""Frames wait in order, the feed waits for room, and a stop lets both go."""

from __future__ import annotations

import asyncio

from common.clock import SECOND
from common.models import SpotUpdate, Update
from workers import inbox
from workers.inbox import Inbox


def frame(number: int) -> list[Update]:
    return [SpotUpdate(number * SECOND, 640.0)]


def test_frames_come_out_as_they_went_in() -> None:
    async def run() -> None:
        box = Inbox(asyncio.Event())
        for number in range(3):
            await box.put(frame(number))
        await asyncio.wait_for(box.wait(60.0), 10)
        assert [box.take() for _ in range(4)] == [*map(frame, range(3)), None]
        await box.wait(0.001)  # nothing has come: the time is up

    asyncio.run(run())


def test_a_full_inbox_lets_the_feed_wait_until_there_is_room() -> None:
    async def run() -> None:
        box = Inbox(asyncio.Event())
        for number in range(inbox._FRAMES):
            await box.put(frame(number))
        late = asyncio.create_task(box.put(frame(-1)))
        await asyncio.sleep(0)
        assert not late.done()
        assert box.take() == frame(0)
        await asyncio.wait_for(late, 10)
        assert box.frames[-1] == frame(-1)

    asyncio.run(run())


def test_a_stop_lets_a_feed_go_that_waits_for_room() -> None:
    async def run() -> None:
        stop = asyncio.Event()
        box = Inbox(stop)
        for number in range(inbox._FRAMES):
            await box.put(frame(number))
        late = asyncio.create_task(box.put(frame(-1)))
        await asyncio.sleep(0)
        stop.set()
        box.wake()
        await asyncio.wait_for(late, 10)
        assert box.frames[-1] == frame(-1)

    asyncio.run(run())
