"""How levels look in a terminal: a line each as they change, a panel, a table, a plot.

Owns the presentation of published JSON; must not fetch anything.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from rich.live import Live
from rich.table import Table
from rich.text import Text

from common.clock import new_york_time, parse_instant, wall_us
from common.levels_json import front_max_pain
from common.models import JsonDict
from workers.context import console

STATE_STYLES = {"live": "bold green", "stale": "bold red", "closed": "yellow", "ended": "yellow"}


def money(value: float | None) -> str:
    """A $ amount for people: ``+1.24 bn``."""
    if value is None:
        return "–"
    for size, unit in ((1e9, "bn"), (1e6, "m"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:+,.2f} {unit}"
    return f"{value:+,.0f}"


def number(value: float | None, digits: int = 2) -> str:
    """A number for people, or a dash."""
    return "–" if value is None else f"{value:,.{digits}f}"


def share(value: float | None) -> str:
    """A share as per cent, or a dash."""
    return "–" if value is None else f"{100 * value:.0f} %"


def age_seconds(latest: JsonDict, now_us: int | None = None) -> float:
    """How long ago, by the wall clock, a level was published [s]."""
    now = wall_us() if now_us is None else now_us
    return (now - parse_instant(latest["published_at"])) / 1e6


def shown_state(latest: JsonDict, tick_seconds: float, now_us: int | None = None) -> str:
    """The state a reader should believe: a live level that is no longer renewed is stale."""
    state: str = latest["state"]
    overdue = age_seconds(latest, now_us) > 3 * tick_seconds
    is_replay = latest["feed"] == "recording"
    return "stale" if state == "live" and overdue and not is_replay else state


def level_line(latest: JsonDict) -> str:
    """One level in one line."""
    levels, quality = latest["levels"], latest["quality"]
    at = new_york_time(parse_instant(latest["as_of"]))
    return (
        f"{latest['symbol']} {at} {latest['state']:<6} spot {number(latest['spot'])}  "
        f"net GEX {money(levels['net_gex'])}  zero gamma {number(levels['zero_gamma'])}  "
        f"call wall {number(levels['call_wall'], 0)}  put wall {number(levels['put_wall'], 0)}  "
        f"{levels['regime']}  coverage {share(quality['coverage_oi'])} OI "
        f"{share(quality['coverage_gamma'])} gamma"
    )


def panel(latest: JsonDict, tick_seconds: float, now_us: int | None = None) -> Table:
    """The levels of a symbol as a panel."""
    levels, quality = latest["levels"], latest["quality"]
    state = shown_state(latest, tick_seconds, now_us)
    title = Text.assemble(
        (f"{latest['symbol']} ", "bold"),
        (state, STATE_STYLES.get(state, "")),
        f"  {new_york_time(parse_instant(latest['as_of']))} New York",
        "  provisional" if latest.get("provisional") else "",
    )
    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    rows: Sequence[tuple[str, str, str, str]] = (
        ("spot", number(latest["spot"]), "regime", levels["regime"]),
        (
            "net GEX",
            money(levels["net_gex"]) + " $/1 %",
            "of it 0DTE",
            money(levels["net_gex_0dte"]),
        ),
        (
            "zero gamma",
            number(levels["zero_gamma"]),
            "expected move",
            number(levels["expected_move"]),
        ),
        ("call wall", number(levels["call_wall"]), "put wall", number(levels["put_wall"])),
        ("max pain", number(front_max_pain(latest)), "ATM IV", _iv(latest)),
        (
            "coverage",
            f"{share(quality['coverage_oi'])} OI, {share(quality['coverage_gamma'])} gamma",
            "age",
            f"{age_seconds(latest, now_us):.1f} s, data {latest['data_age_seconds']:.1f} s",
        ),
        ("feed", latest["feed"], "sign", f"{latest['sign']} (as modelled)"),
    )
    for name, value, other, second in rows:
        table.add_row(f"[dim]{name}[/]", value, f"   [dim]{other}[/]", second)
    return table


def _iv(latest: JsonDict) -> str:
    """At-the-money volatility, and the VIX where the feed tells it."""
    known = latest.get("vix") is not None
    return share(latest["levels"]["atm_iv"]) + (f", VIX {number(latest['vix'])}" if known else "")


class LevelsDisplay:
    """Follows levels: panels on a terminal, a line at each notable change elsewhere."""

    def __init__(self, symbols: Sequence[str], *, began: float, tick_seconds: float) -> None:
        self._began = began
        self._tick_seconds = tick_seconds
        self._latest: dict[str, JsonDict] = {}
        self._said: dict[str, tuple[Any, ...]] = {}
        self._symbols = symbols
        self._note = self._lasting = ""
        self._live = Live(console=console, refresh_per_second=2) if sys.stdout.isatty() else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.__exit__(kind, error, trace)
        for symbol in self._symbols:
            if symbol in self._latest:
                console.print(level_line(self._latest[symbol]))

    @property
    def has_levels(self) -> bool:
        """Whether there has been any level yet."""
        return bool(self._latest)

    def show(self, symbol: str, latest: JsonDict | None) -> None:
        """Show the latest level of a symbol; None when there is no fresh one."""
        self._note = ""
        if latest is None:
            if symbol in self._latest and self._said.get(symbol) != ("gone",):
                self._said[symbol] = ("gone",)
                self.note(f"{symbol}: no fresh level")
            return
        if symbol not in self._latest:
            console.print(f"first level of {symbol} after {time.monotonic() - self._began:.1f} s")
        self._latest[symbol] = latest
        levels = latest["levels"]
        notable = (
            latest["state"],
            latest["session"],
            levels["call_wall"],
            levels["put_wall"],
            levels["regime"],
            None if levels["zero_gamma"] is None else round(levels["zero_gamma"]),
        )
        if self._live:
            self._draw()
        elif self._said.get(symbol) != notable:
            console.print(level_line(latest))
        self._said[symbol] = notable

    def note(self, text: str) -> None:
        """Say something that is no level."""
        if text == self._note:
            return
        self._note = text
        if self._live:
            self._draw()
        else:
            console.print(text)

    def warn(self, text: str) -> None:
        """Say something that stays true."""
        if text != self._lasting:
            self._lasting = text
            self.note(text)

    def _draw(self) -> None:
        grid = Table.grid(padding=(1, 0))
        for latest in self._latest.values():
            grid.add_row(panel(latest, self._tick_seconds))
        for text in dict.fromkeys(filter(None, (self._lasting, self._note))):
            grid.add_row(Text(text, style="red"))
        if self._live:
            self._live.update(grid)
