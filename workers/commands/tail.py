"""`gex tail`: the entries of a stream as people read them.

Owns the wording; layouts are those of :mod:`common.bus.codec`.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import orjson
import typer

from common.bus import keys
from common.bus.client import Client, bus_errors, text
from common.bus.codec import Batch, Result
from common.bus.streams import Streams
from common.clock import new_york_time
from common.errors import MalformedEntryError, UsageError
from common.models import FLAG_WITHDRAWN, JsonDict, Rows, Status, key_puts, key_strikes
from workers.context import Context

_DEAD_PREFIX = "dead:"
_BLOCK_MS = 500


def tail(
    stream: Annotated[
        str,
        typer.Argument(
            help="A stream, or how its name begins: quotes:SPY (all expirations), "
            "quotes:SPY:2026-11-27, greeks:SPY, levels:SPY, dead:store."
        ),
    ],
    count: Annotated[
        int, typer.Option("--count", "-n", min=0, help="Show this many of the last entries.")
    ] = 10,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as entries arrive; Ctrl-C ends it.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document a row.")] = False,
) -> None:
    """The last entries of a stream, decoded, a line for each quote, result or level."""
    client = Context.load().reachable_redis()
    names = _names(client, stream)
    places = {name: _show_last(client, name, count, as_json=json) for name in names}
    if follow:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        while True:
            _show_new(client, places, as_json=json)


def describe(stream: str, entry_id: str, fields: Mapping[bytes, bytes]) -> list[str]:
    """One entry as lines for people; one that cannot be decoded says why and how long it is."""
    try:
        rows = decode(stream, fields)
    except MalformedEntryError as error:
        sizes = ", ".join(f"{text(name)} {len(value)} B" for name, value in fields.items())
        return [f"{stream} {entry_id} cannot be read: {error} ({sizes or 'no fields'})"]
    return [f"{stream} {entry_id} {_line(row)}" for row in rows]


def decode(stream: str, fields: Mapping[bytes, bytes]) -> list[JsonDict]:
    """The rows of an entry, plain types, NaN as None.

    :raises MalformedEntryError: when it is not one of that stream.
    """
    if stream.startswith(keys.QUOTES_PREFIX):
        batch = Batch.decode(fields)
        spots = [_record(row, batch.spots) for row in batch.spots.tolist()]
        return spots + _contracts(batch.quotes)
    if stream.startswith(keys.GREEKS_PREFIX):
        result = Result.decode(fields)
        shard = result.header.shard
        return [{"expiration": shard, **row} for row in _contracts(result.rows)]
    if stream.startswith(keys.LEVELS_PREFIX):
        try:
            found = orjson.loads(fields[b"json"])
            levels = found["levels"]
            names = ("net_gex", "zero_gamma", "call_wall", "put_wall", "regime")
            brief = {name: levels[name] for name in names}
            return [{"as_of": found["as_of"], "spot": found["spot"], **brief}]
        except (KeyError, ValueError, TypeError) as error:
            raise MalformedEntryError(f"levels entry: {error!r}") from error
    return [
        {
            text(name): value.decode(errors="replace")
            for name, value in fields.items()
            if not name.startswith(b"f:") and name != b"traceback"
        }
    ]


def _names(client: Client, wanted: str) -> list[str]:
    """The streams that are meant.

    :raises UsageError: when there is none.
    """
    known = Streams(client).registered()
    with bus_errors():
        known += [text(key) for key in client.scan_iter(f"{_DEAD_PREFIX}*", _type="stream")]
    found = [name for name in known if name == wanted or name.startswith(f"{wanted}:")]
    if not found:
        listed = ", ".join(sorted(known)) or "none yet; is the platform running?"
        raise UsageError(f"there is no stream {wanted!r}; there are: {listed}")
    return sorted(found)


def _show_last(client: Client, stream: str, count: int, *, as_json: bool) -> str:
    """Print the last entries; the id after which new ones come."""
    with bus_errors():
        found: Any = client.xrevrange(stream, count=max(count, 1))
    for entry_id, fields in reversed(found[:count]):
        _print(stream, text(entry_id), fields, as_json=as_json)
    return text(found[0][0]) if found else "0-0"


def _show_new(client: Client, places: dict[str, str], *, as_json: bool) -> None:
    with bus_errors():
        wanted: dict[Any, Any] = dict(places)
        reply: Any = client.xread(wanted, count=100, block=_BLOCK_MS)
    for stream, entries in reply or []:
        for entry_id, fields in entries:
            _print(text(stream), text(entry_id), fields, as_json=as_json)
            places[text(stream)] = text(entry_id)


def _print(stream: str, entry_id: str, fields: Mapping[bytes, bytes], *, as_json: bool) -> None:
    if not as_json:
        lines = describe(stream, entry_id, fields)
    else:
        try:
            rows = decode(stream, fields)
        except MalformedEntryError as error:
            rows = [{"malformed": str(error)}]
        where = {"stream": stream, "id": entry_id}
        lines = [orjson.dumps({**where, **row}).decode() for row in rows]
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


def _contracts(rows: Rows) -> list[JsonDict]:
    """Rows of contracts, their keys spelled out."""
    strikes, puts = key_strikes(rows["key"]).tolist(), key_puts(rows["key"]).tolist()
    found = []
    for strike, put, row in zip(strikes, puts, rows.tolist(), strict=True):
        record = _record(row, rows)
        record.pop("pad", None)
        if "flags" in record:
            record["withdrawn"] = bool(record.pop("flags") & FLAG_WITHDRAWN)
        if "status" in record:
            record["status"] = Status(record["status"]).label
            record["side"] = text(record["side"])
        del record["key"]
        found.append({"strike": strike, "right": "P" if put else "C", **record})
    return found


def _record(row: tuple[Any, ...], rows: Rows) -> JsonDict:
    """Field → value; NaN, and -1 for an unknown count, as None."""
    unknown = {"bid_size", "ask_size", "volume", "open_interest"}
    return {
        name: None if value != value or (name in unknown and value < 0) else value  # noqa: PLR0124
        for name, value in zip(rows.dtype.names or (), row, strict=True)
    }


def _line(row: JsonDict) -> str:
    """A row in one line: its time as New York's, the rest as name and value."""
    parts: list[str] = []
    for name, value in row.items():
        if name == "time":
            parts.insert(0, new_york_time(value))
        elif value is not None and value is not False and name != "seq":
            parts.append(f"{name} {_short(value)}")
    return " ".join(parts)


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
