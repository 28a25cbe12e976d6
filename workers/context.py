"""What every command needs: settings, the instance, clients, consoles.

Owns building them from the settings in force; must not hold a command.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import orjson

from common.bus.cache import Cache
from common.bus.client import Client, bus_errors, connect
from common.errors import ServiceError
from common.servers.instance import Instance
from common.settings import Settings, load_settings

if TYPE_CHECKING:
    from rich.console import Console

    from common.db.connection import Connection

    console: Console
    """Where commands print for people."""


def __getattr__(name: str) -> Any:
    """The console, made when a command asks for it: workers print nothing."""
    if name != "console":
        raise AttributeError(name)
    from rich.console import Console  # noqa: PLC0415

    made = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    globals()[name] = made
    return made


def software() -> str:
    """Name and version of this build."""
    return f"gex-platform {version('gex-platform')}"


@dataclass(slots=True)
class Context:
    """The settings in force and what is built from them on demand."""

    settings: Settings
    instance: Instance = field(init=False)

    def __post_init__(self) -> None:
        self.instance = Instance(self.settings)

    @classmethod
    def load(cls, **overrides: Any) -> Context:
        """The context of the settings in force, with a command's own on top.

        :raises UsageError: when a setting is bad.
        """
        return cls(load_settings(**overrides))

    def redis(self, *, timeout: float = 5.0, retries: int = 2) -> Client:
        """A client; nothing connects yet.

        :param timeout: for connecting and for a reply [s].
        :param retries: how often a command is tried again after a lost connection.
        """
        return connect(self.instance.redis_url(), timeout=timeout, retries=retries)

    def reachable_redis(self) -> Client:
        """A client of a server that answers.

        :raises ServiceError: when it does not, saying what to do.
        """
        client = self.redis()
        try:
            with bus_errors():
                client.ping()
        except ServiceError as error:
            raise ServiceError(
                f"{error}; is the platform running? Start it with `gex up`"
            ) from error
        return client

    def cache(self) -> Cache:
        """The cache of a server that answers."""
        return Cache(self.reachable_redis())

    def database(self, name: str, *, timeout_seconds: float = 30.0) -> Connection:
        """An open connection; one to the embedded server gives way to the platform's processes.

        :param name: shown in ``pg_stat_activity``.
        :param timeout_seconds: for one statement.
        :raises StorageError: when the server is out of reach.
        """
        from common.db.connection import connect as connect_database  # noqa: PLC0415
        from common.servers.background import give_way  # noqa: PLC0415

        url = self.instance.database_url()
        connection = connect_database(url, name=name, timeout_seconds=timeout_seconds)
        if self.settings.database_url is None:
            give_way(connection.info.backend_pid)
        return connection


def print_json(value: Any) -> None:
    """Print a value as one JSON document."""
    sys.stdout.write(
        orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode()
    )
    sys.stdout.write("\n")


def wait_for(ready: Callable[[], Any], *, seconds: float, what: str) -> Any:
    """Call ``ready`` until it returns without a ServiceError; its result.

    :raises ServiceError: when ``seconds`` have passed, with the last reason.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ready()
        except ServiceError as error:
            if time.monotonic() >= deadline:
                raise ServiceError(
                    f"{what} did not answer within {seconds:.0f} s: {error}"
                ) from error
            time.sleep(0.1)
