"""`gex up`, `gex down`, `gex replay`: starting and ending the whole platform.

Owns the commands' options and what is refused before anything is started; a run's life stands
in workers.commands.run.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from common.errors import ServiceError, UsageError
from common.servers.background import remove_group
from common.servers.supervisor import end_leftovers
from common.settings import parse_speed
from workers.commands.feeds import feed_options
from workers.commands.run import Run
from workers.context import Context, console


def up(
    symbols: Annotated[str | None, typer.Option(help="Underlyings, e.g. SPY,QQQ.")] = None,
    feed: Annotated[
        str | None,
        typer.Option(
            help="simulator, tradestation, cboe (no account, 15 minutes old), recording, or none "
            "(servers only); or by symbol: SPY=tradestation,QQQ=cboe."
        ),
    ] = None,
    recording: Annotated[
        Path | None, typer.Option(help="A recorded day (CSV, or a file of `gex record`).")
    ] = None,
    speed: Annotated[
        str | None, typer.Option(help="Speed of a recording: max, or a multiple of real time.")
    ] = None,
    exit_at_end: Annotated[
        bool, typer.Option("--exit-at-end", help="Stop when the recording is played and stored.")
    ] = False,
    seconds: Annotated[
        float | None, typer.Option("--for", help="Stop after this many seconds.", min=0.1)
    ] = None,
    no_dashboard: Annotated[bool, typer.Option("--no-dashboard", help="Serve no page.")] = False,
) -> None:
    """Start the whole platform here: servers, feed, workers, levels. Ctrl-C stops it all.

    Without options a simulator of TradeStation feeds it, with a session that is open now. Servers
    that GEX_REDIS_URL or GEX_DATABASE_URL name are used instead of the embedded ones.

    Example: gex up --feed recording --recording spy_0dte_2026-08-19.csv.gz --exit-at-end
    """
    if recording is not None and feed is None:
        feed = "recording"
    context = Context.load(
        symbols=symbols,
        **feed_options(feed),
        recording=None if recording is None else str(recording.expanduser().absolute()),
        speed=speed,
    )
    _check_feed(context)
    raise typer.Exit(Run(context, exit_at_end, seconds, dashboard=not no_dashboard)())


def replay(
    files: Annotated[list[Path], typer.Argument(help="Recorded days of one symbol.")],
    speed: Annotated[str, typer.Option(help="max, or a multiple of real time.")] = "max",
    symbols: Annotated[
        str | None, typer.Option("--symbol", help="The recording's underlying.")
    ] = None,
) -> None:
    """Play recordings through the whole pipeline, in an instance of its own.

    It lives under `replay` in the state directory and never touches live keys. Look at what it
    left with GEX_STATE_DIR set to that folder.
    """
    before = Context.load()
    overrides: dict[str, Any] = {
        "state_dir": before.settings.state_dir / "replay",
        **feed_options("recording"),
        "recording": os.pathsep.join(str(path.expanduser().absolute()) for path in files),
        "speed": speed,
        "symbols": symbols,
    }
    for name in ("redis_url", "database_url"):
        if getattr(before.settings, name) is not None:
            raise UsageError(
                f"a replay never touches live keys: unset GEX_{name.upper()}, or play into a "
                "server of its own with `gex up --feed recording`"
            )
    context = Context.load(**overrides)
    _check_feed(context)
    raise typer.Exit(Run(context, exit_at_end=True, seconds=None)())


def down() -> None:
    """Stop the instance of this state directory, and anything a killed start left behind."""
    instance = Context.load().instance
    holder = instance.holder()
    if holder is not None:
        try:
            process = psutil.Process(holder)
            process.send_signal(signal.SIGTERM)
            process.wait(120)
        except psutil.NoSuchProcess:
            pass
        except psutil.TimeoutExpired as error:
            raise ServiceError(f"process {holder} does not stop; see {instance.log_dir}") from error
    ended = end_leftovers(instance)
    instance.remove_run_dir()
    remove_group(instance.group)
    console.print("nothing runs here" if holder is None and not ended else "stopped")


def _check_feed(context: Context) -> None:
    """Refuse what cannot be fed before anything is started."""
    settings = context.settings
    try:
        parse_speed(settings.speed)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if "simulator" in settings.feeds_in_use and settings.simulator_faults:
        from workers.simulator.faults.schedule import read_schedule  # noqa: PLC0415

        read_schedule(settings.simulator_faults, settings.simulator_seed)
    played = settings.feeds_in_use.get("recording")
    if played is None:
        return
    from common.feeds.playback import RecordingFeed  # noqa: PLC0415  numpy, only when needed

    if not settings.recording:
        raise UsageError("--feed recording needs --recording FILE")
    if len(played) != 1:
        raise UsageError("a recording holds one symbol; give --symbols one")
    paths = [Path(part) for part in settings.recording.split(os.pathsep)]
    RecordingFeed(paths, symbol=played[0]).check()
