"""The user's own servers, looked at before anything is started.

Owns refusing what is out of reach or too old; must not start or change anything.
"""

from __future__ import annotations

from typing import Any

from common.bus.client import bus_errors
from common.db import queries
from common.errors import ServiceError, UsageError
from workers.context import Context

_REDIS, _POSTGRES = 7, 15
"""Oldest versions that have what the platform uses."""


def check_own_servers(context: Context) -> None:
    """Make sure that the servers GEX_REDIS_URL and GEX_DATABASE_URL name will do.

    :raises ServiceError: when one is out of reach.
    :raises UsageError: when one is too old.
    """
    if context.settings.redis_url is not None:
        _check_redis(context)
    if context.settings.database_url is not None:
        _check_database(context)


def _check_redis(context: Context) -> None:
    try:
        with bus_errors():
            info: Any = context.redis().info("server")
    except ServiceError as error:
        raise ServiceError(f"GEX_REDIS_URL: {error}") from error
    version = str(info["redis_version"])
    if int(version.split(".", maxsplit=1)[0]) < _REDIS:
        raise UsageError(f"GEX_REDIS_URL: Redis {version} is too old; {_REDIS} or Valkey is needed")


def _check_database(context: Context) -> None:
    try:
        with context.database("check") as connection:
            version = str(queries.server_facts(connection)["server_version"])
    except ServiceError as error:
        raise ServiceError(f"GEX_DATABASE_URL: {error}") from error
    if int(version.split(".", maxsplit=1)[0]) < _POSTGRES:
        raise UsageError(
            f"GEX_DATABASE_URL: PostgreSQL {version} is too old; {_POSTGRES} is needed"
        )
