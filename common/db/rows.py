"""Stream entries as columns of the tables of the history.

Owns which column holds what; must not write anything. Column order is that of the COPY
statements in ``sql/queries.sql``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from common.clock import to_datetime
from common.db.binary import (
    POSTGRES_EPOCH_DAY,
    Column,
    Fixed,
    Index,
    Texts,
    counts,
    floats,
    instants,
    pack,
    prices,
)
from common.db.deliveries import GreekEntries, Numbers, QuoteEntries
from common.levels_json import front_max_pain
from common.models import FLAG_WITHDRAWN, Expiry, JsonDict, Session, Status

_LABELS = tuple(status.label.encode() for status in Status)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows on their way into a table."""

    name: str
    columns: tuple[Column, ...]
    times: npt.NDArray[np.int64]
    """Market time of each [us]."""
    entries: npt.NDArray[np.int64]
    """Number of the entry each came with."""
    places: npt.NDArray[np.int64]
    """Place of each within its entry."""

    def __len__(self) -> int:
        return len(self.times)

    def take(self, rows: Index) -> Self:
        """These rows alone."""
        return type(self)(
            self.name,
            tuple(column.take(rows) for column in self.columns),
            self.times[rows],
            self.entries[rows],
            self.places[rows],
        )

    def pack(self) -> Iterator[bytes | bytearray]:
        """The rows as a binary COPY, in pieces."""
        return pack(self.columns, len(self))


def quote_table(brought: QuoteEntries) -> Table:
    """Rows of ``gex.quotes``."""
    rows, sizes, of = brought.batches.quotes, brought.sizes, brought.delivery
    settlements = [expiry.settlement.encode() for expiry in brought.expiries]
    each = np.repeat(of, sizes)
    columns: list[Column] = [
        instants(rows["time"]),
        Fixed(np.repeat(brought.sessions.numbers, sizes), ">i4"),
        Fixed(rows["seq"], ">i8"),
        _texts([symbol.encode() for symbol in brought.symbols], each),
        Fixed(np.array([_day(expiry) for expiry in brought.expiries])[each], ">i4"),
        _texts(settlements, each),
        *_contract(rows["key"]),
        *(prices(rows[name]) for name in ("bid", "ask", "last")),
        *(counts(rows[n]) for n in ("bid_size", "ask_size", "volume", "open_interest")),
        prices(rows["spot"]),
        Fixed((rows["flags"] & FLAG_WITHDRAWN) != 0, ">u1"),
        *(Fixed(rows[name], ">i4") for name in ("bought", "sold")),
    ]
    return Table("quotes", tuple(columns), rows["time"], *_origins(sizes))


def greek_table(brought: GreekEntries) -> Table:
    """Rows of ``gex.greeks``."""
    rows, sizes, headers = brought.results.rows, brought.sizes, brought.results.headers
    expiries = [Expiry.from_shard(shard) for shard in brought.shards]
    expiry = np.repeat(brought.shard, sizes)
    sources = list(dict.fromkeys(header.forward_source for header in headers))
    source = np.array([sources.index(header.forward_source) for header in headers], np.int64)
    columns: list[Column] = [
        instants(rows["time"]),
        Fixed(np.repeat(brought.sessions.numbers, sizes), ">i4"),
        Fixed(rows["seq"], ">i8"),
        _texts([symbol.encode() for symbol in brought.symbols], np.repeat(brought.delivery, sizes)),
        Fixed(np.array([_day(expiry) for expiry in expiries])[expiry], ">i4"),
        _texts([expiry.settlement.encode() for expiry in expiries], expiry),
        *_contract(rows["key"]),
        Texts(np.minimum(rows["status"], len(_LABELS) - 1), _LABELS),
        _letters(rows["side"]),
        *(floats(rows[name]) for name in ("iv", "delta", "gamma")),
        floats(np.repeat(np.array([header.basis for header in headers]), sizes)),
        _texts([text.encode() for text in sources], np.repeat(source, sizes)),
    ]
    return Table("greeks", tuple(columns), rows["time"], *_origins(sizes))


def last_of_each(table: Table, contracts: npt.NDArray[Any], period_us: int) -> Table:
    """The last row of every contract in every period of market time.

    :param contracts: of each row, anything that tells contracts and sessions apart, (n, …).
    """
    slots = (table.times // period_us)[:, None]
    marks = np.concatenate([contracts.reshape(len(table), -1), slots], axis=1)[::-1]
    _, first = np.unique(marks, axis=0, return_index=True)
    return table.take(np.sort(len(table) - 1 - first))


def level_row(at: int, session: int, result: JsonDict) -> dict[str, Any]:
    """One row of ``gex.levels``, documents as they are."""
    levels, quality = result["levels"], result["quality"]
    names = (
        "net_gex net_gex_0dte zero_gamma call_wall put_wall expected_move dex vex cex "
        "net_volume_gex atm_iv regime"
    ).split()
    return {
        **{name: levels[name] for name in names},
        "time": to_datetime(at),
        "session_id": session,
        "symbol": result["symbol"],
        "state": result["state"],
        "sign": result["sign"],
        "spot": result["spot"],
        "max_pain": front_max_pain(result),
        "coverage_oi": quality["coverage_oi"],
        "coverage_gamma": quality["coverage_gamma"],
        "oldest_quote_at": quality["oldest_quote_at"],
        "oi_date": quality["oi_date"],
        "result": {name: value for name, value in result.items() if name != "strikes"},
        "watermark": result["watermark"],
    }


def session_row(session: Session) -> dict[str, Any]:
    """What the record of a session says of it, for its row in ``gex.sessions``."""
    return {
        "key": session.key,
        "open_at": to_datetime(session.open_us),
        "close_at": to_datetime(session.close_us),
        "source": session.source,
        "ended": session.ended,
        "patience": timedelta(microseconds=session.stale_after_us),
        "lost_since": [to_datetime(since) for since, _ in session.gaps],
        "lost_until": [to_datetime(until) for _, until in session.gaps],
    }


def _contract(keys: npt.NDArray[np.uint32]) -> tuple[Column, Column]:
    strikes = (keys >> np.uint32(1)).astype(np.float64) / 1000.0
    return Fixed(strikes, ">f8"), Texts((keys & np.uint32(1)).astype(np.int64), (b"C", b"P"))


def _day(expiry: Expiry) -> int:
    return expiry.expiration.toordinal() - POSTGRES_EPOCH_DAY


def _texts(values: Sequence[bytes], which: Index) -> Texts:
    """Texts by their numbers, of which some may be the same."""
    choices = sorted(set(values)) or [b""]
    return Texts(np.array([choices.index(value) for value in values], np.int64)[which], (*choices,))


def _letters(values: npt.NDArray[np.bytes_]) -> Texts:
    """Of one character each, or none."""
    letters = np.ascontiguousarray(values).view(np.uint8)
    found = np.flatnonzero(np.bincount(letters, minlength=256))
    codes = np.zeros(256, np.int64)
    codes[found] = np.arange(len(found))
    choices = [bytes([letter]) if letter else b"" for letter in found.tolist()]
    return Texts(codes[letters], (*choices,) or (b"",))


def _origins(sizes: Numbers) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(number of the entry, place within it) of each row."""
    ends = np.cumsum(sizes)
    places = np.arange(sizes.sum()) - np.repeat(ends - sizes, sizes)
    return np.repeat(np.arange(len(sizes)), sizes), places
