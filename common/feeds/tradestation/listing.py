"""What is listed on an underlying, and which streams follow it.

Owns the requests for expirations and strikes and the choice among them; opens no stream.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date
from typing import Literal, TypeVar
from urllib.parse import quote

import msgspec

from common.errors import FeedError, UsageError
from common.feeds.roots import settlement_of
from common.feeds.tradestation.client import TradeStationClient
from common.feeds.tradestation.messages import Expirations, Strikes
from common.feeds.tradestation.sources import Source
from common.feeds.tradestation.symbols import chain_symbols, quote_symbol, root_of
from common.models import Expiry

log = logging.getLogger(__name__)
T = TypeVar("T")
DateFormat = Literal["MM-DD-YYYY", "YYYY-MM-DD", "ISO"]
_STYLES = {"MM-DD-YYYY": "%m-%d-%Y", "YYYY-MM-DD": "%Y-%m-%d", "ISO": "%Y-%m-%dT00:00:00Z"}


@dataclass(frozen=True, slots=True)
class Choice:
    """Which part of the board is followed."""

    expirations: int = 5
    """The nearest ones; one chain stream each."""
    strike_proximity: int = 1000
    """Strikes either side of the centre; the host's own default of 5 truncates the chain."""
    chain_streams: int = 9
    """Most chain streams of one symbol."""
    date_format: DateFormat = "MM-DD-YYYY"


@dataclass(frozen=True, slots=True)
class Chain:
    """One expiration of one root, as it is followed."""

    underlying: str
    """As the host spells it: ``SPY``, ``$SPXW.X``."""
    expiry: Expiry
    contracts: int
    """Listed contracts, 0 when the host does not tell."""
    source: Source


class Listing:
    """What one host lists on one underlying."""

    def __init__(self, client: TradeStationClient, symbol: str, choice: Choice) -> None:
        """Nothing is asked before the first call."""
        self._client, self._symbol, self._choice = client, symbol, choice

    def quotes(self) -> Source:
        """The stream of the underlying's own quotes."""
        name = quote(quote_symbol(self._symbol), safe="")
        return Source(f"quotes {self._symbol}", f"/marketdata/stream/quotes/{name}")

    async def chains(self, day: date) -> list[Chain]:
        """The chains to follow on a trading date, nearest expiration first.

        :raises FeedError: when the host lists nothing from ``day`` on.
        """
        found: list[tuple[Expiry, str]] = []
        for underlying in chain_symbols(self._symbol):
            style = settlement_of(root_of(underlying))
            listed = await self._expirations(underlying)
            found += [(Expiry(each, style), underlying) for each in listed if each >= day]
        found.sort()
        if not found:
            raise FeedError(f"no expiration of {self._symbol} is listed from {day} on")
        if found[0][0].expiration != day:
            log.warning("%s: no contract expires on %s", self._symbol, day)
        wanted = min(self._choice.expirations, self._choice.chain_streams)
        if wanted < self._choice.expirations:
            log.warning(
                "%s: %d of %d expirations are followed; the broker allows no more streams",
                self._symbol, wanted, self._choice.expirations,
            )  # fmt: skip
        return [await self._chain(underlying, expiry) for expiry, underlying in found[:wanted]]

    async def _chain(self, underlying: str, expiry: Expiry) -> Chain:
        day = expiry.expiration.strftime(_STYLES[self._choice.date_format])
        name = quote(underlying, safe="")
        params = {
            "expiration": day,
            "strikeProximity": str(self._choice.strike_proximity),
            "enableGreeks": "false",
        }
        source = Source(
            f"chain {root_of(underlying)} {expiry.expiration}",
            f"/marketdata/stream/options/chains/{name}",
            params,
        )
        return Chain(underlying, expiry, await self._contracts(name, day), source)

    async def _contracts(self, name: str, day: str) -> int:
        body = await self._client.get(
            f"/marketdata/options/strikes/{name}", {"expiration": day, "spreadType": "Single"}
        )
        return 2 * len({tuple(legs) for legs in _decode(body, Strikes).Strikes})

    async def _expirations(self, underlying: str) -> list[date]:
        name = quote(underlying, safe="")
        try:
            body = await self._client.get(f"/marketdata/options/expirations/{name}")
        except UsageError as error:
            if underlying == chain_symbols(self._symbol)[0]:
                raise
            log.info("no options of root %s: %s", root_of(underlying), error)
            return []
        listed = _decode(body, Expirations).Expirations
        try:  # the date part is the date; in New York that midnight UTC is the day before
            return sorted({date.fromisoformat(each.Date[:10]) for each in listed})
        except ValueError as error:
            raise FeedError(f"an expiration of {underlying} is no date: {error}") from error


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise FeedError(f"the host's {kind.__name__} are not readable: {error}") from error
