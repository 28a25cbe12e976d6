"""The append-only file of the embedded Redis, rewritten while the platform runs.

Owns when that begins and how much of a processor it gets; must not be used where GEX_REDIS_URL
names the user's own server. The server would do it by itself a little later, as an equal of
those who are on the way from a quote to a level: for a second or two they then wait for one
processor of two.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psutil

from common.bus.client import Client, bus_errors
from common.servers.redis_server import REWRITE_BYTES

_NICE = 15


class AppendLog:
    """The file of one server."""

    def __init__(self, client: Client) -> None:
        """:param client: of a server on this machine."""
        self._client = client

    def look(self) -> set[int]:
        """Begin to rewrite what has doubled and is large; the processes that rewrite now.

        :raises BusError: when Redis is out of reach, or refuses.
        """
        with bus_errors():
            found: Any = self._client.info("persistence")
            if not found["aof_rewrite_in_progress"]:
                if found["aof_last_bgrewrite_status"] != "ok":
                    return set()  # the server tries again by itself, ever later
                if found["aof_current_size"] < max(REWRITE_BYTES, 2 * found["aof_base_size"]):
                    return set()
                self._client.bgrewriteaof()
            server: Any = self._client.info("server")
        writers = set()
        with suppress(psutil.Error):  # it has ended already, or runs on another machine
            for child in psutil.Process(server["process_id"]).children():
                child.nice(_NICE)
                writers.add(child.pid)
        return writers
