"""`gex record`: the raw frames of a live session, written as they come.

Owns the command and where files are put; the format stands in common.feeds.frames. What it
wrote is played by `gex replay`.
"""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.live import Live
from rich.table import Table

from common.clock import new_york_time, wall_us
from common.errors import UsageError
from common.feeds.frames import Recorder
from workers.commands.feeds import by_feed, feed_options, make_broker_feeds, make_recorder
from workers.context import Context, console

if TYPE_CHECKING:
    from common.feeds.tradestation.feed import TradeStationFeed

_REFRESH_SECONDS = 0.5
_BROKERS = ("tradestation", "simulator")


def record(
    symbols: Annotated[str | None, typer.Option(help="Underlyings, e.g. SPY,QQQ.")] = None,
    feed: Annotated[
        str | None, typer.Option(help="tradestation, or simulator (a running one).")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the files; `recordings` in the state directory by default."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--for", help="Stop after this many seconds.", min=0.1)
    ] = None,
) -> None:
    """Write what the broker's streams send, raw, a recording for each symbol and session.

    It needs no servers, but streams of its own: beside a platform that uses the same login, set
    GEX_RECORD_DIR for the platform instead, which writes the same files from its own streams.

    Example: gex record --for 60; gex replay .gex/recordings/SPY_2026-11-24.frames.gz
    """
    context = Context.load(symbols=symbols, **feed_options(feed))
    brokers = [part for part in by_feed(context) if part.settings.feed in _BROKERS]
    if not brokers:
        raise UsageError("only a broker's streams can be recorded: --feed tradestation|simulator")
    context.instance.make_folders()
    folder = out or context.settings.state_dir / "recordings"
    recorder = make_recorder(context, folder)
    feeds = [
        feed for part in brokers for feed in make_broker_feeds(part, tap=recorder.open).values()
    ]
    asyncio.run(_record(feeds, recorder, seconds))
    for writer in recorder.writers:
        console.print(f"{writer.path}  {writer.count:,} lines, {writer.size / 1e6:,.2f} MB")


async def _record(feeds: list[TradeStationFeed], recorder: Recorder, seconds: float | None) -> None:
    """Read the feeds until their session ends, the time is up, or a signal comes."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    async def read(feed: TradeStationFeed) -> None:
        async for session in feed.sessions():
            async for _ in session.frames():
                pass
            return  # one session; the next trading date is another recording

    reading = asyncio.gather(*(read(feed) for feed in feeds))
    stopped = asyncio.create_task(stop.wait())
    began = time.monotonic()
    waited: set[asyncio.Future[Any]] = {reading, stopped}
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while not reading.done() and not stopped.done():
            if seconds is not None and time.monotonic() - began >= seconds:
                break
            live.update(_progress(recorder, time.monotonic() - began), refresh=True)
            await asyncio.wait(
                waited, timeout=_REFRESH_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
    if reading.done():
        reading.result()
    reading.cancel()
    stopped.cancel()
    with suppress(asyncio.CancelledError):
        await reading


def _progress(recorder: Recorder, elapsed: float) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    for writer in recorder.writers:
        table.add_row(
            new_york_time(wall_us()),
            f"{elapsed:,.0f} s",
            writer.path.name,
            f"{writer.count:,} lines",
            f"{writer.size / 1e6:,.2f} MB",
        )
    return table if recorder.writers else Table("waiting for the session …", box=None)
