"""What one line of a stream says: a heartbeat, a status, an error, or data.

Owns the JSON shapes of the market-data streams; must not merge anything nor see a socket.
Absent, null and zero stay three things: an absent field is ``UNSET``; a null price is None, a
null count -1. Data in its usual spelling is decoded straight into its types; whatever else a
line holds is looked at field by field.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from common.feeds.snapshot import HIGHEST_COUNT, count, price

LONGEST_PRICE = 24
"""Characters of a price; longer ones are spelled anew."""
Price = Annotated[str, Meta(max_length=LONGEST_PRICE)] | None | UnsetType
"""A price as it stands on the wire, in quotes."""
Count = Annotated[int, Meta(ge=0, le=HIGHEST_COUNT)] | UnsetType
"""A number of contracts, in quotes or not."""
_Value = str | int | float | None | UnsetType
"""A number however it is spelled."""


class Heartbeat(msgspec.Struct, frozen=True):
    """The stream is idle and alive."""

    count: int


class StreamStatus(msgspec.Struct, frozen=True):
    """``EndSnapshot`` or ``GoAway``."""

    status: str


class StreamError(msgspec.Struct, frozen=True):
    """An error inside a stream; with a symbol it concerns that symbol alone."""

    error: str
    message: str
    symbol: str

    @property
    def is_go_away(self) -> bool:
        """Whether the server only asks for a reconnect."""
        return self.error == "GoAway"

    @property
    def is_dual_logon(self) -> bool:
        """Whether another login has taken the data session."""
        return self.error == "DualLogon"

    @property
    def is_permanent(self) -> bool:
        """Whether asking for the same again is no use."""
        return self.error in ("BadRequest", "InvalidSymbol", "NotFound", "Forbidden")

    @property
    def is_of_one_symbol(self) -> bool:
        """Whether the stream goes on without that symbol."""
        return bool(self.symbol) and self.error.startswith("FAILED")


class Malformed(msgspec.Struct, frozen=True):
    """A line that is no message of the protocol."""

    reason: str


class Leg(msgspec.Struct, frozen=True, gc=False):
    """One leg of a chain row."""

    Symbol: str = ""


class Flags(msgspec.Struct, frozen=True, gc=False):
    """What a quote says of itself."""

    IsDelayed: bool | UnsetType = UNSET


class Row(msgspec.Struct, frozen=True, gc=False):
    """Data of a quote or of a chain row: the fields the platform uses, whatever else is sent.

    A quote names itself by ``Symbol``, a chain row by its only leg. The first three fields have
    to be absent: with one of them a line is no data.
    """

    Heartbeat: UnsetType = UNSET
    StreamStatus: UnsetType = UNSET
    Error: UnsetType = UNSET
    Symbol: str | UnsetType | None = UNSET
    DailyOpenInterest: Count = UNSET
    Ask: Price = UNSET
    Bid: Price = UNSET
    AskSize: Count = UNSET
    BidSize: Count = UNSET
    Last: Price = UNSET
    Volume: Count = UNSET
    PreviousClose: Price = UNSET
    MarketFlags: Flags | UnsetType | None = UNSET
    Legs: tuple[Leg] | UnsetType | None = UNSET

    @property
    def is_delayed(self) -> bool | None:
        """Whether the quote is called delayed; None where nothing is said of it."""
        said = self.MarketFlags.IsDelayed if self.MarketFlags else UNSET
        return None if said is UNSET else said

    @property
    def name(self) -> str:
        """The symbol this row is of; empty when it names several."""
        return self.Legs[0].Symbol if self.Legs else self.Symbol or ""


Control = Heartbeat | StreamStatus | StreamError | Malformed
Message = Control | Row


class _Line(msgspec.Struct, frozen=True, gc=False):
    """Any object of the protocol, its fields in any spelling."""

    Heartbeat: _Value = UNSET
    StreamStatus: str | UnsetType | None = UNSET
    Error: str | UnsetType | None = UNSET
    Message: str | UnsetType | None = UNSET
    Symbol: str | UnsetType | None = UNSET
    Legs: list[Leg] | UnsetType | None = UNSET
    Bid: _Value = UNSET
    Ask: _Value = UNSET
    Last: _Value = UNSET
    BidSize: _Value = UNSET
    AskSize: _Value = UNSET
    Volume: _Value = UNSET
    DailyOpenInterest: _Value = UNSET
    PreviousClose: _Value = UNSET
    MarketFlags: Any = UNSET

    def row(self) -> Row:
        """The data of the line; a row of several legs names nothing."""
        legs = self.Legs or ()
        flags = self.MarketFlags
        delayed = flags.get("IsDelayed") if isinstance(flags, dict) else None
        return Row(
            Symbol=self.Symbol if not legs else UNSET if len(legs) == 1 else "",
            Legs=(legs[0],) if len(legs) == 1 else UNSET,
            Bid=_price(self.Bid),
            Ask=_price(self.Ask),
            Last=_price(self.Last),
            BidSize=_count(self.BidSize),
            AskSize=_count(self.AskSize),
            Volume=_count(self.Volume),
            DailyOpenInterest=_count(self.DailyOpenInterest),
            PreviousClose=_price(self.PreviousClose),
            MarketFlags=Flags(delayed) if isinstance(delayed, bool) else UNSET,
        )


_decode_row = msgspec.json.Decoder(Row, strict=False).decode  # not strict: counts in quotes
_decode_line = msgspec.json.Decoder(_Line).decode
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises for bytes that are no message."""


def parse(line: bytes) -> Message:
    """The message of one line."""
    try:
        row = _decode_row(line)
    except _UNREADABLE:
        return _classified(line)
    return row if row.Symbol or row.Legs else _classified(line)


def _classified(line: bytes) -> Message:
    """The message of a line that is no plain data.

    Classified in the order heartbeat, status, error, data, never by the presence of a data
    field, because partial updates may lack any of them.
    """
    try:
        said = _decode_line(line)
    except _UNREADABLE as error:
        return _legacy(line) or Malformed(str(error))
    if said.Heartbeat is not UNSET:
        return Heartbeat(said.Heartbeat if isinstance(said.Heartbeat, int) else 0)
    if said.StreamStatus is not UNSET:
        return StreamStatus(said.StreamStatus or "")
    if said.Error:
        return StreamError(said.Error, said.Message or "", said.Symbol or "")
    return said.row() if said.Legs or said.Symbol else Malformed("names no contract")


def _price(value: _Value) -> Price:
    """A price as text, whatever it was."""
    if value is UNSET or value is None:
        return value
    if isinstance(value, str) and len(value) <= LONGEST_PRICE:
        return value
    return str(price(value))


def _count(value: _Value) -> Count:
    """A count; -1 for null and for what is none."""
    return value if value is UNSET else count(value)


def _legacy(line: bytes) -> StreamError | StreamStatus | None:
    """The plain texts that older versions of the API ended a stream with."""
    text = line.strip()
    if text.startswith(b"ERROR"):
        return StreamError("Failed", text.decode(errors="replace"), "")
    if text == b"END":
        return StreamStatus("GoAway")
    return None


class Expiration(msgspec.Struct, frozen=True):
    """One listed expiration."""

    Date: str
    Type: str = ""


class Expirations(msgspec.Struct, frozen=True):
    """Reply of ``/marketdata/options/expirations/{underlying}``."""

    Expirations: list[Expiration]


class Strikes(msgspec.Struct, frozen=True):
    """Reply of ``/marketdata/options/strikes/{underlying}``; one inner item a leg."""

    Strikes: list[list[str]]


class Quotes(msgspec.Struct, frozen=True):
    """Reply of ``/marketdata/quotes/{symbols}``; what is refused stands in a list of its own."""

    Quotes: list[_Line] | None = None

    @property
    def rows(self) -> list[Row]:
        """The quotes as the streams would give them."""
        return [line.row() for line in self.Quotes or ()]


class ApiError(msgspec.Struct, frozen=True):
    """Body of a refused request; anything may be missing."""

    Error: str | None = None
    Message: str | None = None
