"""Servers of a bench's own: started for it, in a folder of its own, gone afterwards.

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
from pathlib import Path

import httpx
from pydantic import SecretStr

from common.bus.client import bus_errors
from common.db import migrate
from common.db.connection import connect, in_database, query, storage_errors
from common.errors import ServiceError
from common.settings import Settings, load_settings
from workers.context import Context, wait_for

_COMMAND = str(Path(sys.executable).with_name("gex"))


@contextlib.contextmanager
def own_simulator(*options: str) -> Iterator[tuple[str, str]]:
    """A simulator on a free port: its address and an access token."""
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
        yield url, reply.raise_for_status().json()["access_token"]
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
def own_servers(*names: str) -> Iterator[Context]:
    """The named servers (``redis``, ``postgres``), empty, the schema migrated: embedded ones,
    but for a PostgreSQL that GEX_DATABASE_URL names, which gets a database ``gex_bench``."""
    settings = load_settings(redis_port=27379)
    if "postgres" in names and settings.database_url is not None:
        with _own_database(settings.database_url.get_secret_value()) as url:
            update = {"redis_url": None, "database_url": SecretStr(url)}
            yield from _started(settings.model_copy(update=update), names)
    else:
        update = {"redis_url": None, "database_url": None}
        yield from _started(settings.model_copy(update=update), names)


@contextlib.contextmanager
def _own_database(server: str) -> Iterator[str]:
    """A database on a server, gone afterwards: its connection string."""

    def run(*names: str) -> None:
        with connect(server, name="bench") as admin, storage_errors():
            admin.autocommit = True  # databases come and go outside transactions
            for name in names:
                admin.execute(query(name))

    run("drop_bench_database", "create_bench_database")
    try:
        yield in_database(server, "gex_bench")
    finally:
        run("drop_bench_database")


def _started(settings: Settings, names: tuple[str, ...]) -> Iterator[Context]:
    """The context of servers that run until the next step."""
    folder = Path(tempfile.mkdtemp(prefix="gexb-"))
    folder.chmod(0o711)
    context = Context(settings.model_copy(update={"state_dir": folder}))
    context.instance.make_folders()
    context.instance.decide()
    environment = {**_environment(folder), "GEX_REDIS_PORT": "27379"}
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for name in names:
            if name == "postgres" and settings.database_url is not None:
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
        shutil.rmtree(folder, ignore_errors=True)


def _wait(context: Context, names: tuple[str, ...]) -> None:
    def ping() -> bool:
        with bus_errors():
            return bool(context.redis().ping())

    if "redis" in names:
        wait_for(ping, seconds=60, what="Redis")
    if "postgres" in names:
        with wait_for(lambda: context.database("bench"), seconds=60, what="PostgreSQL") as opened:
            migrate.migrate(opened)
