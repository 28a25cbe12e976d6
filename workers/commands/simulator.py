"""`gex simulator`: the TradeStation stand-in.

Owns its options and putting it together; must not simulate anything itself.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.clock import SECOND, iso_ms, parse_instant
from common.errors import UsageError
from workers.commands.processes import idle
from workers.context import Context, console

if TYPE_CHECKING:
    from workers.simulator.market import Market
    from workers.simulator.memory import Memory
    from workers.simulator.site import Site

_LOGIN = "simulator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the command line asks for."""

    symbols: str | None
    recording: Path | None
    speed: float
    start: str | None
    step: float
    pause: float
    quotes_per_second: float | None
    once: bool
    client_id: str
    client_secret: str
    refresh_token: str
    token_ttl: float
    rotate: bool
    chunking: str
    heartbeat: float
    faults: str

    def check(self) -> None:
        """Refuse what cannot be.

        :raises UsageError: naming the option.
        """
        for name in ("speed", "step", "token_ttl", "heartbeat"):
            value = getattr(self, name)
            if not 0.0 < value < math.inf:
                raise UsageError(f"--{name.replace('_', '-')}: {value} is no number above 0")
        if not 0.0 <= self.pause < math.inf:
            raise UsageError(f"--pause: {self.pause} is no number of seconds")
        if self.quotes_per_second is not None:
            if not 0.0 <= self.quotes_per_second < math.inf:
                raise UsageError(f"--quotes-per-second: {self.quotes_per_second} is no number")
            if self.recording is not None:
                raise UsageError("--quotes-per-second is of the market model, not of a --recording")
        if self.once and self.recording is None:
            raise UsageError("--once needs --recording: the market model has no last date")


def simulator(
    symbols: Annotated[
        str | None,
        typer.Option(
            "--symbols",
            "--symbol",
            help="Underlyings beside the model's own, or the recording's, e.g. AAPL.",
        ),
    ] = None,
    recording: Annotated[
        Path | None, typer.Option(help="A recorded day (CSV, .gz too) instead of the model.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the market model.")] = None,
    speed: Annotated[float, typer.Option(help="Market seconds in a second of real time.")] = 1.0,
    start: Annotated[
        str | None, typer.Option(help="Market time to begin at (ISO 8601; New York if naive).")
    ] = None,
    step: Annotated[float, typer.Option(help="Real seconds between two market steps.")] = 0.25,
    pause: Annotated[float, typer.Option(help="Real seconds from a close to the next date.")] = 10,
    quotes_per_second: Annotated[
        float | None,
        typer.Option(
            help="Of each underlying, evenly spaced, prices standing still but for a cent; the "
            "model's own changes without."
        ),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Stay at the end of a recording; else it begins again.")
    ] = False,
    port: Annotated[
        int | None, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)
    ] = None,
    client_id: Annotated[str, typer.Option(help="API key that clients must show.")] = _LOGIN,
    client_secret: Annotated[str, typer.Option(help="Its secret.")] = _LOGIN,
    refresh_token: Annotated[str, typer.Option(help="The refresh token that is valid.")] = _LOGIN,
    token_ttl: Annotated[float, typer.Option(help="Life of an access token in seconds.")] = 1200.0,
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Give a new refresh token at each refresh.")
    ] = False,
    chunking: Annotated[
        str,
        typer.Option(
            help="Borders of a stream's chunks: line, merged, split (anywhere), or so many lines."
        ),
    ] = "merged",
    heartbeat: Annotated[float, typer.Option(help="Seconds of silence before a heartbeat.")] = 5.0,
    faults: Annotated[
        str | None,
        typer.Option(
            help="Faults that happen by themselves: a schedule (TOML), or 'all', one a minute in "
            "turn, or e.g. 'all:20s'."
        ),
    ] = None,
    when_needed: Annotated[
        bool, typer.Option("--when-needed", help="Stay idle unless the feed is the simulator.")
    ] = False,
) -> None:
    """Serve TradeStation's market data protocol over a market model, or over a recorded day.

    A client needs only another base URL: tokens from /oauth/token (client id, secret and
    refresh token are 'simulator' unless set), market data under /v3/marketdata. Every reply
    says what time the market has (header X-Market-Clock). A session is open whatever the wall
    clock says; a simulator that was killed goes on in the same market time.

    Beside the protocol, without a token:

    GET /_simulator/state: the market's date and time, open streams, counters.

    GET /_simulator/truth/SPY: spot and every contract, as last said.

    POST /_simulator/pace?quotes_per_second=2000: another pace of a market that was started with
    --quotes-per-second, where a contract's volume is the number of its quotes.

    GET /_simulator/wire?from_wall_us=0: of such a market, when its streams wrote what: for each
    expiration ("" for quotes) when a board was due and when its lines went out, in microseconds.

    GET /_simulator/faults: everything that can go wrong, with its arguments.

    POST /_simulator/NAME: let it go wrong, e.g. /_simulator/cut?path=chains or
    /_simulator/stall?seconds=30. There are: cut, go_away, dual_logon, stream_error, stall,
    stall_with_heartbeats, stream_budget, expire, rotate, unauthorized, rate_limit,
    quota_forbidden, unavailable, duplicate, reorder, zeros, missing, lower_case, gap, bad_json,
    long_line, clock_skew, half_day.

    A schedule of faults (--faults, or GEX_SIMULATOR_FAULTS for gex up) is a TOML file with a table
    \\[\\[fault]] for each: name = "stall", at = "+90s" (real time after the start) or "11:02:00"
    (New York, on each date), every = "10m" if it comes again, and arguments such as seconds = 30.
    What happened when stands in /_simulator/state.

    Example: gex simulator --recording spy_0dte_2026-08-19.csv.gz --speed 60
    """
    context = Context.load(symbols=symbols, simulator_seed=seed, simulator_faults=faults)
    if when_needed and "simulator" not in context.settings.feeds_in_use:
        idle(f"the feed is {context.settings.feed!r}; there is nothing to simulate")
        return
    wishes = Wishes(
        symbols=symbols,
        recording=recording,
        speed=speed,
        start=start,
        step=step,
        pause=pause,
        quotes_per_second=quotes_per_second,
        once=once,
        client_id=client_id,
        client_secret=client_secret,
        refresh_token=refresh_token,
        token_ttl=token_ttl,
        rotate=rotate,
        chunking=chunking,
        heartbeat=heartbeat,
        faults=context.settings.simulator_faults,
    )
    wishes.check()
    logging.basicConfig(
        level=context.settings.log_level,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    _serve(context, wishes, port)


def _serve(context: Context, wishes: Wishes, port: int | None) -> None:
    from workers.simulator.faults.schedule import read_schedule  # noqa: PLC0415  numpy
    from workers.simulator.memory import Memory  # noqa: PLC0415  numpy, only where it is needed
    from workers.simulator.server import Server  # noqa: PLC0415

    instance, settings = context.instance, context.settings
    schedule = read_schedule(wishes.faults, settings.simulator_seed) if wishes.faults else None
    instance.make_folders()
    runtime = instance.runtime_or_decide()
    if port is None:
        port = runtime.simulator_port or settings.simulator_port
    memory = Memory(instance.state_dir)
    with memory.lock():
        site = _site(context, wishes, memory)
        server = Server(site, settings.listen_host, port, schedule=schedule)
        exchange = site.exchange
        console.print(f"simulator  http://{settings.listen_host}:{server.port}")
        console.print(
            f"market     {exchange.running.name}, {exchange.running.trading_date}, from "
            f"{iso_ms(exchange.at_us)}, x{exchange.running.clock.rate:g}   (Ctrl-C stops)"
        )
        asyncio.run(server.run())


def _site(context: Context, wishes: Wishes, memory: Memory) -> Site:
    """The simulator as wished for."""
    from workers.simulator.chunking import chunking_of  # noqa: PLC0415
    from workers.simulator.exchange import Exchange  # noqa: PLC0415
    from workers.simulator.faults.running import Faults  # noqa: PLC0415
    from workers.simulator.quotas import RateLimits  # noqa: PLC0415
    from workers.simulator.site import Site  # noqa: PLC0415
    from workers.simulator.timeline import Timeline  # noqa: PLC0415
    from workers.simulator.tokens import Login, Tokens  # noqa: PLC0415

    chunking = chunking_of(wishes.chunking)
    remembered = memory.read()
    market = _market(context, wishes)
    exchange = Exchange(
        market,
        Timeline(
            market.dates,
            rate=wishes.speed,
            pause_us=round(wishes.pause * SECOND),
            start_us=parse_instant(wishes.start) if wishes.start else None,
            once=wishes.once,
        ),
        previous=remembered.running,
        remember=lambda running: memory.update(running=running),
        step_us=max(round(wishes.step * SECOND), 1),
    )
    tokens = Tokens(
        Login(wishes.client_id, wishes.client_secret, wishes.refresh_token),
        time.monotonic,
        ttl_seconds=wishes.token_ttl,
        rotates=wishes.rotate,
        remembered=remembered.refresh_token,
        remember=lambda token: memory.update(refresh_token=token),
    )
    return Site(
        exchange,
        tokens,
        RateLimits(time.monotonic),
        chunking=chunking,
        heartbeat_seconds=wishes.heartbeat,
        faults=Faults(context.settings.simulator_seed),
    )


def _market(context: Context, wishes: Wishes) -> Market:
    """The model, or the recording.

    :raises InputError: when the recording cannot be understood.
    """
    settings = context.settings
    if wishes.recording is None:
        from workers.simulator.model_market import ModelMarket  # noqa: PLC0415

        model = ModelMarket(settings.simulator_seed, settings.symbols)
        if wishes.quotes_per_second is None:
            return model
        from workers.simulator.paced_market import Pace, PacedMarket  # noqa: PLC0415

        return PacedMarket(model, Pace(wishes.quotes_per_second))
    from common.feeds.recording import read_recording  # noqa: PLC0415
    from common.feeds.source import read_source  # noqa: PLC0415
    from workers.simulator.recorded_market import RecordedMarket  # noqa: PLC0415

    named = settings.symbols if wishes.symbols else (None,)
    if len(named) > 1:
        raise UsageError("a recording holds one symbol; give --symbols one")
    source = read_source(wishes.recording)
    return RecordedMarket(source, read_recording(source, symbol=named[0]))
