"""What is listed on an underlying, and which streams follow it.

Owns the requests for expirations, strikes and single quotes and the choice among them; opens
no stream.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Literal, TypeVar
from urllib.parse import quote

import msgspec

from common.errors import FeedError, UsageError
from common.feeds.roots import settlement_of
from common.feeds.snapshot import price
from common.feeds.tradestation.client import TooLongError, TradeStationClient
from common.feeds.tradestation.messages import Expirations, Quotes, Row, Strikes
from common.feeds.tradestation.sources import Source
from common.feeds.tradestation.symbols import (
    chain_symbols,
    option_symbol,
    quote_symbol,
    root_of,
)
from common.models import Expiry
from common.selection import (
    ExpirationRule,
    Listed,
    StrikeRule,
    Window,
    is_third_friday,
    nearest,
    spread_of_straddle,
    strikes_either_side,
)

log = logging.getLogger(__name__)
T = TypeVar("T")
DateFormat = Literal["MM-DD-YYYY", "YYYY-MM-DD", "ISO"]
_STYLES = {"MM-DD-YYYY": "%m-%d-%Y", "YYYY-MM-DD": "%Y-%m-%d", "ISO": "%Y-%m-%dT00:00:00Z"}
_WHOLE_BOARD = 1000
"""Strikes either side that no board exceeds; the host's own default of 5 truncates the chain."""
_EDGE = 1
"""Strikes more than needed: whether a strike at the centre counts is not documented."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which part of the board is followed."""

    expirations: ExpirationRule = field(default_factory=lambda: ExpirationRule.parse("5"))
    """One chain stream each."""
    strikes: StrikeRule = field(default_factory=lambda: StrikeRule.parse(str(_WHOLE_BOARD)))
    chain_streams: int = 9
    """Most chain streams of one symbol."""
    date_format: DateFormat = "MM-DD-YYYY"
    quote_symbols: tuple[str, ...] = ()
    """Plain roots that are quoted beside the underlying: VIX."""
    near_money: int = 0
    """Contracts next to the money that are followed by quote streams, too."""
    symbols_per_stream: int = 100
    """Of a quote stream, and of a request for quotes."""
    recentre: float = 0.25
    """Share of the way from a window's centre to its edge that spot may go; 0: any."""


@dataclass(frozen=True, slots=True)
class Chain:
    """One expiration of one root, as it is followed."""

    underlying: str
    """As the host spells it: ``SPY``, ``$SPXW.X``."""
    expiry: Expiry
    contracts: int
    """Contracts that are asked for, 0 when the host does not tell what is listed."""
    source: Source
    strikes: tuple[float, ...] = ()
    """Those that are listed, ascending [$]."""
    window: Window | None = None
    """Those that are followed; None for all."""


class Listing:
    """What one host lists on one underlying."""

    def __init__(self, client: TradeStationClient, symbol: str, choice: Choice) -> None:
        """Nothing is asked before the first call."""
        self._client, self._symbol, self.choice = client, symbol, choice

    def quotes(self, contracts: tuple[str, ...] = ()) -> list[Source]:
        """The streams of quotes: of the underlying, the symbols beside it, and some contracts."""
        beside = tuple(quote_symbol(each) for each in self.choice.quote_symbols)
        names = tuple(dict.fromkeys((quote_symbol(self._symbol), *beside, *contracts)))
        size = self.choice.symbols_per_stream
        return [
            Source.of_quotes(
                f"quotes {self._symbol}" + (f" {at // size + 1}" if at else ""),
                names[at : at + size],
            )
            for at in range(0, len(names), size)
        ]

    async def chains(self, day: date) -> list[Chain]:
        """The chains to follow on a trading date, nearest expiration first.

        :raises FeedError: when the host lists nothing that is wanted from ``day`` on.
        """
        found: dict[Listed, str] = {}
        for underlying in chain_symbols(self._symbol):
            found.update(dict.fromkeys(await self._expirations(underlying), underlying))
        if not any(each.expiry.expiration >= day for each in found):
            raise FeedError(f"no expiration of {self._symbol} is listed from {day} on")
        chosen = self.choice.expirations.choose(list(found), day)
        if not chosen:
            raise FeedError(f"no expiration of {self._symbol} that is wanted is listed on {day}")
        wanted = sorted(chosen[: self.choice.chain_streams], key=lambda each: each.expiry)
        if wanted[0].expiry.expiration != day:
            log.warning("%s: no contract expires on %s", self._symbol, day)
        if len(wanted) < len(chosen):
            log.warning(
                "%s: %d of %d expirations are followed; the broker allows no more streams",
                self._symbol, len(wanted), len(chosen),
            )  # fmt: skip
        spot = await self._spot()
        return [await self._chain(found[each], each.expiry, spot) for each in wanted]

    async def recentred(self, chain: Chain, spot: float) -> Chain:
        """A chain as it is to be followed with the underlying at ``spot`` [$].

        Its window never becomes narrower; the source is the same when nothing more is listed.

        :raises FeedError: when the host does not answer.
        """
        if chain.window is None:
            return chain
        new = await self._chain(chain.underlying, chain.expiry, spot)
        if new.window is None:  # the whole board
            return new
        window = new.window.union(chain.window)
        if _inside(new.strikes, window) == _inside(chain.strikes, chain.window):
            return replace(chain, window=window)
        return self._follow(chain.underlying, chain.expiry, new.strikes, window)

    async def _chain(self, underlying: str, expiry: Expiry, spot: float) -> Chain:
        strikes = await self._strikes(underlying, expiry)
        window = None
        if strikes and spot > 0.0:
            spread = math.nan
            if self.choice.strikes.kind == "delta":
                spread = await self._spread(root_of(underlying), expiry, strikes, spot)
            window = self.choice.strikes.window(strikes, spot, spread)
        return self._follow(underlying, expiry, strikes, window)

    def _follow(
        self, underlying: str, expiry: Expiry, strikes: tuple[float, ...], window: Window | None
    ) -> Chain:
        params = {
            "expiration": self._date(expiry),
            "strikeProximity": str(self._proximity(strikes, window)),
            "enableGreeks": "false",
        }
        contracts = 2 * len(strikes)
        if window is not None:
            each_side = strikes_either_side(strikes, window) + _EDGE
            below = sum(strike <= window.centre for strike in strikes)
            contracts = 2 * (min(below, each_side) + min(len(strikes) - below, each_side))
            params["priceCenter"] = f"{window.centre:.10g}"
        name = f"chain {root_of(underlying)} {expiry.expiration}"
        path = f"/marketdata/stream/options/chains/{quote(underlying, safe='')}"
        return Chain(underlying, expiry, contracts, Source(name, path, params), strikes, window)

    def _proximity(self, strikes: tuple[float, ...], window: Window | None) -> int:
        if window is not None:
            return strikes_either_side(strikes, window) + _EDGE
        rule = self.choice.strikes
        return max(_WHOLE_BOARD, len(strikes), int(rule.value) if rule.kind == "count" else 0)

    def _date(self, expiry: Expiry) -> str:
        return expiry.expiration.strftime(_STYLES[self.choice.date_format])

    # --- what the host tells ------------------------------------------------------------------

    async def _strikes(self, underlying: str, expiry: Expiry) -> tuple[float, ...]:
        body = await self._client.get(
            f"/marketdata/options/strikes/{quote(underlying, safe='')}",
            {"expiration": self._date(expiry), "spreadType": "Single"},
        )
        found = {price(legs[0]) for legs in _decode(body, Strikes).Strikes if legs}
        return tuple(sorted(strike for strike in found if 0.0 < strike < math.inf))

    async def _expirations(self, underlying: str) -> list[Listed]:
        name, style = quote(underlying, safe=""), settlement_of(root_of(underlying))
        try:
            body = await self._client.get(f"/marketdata/options/expirations/{name}")
        except UsageError as error:
            if underlying == chain_symbols(self._symbol)[0]:
                raise
            log.info("no options of root %s: %s", root_of(underlying), error)
            return []
        listed = []
        for each in _decode(body, Expirations).Expirations:
            try:  # the date part is the date; in New York that midnight UTC is the day before
                day = date.fromisoformat(each.Date[:10])
            except ValueError as error:
                raise FeedError(f"an expiration of {underlying} is no date: {error}") from error
            known = each.Type not in ("", "Other")
            is_monthly = each.Type == "Monthly" if known else is_third_friday(day)
            listed.append(Listed(Expiry(day, style), is_monthly))
        return listed

    async def _spot(self) -> float:
        """The underlying's price [$]; NaN where the choice of strikes needs none, or there is none.

        Without one the whole board is followed.
        """
        rule = self.choice.strikes
        if rule.kind == "count" and rule.value >= _WHOLE_BOARD:
            return math.nan
        name = quote_symbol(self._symbol)
        spot = _middle((await self.snapshot((name,))).get(name))
        if not spot > 0.0:
            log.warning("%s has no price yet: every strike is followed", self._symbol)
        return spot

    async def _spread(
        self, root: str, expiry: Expiry, strikes: tuple[float, ...], spot: float
    ) -> float:
        """Standard deviation of the log price to an expiry; NaN when nothing tells."""
        strike = nearest(strikes, spot)
        call, put = (option_symbol(root, expiry, strike, right) for right in ("C", "P"))
        rows = await self.snapshot((call, put))
        straddle = _middle(rows.get(call)) + _middle(rows.get(put))
        if not straddle > 0.0:
            log.warning("%s %s has no straddle: every strike is followed", root, expiry.shard)
        return spread_of_straddle(straddle, spot)

    async def snapshot(self, names: tuple[str, ...]) -> dict[str, Row]:
        """The quotes of some symbols now, by name in capitals; refused ones are left out.

        :raises FeedError: when the host does not answer.
        """
        size = self.choice.symbols_per_stream
        if len(names) > size:
            return await self.snapshot(names[:size]) | await self.snapshot(names[size:])
        listed = ",".join(quote(name, safe="") for name in names)
        try:
            body = await self._client.get(f"/marketdata/quotes/{listed}")
        except TooLongError:
            if len(names) < 2:
                raise
            middle = len(names) // 2
            return await self.snapshot(names[:middle]) | await self.snapshot(names[middle:])
        except UsageError as error:
            log.warning("no quotes of %s: %s", ", ".join(names), error)
            return {}
        return {row.name.upper(): row for row in _decode(body, Quotes).rows}


def _middle(row: Row | None) -> float:
    """Middle of a quote, else its last trade [$]; NaN when there is neither."""
    if row is None:
        return math.nan
    bid, ask, last = (
        math.nan if value is msgspec.UNSET else price(value)
        for value in (row.Bid, row.Ask, row.Last)
    )
    if 0.0 < bid <= ask < math.inf:
        return 0.5 * (bid + ask)
    return last if 0.0 < last < math.inf else math.nan


def _inside(strikes: tuple[float, ...], window: Window) -> list[float]:
    return [strike for strike in strikes if window.low <= strike <= window.high]


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise FeedError(f"the host's {kind.__name__} are not readable: {error}") from error
