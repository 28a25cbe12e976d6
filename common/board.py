"""All contracts of one symbol side by side, re-priced at one spot and one instant.

Owns which contracts count at that instant (listed, not expired, fresh, with an IV) and their
Greeks there; must not sum anything: that is :mod:`common.levels`. Rows stand in contract
order: expiries by settlement, keys ascending within each.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from common.chain import Solution, on_board
from common.clock import SECOND, YEAR_SECONDS, settlement_us
from common.models import (
    FLAG_WITHDRAWN,
    QUOTE,
    BoolArray,
    Expiry,
    FloatArray,
    Rows,
    Status,
    StatusArray,
    join_rows,
)
from common.quant import kernels
from common.quant.blackscholes import GREEKS, Greeks, greeks
from common.quant.exposure import FLOW, dealer_signs, flow_signs
from common.settings import QuantParameters

GreeksSource = Literal["own", "vendor"]
Times = npt.NDArray[np.int64]
Index = npt.NDArray[np.intp]
_NUMBER = np.dtype(np.float64)


class ShardState(msgspec.Struct, frozen=True):
    """The latest quotes of one expiration and what :func:`common.chain.solve` made of them."""

    expiry: Expiry
    quotes: Rows
    """Layout QUOTE, sorted by key; (n,)."""
    solution: Solution
    vendor: dict[str, FloatArray] | None = None
    """The source's own ``iv``, ``delta``, ``gamma`` where it has them; (n,) each."""


class _Listing(msgspec.Struct, frozen=True):
    """The listed rows of all shards, side by side."""

    shards: tuple[ShardState, ...]
    listed: BoolArray | None
    """Which of the shards' rows are listed; None where all are."""
    quotes: Rows
    bounds: tuple[int, ...]
    """Where each shard's listed rows start, and how many rows there are."""
    settled: Times
    """Settlement of each shard [us]."""

    def column(
        self, parts: Sequence[npt.NDArray[Any]], dtype: np.dtype[Any] = _NUMBER
    ) -> npt.NDArray[Any]:
        """One column of the listed rows of all shards."""
        joined = join_rows(parts, dtype)
        return joined if self.listed is None else joined[self.listed]


class Board(msgspec.Struct, frozen=True):
    """Listed contracts as parallel columns, (n,); a number that a row lacks is NaN."""

    shards: tuple[ShardState, ...]
    """Those with a listed contract, by settlement."""
    bounds: tuple[int, ...]
    """The rows of shard i are ``bounds[i]`` to ``bounds[i + 1]``."""
    quotes: Rows
    table: FloatArray
    """The columns below, as the kernels take them; (10, n)."""
    places: Times
    """Shard, partner and oldest time of each row; (3, n)."""
    puts: BoolArray
    statuses: StatusArray
    used: BoolArray
    """Rows that enter the sums."""
    signs: FloatArray
    """Of the dealers' position; 0 where the convention does not say."""
    greeks: Greeks
    solved: FloatArray
    """IV that each row's own quotes gave, whatever is in force."""
    settled: FloatArray
    """Settlement of each shard [us]."""

    @property
    def shard_of(self) -> Times:
        """Row → index into ``shards``."""
        return self._place(0)

    @property
    def partners(self) -> Times:
        """Row → row of the other right of its strike, -1 where there is none."""
        return self._place(1)

    @property
    def oldest(self) -> Times:
        """Time of the oldest quote that a row rests on [us]."""
        return self._place(2)

    @property
    def strikes(self) -> FloatArray:
        """K [$]"""
        return self._column(0)

    @property
    def years(self) -> FloatArray:
        """T at the instant [years]; not positive once expired."""
        return self._column(1)

    @property
    def discounts(self) -> FloatArray:
        """D = exp(-r T) [1]"""
        return self._column(2)

    @property
    def bases(self) -> FloatArray:
        """F/S [1]"""
        return self._column(3)

    @property
    def sigmas(self) -> FloatArray:
        """IV in force [per sqrt(year)]"""
        return self._column(4)

    @property
    def open_interests(self) -> FloatArray:
        """[contracts], 0 where unknown."""
        return self._column(8)

    @property
    def volumes(self) -> FloatArray:
        """[contracts], 0 where unknown."""
        return self._column(9)

    def _column(self, at: int) -> FloatArray:
        column: FloatArray = self.table[at]
        return column

    def _place(self, at: int) -> Times:
        column: Times = self.places[at]
        return column

    @property
    def alive(self) -> BoolArray:
        """Rows that have not expired."""
        return self.years > 0.0


def build_board(
    *,
    shards: Sequence[ShardState],
    spot: float,
    as_of: int,
    newest: int | None,
    parameters: QuantParameters,
    source: GreeksSource,
) -> Board:
    """Lay the shards side by side and price every contract.

    :param spot: S [$]. :param as_of: the instant [us].
    :param newest: time of the spot [us], if known; a quote is stale against this or the
        newest quote, whichever is later.
    :param source: ``vendor`` takes the source's iv, delta and gamma and no filter but expiry.
    """
    listing = _list(shards)
    quotes, n = listing.quotes, len(listing.quotes)
    left = (listing.settled - as_of) / (SECOND * YEAR_SECONDS)
    solved = [s.solution for s in listing.shards]
    of_shard = np.array(
        [listing.bounds[:-1], left, np.exp(-parameters.rate * left), [s.basis for s in solved]]
    )
    age = round(parameters.max_quote_age_seconds * SECOND)
    terms = np.array((spot, parameters.rate, float(newest or 0), float(age)))
    table, places, puts = np.empty((10, n)), np.empty((3, n), np.int64), np.empty(n, np.bool_)
    statuses = listing.column([s.status for s in solved], np.dtype(np.uint8))
    sides = listing.column([s.side for s in solved], np.dtype("S1")).view(np.uint8)
    vols = listing.column([s.iv for s in solved])
    kernels.filled(
        kernels.active().board(
            *(quotes.view(np.uint8), of_shard, vols, sides, terms, table, places, puts, statuses)
        )
    )
    if source == "vendor":
        table[4], statuses = _vendor_vols(listing, table[1])
    priced = greeks(
        spots=table[6],
        forwards=table[5],
        strikes=table[0],
        years=table[1],
        sigmas=table[4],
        rates=table[7],
        puts=puts,
    )
    if source == "vendor":
        priced = _with_vendor(priced, listing)
    used = (table[1] > 0.0) & np.isfinite(priced.gamma) & np.isfinite(priced.delta)
    if parameters.sign == FLOW:
        signs = flow_signs(bought=quotes["bought"], sold=quotes["sold"])
        known = np.isfinite(signs)
        used, signs = used & known, np.where(known, signs, 0.0)
    else:
        signs = dealer_signs(convention=parameters.sign, puts=puts)
    return Board(
        shards=listing.shards,
        bounds=listing.bounds,
        quotes=quotes,
        table=table,
        places=places,
        puts=puts,
        statuses=statuses,
        used=used,
        signs=signs,
        greeks=priced,
        solved=vols,
        settled=listing.settled.astype(np.float64),
    )


def _list(shards: Sequence[ShardState]) -> _Listing:
    """The shards that list a contract, by settlement."""
    dated = [(settlement_us(s.expiry), s.expiry, s) for s in shards if s.quotes.size]
    ordered = [shard for *_, shard in sorted(dated, key=lambda each: each[:2])]
    quotes = join_rows([shard.quotes for shard in ordered], QUOTE)
    listed: BoolArray | None = None
    counts = [shard.quotes.size for shard in ordered]
    if (quotes["flags"] & FLAG_WITHDRAWN).any():
        ordered = [shard for shard in ordered if on_board(shard.quotes).any()]
        masks = [on_board(shard.quotes) for shard in ordered]
        counts = [int(np.count_nonzero(mask)) for mask in masks]
        listed = join_rows(masks, np.dtype(np.bool_))
        quotes = join_rows([shard.quotes for shard in ordered], QUOTE)[listed]
    return _Listing(
        shards=tuple(ordered),
        listed=listed,
        quotes=quotes,
        bounds=(0, *accumulate(counts)),
        settled=np.asarray([settlement_us(s.expiry) for s in ordered], dtype=np.int64),
    )


def _vendor_vols(listing: _Listing, years: FloatArray) -> tuple[FloatArray, StatusArray]:
    """(IV, status) of the source; a contract without one is NOT_CONVERGED at the vendor."""
    sigmas = _vendor_column(listing, "iv")
    with np.errstate(invalid="ignore"):
        sigmas = np.where((sigmas > 0.0) & np.isfinite(sigmas), sigmas, np.nan)
    statuses = np.where(np.isnan(sigmas), Status.NOT_CONVERGED, Status.OK)
    statuses = np.where(years > 0.0, statuses, Status.EXPIRED).astype(np.uint8)
    return np.where(years > 0.0, sigmas, np.nan), statuses


def _with_vendor(priced: Greeks, listing: _Listing) -> Greeks:
    """Our Greeks at the vendor's IV, with the vendor's delta and gamma in their place."""
    table = priced.table.copy()
    for name in ("delta", "gamma"):
        table[GREEKS.index(name)] = _vendor_column(listing, name)
    return Greeks(table)


def _vendor_column(listing: _Listing, name: str) -> FloatArray:
    columns = [
        (shard.vendor or {}).get(name, np.full(shard.quotes.size, np.nan))
        for shard in listing.shards
    ]
    return listing.column(columns)
