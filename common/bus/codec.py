"""Byte layouts of stream entries and of the state blob, versioned.

Owns the translation between bytes and arrays; must not talk to Redis. Rows are fixed-width
and describe themselves (a key is strike and right, the stream names symbol and expiry), so a
reader needs no dictionary. A layout that is unknown or damaged raises
:class:`MalformedEntryError`; nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from common.errors import MalformedEntryError
from common.models import GREEKS, QUOTE, SPOT, Rows, join_rows

SCHEMA = 2
Fields = Mapping[bytes, bytes]
_ID = re.compile(r"\d{1,20}-\d{1,20}")


_WIRE = np.dtype([(n, "<u4" if n == "seq" else QUOTE[n].str) for n in QUOTE.names or ()])
"""A quote in an entry, 76 bytes: QUOTE, with its number counted from that of the batch."""
_WORD = np.dtype("<u4")
_SEQ = sum(QUOTE[name].itemsize for name in ("key", "flags", "time")) // _WORD.itemsize
"""Words before the number of a quote, in an entry as in QUOTE."""


class BatchHeader(msgspec.Struct, array_like=True, frozen=True, kw_only=True, gc=False):
    """What a quotes entry says of itself."""

    schema: int = SCHEMA
    session: str
    epoch: int
    batch: int
    """Number of the batch within (epoch, shard), from 1."""
    received_us: int
    """Wall time at which the batch was closed [us]."""
    quotes: int
    spots: int
    seq: int = 0
    """What the numbers of the quotes count from."""
    reset: bool = False
    """True when the state starts empty with the first batch of this epoch."""
    vix: float = 0.0
    """The VIX when the batch was closed, 0 while this run has not seen it."""
    vix_time: int = 0
    """When it was quoted [us, market time]."""


class Batch(msgspec.Struct, frozen=True):
    """A decoded quotes entry."""

    header: BatchHeader
    quotes: Rows
    spots: Rows

    def encode(self) -> dict[str, bytes]:
        """The fields of the stream entry.

        :raises OverflowError: when the numbers of a batch are 2³² apart; no run has so many.
        """
        first = int(self.quotes["seq"].min()) if len(self.quotes) else 0
        if len(self.quotes) and int(self.quotes["seq"].max()) - first >= 1 << 32:
            raise OverflowError("the numbers of a batch's quotes are too far apart")
        rows = np.ascontiguousarray(self.quotes).view(_WORD).reshape(-1, QUOTE.itemsize // 4)
        wire = np.empty((len(rows), _WIRE.itemsize // 4), _WORD)  # words: fields are slow to copy
        wire[:, :_SEQ], wire[:, _SEQ + 1 :] = rows[:, :_SEQ], rows[:, _SEQ + 2 :]
        wire[:, _SEQ] = self.quotes["seq"] - first
        return {
            "h": msgspec.msgpack.encode(msgspec.structs.replace(self.header, seq=first)),
            "q": wire.tobytes(),
            "s": self.spots.tobytes(),
        }

    @classmethod
    def decode(cls, fields: Fields) -> Self:
        """The batch of a stream entry.

        :raises MalformedEntryError: when the entry is damaged or of an unknown schema.
        """
        header = _header(fields, _BATCH_HEADER)
        quotes = _quotes(_data(fields, b"q", _WIRE, header.quotes), header.seq)
        header = msgspec.structs.replace(header, seq=0)
        return cls(header, quotes, _array(_data(fields, b"s", SPOT, header.spots), SPOT))


@dataclass(frozen=True, slots=True)
class Batches:
    """Decoded quotes entries together: the rows of all of them, one entry after another."""

    headers: Sequence[BatchHeader]
    quotes: Rows
    spots: Rows

    @classmethod
    def decode(cls, entries: Sequence[Fields]) -> Self:
        """The batches of stream entries.

        :raises MalformedEntryError: when any is damaged or of an unknown schema.
        """
        headers = [_header(fields, _BATCH_HEADER) for fields in entries]
        pairs = list(zip(entries, headers, strict=True))
        wire = b"".join([_data(fields, b"q", _WIRE, header.quotes) for fields, header in pairs])
        spots = b"".join([_data(fields, b"s", SPOT, header.spots) for fields, header in pairs])
        firsts = np.array([header.seq for header in headers], np.int64)
        sizes = [header.quotes for header in headers]
        return cls(headers, _quotes(wire, np.repeat(firsts, sizes)), _array(spots, SPOT))

    @classmethod
    def of(cls, batches: Iterable[Batch | Batches]) -> Self:
        """Batches, or several together, as one."""
        headers: list[BatchHeader] = []
        quotes, spots = [], []
        for batch in batches:
            headers += batch.headers if isinstance(batch, Batches) else [batch.header]
            quotes.append(batch.quotes)
            spots.append(batch.spots)
        return cls(headers, join_rows(quotes, QUOTE), join_rows(spots, SPOT))

    def part(self, number: int, places: Sequence[int]) -> Batch:
        """These quotes of one of the batches alone, without prices of the underlying."""
        before = sum(header.quotes for header in self.headers[:number])
        header = msgspec.structs.replace(self.headers[number], quotes=len(places), spots=0, seq=0)
        return Batch(header, self.quotes[before + np.array(places)], self.spots[:0])


class ResultHeader(msgspec.Struct, array_like=True, frozen=True, kw_only=True, gc=False):
    """What a Greeks entry says of itself."""

    schema: int = SCHEMA
    session: str
    epoch: int
    shard: str
    rows: int
    basis: float
    """Forward ÷ spot."""
    forward_source: str
    last_id: str
    """The last quotes entry these results include."""


@dataclass(frozen=True, slots=True)
class Result:
    """A decoded Greeks entry."""

    header: ResultHeader
    rows: Rows

    @classmethod
    def decode(cls, fields: Fields) -> Self:
        """The results of a stream entry.

        :raises MalformedEntryError: when the entry is damaged or of an unknown schema.
        """
        header = _header(fields, _RESULT_HEADER)
        return cls(header, _array(_data(fields, b"r", GREEKS, header.rows), GREEKS))

    def encode(self) -> dict[str, bytes]:
        """The fields of the stream entry."""
        return {"h": msgspec.msgpack.encode(self.header), "r": self.rows.tobytes()}


@dataclass(frozen=True, slots=True)
class Results:
    """Decoded Greeks entries together: the rows of all of them, one entry after another."""

    headers: Sequence[ResultHeader]
    rows: Rows

    @classmethod
    def decode(cls, entries: Sequence[Fields]) -> Self:
        """The results of stream entries.

        :raises MalformedEntryError: when any is damaged or of an unknown schema.
        """
        headers = [_header(fields, _RESULT_HEADER) for fields in entries]
        pairs = zip(entries, headers, strict=True)
        rows = b"".join([_data(fields, b"r", GREEKS, header.rows) for fields, header in pairs])
        return cls(headers, _array(rows, GREEKS))

    @classmethod
    def of(cls, results: Iterable[Result | Results]) -> Self:
        """Results, or several together, as one."""
        headers: list[ResultHeader] = []
        rows = []
        for result in results:
            headers += result.headers if isinstance(result, Results) else [result.header]
            rows.append(result.rows)
        return cls(headers, join_rows(rows, GREEKS))

    def part(self, number: int, places: Sequence[int]) -> Result:
        """These rows of one of the results alone."""
        before = sum(header.rows for header in self.headers[:number])
        header = msgspec.structs.replace(self.headers[number], rows=len(places))
        return Result(header, self.rows[before + np.array(places)])


class StateBlob(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """The latest state of a shard: everything a level is computed from."""

    schema: int = SCHEMA
    session: str = ""
    epoch: int = 0
    """Producer run the state belongs to."""
    last_id: str = "0-0"
    """The last quotes entry that is part of the state."""
    spot_time: int = 0
    spot_seq: int = -1
    spot: float = float("nan")
    prior_close: float = float("nan")
    basis: float = float("nan")
    forward_source: str = "none"
    forward_residual: float = float("nan")
    parity_pairs: int = 0
    quotes: bytes = b""
    greeks: bytes = b""
    vix: float = 0.0
    """The newest VIX that came with a batch, 0 before."""
    vix_time: int = 0
    """When it was quoted [us, market time]."""

    def quote_rows(self) -> Rows:
        """Layout QUOTE, sorted by key; shape (n,), not to be written to."""
        return _array(self.quotes, QUOTE)

    def greek_rows(self) -> Rows:
        """Layout GREEKS, parallel to the quotes; shape (n,)."""
        return _array(self.greeks, GREEKS)

    def encode(self) -> bytes:
        """The blob."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The state of a blob.

        :raises MalformedEntryError: when the blob is damaged or of an unknown schema.
        """
        try:
            state = msgspec.msgpack.decode(data, type=cls)
        except _UNREADABLE as error:
            raise MalformedEntryError(f"state blob: {error}") from error
        if state.schema != SCHEMA:
            raise MalformedEntryError(
                f"state blob: schema {state.schema}, this build reads {SCHEMA}"
            )
        if state.encode() != data:
            raise MalformedEntryError("state blob: fields are missing or left over")
        if not _ID.fullmatch(state.last_id):
            raise MalformedEntryError(f"state blob: {state.last_id!r} is no entry id")
        if len(state.quote_rows()) != len(state.greek_rows()):
            raise MalformedEntryError("state blob: quotes and Greeks differ in number")
        return state


_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
HeaderT = TypeVar("HeaderT", BatchHeader, ResultHeader)


_BATCH_HEADER, _RESULT_HEADER = (
    msgspec.msgpack.Decoder(BatchHeader),
    msgspec.msgpack.Decoder(ResultHeader),
)


def _header(fields: Fields, decoder: msgspec.msgpack.Decoder[HeaderT]) -> HeaderT:
    try:
        header = decoder.decode(fields[b"h"])
    except KeyError as error:
        raise MalformedEntryError("entry without a header field 'h'") from error
    except _UNREADABLE as error:
        raise MalformedEntryError(f"entry header: {error}") from error
    if header.schema != SCHEMA:
        raise MalformedEntryError(f"entry of schema {header.schema}, this build reads {SCHEMA}")
    return header


def _data(fields: Fields, name: bytes, layout: np.dtype[Any], count: int) -> bytes:
    data = fields.get(name, b"")
    if len(data) != count * layout.itemsize:
        raise MalformedEntryError(
            f"field '{name.decode()}' holds {len(data)} bytes, {count} rows need "
            f"{count * layout.itemsize}"
        )
    return data


def _quotes(data: bytes, firsts: int | npt.NDArray[np.int64]) -> Rows:
    """The quotes of entries.

    :param firsts: what their numbers count from, of all or of each.
    """
    wire = np.frombuffer(data, _WORD).reshape(-1, _WIRE.itemsize // 4)
    rows = np.empty((len(wire), QUOTE.itemsize // 4), _WORD)
    rows[:, :_SEQ], rows[:, _SEQ + 2 :] = wire[:, :_SEQ], wire[:, _SEQ + 1 :]
    quotes: Rows = rows.view(QUOTE).reshape(-1)
    quotes["seq"] = wire[:, _SEQ]
    quotes["seq"] += firsts
    return quotes


def _array(data: bytes, layout: np.dtype[Any]) -> Rows:
    if len(data) % layout.itemsize:
        raise MalformedEntryError(f"{len(data)} bytes are no whole rows of {layout.itemsize}")
    return np.frombuffer(data, dtype=layout)
