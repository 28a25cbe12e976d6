"""Bad input: one clear line, a non-zero exit, nothing half-done."""

from __future__ import annotations

import gzip
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import GEX, environment, gex, platform, state_folder


@pytest.fixture
def state() -> Iterator[Path]:
    folder = state_folder()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def check_refused(
    state: Path, *arguments: str, says: str, settings: dict[str, str] | None = None, code: int = 2
) -> None:
    """Refused with one line, and nothing was started or written."""
    result = gex(state, *arguments, settings=settings)
    assert result.returncode == code, result.stderr + result.stdout
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert not (state / "redis" / "appendonlydir").exists()
    assert not (state / "postgres").exists()


def truncated_json(folder: Path) -> Path:
    path = folder / "spy.json"
    path.write_text('{"timestamp": "2026-08-19 14:00:00", "data": {"options": [{"option": "SPY26')
    return path


def truncated_gzip(folder: Path) -> Path:
    path = folder / "spy_0dte_x.csv.gz"
    path.write_bytes(gzip.compress(b"fetched_at_et,quote_ts,spot\n" * 1000)[:60])
    return path


def wrong_file(folder: Path) -> Path:
    path = folder / "picture.png"
    path.write_bytes(bytes(range(256)) * 4)
    return path


def missing_column(folder: Path) -> Path:
    path = folder / "spy_0dte_2026-08-19.csv"
    path.write_text(
        "fetched_at_et,quote_ts,spot,expiry,type,bid,ask\n"
        "2026-08-19 09:48:47,2026-08-19T09:33:04,770.4,2026-08-19,C,37.22,39.59\n"
    )
    return path


def empty_file(folder: Path) -> Path:
    path = folder / "spy_0dte_2026-08-19.csv"
    path.write_text("")
    return path


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (truncated_json, "JSON"),
        (truncated_gzip, "truncated"),
        (wrong_file, "picture.png"),
        (missing_column, "strike"),
        (empty_file, "empty"),
        (lambda folder: folder / "nowhere.csv", "nowhere.csv"),
        (lambda folder: folder, "directory"),
    ],
    ids=[
        "truncated-json",
        "truncated-gzip",
        "wrong-file",
        "missing-column",
        "empty",
        "missing",
        "folder",
    ],
)
def test_a_file_that_cannot_be_read(
    state: Path, tmp_path: Path, make: Callable[[Path], Path], says: str
) -> None:
    path = str(make(tmp_path))
    check_refused(state, "compute", path, "--json", says=says)
    check_refused(state, "up", "--feed", "recording", "--recording", path, says=":")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["up", "--symbols", "NO SUCH!"], "GEX_SYMBOLS"),
        (["up", "--feed", "carrier-pigeon"], "GEX_FEED"),
        (["up", "--feed", "recording"], "--recording"),
        (
            ["up", "--feed", "recording", "--recording", "x.csv", "--symbols", "SPY,QQQ"],
            "one symbol",
        ),
        (["up", "--speed", "fast"], "speed"),
        (["up", "--for", "-1"], "--for"),
        (["levels", "--nonsense"], "--nonsense"),
        (["bench", "nothing"], "no bench"),
        (["compute"], "FILE"),
        (["record", "--for", "1"], "no simulator was started"),
        (["record", "--feed", "tradestation", "--for", "1"], "GEX_TRADESTATION_CLIENT_ID"),
        (["record", "--feed", "recording"], "only a broker's streams"),
    ],
)
def test_bad_usage(state: Path, arguments: list[str], says: str) -> None:
    check_refused(state, *arguments, says=says)


@pytest.mark.parametrize(
    ("name", "value"), [("tick_seconds", "soon"), ("redis_port", "0"), ("rate", "nan")]
)
def test_a_bad_setting_is_named(state: Path, name: str, value: str) -> None:
    check_refused(state, "up", says=f"GEX_{name.upper()}", settings={name: value})


@pytest.mark.data
def test_a_recording_of_another_symbol_is_not_played_under_a_wrong_name(
    state: Path, recording: Path
) -> None:
    arguments = ["--feed", "recording", "--recording", str(recording), "--symbols", "QQQ"]
    check_refused(state, "up", *arguments, says="the name says SPY, not QQQ")


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("redis_url", "redis://127.0.0.1:1/0"),
        ("database_url", "postgresql://nobody@127.0.0.1:1/none"),
    ],
)
def test_a_server_of_ones_own_that_does_not_answer(state: Path, name: str, url: str) -> None:
    check_refused(state, "up", says=f"GEX_{name.upper()}: ", settings={name: url}, code=1)


@pytest.mark.parametrize(
    ("name", "url"), [("redis_url", "red://:pw@x"), ("database_url", "my secret pw")]
)
def test_a_url_that_is_none_is_not_repeated(state: Path, name: str, url: str) -> None:
    check_refused(state, "up", says=f"GEX_{name.upper()} is no", settings={name: url})
    assert "pw" not in gex(state, "up", settings={name: url}).stderr


def test_nothing_runs_here(state: Path) -> None:
    check_refused(state, "levels", "SPY", says="gex up", code=1)
    check_refused(state, "profile", "SPY", says="gex up", code=1)
    check_refused(state, "db", "status", says="PostgreSQL", code=1)
    assert gex(state, "doctor").returncode == 1
    assert gex(state, "down").returncode == 0


def test_a_symbol_nobody_follows(state: Path) -> None:
    with platform(state=state) as running:
        running.levels()
        result = gex(state, "levels", "NOPE")
        assert result.returncode == 1
        assert "NOPE is not followed here (followed: SPY)" in result.stderr


def test_ports_that_are_taken_are_passed_over(state: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with platform(state=state, settings={"redis_port": str(port)}) as running:
            running.levels()
            url = running.status()["redis_url"]
            assert int(url.rsplit(":", 1)[1].split("/")[0]) > port


def test_a_folder_that_may_not_be_written() -> None:
    folder = Path("/proc/gex-cannot-be-here")
    result = subprocess.run(
        [GEX, "up"], env=environment(folder), capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert "GEX_STATE_DIR" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_no_space_left(state: Path) -> None:
    small = state / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(small)], check=True)
    try:
        result = subprocess.run(
            [GEX, "up"], env=environment(small), capture_output=True, text=True, check=False
        )
        assert result.returncode == 2
        assert "MB are free" in result.stderr
        assert not (small / "redis" / "appendonlydir").exists()
    finally:
        subprocess.run(["umount", str(small)], check=True)
