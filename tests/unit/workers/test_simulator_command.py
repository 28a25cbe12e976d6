"""`gex simulator`: what it refuses before it serves, and when it has nothing to do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from common.errors import InputError, UsageError
from workers.commands import simulator as module
from workers.commands.simulator import simulator


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No GEX_ variable and no .env but the test's own."""
    for name in list(os.environ):
        if name.upper().startswith("GEX_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GEX_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"speed": 0.0}, "--speed: 0.0 is no number above 0"),
        ({"speed": float("inf")}, "--speed"),
        ({"step": -1.0}, "--step"),
        ({"heartbeat": float("nan")}, "--heartbeat"),
        ({"token_ttl": 0.0}, "--token-ttl"),
        ({"pause": -0.1}, "--pause"),
        ({"quotes_per_second": -1.0}, "--quotes-per-second: -1.0 is no number"),
        ({"quotes_per_second": 5.0, "recording": Path("x")}, "of the market model"),
        ({"once": True}, "--once needs --recording"),
        ({"chunking": "bytes"}, "--chunking: 'bytes' is none of line, merged, split and no"),
        ({"chunking": "0"}, "--chunking: '0' is none of line"),
        ({"start": "tomorrow"}, "'tomorrow' is no ISO 8601 time"),
        ({"start": "2026-11-22T12:00"}, "lies in no session of this market"),
        ({"symbols": "BRK.B"}, "no underlying symbol"),
    ],
)
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        simulator(**options)


def test_a_recording_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        simulator(recording=tmp_path / "missing.csv")
    (tmp_path / "spy_0dte_x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="column quote_ts, spot"):
        simulator(recording=tmp_path / "spy_0dte_x.csv")
    with pytest.raises(UsageError, match="a recording holds one symbol"):
        simulator(recording=tmp_path / "spy_0dte_x.csv", symbols="SPY,QQQ")


def test_a_damaged_memory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "simulator.json").write_text("[]")
    with pytest.raises(UsageError, match=r"simulator\.json is not readable"):
        simulator()


def test_it_idles_in_the_procfile_when_the_feed_is_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said: list[str] = []
    monkeypatch.setattr(module, "idle", said.append)
    monkeypatch.setenv("GEX_FEED", "none")
    simulator(when_needed=True)
    assert said == ["the feed is 'none'; there is nothing to simulate"]
    assert not (tmp_path / "state").exists()
