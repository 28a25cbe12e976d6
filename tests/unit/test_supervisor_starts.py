"""What supervisord says of its programs, by its log and by its socket."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from common.errors import ServiceError
from common.servers.instance import Instance
from common.servers.supervisor import Supervisor
from common.settings import load_settings


@pytest.fixture
def supervisor(tmp_path: Path) -> Supervisor:
    """The supervisord of a folder in which nothing has run yet."""
    instance = Instance(load_settings(state_dir=tmp_path))
    instance.make_folders()
    return Supervisor(instance)


def write(folder: Path, *said: str, end: str = "") -> None:
    """Write lines as supervisord does."""
    lines = (f"2026-11-24 22:16:{n % 60:02d},040 {text}\n" for n, text in enumerate(said))
    (folder / "logs" / f"supervisord.log{end}").write_text("".join(lines))


def started(program: str, pid: int = 7) -> tuple[str, str]:
    """A start and what follows it."""
    running = f"INFO success: {program} entered RUNNING state, process has stayed up"
    return f"INFO spawned: '{program}' with pid {pid}", running


BEGAN = "INFO supervisord started with pid 4327"


def test_before_there_is_a_log_nothing_was_started(supervisor: Supervisor) -> None:
    assert supervisor.starts() == {}


def test_every_start_counts(supervisor: Supervisor, tmp_path: Path) -> None:
    gone = "WARN exited: greeks-0 (terminated by SIGKILL; not expected)"
    write(tmp_path, BEGAN, *started("redis"), *started("greeks-0"), gone, *started("greeks-0", 9))
    assert supervisor.starts() == {"redis": 1, "greeks-0": 2}


def test_an_earlier_run_does_not_count(supervisor: Supervisor, tmp_path: Path) -> None:
    write(tmp_path, BEGAN, *started("redis"), *started("beat"), BEGAN, *started("redis"))
    assert supervisor.starts() == {"redis": 1}


def test_a_log_that_goes_on_in_another_file_is_read_as_one(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    write(tmp_path, BEGAN, *started("store"), end=".2")
    write(tmp_path, *started("store"), *started("beat"), end=".1")
    write(tmp_path, *started("store"))
    assert supervisor.starts() == {"store": 3, "beat": 1}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n<?xml version='1.0'?><methodResp",
        b"HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\n<?xml version='1.0'?><methodResp",
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_a_supervisord_that_breaks_off_has_not_answered(
    supervisor: Supervisor, tmp_path: Path, answer: bytes
) -> None:
    instance = Instance(load_settings(state_dir=tmp_path))
    instance.make_run_dir()

    def serve() -> None:
        for _ in range(2):
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

    try:
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening,
            ThreadPoolExecutor(1) as pool,
        ):
            listening.bind(str(instance.run_dir / "supervisor.sock"))
            listening.listen()
            listening.settimeout(10)
            served = pool.submit(serve)
            assert supervisor.programs() == []
            with pytest.raises(ServiceError, match="beat cannot be restarted"):
                supervisor.restart("beat")
            served.result(10)
    finally:
        instance.remove_run_dir()
