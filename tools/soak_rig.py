"""What a soak runs: a simulator, and the whole platform that follows it.

Owns their processes and the reading of both sides; must not judge what it reads. Both live in
state directories of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import httpx

from common.bus import keys
from common.bus.cache import Cache
from common.bus.client import Client, connect
from common.errors import ServiceError
from common.models import JsonDict
from common.servers.instance import Instance
from common.servers.supervisor import Supervisor
from common.settings import load_settings
from tools.soak_truth import Board
from tools.soak_turns import Let

GEX = str(Path(sys.executable).parent / "gex")
SYMBOL = "SPY"
EXPIRATIONS = 3
STREAMS = 1 + EXPIRATIONS
_HOST = "--step 1 --pause 8 --chunking split --token-ttl 75 --rotate".split()
"""A host that makes it hard: chunks end anywhere, tokens live 15 s beyond the client's margin."""
_WORKERS = 2
_START_SECONDS = 120.0
_UNEVENTFUL = {"feed_rows", "feed_heartbeats", "feed_other_quotes"}
_SHUT = 180.0
T = TypeVar("T")


@dataclass(slots=True)
class Rig:
    """A simulator and a platform, both running."""

    simulator: httpx.Client
    redis: Client
    cache: Cache
    supervisor: Supervisor
    processes: tuple[subprocess.Popen[bytes], ...]

    def check_alive(self) -> None:
        """Fail when one of them has ended.

        :raises ServiceError: it has.
        """
        for process in self.processes:
            if process.poll() is not None:
                raise ServiceError(f"{process.args!r} has ended with {process.returncode}")

    def state(self) -> JsonDict:
        """What the simulator does."""
        found: JsonDict = self.simulator.get("/_simulator/state").json()
        return found

    def let(self, fault: Let) -> JsonDict:
        """Let a fault happen; its record."""
        reply = self.simulator.post(f"/_simulator/{fault.name}", params=fault.arguments)
        reply.raise_for_status()
        found: JsonDict = reply.json()
        return found

    def records(self, numbers: list[int]) -> list[JsonDict]:
        """The records of some faults."""
        return [each for each in self.state()["faults"] if each["number"] in numbers]

    def truth(self) -> JsonDict:
        """What is true."""
        found: JsonDict = self.simulator.get(f"/_simulator/truth/{SYMBOL}").json()
        return found

    def held(self) -> Board:
        """What the workers hold of the present session."""
        session = self.cache.session(SYMBOL)
        if session is None:
            return Board("", {}, {})
        states = self.cache.chain(SYMBOL, self.cache.shards(SYMBOL)).states
        mine = {shard: state for shard, state in states.items() if state.session == session.key}
        return Board.of_states(session.trading_date.isoformat(), mine)

    def level(self) -> dict[str, str]:
        """The levels as they read now."""
        return self.cache.levels(SYMBOL)

    def happened(self) -> dict[str, int]:
        """The feed's counters of everything that is no ordinary row."""
        return {
            name.removeprefix("feed_"): count
            for name, count in self.cache.counters(SYMBOL).items()
            if name.startswith("feed_") and name not in _UNEVENTFUL
        }

    def health(self) -> dict[str, int]:
        """What has to stay zero however much goes wrong at the source, and restarts."""
        counters = self.cache.counters(SYMBOL)
        starts = self.supervisor.starts().values()
        return {
            **{f"dead_{group}": self._length(keys.dead(group)) for group in ("greeks", "store")},
            "restarts": sum(starts) - len(starts),
            "invariant_breaches": counters.get("invariant_breaches", 0),
            "live_differed": counters.get("live_differed", 0),
        }

    def _length(self, stream: str) -> int:
        length: Any = self.redis.xlen(stream)
        return int(length)


@contextmanager
def running(*, seed: int, speed: float, start: str, keep: Path | None = None) -> Iterator[Rig]:
    """Both, ready; whatever happens, nothing of them is left running.

    :param keep: a new folder for all they write, logs too, which stays.
    :raises ServiceError: one of them does not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="gex-soak-")) if keep is None else keep.absolute()
    folder.mkdir(parents=True, exist_ok=keep is None)
    folder.chmod(0o711)  # an unprivileged PostgreSQL has to reach its data
    started: list[subprocess.Popen[bytes]] = []
    try:
        with (folder / "simulator.out").open("wb") as told, (folder / "up.out").open("wb") as said:
            options = ("--seed", str(seed), "--speed", str(speed), "--start", start)
            command = (GEX, "simulator", "--port", "0", *_HOST, *options)
            started.append(_start(command, folder / "host", told))
            url = _until(lambda: _address(folder / "simulator.out", started), "the simulator")
            started.append(
                _start((GEX, "up", "--no-dashboard"), folder / "platform", said, _login(url))
            )
            client = connect(_until(lambda: _redis_url(folder, started), "Redis"))
            with httpx.Client(base_url=url, timeout=_START_SECONDS, trust_env=False) as simulator:
                instance = Instance(load_settings(state_dir=folder / "platform"))
                yield Rig(simulator, client, Cache(client), Supervisor(instance), tuple(started))
    finally:
        for process in reversed(started):
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(_SHUT)
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def _start(
    command: tuple[str, ...],
    folder: Path,
    output: IO[bytes],
    settings: dict[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    folder.mkdir(mode=0o711)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GEX_")}
    env = {
        **kept,
        "PATH": f"{Path(GEX).parent}{os.pathsep}{kept.get('PATH', '')}",
        "GEX_STATE_DIR": str(folder),
        **(settings or {}),
    }
    return subprocess.Popen(command, env=env, stdout=output, stderr=output, cwd=folder)


def _login(url: str) -> dict[str, str]:
    """The settings that make a simulator the broker: nothing but addresses and a key."""
    return {
        "GEX_FEED": "tradestation",
        "GEX_SYMBOLS": SYMBOL,
        "GEX_EXPIRATIONS": str(EXPIRATIONS),
        "GEX_GREEKS_WORKERS": str(_WORKERS),
        "GEX_TRADESTATION_API_URL": f"{url}/v3",
        "GEX_TRADESTATION_SIGNIN_URL": url,
        **{
            f"GEX_TRADESTATION_{name}": "simulator"
            for name in ("CLIENT_ID", "CLIENT_SECRET", "REFRESH_TOKEN")
        },
    }


def _address(output: Path, started: list[subprocess.Popen[bytes]]) -> str | None:
    text = output.read_text(encoding="utf-8")
    if started[0].poll() is not None:
        raise ServiceError(f"the simulator does not start:\n{text}")
    return next((word for word in text.split() if word.startswith("http://")), None)


def _redis_url(folder: Path, started: list[subprocess.Popen[bytes]]) -> str | None:
    """The URL of the platform's Redis, once levels may be there."""
    if started[1].poll() is not None:
        raise ServiceError(f"the platform does not start:\n{(folder / 'up.out').read_text()}")
    env = {**os.environ, "GEX_STATE_DIR": str(folder / "platform")}
    command = (GEX, "status", "--json")
    told = subprocess.run(command, env=env, capture_output=True, check=False, timeout=60)
    if told.returncode != 0:
        return None
    found: JsonDict = json.loads(told.stdout)
    return None if "redis_error" in found else str(found["redis_url"])


def _until(ready: Callable[[], T | None], what: str) -> T:
    deadline = time.monotonic() + _START_SECONDS
    while (found := ready()) is None:
        if time.monotonic() > deadline:
            raise ServiceError(f"{what} is not there within {_START_SECONDS:g} s")
        time.sleep(0.2)
    return found
