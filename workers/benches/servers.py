"""Servers and platforms of a bench's own: started for it, in a folder of its own, gone afterwards.

Owns that; must not measure anything, nor touch what a server of the user's holds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from pydantic import SecretStr

from common.bus.client import bus_errors
from common.db import migrate
from common.db.connection import connect, in_database, query, storage_errors
from common.errors import ServiceError
from common.settings import load_settings
from workers.context import Context, wait_for

SYMBOL = "SPY"
_REDIS_PORT = 27379
_LOGIN = (
    "tradestation_client_id",
    "tradestation_client_secret",
    "tradestation_refresh_token",
)
_COMMAND = str(Path(sys.executable).with_name("gex"))


@dataclass(frozen=True, slots=True)
class OwnSimulator:
    """A simulator that runs."""

    url: str
    token: str
    """An access token."""
    process: psutil.Process


@contextlib.contextmanager
def own_simulator(*options: str) -> Iterator[OwnSimulator]:
    """A simulator on a free port."""
    folder = Path(tempfile.mkdtemp(prefix="gexb-"))
    with (folder / "simulator.log").open("w+", encoding="utf-8") as log:
        process = subprocess.Popen(
            [_COMMAND, "simulator", "--port", "0", *options],
            env=_environment(folder),
            stdout=log,
            stderr=log,
        )
    try:
        url = wait_for(lambda: _address(folder / "simulator.log"), seconds=60, what="the simulator")
        names = ("client_id", "client_secret", "refresh_token")
        login = {"grant_type": "refresh_token", **dict.fromkeys(names, "simulator")}
        reply = httpx.post(f"{url}/oauth/token", data=login, trust_env=False)
        token = reply.raise_for_status().json()["access_token"]
        yield OwnSimulator(url, token, psutil.Process(process.pid))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def _address(log: Path) -> str:
    """Where a simulator says that it listens.

    :raises ServiceError: when it has not said so yet.
    """
    for word in log.read_text(encoding="utf-8").split():
        if word.startswith("http://"):
            return word
    raise ServiceError("it does not listen yet")


def _environment(folder: Path) -> dict[str, str]:
    """No setting of the caller's leaks in."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GEX_")}
    return {**kept, "GEX_STATE_DIR": str(folder)}


@contextlib.contextmanager
def own_platform(broker: str, **changes: str) -> Iterator[tuple[Context, psutil.Process]]:
    """The whole platform as `gex up` starts it, fed by the simulator at ``broker``; its process.

    :param changes: settings, by attribute name, as text.
    """
    settings = {
        "symbols": SYMBOL,
        "feed": "tradestation",
        "tradestation_api_url": f"{broker}/v3",
        "tradestation_signin_url": broker,
        **dict.fromkeys(_LOGIN, "simulator"),
        **changes,
    }
    with _folder() as (folder, environment):
        environment |= {f"GEX_{name.upper()}": value for name, value in settings.items()}
        with (folder / "up.log").open("wb") as log:
            process = subprocess.Popen(
                [_COMMAND, "up"], env=environment, stdout=log, stderr=log, cwd=folder
            )
        try:
            yield _context(folder), psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(120)


@contextlib.contextmanager
def own_servers(*names: str) -> Iterator[Context]:
    """The named servers (``redis``, ``postgres``), empty, the schema migrated: embedded ones,
    but for a PostgreSQL that GEX_DATABASE_URL names, which gets a database ``gex_bench``."""
    named = load_settings().database_url if "postgres" in names else None
    with contextlib.ExitStack() as stack:
        folder, environment = stack.enter_context(_folder())
        context = _context(folder)
        if named is not None:
            url = stack.enter_context(_own_database(named.get_secret_value()))
            update = {"database_url": SecretStr(url)}
            context = Context(context.settings.model_copy(update=update))
        context.instance.make_folders()
        context.instance.decide()
        processes: list[subprocess.Popen[bytes]] = []
        try:
            for name in names:
                if name == "postgres" and named is not None:
                    continue
                with (folder / f"{name}.log").open("wb") as log:
                    processes.append(
                        subprocess.Popen(
                            [_COMMAND, "serve", name], env=environment, stdout=log, stderr=log
                        )
                    )
            _wait(context, names)
            yield context
        finally:
            for process in processes:
                process.send_signal(signal.SIGINT)
            for process in processes:
                process.wait(60)


@contextlib.contextmanager
def _own_database(server: str) -> Iterator[str]:
    """A database on a server, gone afterwards: its connection string."""

    def run(*statements: bytes) -> None:
        with connect(server, name="bench") as admin, storage_errors():
            admin.autocommit = True  # databases come and go outside transactions
            for statement in statements:
                admin.execute(statement)

    run(query("drop_bench_database"), query("create_bench_database"))
    try:
        yield in_database(server, "gex_bench")
    finally:
        run(query("drop_bench_database"))


@contextlib.contextmanager
def _folder() -> Iterator[tuple[Path, dict[str, str]]]:
    """A state directory for a while, and the environment of processes that use it."""
    folder = Path(tempfile.mkdtemp(prefix="gexb-"))
    folder.chmod(0o711)  # as root PostgreSQL is another user
    try:
        yield folder, {**_environment(folder), "GEX_REDIS_PORT": str(_REDIS_PORT)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _context(folder: Path) -> Context:
    """Of the bench's own servers, whatever the caller's settings name."""
    settings = load_settings(state_dir=folder, redis_port=_REDIS_PORT)
    theirs = dict.fromkeys(("redis_url", "broker_url", "database_url"))
    return Context(settings.model_copy(update=theirs))


def _wait(context: Context, names: tuple[str, ...]) -> None:
    def ping() -> bool:
        with bus_errors():
            return bool(context.redis().ping())

    if "redis" in names:
        wait_for(ping, seconds=60, what="Redis")
    if "postgres" in names:
        with wait_for(lambda: context.database("bench"), seconds=60, what="PostgreSQL") as opened:
            migrate.migrate(opened)
