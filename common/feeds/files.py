"""One chain snapshot from a file of any kind the platform reads.

Owns the recognition of formats by content; must not parse any of them. A further format is
one more branch of :func:`load_snapshot` and a module of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson

from common.clock import iso_ms
from common.errors import InputError
from common.feeds import tdameritrade
from common.feeds.cboe import is_cboe, parse_chain
from common.feeds.quotedata import is_quotedata, parse_quotedata
from common.feeds.recording import looks_recorded, read_recording
from common.feeds.snapshot import FileSnapshot
from common.feeds.source import SourceFile, read_source

KINDS = (
    "Cboe chain JSON, Cboe quotedata CSV, TD Ameritrade or Schwab chain JSON, recorded series CSV"
)


def load_snapshot(path: Path, *, at_us: int | None, symbol: str | None) -> FileSnapshot:
    """The last snapshot of a file, or the last one at or before an instant.

    :param at_us: market time [us]; also the time of a file that carries none.
    :param symbol: the underlying, for a file that does not name it.
    :raises InputError: with one line that says what is wrong and what to do.
    """
    source = read_source(path)
    start = source.content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start in {b"{", b"["}:
        return _from_json(source, at_us, symbol)
    text = source.text()
    if looks_recorded(text.lstrip().partition("\n")[0]):
        return _from_recording(source, at_us, symbol)
    if is_quotedata(text):
        return _in(source, lambda: parse_quotedata(text, at_us=at_us, symbol=symbol))
    raise InputError(f"{path}: is no chain file known here ({KINDS})")


def _from_json(source: SourceFile, at_us: int | None, symbol: str | None) -> FileSnapshot:
    try:
        document = orjson.loads(source.text())
    except orjson.JSONDecodeError as error:
        raise InputError(
            f"{source.path}: broken or truncated JSON, line {error.lineno}: {error.msg}"
        ) from error
    if is_cboe(document):
        return _in(source, lambda: parse_chain(document, at_us=at_us, symbol=symbol))
    if tdameritrade.is_tdameritrade(document):
        return _in(source, lambda: tdameritrade.parse_chain(document, at_us=at_us, symbol=symbol))
    raise InputError(f"{source.path}: JSON, but no chain known here ({KINDS})")


def _in(source: SourceFile, parse: Callable[[], FileSnapshot]) -> FileSnapshot:
    """What a parser makes of a file; what it cannot is said with the file's name."""
    try:
        return parse()
    except InputError as error:
        raise InputError(f"{source.path}: {error}") from error


def _from_recording(source: SourceFile, at_us: int | None, symbol: str | None) -> FileSnapshot:
    recording = read_recording(source, symbol=symbol)
    times = [fetch.time for fetch in recording.fetches if at_us is None or fetch.time <= at_us]
    if not times:
        first = iso_ms(recording.fetches[0].time)
        raise InputError(f"{source.path}: no snapshot at or before --at; the first is of {first}")
    return recording.snapshot(recording.fetches[len(times) - 1])
