"""The nouns: contracts, expiries, quotes, sessions, and the array layouts that carry them.

Owns names and layouts only: no formula, clock, I/O or settings. Times are integer
microseconds since the Unix epoch, UTC, *market time* unless a name says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from enum import IntEnum
from typing import Any, Literal, Protocol, Self

import msgspec
import numpy as np
import numpy.typing as npt

Right = Literal["C", "P"]
Settlement = Literal["PM", "AM"]
FeedName = Literal["simulator", "recording", "tradestation", "cboe"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
StatusArray = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.void]
"""A structured array of one of the layouts below."""


class Status(IntEnum):
    """Why a contract has, or has not, an implied volatility; the one list of reasons."""

    OK = 0
    NO_BID = 1
    NO_ASK = 2
    CROSSED = 3
    WIDE = 4
    BELOW_INTRINSIC = 5
    ABOVE_BOUND = 6
    NO_TIME_VALUE = 7
    EXPIRED = 8
    STALE = 9
    NO_FORWARD = 10
    NOT_CONVERGED = 11
    BAD_INPUT = 12

    @property
    def label(self) -> str:
        """The lower-case name used in JSON, e.g. ``no_bid``."""
        return self.name.lower()


QUOTE = np.dtype(
    [
        ("key", "<u4"),  # contract within its shard: see contract_keys
        ("flags", "<u4"),  # Flag bits
        ("time", "<i8"),  # market time of the quote [us]
        ("seq", "<i8"),  # order of events within the session, unique
        ("spot", "<f8"),  # underlying when the quote was taken [$]
        ("bid", "<f8"),  # [$ per share], NaN when absent
        ("ask", "<f8"),
        ("last", "<f8"),
        ("bid_size", "<i4"),  # [contracts], -1 when unknown
        ("ask_size", "<i4"),
        ("volume", "<i4"),  # cumulative from the cash open
        ("open_interest", "<i4"),
        ("bought", "<i4"),  # part of the volume that buyers began: see common.trades
        ("sold", "<i4"),  # part that sellers began
    ]
)
"""One quote of one contract, 80 bytes; the row of the quotes streams and of the state."""

SPOT = np.dtype([("time", "<i8"), ("seq", "<i8"), ("price", "<f8"), ("prior_close", "<f8")])
"""One price of the underlying and its last close before the session, NaN where unknown [$],
32 bytes."""

GREEKS = np.dtype(
    [
        ("key", "<u4"),
        ("status", "u1"),
        ("side", "S1"),  # right whose quote gave the IV: C, P, or B for both
        ("pad", "V2"),
        ("time", "<i8"),
        ("seq", "<i8"),
        ("iv", "<f8"),  # NaN unless status is OK
        ("delta", "<f8"),  # per share
        ("gamma", "<f8"),  # per $1
    ]
)
"""The implied volatility and Greeks of one contract at the time of its quote, 48 bytes."""

FLAG_WITHDRAWN = 1
"""The source no longer lists the contract: it leaves the board until quoted again."""


MAX_STRIKE = 2_147_483.0
"""The largest strike that fits a contract key [$]."""


def join_rows(parts: Sequence[npt.NDArray[Any]], layout: np.dtype[Any]) -> npt.NDArray[Any]:
    """The parts one after the other, as plain bytes: numpy copies records field by field."""
    if not parts:
        return np.empty(0, layout)
    if layout.names is None:
        return np.concatenate(parts, dtype=layout)
    rows: list[Any] = [np.ascontiguousarray(part, layout) for part in parts]
    return np.frombuffer(bytearray().join(rows), layout)


def contract_keys(*, strikes: npt.ArrayLike, puts: npt.ArrayLike) -> npt.NDArray[np.uint32]:
    """Keys of contracts within one shard.

    :param strikes: strike prices [$], any shape, below 2,147,483.
    :param puts: true for a put, broadcast against ``strikes``.
    :returns: ``round(1000 · strike) · 2 + put``; sorting keys sorts by strike, call first.
    :raises ValueError: when a strike is not a positive number in that range.
    """
    prices = np.asarray(strikes, dtype=np.float64)
    if not np.all((prices > 0.0) & (prices <= MAX_STRIKE)):
        raise ValueError("a strike that is not positive, or is too large, names no contract")
    milli = np.rint(prices * 1000.0).astype(np.uint32)
    return (milli << np.uint32(1)) | np.asarray(puts, dtype=np.uint32)


def key_strikes(keys: npt.NDArray[np.uint32]) -> FloatArray:
    """Strike prices [$] of contract keys."""
    return (keys >> np.uint32(1)).astype(np.float64) / 1000.0


def key_puts(keys: npt.NDArray[np.uint32]) -> BoolArray:
    """True where a contract key is a put."""
    return (keys & np.uint32(1)).astype(np.bool_)


class Expiry(msgspec.Struct, frozen=True, order=True):
    """One expiration date in one settlement style: the unit that shares a forward."""

    expiration: date
    settlement: Settlement = "PM"

    @property
    def shard(self) -> str:
        """The shard label: ``2026-08-19``, or ``2026-08-21-AM`` for AM settlement."""
        suffix = "" if self.settlement == "PM" else "-AM"
        return f"{self.expiration.isoformat()}{suffix}"

    @classmethod
    def from_shard(cls, shard: str) -> Self:
        """The expiry a shard label names.

        :raises ValueError: when ``shard`` is no such label.
        """
        day, style = shard[:10], shard[10:]
        if style not in ("", "-AM"):
            raise ValueError(f"{shard!r} is no shard label")
        return cls(date.fromisoformat(day), "AM" if style else "PM")


class QuoteUpdate(msgspec.Struct, frozen=True, gc=False):
    """A full, merged quote of one contract."""

    expiry: Expiry
    strike: float
    right: Right
    time: int
    bid: float = float("nan")
    ask: float = float("nan")
    last: float = float("nan")
    bid_size: int = -1
    ask_size: int = -1
    volume: int = -1
    open_interest: int = -1
    withdrawn: bool = False
    seq: int = -1
    """Order within the session where the source defines one (recordings), else -1."""


class Listed(Protocol):
    """A contract, whatever else a feed knows of it."""

    @property
    def expiry(self) -> Expiry: ...

    @property
    def strike(self) -> float: ...

    @property
    def right(self) -> Right: ...


class QuoteColumns(msgspec.Struct, frozen=True, gc=False, eq=False):
    """Full, merged quotes that came together, as columns: the same as so many quotes."""

    contracts: Sequence[Listed]
    """All contracts of the feed; it grows, and what stands in it stays."""
    rows: FloatArray
    """Which of them each quote is of; bid, ask, last [$], bid size, ask size, volume, open
    interest; (n, 8)."""
    time: int
    seq: int = -1
    """Of the first quote where the source defines an order; each next one has the next."""

    @property
    def numbers(self) -> npt.NDArray[np.int64]:
        """Which of the contracts each quote is of; (n,)."""
        return self.rows[:, 0].astype(np.int64)

    @property
    def values(self) -> FloatArray:
        """Bid to open interest; (n, 7)."""
        return self.rows[:, 1:]

    def __len__(self) -> int:
        """How many quotes there are."""
        return len(self.rows)

    def __iter__(self) -> Iterator[QuoteUpdate]:
        """Each by itself."""
        counts = self.values[:, 3:].astype(np.int64).tolist()
        rows = zip(self.numbers.tolist(), self.values[:, :3].tolist(), counts, strict=True)
        for place, (number, (bid, ask, last), sizes) in enumerate(rows):
            of, (bid_size, ask_size, volume, open_interest) = self.contracts[number], sizes
            yield QuoteUpdate(
                of.expiry, of.strike, of.right, self.time, bid, ask, last,
                bid_size, ask_size, volume, open_interest,
                seq=self.seq if self.seq < 0 else self.seq + place,
            )  # fmt: skip


class SpotUpdate(msgspec.Struct, frozen=True, gc=False):
    """A price of the underlying."""

    time: int
    price: float
    seq: int = -1
    prior_close: float = math.nan
    """The last close before this session [$]; NaN where the source does not say."""


class VixUpdate(msgspec.Struct, frozen=True, gc=False):
    """The VIX, quoted beside an underlying."""

    time: int
    level: float
    """[percent per √year]"""


class SnapshotEnd(msgspec.Struct, frozen=True):
    """Everything the source knows as of ``time`` has been yielded."""

    time: int


Update = QuoteUpdate | QuoteColumns | SpotUpdate | VixUpdate | SnapshotEnd


def one_by_one(updates: Iterable[Update]) -> Iterator[Update]:
    """Updates in their order, quotes that came as columns each by itself."""
    for update in updates:
        if isinstance(update, QuoteColumns):
            yield from update
        else:
            yield update


class MarketClock(msgspec.Struct, frozen=True):
    """Market time as a straight line over wall time; the default is wall time itself."""

    wall_us: int = 0
    market_us: int = 0
    """Market time at ``wall_us``."""
    rate: float = 1.0
    """Market seconds in a second of wall time, positive."""

    def market(self, wall_us: int) -> int:
        """Market time at an instant of wall time [us]."""
        return self.market_us + round((wall_us - self.wall_us) * self.rate)

    def wall(self, market_us: int) -> int:
        """Wall time at an instant of market time [us]."""
        return self.wall_us + round((market_us - self.market_us) / self.rate)


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One trading date of one symbol from one source; the record under ``session:{symbol}``."""

    key: str
    """Stable name, e.g. ``SPY:2026-08-19:simulator``; rows of one key are one history."""
    symbol: str
    feed: FeedName
    trading_date: date
    open_us: int
    close_us: int
    stale_after_us: int
    """Silence of the source after which levels are called stale [us, market time]."""
    replay: bool = False
    """True when market time comes from the source and the replayer asks for each level."""
    clock: MarketClock = MarketClock()
    """Market time of a session that is not replayed."""
    source: str = ""
    """What the feed plays or talks to, for people."""
    resume: bool = True
    """False when the source starts again from its beginning, so the state must too."""
    epoch: int = 0
    """Number of the producer's run, set by the ingestor; higher is newer."""
    ended: bool = False
    first_pass: dict[str, str] | None = None
    """Shard → entry id up to which a live session's first whole chain reaches, None before it
    is appended. Until every state includes it there is no level: part of a chain is none."""
    conflated: bool = False
    """Whether quotes are being left out, as Redis is short of memory."""
    gaps: list[tuple[int, int]] = []
    """(from, until) of what Redis lost for good [us, market time]."""

    def to_json(self) -> bytes:
        """The record as JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, data: bytes | str) -> Self:
        """The session of a record.

        :raises msgspec.DecodeError: when ``data`` is no such record.
        """
        return msgspec.json.decode(data, type=cls)


class ChainSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A whole chain at one instant, as a file holds it: parallel columns, one row a contract."""

    symbol: str
    as_of: int
    spot: float
    expiries: list[Expiry]
    """The distinct expiries, ascending."""
    expiry_index: npt.NDArray[np.int64]
    """Row → index into ``expiries``; shape (n,)."""
    quotes: Rows
    """Layout QUOTE; shape (n,)."""
    vendor: dict[str, FloatArray] = {}
    """The file's own ``iv``, ``delta``, ``gamma`` columns where it has them; shape (n,)."""
    option_symbols: list[str] = []
    """The source's own contract symbols, where it has them."""


JsonDict = dict[str, Any]
