"""`gex levels` and `gex profile`: what was published last.

Owns reading the cache for people; must not compute anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from common.bus.cache import Cache
from common.errors import ServiceError
from common.models import JsonDict
from workers.commands.display import age_seconds, money, number, panel, shown_state
from workers.context import Context, console, print_json

_CURVE_WIDTH = 0.03
"""How far from spot the plotted curve reaches, as a share of it."""
Symbol = Annotated[str, typer.Argument(help="The underlying, e.g. SPY.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def levels(
    symbol: Symbol = "SPY",
    watch: Annotated[bool, typer.Option("--watch", help="Follow until Ctrl-C.")] = False,
    provisional: Annotated[
        bool,
        typer.Option("--live", help="The provisional levels, made right after each batch."),
    ] = False,
    json: Json = False,
) -> None:
    """The latest levels of a symbol, with their age and coverage.

    A level that is no longer renewed is shown as stale, or not at all.
    """
    context = Context.load()
    cache = context.cache()
    tick_seconds = context.settings.tick_seconds
    read = partial(cache.live if provisional else cache.latest, symbol.upper())
    if watch:
        _watch(read, tick_seconds, json=json)
        return
    latest = read()
    if latest is None:
        raise _nothing(cache, symbol.upper())
    if json:
        print_json(_with_age(latest, tick_seconds))
    else:
        console.print(panel(latest, tick_seconds))


def profile(symbol: Symbol = "SPY", json: Json = False) -> None:
    """Exposure by strike and the re-priced curve of a symbol, as a table and a plot."""
    cache = Context.load().cache()
    found = cache.profile(symbol.upper())
    if found is None:
        raise _nothing(cache, symbol.upper())
    if json:
        print_json(found)
        return
    console.print(strike_table(found))
    console.print(curve_plot(found, min(console.width, 110)))


def _nothing(cache: Cache, symbol: str) -> ServiceError:
    known = cache.symbols()
    if symbol not in known:
        names = ", ".join(known) or "none"
        return ServiceError(f"{symbol} is not followed here (followed: {names})")
    return ServiceError(f"no fresh level of {symbol}; `gex doctor` says why")


def _with_age(latest: JsonDict, tick_seconds: float) -> JsonDict:
    return {
        **latest,
        "state": shown_state(latest, tick_seconds),
        "age_seconds": round(age_seconds(latest), 3),
    }


def _watch(read: Callable[[], JsonDict | None], tick_seconds: float, *, json: bool) -> None:
    try:
        if json:
            seen = None
            while True:
                latest = read()
                if latest and latest["as_of"] != seen:
                    seen = latest["as_of"]
                    print_json(_with_age(latest, tick_seconds))
                time.sleep(0.1)
        with Live(console=console, refresh_per_second=4) as live:
            while True:
                latest = read()
                live.update(panel(latest, tick_seconds) if latest else "no fresh level")
                time.sleep(0.25)
    except KeyboardInterrupt:
        return


def strike_table(found: JsonDict, rows: int = 25) -> Table:
    """The strikes nearest spot, highest first, with a bar of net GEX each."""
    spot, marks = found["spot"], _marks(found)
    title = f"{found['symbol']} {found['as_of']}  {found['state']}  $ per 1 % move"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("strike", "call GEX", "put GEX", "net GEX", "call OI", "put OI"):
        table.add_column(name, justify="right")
    table.add_column("   put side ◂ net GEX ▸ call side")
    table.add_column("")
    nearest = sorted(found["strikes"], key=lambda row: abs(row["strike"] - spot))[:rows]
    largest = max((abs(row["net_gex"]) for row in nearest), default=0.0)
    above = True
    for row in sorted(nearest, key=lambda row: -row["strike"]):
        if above and row["strike"] < spot:
            table.add_row(
                f"[cyan]{number(spot)}[/]", *[""] * 5, "[cyan]" + "╌" * 33 + "[/]", "spot"
            )
            above = False
        table.add_row(
            number(row["strike"]),
            money(row["call_gex"]),
            money(row["put_gex"]),
            money(row["net_gex"]),
            f"{row['call_oi']:,.0f}",
            f"{row['put_oi']:,.0f}",
            _bar(row["net_gex"], largest),
            marks.get(row["strike"], ""),
        )
    return table


def _bar(value: float, largest: float, half: int = 16) -> Text:
    """A bar from the middle, left and red for negative, right and green for positive."""
    eighths = round(8 * half * abs(value) / largest) if largest else 0
    whole, part = divmod(eighths, 8)
    if value < 0:
        cells = "█" * whole if not part else "▐" + "█" * whole
        return Text.assemble((cells.rjust(half), "red"), "│", " " * half)
    cells = "█" * whole + (" ▏▎▍▌▋▊▉"[part] if part else "")
    return Text.assemble(" " * half, "│", (cells.ljust(half), "green"))


def _marks(found: JsonDict) -> dict[float, str]:
    marks: dict[float, str] = {}
    for name in ("call_wall", "put_wall"):
        if found[name] is not None:
            label = name.replace("_", " ")
            marks[found[name]] = " + ".join(filter(None, [marks.get(found[name]), label]))
    return marks


def curve_plot(found: JsonDict, width: int) -> Text:
    """The re-priced curve around spot, ``width`` columns wide."""
    spot, curve = found["spot"], found["curve"]
    points = [
        (x, y / 1e6)
        for x, y in zip(curve["spots"], curve["net_gex"], strict=True)
        if abs(x / spot - 1) <= _CURVE_WIDTH
    ]
    plot = _new_plot("net GEX if spot moved [$ m per 1 %]; lines: spot, zero gamma", width, 14)
    plot.plot([x for x, _ in points], [y for _, y in points], color="yellow")
    plot.hline(0, "gray")
    plot.vline(spot, "cyan")
    flip = found["zero_gamma"]
    if flip is not None and abs(flip / spot - 1) <= _CURVE_WIDTH:
        plot.vline(flip, "magenta")
    return Text.from_ansi(plot.build())


def _new_plot(title: str, width: int, height: int) -> Any:
    import plotext  # noqa: PLC0415  only where it is drawn

    plot: Any = plotext
    plot.clear_figure()
    plot.theme("clear")  # no background of its own
    plot.plot_size(width, height)
    plot.title(title)
    return plot
