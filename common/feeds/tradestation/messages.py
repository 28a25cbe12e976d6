"""What one line of a stream says: a heartbeat, a status, an error, or data.

Owns the JSON shapes of the market-data streams; must not merge anything nor see a socket.
Absent, null and zero stay three things: an absent field is ``UNSET``, null is None.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

Value = str | int | float | None | UnsetType
"""A number as the wire spells it: text in quotes, an integer or text in chain rows."""


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


class Row(msgspec.Struct, frozen=True, gc=False):
    """Data of a quote or of a chain row: the fields the platform uses, whatever else is sent.

    A quote names itself by ``Symbol``, a chain row by its only leg.
    """

    Heartbeat: Value = UNSET
    StreamStatus: str | UnsetType | None = UNSET
    Error: str | UnsetType | None = UNSET
    Message: str | UnsetType | None = UNSET
    Symbol: str | UnsetType | None = UNSET
    Legs: list[Leg] | UnsetType | None = UNSET
    Bid: Value = UNSET
    Ask: Value = UNSET
    Last: Value = UNSET
    BidSize: Value = UNSET
    AskSize: Value = UNSET
    Volume: Value = UNSET
    DailyOpenInterest: Value = UNSET
    MarketFlags: Any = UNSET

    @property
    def is_delayed(self) -> bool | None:
        """Whether the quote is called delayed; None where nothing is said of it."""
        flags = self.MarketFlags
        said = flags.get("IsDelayed") if isinstance(flags, dict) else None
        return said if isinstance(said, bool) else None

    @property
    def name(self) -> str:
        """The symbol this row is of; empty when it names none, or several."""
        if self.Legs:
            return self.Legs[0].Symbol if len(self.Legs) == 1 else ""
        return self.Symbol or ""


Message = Heartbeat | StreamStatus | StreamError | Row | Malformed
_decoder = msgspec.json.Decoder(Row)


def parse(line: bytes) -> Message:
    """The message of one line.

    Classified in the order heartbeat, status, error, data, never by the presence of a data
    field, because partial updates may lack any of them.
    """
    try:
        row = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return _legacy(line) or Malformed(str(error))
    if row.Heartbeat is UNSET and row.StreamStatus is UNSET and not row.Error:
        return row if row.Legs or row.Symbol else Malformed("names no contract")
    if row.Heartbeat is not UNSET:
        return Heartbeat(row.Heartbeat if isinstance(row.Heartbeat, int) else 0)
    if row.StreamStatus is not UNSET:
        return StreamStatus(row.StreamStatus or "")
    return StreamError(str(row.Error), row.Message or "", row.Symbol or "")


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

    Quotes: list[Row] | None = None


class ApiError(msgspec.Struct, frozen=True):
    """Body of a refused request; anything may be missing."""

    Error: str | None = None
    Message: str | None = None
