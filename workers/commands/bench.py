"""`gex bench`: the figures of the performance tables, each with its reference of the same run.

Owns the command and the shape of its result; the figures stand in workers.benches.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.table import Table

from common.errors import UsageError
from workers.benches.figure import Figure
from workers.context import console, print_json


def bench(
    names: Annotated[
        list[str] | None, typer.Argument(help="quant, feed, stream, store; all by default.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure speed against references that run beside it; exit code 1 when a goal is missed.

    Medians of interleaved rounds. A reference that could not run is null, and a miss.
    """
    suites = _suites()
    wanted = names or list(suites)
    unknown = [name for name in wanted if name not in suites]
    if unknown:
        raise UsageError(f"no bench {unknown[0]!r}; there are {', '.join(suites)}")
    met = True
    for name in wanted:
        with console.status(f"measuring {name} …"):
            figures = suites[name]()
        met &= all(figure.meets for figure in figures)
        if json:
            print_json(
                {"bench": name, "machine": machine(), "figures": [f.to_json() for f in figures]}
            )
        else:
            _show(name, figures)
    if not met:
        raise typer.Exit(1)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def _suites() -> dict[str, Callable[[], list[Figure]]]:
    from workers.benches import feed, quant, store, stream  # noqa: PLC0415  slow to import

    return {"quant": quant.run, "feed": feed.run, "stream": stream.run, "store": store.run}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123  a kernel file
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _show(name: str, figures: list[Figure]) -> None:
    table = Table(title=f"{name}  ({_processor()}, {os.cpu_count()} cores)", title_justify="left")
    for heading in ("figure", "value", "unit", "reference", "goal", ""):
        table.add_column(heading, justify="right" if heading in ("value", "goal") else "left")
    for figure in figures:
        reference = figure.reference
        shown = (
            f"{reference['name']}: {reference['value']:,.4g} {reference['unit']}"
            if reference
            else "–"
        )
        goal = "–" if figure.goal is None else f"{figure.direction} {figure.goal:g}"
        mark = "[green]meets[/]" if figure.meets else "[bold red]misses[/]"
        if figure.reason:
            mark = f"{mark}: {figure.reason}"
        value = "–" if figure.value is None else f"{figure.value:,.4g}"
        table.add_row(figure.id, value, figure.unit, shown, goal, mark)
    console.print(table)
