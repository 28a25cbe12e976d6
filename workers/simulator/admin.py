"""The simulator's own endpoints: what it does, what is true, and faults on demand.

Owns their replies; they need no token.
"""

from __future__ import annotations

import math
from typing import Any

from common.clock import iso_ms
from common.errors import UsageError
from common.models import JsonDict
from workers.simulator.desk import Desk
from workers.simulator.failures import ApiError
from workers.simulator.faults.catalogue import FAULTS, catalogue, fault
from workers.simulator.handlers import SiteHandler
from workers.simulator.paced_market import PacedMarket
from workers.simulator.site import Site

_NO_PACE = "this market has no pace: start it with --quotes-per-second"
_COLUMNS = ("bid", "ask", "last", "bid_size", "ask_size", "volume", "open_interest")


class _OwnHandler(SiteHandler):
    """An endpoint that no fault refuses."""

    def prepare(self) -> None:
        """Answer whatever goes wrong."""


class StateHandler(_OwnHandler):
    """What the simulator does."""

    route = "/_simulator/state"

    def get(self) -> None:
        """Answer with market, streams and counters."""
        self.reply(state(self.site))


class TruthHandler(_OwnHandler):
    """What is true of an underlying: what was last said of it."""

    route = "/_simulator/truth"

    def get(self, symbol: str) -> None:
        """Answer with spot and every contract."""
        desk = self.site.exchange.desk(symbol.strip().upper())
        if desk is None:
            raise ApiError(404, f"{symbol}: no such underlying (plain root: SPY, SPX)")
        self.reply({**_market(self.site), **truth(desk)})


class PaceHandler(_OwnHandler):
    """How fast a market at a pace moves."""

    route = "/_simulator/pace"

    def post(self) -> None:
        """Go on at another pace; the reply says which quotes come when."""
        exchange = self.site.exchange
        market = exchange.market
        if not isinstance(market, PacedMarket):
            raise ApiError(400, _NO_PACE)
        try:
            wanted = float(self.get_argument("quotes_per_second"))
            stretch = market.pace.change(wanted, exchange.at_us)
        except (ValueError, UsageError) as error:
            raise ApiError(400, f"quotes_per_second: {error}") from error
        self.reply(
            {
                **_market(self.site),
                "from_wall_us": exchange.running.clock.wall(stretch.from_us),
                "before": stretch.before,
                "quotes_per_second": stretch.quotes_per_second * exchange.running.clock.rate,
            }
        )


class WireHandler(_OwnHandler):
    """When the streams of a market at a pace have written what."""

    route = "/_simulator/wire"

    def get(self) -> None:
        """Answer with the notes of boards that were due from ``from_wall_us`` on."""
        wire = self.site.wire
        if wire is None:
            raise ApiError(400, _NO_PACE)
        try:
            from_us = int(self.get_argument("from_wall_us", "0"))
        except ValueError as error:
            raise ApiError(400, f"from_wall_us: {error}") from error
        self.reply(
            {
                **_market(self.site),
                "dropped_until_wall_us": wire.dropped_until_us,
                "notes": wire.since(from_us),
            }
        )


class FaultsHandler(_OwnHandler):
    """What can go wrong."""

    route = "/_simulator/faults"

    def get(self) -> None:
        """Answer with every fault and its arguments."""
        self.reply({"faults": catalogue()})


class FaultHandler(_OwnHandler):
    """Faults on demand."""

    route = "/_simulator/fault"

    def post(self, name: str) -> None:
        """Let one happen; the reply is its record."""
        arguments = {key: self.get_argument(key) for key in self.request.arguments}
        try:
            happening = self.site.faults.begin(fault(name, arguments), self.site, "request")
        except UsageError as error:
            raise ApiError(400 if name in FAULTS else 404, str(error)) from error
        self.reply(happening.as_json())


def state(site: Site) -> JsonDict:
    """The state of a site as JSON."""
    counters, tokens = site.counters.as_json(), site.tokens
    counters["conflated"] += sum(stream.conflated for stream in site.streams)
    return {
        **_market(site),
        "streams_open": sorted(stream.route for stream in site.streams),
        **counters,
        "tokens_issued": tokens.issued,
        "tokens_refused": tokens.refused,
        **site.faults.as_json(),
    }


def truth(desk: Desk) -> JsonDict:
    """Spot and every contract of a desk, as last said."""
    contracts = desk.contracts
    columns: list[list[Any]] = [desk.said[name].tolist() for name in _COLUMNS]
    rows = zip(
        contracts.names,
        desk.listed.tolist(),
        contracts.expiry_index.tolist(),
        contracts.strikes.tolist(),
        contracts.puts.tolist(),
        *columns,
        strict=True,
    )
    return {
        "symbol": contracts.symbol,
        "spot": desk.underlying.last,
        "contracts": [
            {
                "symbol": name,
                "expiration": contracts.expiries[at].expiration.isoformat(),
                "strike": strike,
                "right": "P" if put else "C",
                **{key: _known(value) for key, value in zip(_COLUMNS, values, strict=True)},
            }
            for name, listed, at, strike, put, *values in rows
            if listed
        ],
    }


def _known(value: float) -> float | None:
    """A price or count; None for one that is not known."""
    return None if math.isnan(value) or value < 0 else value


def _market(site: Site) -> JsonDict:
    exchange = site.exchange
    return {
        "source": exchange.running.name,
        "trading_date": exchange.running.trading_date.isoformat(),
        "as_of": iso_ms(exchange.at_us),
        "rate": exchange.running.clock.rate,
        "closed": exchange.closed,
        "known_symbols": sorted(exchange.market.symbols),
    }
