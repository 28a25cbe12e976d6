"""What a session follows, centred anew when spot drifts.

Owns when windows of strikes and the contracts next to the money are chosen again; a contract
that is followed once stays followed until the session ends. Must not read a stream.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress

from common.errors import FeedError, UsageError
from common.feeds.tradestation.listing import Chain, Listing
from common.feeds.tradestation.open_streams import OpenStreams
from common.feeds.tradestation.symbols import Contract, option_symbol
from common.selection import Window

log = logging.getLogger(__name__)
PAUSE_SECONDS = 30.0
"""Between two times that something is centred anew [s], however spot swings."""


class Following:
    """The chains and quotes of one session."""

    def __init__(
        self,
        listing: Listing,
        streams: OpenStreams,
        chains: list[Chain],
        counters: Counter[str],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is followed before :meth:`begin`.

        :param now: seconds, of any origin.
        """
        self._listing, self._streams, self._chains = listing, streams, list(chains)
        self._counters, self._now = counters, now
        self._near: Window | None = None
        self._looked = -PAUSE_SECONDS
        self._moving: asyncio.Task[None] | None = None
        self.names: dict[Contract, str] = {}
        """Contracts as the host has spelled them."""

    async def begin(self) -> None:
        """Follow the underlying and the chains."""
        for source in [*self._listing.quotes(), *(chain.source for chain in self._chains)]:
            await self._streams.follow(source)

    def look(self, spot: float, contracts: Callable[[], Collection[Contract]]) -> None:
        """See whether something is to be centred anew; it happens beside the reading.

        :param spot: the underlying's price now [$]. :param contracts: those that are known.
        """
        if self._moving is not None:
            if not self._moving.done():
                return
            self._moving.result()
            self._moving = None
        if not spot > 0.0 or self._now() - self._looked < PAUSE_SECONDS:
            return
        drifted = [chain for chain in self._chains if self._has_drifted(chain.window, spot)]
        near = self._listing.choice.near_money > 0 and (
            self._near is None or self._has_drifted(self._near, spot)
        )
        if drifted or near:
            self._looked = self._now()
            chosen = self._nearest(spot, contracts()) if near else []
            self._moving = asyncio.create_task(self._move(drifted, chosen, spot))

    async def close(self) -> None:
        """Centre nothing any more."""
        if self._moving is not None:
            self._moving.cancel()
            with suppress(asyncio.CancelledError):
                await self._moving

    def _has_drifted(self, window: Window | None, spot: float) -> bool:
        share = self._listing.choice.recentre
        return window is not None and share > 0.0 and window.drift(spot) >= share

    async def _move(self, drifted: list[Chain], near: list[Contract], spot: float) -> None:
        try:
            for chain in drifted:
                moved = await self._listing.recentred(chain, spot)
                self._chains[self._chains.index(chain)] = moved
                if moved.source != chain.source:
                    self._counters["recentred_chains"] += 1
                    log.info("%s: centred anew at %.2f", chain.source.name, spot)
                    await self._streams.follow(moved.source)
            if near:
                await self._quote(near, spot)
        except (FeedError, UsageError) as error:
            self._counters["recentring_failures"] += 1
            log.warning("not centred anew: %s", error)

    async def _quote(self, near: list[Contract], spot: float) -> None:
        """Follow quotes of these contracts beside the underlying's own."""
        names = tuple(self.names.get(each) or option_symbol(*each) for each in near)
        strikes = [each.strike for each in near]
        self._near = Window(spot, min(strikes), max(strikes))
        self._counters["recentred_quotes"] += 1
        for source in self._listing.quotes(names):
            await self._streams.follow(source)

    def _nearest(self, spot: float, contracts: Collection[Contract]) -> list[Contract]:
        """The contracts next to the money among those that expire first."""
        front = self._chains[0].expiry
        ahead = [each for each in contracts if each.expiry == front]
        ahead.sort(key=lambda each: (abs(each.strike - spot), each))
        return ahead[: self._listing.choice.near_money]
