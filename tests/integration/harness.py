"""Running the real platform for tests: its own folders, its own ports, real servers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xmlrpc.client
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import psycopg
import redis
from psycopg.rows import dict_row

from common.servers.instance import Instance
from common.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
GEX = str(BIN / "gex")
T = TypeVar("T")
_TICK = threading.Event()


def wait_until(ready: Callable[[], T], *, seconds: float, what: str) -> T:
    """Ask until the answer is true; fails with what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        answer = ready()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        _TICK.wait(0.05)


def state_folder() -> Path:
    """A new state directory that an unprivileged PostgreSQL can reach."""
    folder = Path(tempfile.mkdtemp(prefix="gext-"))
    folder.chmod(0o711)
    return folder


def environment(state: Path, **settings: str) -> dict[str, str]:
    """A clean environment for a command: no setting of the caller's leaks in."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GEX_")}
    return {
        **kept,
        "PATH": f"{BIN}{os.pathsep}{kept.get('PATH', '')}",
        "COLUMNS": "200",
        "GEX_STATE_DIR": str(state),
        "GEX_REDIS_PORT": "17379",
        "GEX_FLOWER_PORT": "17555",
        "GEX_DASHBOARD_PORT": "17050",
        **{f"GEX_{name.upper()}": value for name, value in settings.items()},
    }


def gex(
    state: Path, *arguments: str, settings: Mapping[str, str] | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [GEX, *arguments],
        env=environment(state, **(settings or {})),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=state,
    )


@dataclass
class Platform:
    """A running `gex up`."""

    state: Path
    process: subprocess.Popen[bytes]
    output: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def said(self) -> str:
        """What it has printed."""
        return self.output.read_text(encoding="utf-8")

    def status(self) -> dict[str, Any]:
        """`gex status --json`, as soon as it can be had."""

        def ask() -> dict[str, Any] | None:
            result = gex(self.state, "status", "--json", settings=self.settings)
            assert result.returncode == 0, result.stderr
            found: dict[str, Any] = json.loads(result.stdout)
            return found if "redis_error" not in found else None

        return wait_until(ask, seconds=60, what=f"a status; said:\n{self.said}")

    def redis(self) -> redis.Redis:
        """A client with the platform's own rights."""
        return redis.Redis.from_url(self.status()["redis_url"], decode_responses=True)

    def database(self) -> psycopg.Connection[dict[str, Any]]:
        """A connection with the platform's own rights."""
        return psycopg.connect(self.status()["database_url"], row_factory=dict_row, autocommit=True)

    def pid_of(self, program: str) -> int:
        """Process id of a program that runs."""

        def ask() -> int | None:
            for row in self.status()["programs"]:
                if row["name"] == program and row["state"] == "running" and row["pid"]:
                    return int(row["pid"])
            return None

        return wait_until(ask, seconds=30, what=f"{program} running")

    def control(self, action: str, program: str) -> None:
        """Have supervisord 'start' or 'stop' a program, and wait until it is done."""
        from supervisor.xmlrpc import SupervisorTransport

        instance = Instance(load_settings(state_dir=self.state))
        address = f"unix://{instance.run_dir / 'supervisor.sock'}"
        transport = SupervisorTransport(None, None, address)
        with xmlrpc.client.ServerProxy("http://localhost", transport=transport) as proxy:
            getattr(proxy.supervisor, f"{action}Process")(program)

    def levels(self, symbol: str = "SPY", *, seconds: float = 60) -> dict[str, str]:
        """The levels hash, once there is one."""
        client = self.redis()

        def ask() -> dict[str, str]:
            self.check_alive()
            return client.hgetall(f"gex:{symbol}:levels")  # type: ignore[return-value]

        return wait_until(ask, seconds=seconds, what=f"levels; said:\n{self.said}")

    def check_alive(self) -> None:
        """Fail at once when `gex up` has given up."""
        assert self.process.poll() is None, f"gex up ended:\n{self.said}"

    def wait_for_end(self, symbol: str = "SPY", *, seconds: float = 180) -> dict[str, str]:
        """The last levels of a recording, everything stored."""
        client = self.redis()

        def stored() -> bool:
            self.check_alive()
            if client.hget(f"gex:{symbol}:levels", "state") != "ended":
                return False
            return has_stored_all(client)

        wait_until(stored, seconds=seconds, what=f"the end of the recording; said:\n{self.said}")
        return client.hgetall(f"gex:{symbol}:levels")  # type: ignore[return-value]

    def counters(self, symbol: str = "SPY") -> dict[str, int]:
        """What was appended, processed, stored."""
        return {k: int(v) for k, v in self.redis().hgetall(f"counters:{symbol}").items()}  # type: ignore[union-attr]

    def stop(self, number: int = signal.SIGINT) -> int:
        """End it as a user does; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(120)

    def last_words(self) -> str:
        """What it said, what it did with its programs and what its Redis said, from the end."""
        logs = [self.output, *(self.state / "logs" / f"{n}.log" for n in ("supervisord", "redis"))]
        texts = [path.read_text("utf-8", "replace") for path in logs if path.is_file()]
        return "\n\n".join("\n".join(text.splitlines()[-25:]) for text in texts)

    def members(self) -> list[psutil.Process]:
        """Every process of the instance that runs now."""
        found = []
        for process in psutil.process_iter():
            try:
                marked = process.environ().get("GEX_STATE_DIR") == str(self.state)
                if marked or any(str(self.state) in part for part in process.cmdline()):
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found


def has_stored_all(client: redis.Redis) -> bool:
    """Whether the store worker has found every stream, and nobody has anything left of one."""
    readers = [client.xinfo_groups(name) for name in client.smembers("registry:streams")]
    if not all(any(group["name"] == "store" for group in groups) for groups in readers):
        return False
    groups = [group for groups in readers for group in groups]
    return all(group["pending"] == 0 and group["lag"] == 0 for group in groups)


@contextmanager
def platform(
    *arguments: str, state: Path | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[Platform]:
    """`gex up` with these arguments; whatever happens, nothing of it is left running."""
    folder = state or state_folder()
    output = folder / f"up-{time.monotonic_ns()}.out"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [GEX, "up", *arguments],
            env=environment(folder, **(settings or {})),
            stdout=file,
            stderr=file,
            cwd=folder,
        )
    running = Platform(folder, process, output, dict(settings or {}))
    try:
        yield running
    except Exception as error:
        error.add_note(f"its platform, by then:\n{running.last_words()}")
        raise
    finally:
        running.stop()
        if state is None:
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Servers:
    """Servers that run outside any `gex up`."""

    redis_url: str
    database_url: str


@contextmanager
def servers() -> Iterator[Servers]:
    """The embedded servers, each started by its own command."""
    folder = state_folder()
    env = environment(folder, redis_port="18379")
    processes = []
    try:
        for name in ("redis", "postgres"):
            with (folder / f"{name}.out").open("wb") as file:
                processes.append(
                    subprocess.Popen(
                        [GEX, "serve", name], env=env, stdout=file, stderr=file, cwd=folder
                    )
                )
            if name == "redis":  # the first one decides ports and password
                wait_until(
                    (folder / "runtime.json").exists, seconds=30, what="redis to decide its port"
                )

        def ready() -> Servers | None:
            found = json.loads(gex(folder, "status", "--json").stdout)
            try:
                redis.Redis.from_url(found["redis_url"]).ping()
                psycopg.connect(found["database_url"]).close()
            except (redis.RedisError, psycopg.Error, OSError):
                return None
            return Servers(found["redis_url"], found["database_url"])

        yield wait_until(ready, seconds=60, what="the servers")
    finally:
        for process, number in zip(processes, (signal.SIGTERM, signal.SIGINT), strict=False):
            process.send_signal(number)
        for process in processes:
            process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)
