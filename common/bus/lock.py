"""The right to be the one who does something, for a while.

Owns a lock with an owner's name and a lifetime; must not know what is done under it.
"""

from __future__ import annotations

import os
import secrets
import socket

from common.bus import scripts
from common.bus.client import Client, bus_errors, text


def name_of_process() -> str:
    """A name that no other process has, which tells people whose it is."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


class Lock:
    """A lock that its owner may take again: what a lost answer has left behind keeps nobody but
    others from it, and those no longer than its lifetime."""

    def __init__(self, client: Client, key: str, *, name: str, milliseconds: int) -> None:
        """:param name: of the owner, unique.
        :param milliseconds: it lives so long after it was taken last.
        """
        self._client, self._key, self._name, self._milliseconds = client, key, name, milliseconds
        self._hold = client.register_script(scripts.HOLD)
        self._let_go = client.register_script(scripts.LET_GO)

    def holder(self) -> str:
        """Take the lock, or keep it; who has it now, empty for this owner.

        :raises BusError: when Redis is out of reach.
        """
        with bus_errors():
            name = text(self._hold(keys=[self._key], args=[self._name, self._milliseconds]))
        return "" if name == self._name else name

    def release(self) -> bool:
        """Let another have it at once; false where its lifetime had ended before.

        :raises BusError: when Redis is out of reach.
        """
        with bus_errors():
            return bool(self._let_go(keys=[self._key], args=[self._name]))
