"""The request-and-reply part of TradeStation's API.

Owns reading requests and writing replies; must not know where prices come from.
"""

from __future__ import annotations

from functools import cached_property
from http.client import responses
from types import TracebackType
from typing import Any, ClassVar

import orjson
from tornado.web import RequestHandler

from common.feeds.tradestation.simulated import CLOCK_HEADER
from common.models import JsonDict
from workers.simulator.chain_query import (
    asked_expiry,
    asked_interval,
    asked_strike,
    check_spread_type,
    strikes_of,
)
from workers.simulator.desk import Desk
from workers.simulator.details import expiration_type, symbol_details
from workers.simulator.failures import ApiError, error_body
from workers.simulator.quotes import INVALID_SYMBOL, Quoted, full_quotes
from workers.simulator.rows import number_text
from workers.simulator.site import Site
from workers.simulator.tokens import TokenRefusedError

MAX_QUOTES = 100
MAX_SYMBOLS = 50
_SPREAD_TYPES = (
    "Single Straddle Vertical Strangle RatioBack1x2 RatioBack1x3 RatioBack2x3 Butterfly "
    "IronButterfly Condor IronCondor Covered Collar Combo Calendar Diagonal"
).split()
_ONE_STRIKE = {"Single", "Straddle", "Covered", "Combo", "Calendar"}
_TWO_EXPIRATIONS = {"Calendar", "Diagonal"}
_Failure = tuple[type[BaseException], BaseException, TracebackType]


class SiteHandler(RequestHandler):
    """What all replies share: JSON, the clock's header, counting."""

    route: ClassVar[str] = "/"
    """The path without what is asked for, for the counters."""

    @cached_property
    def site(self) -> Site:
        """The simulator behind the server."""
        site: Site = self.settings["site"]
        return site

    def set_default_headers(self) -> None:
        """Say what time the market has."""
        self.set_header(CLOCK_HEADER, self.site.exchange.header)
        self.clear_header("Server")

    @property
    def target(self) -> str:
        """What is asked for: path and query."""
        return self.request.uri or ""

    def prepare(self) -> None:
        """Refuse it where a fault wants it so."""
        refused = self.site.faults.refusal(self.target, self.site)
        if refused is not None:
            raise refused

    def compute_etag(self) -> None:
        """No reply is the same as one before."""

    def reply(self, body: JsonDict) -> None:
        """Finish with a JSON object."""
        self.set_header("Content-Type", "application/json")
        self.finish(orjson.dumps(body))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Finish with the API's error object."""
        failure: _Failure | None = kwargs.get("exc_info")
        error = failure[1] if failure else None
        if not isinstance(error, ApiError):
            self.reply(error_body(status_code, responses.get(status_code, "")))
            return
        for name, value in error.headers.items():
            self.set_header(name, value)
        if error.text is None:
            self.reply(error_body(status_code, error.message))
        else:
            self.set_header("Content-Type", "text/plain")
            self.finish(error.text)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """A refusal is no failure of the server."""
        if not isinstance(value, ApiError):
            super().log_exception(typ, value, tb)

    def on_finish(self) -> None:
        """Count the reply."""
        self.count()

    def count(self) -> None:
        """Count this request under its route and status."""
        line = f"{self.request.method} {self.route} {self.get_status()}"
        self.site.counters.requests[line] += 1


class NowhereHandler(SiteHandler):
    """Every path that is none."""

    route = "elsewhere"

    def prepare(self) -> None:
        """Refuse it."""
        raise ApiError(404, "No such path")


class TokenHandler(SiteHandler):
    """The token endpoint."""

    route = "/oauth/token"

    def post(self) -> None:
        """Grant or refuse a token."""
        form = {
            name: values[-1].decode("utf-8", "replace")
            for name, values in self.request.body_arguments.items()
        }
        self.set_header("Cache-Control", "no-store")
        try:
            self.reply(self.site.tokens.grant(form))
        except TokenRefusedError as refused:
            self.set_status(refused.status)
            self.reply(refused.body())


class ApiHandler(SiteHandler):
    """A request for market data: authorised and within its quota."""

    resource: ClassVar[str] = ""
    """Name of the rate quota it counts against, if any."""

    def set_default_headers(self) -> None:
        """Say what is left of the quota, too."""
        super().set_default_headers()
        if self.resource:
            for name, value in self.site.rate_limits.headers(self.resource).items():
                self.set_header(name, value)

    def prepare(self) -> None:
        """Check token and quota."""
        super().prepare()
        if not self.site.tokens.is_valid(self.request.headers.get("Authorization", "")):
            raise ApiError(401, "The access token is missing, bad or expired")
        if self.resource:
            if not self.site.rate_limits.take(self.resource):
                raise ApiError(429, "Rate quota exceeded")
            self.set_default_headers()

    def parameter(self, name: str) -> str | None:
        """The text of a query parameter, None where it is not given or empty."""
        return self.get_query_argument(name, None) or None

    def asked_symbols(self, text: str, most: int) -> list[str]:
        """The symbols of a comma-separated list.

        :raises ApiError: when there are none, or more than ``most``.
        """
        names = [part.strip() for part in text.split(",") if part.strip()]
        if not names:
            raise ApiError(400, "No symbol is given")
        if len(names) > most:
            raise ApiError(400, f"At most {most} symbols a request")
        return names

    def asked_quotes(self, text: str) -> tuple[list[Quoted], list[str]]:
        """What a list of quote symbols names, and those that name nothing."""
        quoted, refused = [], []
        for name in dict.fromkeys(self.asked_symbols(text, MAX_QUOTES)):
            found = self.site.exchange.quoted(name)
            if found is None:
                refused.append(name)
            else:
                quoted.append(found)
        return quoted, refused

    def asked_chain(self, name: str) -> tuple[Desk, str]:
        """Desk and root of a chain's underlying.

        :raises ApiError: when it is not known.
        """
        found = self.site.exchange.chain(name)
        if found is None:
            raise ApiError(404, f"{name}: no such underlying")
        return found


class QuotesHandler(ApiHandler):
    """Quote snapshots."""

    route, resource = "/v3/marketdata/quotes", "quotes"

    def get(self, symbols: str) -> None:
        """Answer with a quote or an error for each symbol."""
        quoted, refused = self.asked_quotes(symbols)
        self.reply(
            {
                "Quotes": full_quotes(quoted, percent=True),
                "Errors": [{"Symbol": name, "Error": INVALID_SYMBOL} for name in refused],
            }
        )


class ExpirationsHandler(ApiHandler):
    """Option expirations."""

    route, resource = "/v3/marketdata/options/expirations", "option-expirations"

    def get(self, underlying: str) -> None:
        """Answer with the expirations of an underlying, or those that list a strike."""
        desk, root = self.asked_chain(underlying)
        strike = asked_strike(self.parameter)
        expiries = desk.contracts.expiries_of(root)
        if strike is not None:
            expiries = [
                expiry
                for expiry in expiries
                if strike in strikes_of(desk.contracts, expiry, desk.listed, 1)
            ]
        self.reply(
            {
                "Expirations": [
                    {
                        "Date": f"{each.expiration}T00:00:00Z",
                        "Type": expiration_type(each.expiration),
                    }
                    for each in expiries
                ]
            }
        )


class StrikesHandler(ApiHandler):
    """Option strikes."""

    route, resource = "/v3/marketdata/options/strikes", "option-strikes"

    def get(self, underlying: str) -> None:
        """Answer with the strikes of an expiration."""
        desk, root = self.asked_chain(underlying)
        check_spread_type(self.parameter)
        expiry = asked_expiry(self.parameter, desk.contracts.expiries_of(root))
        interval = asked_interval(self.parameter)
        strikes = strikes_of(desk.contracts, expiry, desk.listed, interval).tolist()
        self.reply(
            {"SpreadType": "Single", "Strikes": [[number_text(strike)] for strike in strikes]}
        )


class SpreadTypesHandler(ApiHandler):
    """The names of option spreads."""

    route, resource = "/v3/marketdata/options/spreadtypes", "option-spread-types"

    def get(self) -> None:
        """Answer with all of them, those that are not simulated included."""
        self.reply(
            {
                "SpreadTypes": [
                    {
                        "Name": name,
                        "StrikeInterval": name not in _ONE_STRIKE,
                        "ExpirationInterval": name in _TWO_EXPIRATIONS,
                    }
                    for name in _SPREAD_TYPES
                ]
            }
        )


class SymbolsHandler(ApiHandler):
    """Details of symbols."""

    route = "/v3/marketdata/symbols"

    def get(self, symbols: str) -> None:
        """Answer with details or an error for each symbol."""
        details, errors = [], []
        for name in self.asked_symbols(symbols, MAX_SYMBOLS):
            found = self.site.exchange.quoted(name)
            if found is None:
                message = "Symbol cannot be found"
                errors.append({"Symbol": name, "Error": INVALID_SYMBOL, "Message": message})
            else:
                details.append(symbol_details(found))
        self.reply({"Symbols": details, "Errors": errors})
