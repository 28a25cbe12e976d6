"""Stream entries as columns of the tables of the history.

Owns which column holds what; must not write anything. Column order is that of the COPY
statements in ``sql/queries.sql``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from common.bus.codec import Batch, BatchHeader, Result
from common.bus.streams import id_order
from common.clock import SECOND, to_datetime
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
from common.levels_json import front_max_pain
from common.models import FLAG_WITHDRAWN, BoolArray, Expiry, JsonDict, Rows, Session, Status

DAY_US = 86_400 * SECOND
FAR_DAYS = 32
"""An instant further from its session's date is no market time of it."""
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


def quote_table(symbol: str, expiry: Expiry, batches: Sequence[Batch], sessions: Rows) -> Table:
    """Rows of ``gex.quotes``.

    :param sessions: number of the session of each batch.
    """
    rows = _together([batch.quotes for batch in batches])
    sizes = [len(batch.quotes) for batch in batches]
    one = np.zeros(len(rows), dtype=np.int64)
    columns: list[Column] = [
        instants(rows["time"]),
        Fixed(np.repeat(sessions, sizes), ">i4"),
        Fixed(rows["seq"], ">i8"),
        Texts(one, (symbol.encode(),)),
        Fixed(one + _day(expiry), ">i4"),
        Texts(one, (expiry.settlement.encode(),)),
        *_contract(rows["key"]),
        *(prices(rows[name]) for name in ("bid", "ask", "last")),
        *(counts(rows[n]) for n in ("bid_size", "ask_size", "volume", "open_interest")),
        prices(rows["spot"]),
        Fixed((rows["flags"] & FLAG_WITHDRAWN) != 0, ">u1"),
        *(Fixed(rows[name], ">i4") for name in ("bought", "sold")),
    ]
    return Table("quotes", tuple(columns), rows["time"], *_origins(sizes))


def greek_table(symbol: str, results: Sequence[Result], sessions: Rows) -> Table:
    """Rows of ``gex.greeks``.

    :param sessions: number of the session of each result.
    """
    rows = _together([result.rows for result in results])
    sizes = [len(result.rows) for result in results]
    expiries = [Expiry.from_shard(result.header.shard) for result in results]
    one = np.zeros(len(rows), dtype=np.int64)
    columns: list[Column] = [
        instants(rows["time"]),
        Fixed(np.repeat(sessions, sizes), ">i4"),
        Fixed(rows["seq"], ">i8"),
        Texts(one, (symbol.encode(),)),
        Fixed(np.repeat([_day(expiry) for expiry in expiries], sizes), ">i4"),
        _texts([expiry.settlement.encode() for expiry in expiries], sizes),
        *_contract(rows["key"]),
        Texts(np.minimum(rows["status"], len(_LABELS) - 1), _LABELS),
        _texts(rows["side"].tolist(), [1] * len(rows)),
        *(floats(rows[name]) for name in ("iv", "delta", "gamma")),
        floats(np.repeat(np.array([r.header.basis for r in results]), sizes)),
        _texts([result.header.forward_source.encode() for result in results], sizes),
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


def entry_values(entries: Sequence[tuple[str, Batch]]) -> dict[str, list[Any]]:
    """Columns of ``gex.entries``, a list each, but for the sessions."""
    columns: dict[str, list[Any]] = {
        name: []
        for name in (
            "times entry_ms entry_n epochs batches resets quotes first_seqs last_seqs spot_seqs "
            "received"
        ).split()
    }
    for entry_id, batch in entries:
        header, quotes, spots = batch.header, batch.quotes, batch.spots
        milliseconds, number = id_order(entry_id)
        columns["times"].append(_newest(np.concatenate([quotes["time"], spots["time"]]), header))
        columns["entry_ms"].append(milliseconds)
        columns["entry_n"].append(number)
        columns["epochs"].append(header.epoch)
        columns["batches"].append(header.batch)
        columns["resets"].append(header.reset)
        columns["quotes"].append(len(quotes))
        columns["first_seqs"].append(int(quotes["seq"].min()) if len(quotes) else None)
        columns["last_seqs"].append(int(quotes["seq"].max()) if len(quotes) else None)
        columns["spot_seqs"].append(int(spots["seq"].max()) if len(spots) else None)
        columns["received"].append(header.received_us)
    return columns


def near(times: npt.NDArray[np.int64], session: str) -> BoolArray:
    """Whether instants [us] can be market times of a session, by its key."""
    noon = session_noon(session)
    found: BoolArray = (times >= noon - FAR_DAYS * DAY_US) & (times <= noon + FAR_DAYS * DAY_US)
    return found


@lru_cache(64)
def session_noon(session: str) -> int:
    """Noon UTC of the trading date in a session's key [us]."""
    day = date.fromisoformat(session.split(":")[1])
    return (day.toordinal() - date(1970, 1, 1).toordinal()) * DAY_US + DAY_US // 2


def _newest(times: npt.NDArray[np.int64], header: BatchHeader) -> int:
    times = times[near(times, header.session)]
    return int(times.max()) if len(times) else session_noon(header.session)


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


def _texts(values: Sequence[bytes], sizes: Sequence[int]) -> Texts:
    choices = sorted(set(values)) or [b""]
    codes = np.searchsorted(choices, values) if values else np.zeros(0, dtype=np.int64)
    return Texts(np.repeat(codes, sizes), tuple(choices))


def _together(parts: Sequence[Rows]) -> Rows:
    """Rows of one layout one after another; each as a whole, as fields are slow to copy."""
    layout = parts[0].dtype
    return np.concatenate([part.view(f"V{layout.itemsize}") for part in parts]).view(layout)


def _origins(sizes: Sequence[int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(number of the entry, place within it) of each row."""
    total = sum(sizes)
    starts = np.cumsum([0, *sizes[:-1]])
    return (
        np.repeat(np.arange(len(sizes)), sizes).astype(np.int64),
        (np.arange(total) - np.repeat(starts, sizes)).astype(np.int64),
    )
