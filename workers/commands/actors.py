"""What the actors have done and what lies before them, for `gex status` and `gex up`.

Owns collecting and showing it; must not judge (that is `gex doctor`).
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from common.bus import keys
from common.bus.cache import Cache
from common.bus.entries import age_of, id_order
from common.bus.leases import holder
from common.bus.streams import Streams

Row = dict[str, Any]


def actor_rows(cache: Cache) -> list[Row]:
    """What every actor has said of itself within a minute.

    :raises BusError: when Redis is out of reach, or refuses.
    """
    here = socket.gethostname()
    return [
        {
            "group": group,
            "name": name,
            "host": said.get("host", ""),
            "here": said.get("host") == here,
            "pid": int(said["pid"]),
            "streams": int(said["streams"]),
            "handled": int(said["handled"]),
            "rate": float(said["rate"]),
            "failures": int(said["failures"]),
            "buried": int(said["buried"]),
            "silent_seconds": round(time.time() - float(said["at"]), 3),
        }
        for (group, name), said in cache.actors().items()
    ]


def with_work(
    actors: list[Row], streams: list[Row], bus: Streams, programs: list[Row]
) -> list[Row]:
    """Actors with the lag and the pending entries of their streams, and how often each was
    restarted: None for one that is not supervised here. A lag is None where Redis cannot tell.

    A Greeks worker answers for the shards it holds, any other for each stream that its group
    reads: that lag is its group's.

    :param streams: as `gex status` tells of them.
    :raises BusError: when Redis is out of reach, or refuses.
    """
    restarts = {row["pid"]: row["restarts"] for row in programs if row["pid"]}
    pending: dict[tuple[str, str], list[tuple[int, str]]] = {}
    lags: dict[tuple[str, str], list[int]] = {}
    for stream, group in _read(streams):
        name = group["group"]
        holds = holder(bus.client, stream) if name == keys.GREEKS_GROUP else None
        lags.setdefault((name, holds or ""), []).append(group["lag"])
        if group["pending"]:
            for consumer, each in bus.unfinished(name, stream).items():
                if each.oldest:
                    pending.setdefault((name, consumer), []).append((each.pending, each.oldest))
    found = []
    for row in actors:
        key = (row["group"], row["name"])
        mine = pending.get(key, [])
        oldest = min((entry for _, entry in mine), key=id_order, default=None)
        before = lags.get(key if row["group"] == keys.GREEKS_GROUP else (key[0], ""), [])
        found.append(
            {
                **row,
                "lag": None if min(before, default=0) < 0 else sum(before),
                "pending": sum(count for count, _ in mine),
                "oldest_pending_seconds": age_of(oldest),
                "restarts": restarts.get(row["pid"]) if row["here"] else None,
            }
        )
    return found


def actors_table(rows: list[Row]) -> Table:
    """For people, in 80 columns."""
    table = Table(title="actors", title_justify="left", box=SIMPLE_HEAD, padding=0)
    table.add_column("actor", no_wrap=True)
    headings = ("streams", "lag", "pending", "oldest", "entries/s", "failed", "dead", "restarts")
    for heading in (*headings, "silent"):
        table.add_column(heading, justify="right")
    for row in rows:
        oldest, restarts = row["oldest_pending_seconds"], row["restarts"]
        table.add_row(
            _name(row),
            str(row["streams"]),
            "?" if row["lag"] is None else f"{row['lag']:,}",
            f"{row['pending']:,}",
            "" if oldest is None else f"{oldest:.1f} s",
            f"{row['rate']:,.1f}",
            f"{row['failures']:,}",
            f"{row['buried']:,}",
            "" if restarts is None else str(restarts),
            f"{row['silent_seconds']:.1f} s",
        )
    return table


def _name(row: Row) -> str:
    """As its program is called, as a rule; with its group where that does not show."""
    name = row["name"] if row["name"].startswith(row["group"]) else f"{row['group']}/{row['name']}"
    return name if row["here"] else f"{name}@{row['host']}"


def _read(streams: list[Row]) -> Iterator[tuple[str, Row]]:
    for row in streams:
        for group in row["groups"]:
            yield row["stream"], group
