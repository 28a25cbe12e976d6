"""The table of `gex history`: one for each session and day, whatever order rows come in."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from workers.commands.history import _show_rows

NUMBERS = ("spot", "net_gex", "net_gex_low", "net_gex_high", "zero_gamma", "call_wall", "put_wall")


def test_sessions_of_the_same_time_are_two_tables(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"time": datetime(2026, 8, day, 14, minute, tzinfo=UTC), "session": session}
        | dict.fromkeys(NUMBERS, 640.25)
        for day in (19, 20)
        for minute in (0, 1)
        for session in ("SPY:live", "SPY:replay")
    ]
    _show_rows(rows)
    lines = capsys.readouterr().out.splitlines()
    titles = [" ".join(line.split()) for line in lines if "rows" in line]
    assert titles == [
        f"{session} 2026-08-{day} UTC 2 rows"
        for day in (19, 20)
        for session in ("SPY:live", "SPY:replay")
    ]
    times = [line.split()[0] for line in lines if "640.25" in line]
    assert times == ["14:00:00", "14:01:00"] * 4
