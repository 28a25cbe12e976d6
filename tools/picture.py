"""Draw the picture of the README from the levels of a running platform.

Usage: gex levels --json > levels.json; gex profile --json > profile.json;
       python tools/picture.py levels.json profile.json docs/levels.svg
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from common.clock import parse_instant
from workers.commands.display import panel
from workers.commands.levels import curve_plot, strike_table


def main() -> None:
    levels, profile, target = map(Path, sys.argv[1:4])
    found = json.loads(profile.read_text(encoding="utf-8"))
    latest = json.loads(levels.read_text(encoding="utf-8"))
    console = Console(record=True, width=104, file=Path("/dev/null").open("w"))  # noqa: SIM115
    grid = Table.grid(padding=(1, 0))
    shown_at = parse_instant(latest["published_at"]) + round(1e6 * latest["age_seconds"])
    grid.add_row(panel(latest, 1.0, shown_at))
    grid.add_row(strike_table(found))
    grid.add_row(curve_plot(found, 100))
    console.print(grid)
    drawn = console.export_svg(title=f"gex levels {latest['symbol']}; gex profile")
    # the picture must not load fonts from elsewhere; any monospaced one will do
    target.write_text(re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
