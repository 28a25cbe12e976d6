"""Free ports, reserved: two instances that start at the same moment never choose the same.

Owns that; must not know what listens where.
"""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
import weakref
from pathlib import Path

from common.errors import UsageError

_REACH = 200
"""How many ports are tried."""


class Reservations:
    """Ports this process has chosen; others of the same user pass them over while it lives."""

    def __init__(self) -> None:
        self._held: list[int] = []
        self._taken: set[int] = set()
        weakref.finalize(self, _close, self._held)

    def first_free(self, host: str, wanted: int) -> int:
        """The first free port from ``wanted`` on, reserved.

        :raises UsageError: when none is free.
        """
        for port in range(wanted, min(wanted + _REACH, 65536)):
            if port not in self._taken and _is_free(host, port) and self._reserve(port):
                self._taken.add(port)
                return port
        raise UsageError(f"no port from {wanted} on is free on {host}; set another one")

    def _reserve(self, port: int) -> bool:
        folder = Path(tempfile.gettempdir()) / f"gex-ports-{os.geteuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(folder / str(port), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return False
        self._held.append(handle)
        return True


def _close(handles: list[int]) -> None:
    for handle in handles:
        os.close(handle)


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
