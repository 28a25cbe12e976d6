"""The underlying of the market model: how its price moves within and across trading dates.

Owns levels, shocks and the intraday path, all drawn from a seed; must not know options, and
must not read a clock, a setting or a file.
"""

from __future__ import annotations

import hashlib
from datetime import date
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from common.clock import SECOND, next_trading_day, previous_trading_day, session_hours
from common.models import FloatArray

STEP_US = 250_000
"""Grid of the path [us]; the price stands still in between."""

_CHARACTERS = {  # symbol: level [$], volatility per year
    "SPY": (670.0, 0.12),
    "QQQ": (600.0, 0.16),
    "IWM": (245.0, 0.18),
    "DIA": (475.0, 0.11),
    "SPX": (6700.0, 0.12),
    "NDX": (24500.0, 0.16),
}
KNOWN_SYMBOLS = frozenset(_CHARACTERS)
"""Symbols with a character of their own; any other has one drawn from its name."""
# Variance is counted in trading days: a full session and the night before make about one.
_SESSION_DAYS = 0.65
_NIGHT_DAYS = 0.25
_IDLE_DAYS = 0.04  # each further calendar day without trading
_DAYS_PER_YEAR = 252.0
_FULL_SESSION_US = 23_400 * SECOND
_MEMORY = 90  # trading days summed; the first one left out would weigh 0.97^90 = 6 %
_PERSISTENCE = 0.97
_VOL_PERSISTENCE = 0.9


class DaySoFar(NamedTuple):
    """The session's prices up to an instant [$]."""

    open: float
    high: float
    low: float
    vwap: float


class MarketPath:
    """The price of one underlying over one trading date."""

    def __init__(self, *, symbol: str, seed: int, trading_date: date) -> None:
        """Draw the path.

        :raises ValueError: when the exchange is closed on ``trading_date``.
        """
        self.open_us, self.close_us = session_hours(trading_date)
        self.previous_close, _ = _daily(symbol, seed, previous_trading_day(trading_date))
        """Close of the trading day before [$]: where that date's own path ends."""
        self.close, self.vol = _daily(symbol, seed, trading_date)
        """Last price of the date [$] and the date's level of volatility [per √year]."""
        _, base_vol = character(symbol)
        night, _, _ = _shocks(symbol, seed, trading_date)
        count = (self.close_us - self.open_us) // STEP_US
        elapsed = activity(np.linspace(0.0, 1.0, count + 1))
        normals = generator(symbol, seed, trading_date, "path").standard_normal(count)
        brownian = np.concatenate(([0.0], np.cumsum(normals * np.sqrt(np.diff(elapsed)))))
        bridge = brownian - elapsed * brownian[-1]
        opened = np.log(self.previous_close) + base_vol * night * np.sqrt(
            _NIGHT_DAYS / _DAYS_PER_YEAR
        )
        drift = elapsed * (np.log(self.close) - opened)
        scale = base_vol * np.sqrt(session_days(trading_date) / _DAYS_PER_YEAR)
        self._prices = np.round(np.exp(opened + drift + scale * bridge), 2)
        self._prices[-1] = self.close
        self._elapsed = elapsed
        self._session_days = session_days(trading_date)

    def spot(self, at_us: int) -> float:
        """Price at an instant [$, whole cents]; before the open the previous close."""
        if at_us < self.open_us:
            return self.previous_close
        return float(self._prices[(min(at_us, self.close_us) - self.open_us) // STEP_US])

    def share(self, at_us: int) -> float:
        """Elapsed share of the session: 0 before the open, 1 from the close on."""
        return min(max((at_us - self.open_us) / (self.close_us - self.open_us), 0.0), 1.0)

    def so_far(self, at_us: int) -> DaySoFar:
        """Open, high, low and volume-weighted average of the session up to an instant."""
        at = (min(max(at_us, self.open_us), self.close_us) - self.open_us) // STEP_US
        highs, lows, paid = self._running
        opened = float(self._prices[0])
        vwap = float(paid[at - 1] / self._elapsed[at]) if at else opened
        return DaySoFar(opened, float(highs[at]), float(lows[at]), round(vwap, 4))

    @cached_property
    def _running(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Highest and lowest price, and price times share of the volume summed, at each step."""
        prices = self._prices
        return (
            np.maximum.accumulate(prices),
            np.minimum.accumulate(prices),
            np.cumsum(prices[1:] * np.diff(self._elapsed)),
        )

    def years_left(self, at_us: int) -> float:
        """Variance still to come until the close [years of 252 trading days]."""
        left = 1.0 - float(activity(np.array(self.share(at_us))))
        return left * self._session_days / _DAYS_PER_YEAR

    def samples(self, count: int) -> FloatArray:
        """Prices in the middle of ``count`` equal parts of the session [$]; shape (count,)."""
        shares = (np.arange(count) + 0.5) / count
        return np.asarray(self._prices[(shares * self._prices.size).astype(np.int64)])


def generator(*parts: object) -> np.random.Generator:
    """A random generator of its own for what ``parts`` name; equal parts, equal numbers."""
    text = "|".join(str(part) for part in parts)
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


def character(symbol: str) -> tuple[float, float]:
    """Level [$] and volatility [per √year] of a symbol; by its name's hash if it is unknown."""
    if symbol in _CHARACTERS:
        return _CHARACTERS[symbol]
    random = generator("character", symbol)
    return float(round(80.0 * 7.0 ** random.random())), 0.14 + 0.08 * random.random()


def activity(shares: FloatArray) -> FloatArray:
    """Part of the day's variance and volume behind a share of the session: a U-shaped rate."""
    return np.asarray(0.6 * shares + 0.2 * ((2.0 * shares - 1.0) ** 3 + 1.0))


def session_days(day: date) -> float:
    """Variance of a trading day's session [trading days]; less on a day that closes early."""
    opened, closed = session_hours(day)
    return _SESSION_DAYS * (closed - opened) / _FULL_SESSION_US


def years_between(day: date, until: date) -> float:
    """Variance from the close of one trading day to that of another [years of 252 of them].

    Nights count less than sessions, and days without trading next to nothing.
    """
    total = 0.0
    while day < until:
        following = next_trading_day(day)
        total += _NIGHT_DAYS + _IDLE_DAYS * ((following - day).days - 1) + session_days(following)
        day = following
    return total / _DAYS_PER_YEAR


@lru_cache(maxsize=4096)
def _shocks(symbol: str, seed: int, day: date) -> tuple[float, float, float]:
    """Standard normal shocks of the night before, the session and its volatility, cut at 2.5."""
    normals = generator(symbol, seed, day, "shocks").standard_normal(3)
    night, session, vol = np.clip(normals, -2.5, 2.5).tolist()
    return night, session, vol


@lru_cache(maxsize=1024)
def _daily(symbol: str, seed: int, day: date) -> tuple[float, float]:
    """Closing price [$, whole cents] and level of volatility [per √year] of a trading day.

    Both are autoregressions around the symbol's character, summed over the past ``_MEMORY``
    days: they revert to it, and dates chain without there being a first one.
    """
    level, base_vol = character(symbol)
    night_scale, session_scale = np.sqrt(
        np.array([_NIGHT_DAYS, _SESSION_DAYS]) / _DAYS_PER_YEAR
    ).tolist()
    log_level = log_vol = 0.0
    weight = vol_weight = 1.0
    for _ in range(_MEMORY):
        night, session, vol = _shocks(symbol, seed, day)
        log_level += weight * base_vol * (night * night_scale + session * session_scale)
        log_vol += vol_weight * 0.08 * vol
        weight, vol_weight = weight * _PERSISTENCE, vol_weight * _VOL_PERSISTENCE
        day = previous_trading_day(day)
    return round(level * float(np.exp(log_level)), 2), base_vol * float(np.exp(log_vol))
