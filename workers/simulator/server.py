"""The simulator's HTTP server: routes, the market's motion beside them, and an orderly end.

Owns that; must not answer a request itself.
"""

from __future__ import annotations

import asyncio
import logging
import signal

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from common.errors import UsageError
from workers.simulator import handlers
from workers.simulator.admin import (
    FaultHandler,
    FaultsHandler,
    PaceHandler,
    StateHandler,
    TruthHandler,
    WireHandler,
)
from workers.simulator.faults.runner import Runner
from workers.simulator.faults.schedule import Schedule
from workers.simulator.site import Site
from workers.simulator.stream_handlers import (
    ChainStreamHandler,
    OptionQuoteStreamHandler,
    QuoteStreamHandler,
)

_FAREWELL_SECONDS = 2.0
"""How long streams may take to read their end."""


def application(site: Site) -> Application:
    """Every path of the simulator."""
    api = "/v3/marketdata"
    return Application(
        [
            ("/oauth/token", handlers.TokenHandler),
            (f"{api}/quotes/(.+)", handlers.QuotesHandler),
            (f"{api}/options/expirations/([^/]+)", handlers.ExpirationsHandler),
            (f"{api}/options/strikes/([^/]+)", handlers.StrikesHandler),
            (f"{api}/options/spreadtypes", handlers.SpreadTypesHandler),
            (f"{api}/symbols/(.+)", handlers.SymbolsHandler),
            (f"{api}/stream/quotes/(.+)", QuoteStreamHandler),
            (f"{api}/stream/options/chains/([^/]+)", ChainStreamHandler),
            (f"{api}/stream/options/quotes", OptionQuoteStreamHandler),
            ("/_simulator/state", StateHandler),
            ("/_simulator/truth/([^/]+)", TruthHandler),
            ("/_simulator/pace", PaceHandler),
            ("/_simulator/wire", WireHandler),
            ("/_simulator/faults", FaultsHandler),
            ("/_simulator/([a-z_]+)", FaultHandler),
        ],
        default_handler_class=handlers.NowhereHandler,
        log_function=lambda _: None,  # requests are counted
        site=site,
    )


class Server:
    """A site on a port."""

    def __init__(
        self, site: Site, host: str, port: int, *, schedule: Schedule | None = None
    ) -> None:
        """Take the port; 0 takes a free one.

        :param schedule: of faults that happen by themselves.
        :raises UsageError: when it cannot be had.
        """
        self._site, self._schedule = site, schedule
        self._http = HTTPServer(application(site))
        try:
            self._sockets = bind_sockets(port, host)
        except OSError as error:
            raise UsageError(
                f"{host}:{port} cannot be listened on: {error.strerror or error}"
            ) from error
        self.port: int = self._sockets[0].getsockname()[1]

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; then every stream ends with ``GoAway``."""
        logging.getLogger("tornado.access").disabled = True
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stopped.set)
        site = self._site
        site.exchange.on_roll = site.send_all_away
        self._http.add_sockets(self._sockets)
        market = asyncio.create_task(site.exchange.run())
        waiting = asyncio.create_task(stopped.wait())
        tasks: list[asyncio.Task[object]] = [market, waiting]
        if self._schedule is not None:
            tasks.append(asyncio.create_task(Runner(self._schedule, site).run()))
        try:
            while not waiting.done():
                done, _ = await asyncio.wait(
                    [task for task in tasks if not task.done()],
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    task.result()  # a failure ends the server; the end of a recording does not
        finally:
            await self._end(*tasks)

    async def _end(self, *tasks: asyncio.Task[object]) -> None:
        self._http.stop()
        self._site.send_all_away()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        deadline = asyncio.get_running_loop().time() + _FAREWELL_SECONDS
        while self._site.streams and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)
        await self._http.close_all_connections()
