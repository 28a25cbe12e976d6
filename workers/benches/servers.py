"""Servers of a bench's own: started for it, in a folder of its own, gone afterwards.

Owns that; must not measure anything.
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

from common.bus.client import bus_errors
from common.db import migrate
from common.settings import load_settings
from workers.context import Context, wait_for


@contextlib.contextmanager
def own_servers(*names: str) -> Iterator[Context]:
    """The named embedded servers (``redis``, ``postgres``), empty, the schema migrated."""
    folder = Path(tempfile.mkdtemp(prefix="gexb-"))
    folder.chmod(0o711)
    context = Context(load_settings(state_dir=folder, redis_port=27379))
    context.instance.make_folders()
    context.instance.decide()
    command = str(Path(sys.executable).with_name("gex"))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GEX_")}
    environment = {**kept, "GEX_STATE_DIR": str(folder), "GEX_REDIS_PORT": "27379"}
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for name in names:
            with (folder / f"{name}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen(
                        [command, "serve", name], env=environment, stdout=log, stderr=log
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
