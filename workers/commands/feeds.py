"""The configured feed, built from the settings.

Owns which feed a setting means and what it is made of; must not run one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx
from pydantic import SecretStr

from common.errors import UsageError
from common.feeds.base import Feed
from common.feeds.frames import Recorder, Rotation
from common.feeds.tradestation.tokens import TokenFile
from common.models import Session
from common.selection import ExpirationRule, StrikeRule
from common.settings import Settings
from workers.context import Context

if TYPE_CHECKING:
    from common.feeds.tradestation.feed import Tap, TradeStationFeed

SIMULATOR_LOGIN = "simulator"
"""Client id, secret and refresh token that the simulator takes."""
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def feed_options(feed: str | None) -> dict[str, Any]:
    """The settings that a ``--feed`` means: one feed for all, or feeds by symbol."""
    if feed is None:
        return {}
    return {"feeds": feed} if "=" in feed else {"feed": feed, "feeds": {}}


def by_feed(context: Context) -> Iterator[Context]:
    """For each feed in use the context of its symbols alone."""
    for feed, symbols in context.settings.feeds_in_use.items():
        changes: dict[str, Any] = {"feed": feed, "symbols": symbols, "feeds": {}}
        yield Context(context.settings.model_copy(update=changes))


def make_recorder(context: Context, folder: Path) -> Recorder:
    """What writes raw frames into a folder, as the settings want its files."""
    settings = context.settings
    rotation = Rotation(settings.record_rotate_mb * 1e6, settings.record_rotate_hours * 3600.0)
    return Recorder(folder, rotation)


def make_feeds(context: Context) -> dict[str, Feed]:
    """The configured feed of each symbol.

    :raises UsageError: when one cannot be made from the settings.
    """
    found: dict[str, Feed] = {}
    for part in by_feed(context):
        found |= _feeds_of_one_kind(part)
    return {symbol: found[symbol] for symbol in context.settings.symbols}


def _feeds_of_one_kind(context: Context) -> dict[str, Feed]:
    settings = context.settings
    if settings.feed == "recording":
        from common.feeds.playback import RecordingFeed  # noqa: PLC0415  only where it is needed

        if not settings.recording:
            raise UsageError("feed 'recording' needs a file: --recording FILE or GEX_RECORDING")
        paths = [Path(part) for part in settings.recording.split(os.pathsep)]
        return {symbol: RecordingFeed(paths, symbol=symbol) for symbol in settings.symbols}
    if settings.feed in ("simulator", "tradestation"):
        folder = settings.record_dir
        tap = make_recorder(context, folder).open if folder else None
        return dict(make_broker_feeds(context, tap=tap))
    if settings.feed == "cboe":
        return _cboe_feeds(context)
    raise UsageError(f"feed {settings.feed!r} has nothing to ingest")


def _cboe_feeds(context: Context) -> dict[str, Feed]:
    from common.feeds.cboe_live import CboeFeed  # noqa: PLC0415

    settings = context.settings
    http = httpx.AsyncClient(
        timeout=30.0, trust_env=_uses_proxies(settings.cboe_url), follow_redirects=True
    )
    return {
        symbol: CboeFeed(
            http,
            symbol,
            settings.cboe_url,
            poll_seconds=settings.cboe_poll_seconds,
            expirations=ExpirationRule.parse(settings.expirations),
        )
        for symbol in settings.symbols
    }


def make_broker_feeds(
    context: Context, *, tap: Callable[[Session], Tap] | None = None
) -> dict[str, TradeStationFeed]:
    """TradeStation's feed of each symbol, over one login, from the real host or the simulator.

    :param tap: makes what the raw frames of a session are written to.
    :raises UsageError: when the login is missing from the settings, or nothing simulates.
    """
    from common.feeds.tradestation import rows  # noqa: PLC0415
    from common.feeds.tradestation.auth import TokenSource  # noqa: PLC0415
    from common.feeds.tradestation.budget import StreamBudget  # noqa: PLC0415
    from common.feeds.tradestation.client import (  # noqa: PLC0415
        CONNECT_SECONDS,
        SILENCE_SECONDS,
        TradeStationClient,
    )
    from common.feeds.tradestation.feed import TradeStationFeed  # noqa: PLC0415
    from common.feeds.tradestation.listing import Choice  # noqa: PLC0415
    from common.feeds.tradestation.open_streams import Allowance  # noqa: PLC0415
    from common.feeds.transport import StreamTransport  # noqa: PLC0415

    settings = context.settings
    api_url, signin_url, client_id, secret, refresh = _login(context)
    rows.load(folder=settings.state_dir / "kernels")
    http = httpx.AsyncClient(
        timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS, pool=None),
        limits=httpx.Limits(max_connections=None),
        trust_env=_uses_proxies(api_url),
        transport=None if _uses_proxies(api_url) and getproxies() else StreamTransport(),
    )
    tokens = TokenSource(
        http,
        token_file(context),
        url=signin_url,
        client_id=client_id,
        client_secret=secret,
        refresh_token=refresh,
    )
    client = TradeStationClient(http, tokens, url=api_url)
    choice = Choice(
        expirations=ExpirationRule.parse(settings.expirations),
        strikes=StrikeRule.parse(settings.strikes),
        chain_streams=_chain_streams(settings),
        date_format=settings.tradestation_date_format,
        quote_symbols=settings.quote_symbols,
        near_money=settings.near_money,
        symbols_per_stream=settings.tradestation_max_symbols,
        recentre=settings.recentre,
    )
    allowance = Allowance(
        StreamBudget(
            settings.state_dir / f"{settings.feed}.streams", settings.tradestation_streams
        ),
        counts_quotes=settings.tradestation_count_quotes,
    )
    return {
        symbol: TradeStationFeed(
            client,
            symbol,
            choice,
            allowance,
            stale_after_seconds=settings.stale_after_seconds,
            first_row_seconds=settings.first_row_seconds,
            data_seconds=settings.data_watchdog_seconds,
            tap=tap,
        )
        for symbol in settings.symbols
    }


def _chain_streams(settings: Settings) -> int:
    """How many chains of each symbol the budget of streams has room for.

    :raises UsageError: when it has none.
    """
    quoted = 1 + len(settings.quote_symbols) + settings.near_money
    quotes = -(-quoted // settings.tradestation_max_symbols)
    if not settings.tradestation_count_quotes:
        quotes = 0
    room = settings.tradestation_streams // len(settings.symbols) - quotes
    if room < 1:
        raise UsageError(
            f"{len(settings.symbols)} symbols need {quotes + 1} streams each; the broker allows "
            f"{settings.tradestation_streams} (GEX_TRADESTATION_STREAMS)"
        )
    return room


def _uses_proxies(url: str) -> bool:
    """A proxy of the environment never serves this very machine."""
    return urlsplit(url).hostname not in _LOOPBACK


def token_file(context: Context) -> TokenFile:
    """Where the tokens of the configured broker are kept."""
    return TokenFile(context.settings.state_dir / f"{context.settings.feed}.tokens.json")


def _login(context: Context) -> tuple[str, str, str, SecretStr | None, SecretStr | None]:
    """API URL, sign-in URL, client id, secret and refresh token."""
    settings = context.settings
    if settings.feed == "simulator":
        url, login = context.instance.simulator_url(), SecretStr(SIMULATOR_LOGIN)
        if not url:
            raise UsageError(
                f"no simulator was started in {settings.state_dir}; run `gex up` or `gex simulator`"
            )
        return f"{url}/v3", url, SIMULATOR_LOGIN, login, login
    if not settings.tradestation_client_id:
        raise UsageError(
            "feed 'tradestation' needs GEX_TRADESTATION_CLIENT_ID and _CLIENT_SECRET, in the "
            "environment or .env, and a login: `gex auth tradestation`"
        )
    return (
        settings.tradestation_api_url,
        settings.tradestation_signin_url.rstrip("/"),
        settings.tradestation_client_id,
        settings.tradestation_client_secret,
        settings.tradestation_refresh_token,
    )
