"""A seeded market of one underlying and its listed options: the truth behind the simulator.

Owns a pure function of (seed, symbol, trading date, market time); must not read a clock, a
setting or a file. The same arguments give the same bits whatever was asked before.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from common.clock import (
    SECOND,
    YEAR_SECONDS,
    is_trading_day,
    next_trading_day,
    previous_trading_day,
    settlement_us,
)
from common.market_path import MarketPath, activity, character, generator, years_between
from common.models import QUOTE, Expiry, FloatArray, Rows, contract_keys, key_puts, key_strikes
from common.quant import blackscholes

STRIKE_REACH = 0.06
"""Strikes are listed within this share of the previous close."""

_FAR_DAYS = 12  # calendar days from which strikes stand five times wider apart
_CURVATURE = 0.012
_WING = 6.0  # standard deviations beyond which the smile flattens
_VOLUME_BIN_US = 900 * SECOND
_SIZES = 4099  # a prime, so that neighbouring contracts show different sizes


class _Terms(NamedTuple):
    """What one instant fixes for each expiry; arrays of shape (expiries,)."""

    spot: float
    years: FloatArray  # to settlement, 0 once settled
    forwards: FloatArray  # [$]
    discounts: FloatArray
    deviations: FloatArray  # at-the-money volatility · √years


class MarketModel:
    """One trading date of one symbol: path, chain, smile and quotes."""

    def __init__(self, *, symbol: str, seed: int, trading_date: date, rate: float = 0.04) -> None:
        """Draw everything that is fixed for the date.

        :param rate: continuously compounded, per year; there is no dividend.
        :raises ValueError: when the exchange is closed on ``trading_date``.
        """
        self.symbol, self.seed, self.trading_date, self.rate = symbol, seed, trading_date, rate
        self.path = MarketPath(symbol=symbol, seed=seed, trading_date=trading_date)
        self._latest: tuple[int, _Terms] | None = None
        self.expiries = listed_expiries(trading_date)
        """Listed expiries, ascending."""
        self.contracts = {expiry: self._listed(expiry) for expiry in self.expiries}
        """Contract keys of each expiry, ascending; see ``common.models.contract_keys``."""
        sizes = [keys.size for keys in self.contracts.values()]
        ends = np.cumsum(sizes).tolist()
        self._parts = [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
        self._of = np.repeat(np.arange(len(sizes)), sizes)  # contract → index of its expiry
        keys = np.concatenate(list(self.contracts.values()))
        self._strikes, self._puts = key_strikes(keys), key_puts(keys)
        self._signs = np.where(self._puts, -1.0, 1.0)
        self._settlements = np.array([settlement_us(each) for each in self.expiries])
        ends_of_life = [each.expiration for each in self.expiries]
        self._years_after = np.array([years_between(trading_date, end) for end in ends_of_life])
        dtes = np.array([(end - trading_date).days for end in ends_of_life])
        self._lifts = self.path.vol * (1.0 + 0.25 * -np.expm1(-dtes / 15.0))
        self._skews = (0.08 + 0.003 * np.minimum(dtes, 10))[self._of]
        opening = self._terms(self.path.open_us).deviations[self._of]
        self._template = self._draw_open_interest(keys, opening)
        self._volume = self._draw_volume(opening, 1.0 / (1.0 + dtes)[self._of])
        self._sizes = self._random("sizes").integers(1, 120, _SIZES)

    # --- what the market shows ---------------------------------------------------------------

    def spot(self, at_us: int) -> float:
        """Price of the underlying [$, whole cents]; before the open the previous close."""
        return self.path.spot(at_us)

    def quotes(self, at_us: int) -> dict[Expiry, Rows]:
        """The whole board at an instant: layout QUOTE, rows in the order of ``contracts``.

        ``seq`` is -1; a bid of 0 means that nobody bids; ``last`` is NaN before a first trade
        and else the side of the quote that traded last.
        """
        terms = self._terms(at_us)
        bids, asks = _two_sided(*self._prices(terms))
        volumes = self._volumes(at_us)
        rows = self._template.copy()
        rows["time"], rows["spot"], rows["bid"], rows["ask"] = at_us, terms.spot, bids, asks
        rows["volume"] = volumes
        traded = np.where(volumes & 1, asks, np.maximum(bids, 0.01))
        rows["last"] = np.where(volumes > 0, traded, np.nan)
        places = np.arange(len(rows)) * 7 + at_us // SECOND
        rows["bid_size"] = np.where(bids > 0, self._sizes[places % _SIZES], 0)
        rows["ask_size"] = self._sizes[(places * 3 + 1) % _SIZES]
        return {each: rows[part] for each, part in zip(self.expiries, self._parts, strict=True)}

    # --- ground truth ------------------------------------------------------------------------

    def implied_vols(self, at_us: int) -> dict[Expiry, FloatArray]:
        """True volatilities behind the quotes [per √year of 365 days]; NaN once settled."""
        terms = self._terms(at_us)
        years = terms.years[self._of]
        vols = np.full(years.shape, np.nan)
        np.divide(self._deviations(terms), np.sqrt(years), out=vols, where=years > 0)
        return {each: vols[part] for each, part in zip(self.expiries, self._parts, strict=True)}

    def forward(self, expiry: Expiry, at_us: int) -> float:
        """True forward of an expiry [$]; the spot once settled.

        :raises ValueError: when ``expiry`` is not listed.
        """
        return float(self._terms(at_us).forwards[self.expiries.index(expiry)])

    def discount(self, expiry: Expiry, at_us: int) -> float:
        """True discount factor to the settlement of an expiry; 1 once settled.

        :raises ValueError: when ``expiry`` is not listed.
        """
        return float(self._terms(at_us).discounts[self.expiries.index(expiry)])

    # --- what is drawn once a date -----------------------------------------------------------

    def _random(self, *parts: object) -> np.random.Generator:
        return generator(self.symbol, self.seed, *parts)

    def _listed(self, expiry: Expiry) -> npt.NDArray[np.uint32]:
        step = _strike_step(self.symbol)
        if (expiry.expiration - self.trading_date).days >= _FAR_DAYS:
            step *= 5.0
        low = np.ceil(self.path.previous_close * (1.0 - STRIKE_REACH) / step)
        high = np.floor(self.path.previous_close * (1.0 + STRIKE_REACH) / step)
        strikes = np.arange(low, high + 1.0) * step
        return contract_keys(strikes=strikes[:, None], puts=np.array([False, True])).ravel()

    def _draw_open_interest(self, keys: npt.NDArray[np.uint32], opening: FloatArray) -> Rows:
        """Rows with what never changes during the date: keys and open interest."""
        widths = np.clip(1.2 * opening, 0.012, 0.035)
        offsets = np.log(self._strikes / self.path.previous_close) / widths
        calls = np.exp(-0.5 * ((offsets - 0.8) / 1.2) ** 2)
        puts = 1.05 * np.exp(-0.5 * ((offsets + 0.9) / 1.3) ** 2)
        shapes = np.where(self._puts, puts, calls) + 0.01
        step = _strike_step(self.symbol)
        steps = np.rint(self._strikes / step).astype(np.int64)
        lumps = np.where(steps % 10 == 0, 4.0, np.where(steps % 5 == 0, 2.0, 1.0))
        # A contract keeps most of its luck from date to date: it is drawn on absolute strikes.
        grid = (int(2.0 * character(self.symbol)[0] / step) + 1, 2)
        lasting = np.stack(
            [self._random("oi", each).standard_normal(grid) for each in self.expiries]
        )
        luck = 0.6 * lasting[self._of, steps % grid[0], self._puts.astype(np.int64)]
        luck += 0.1 * self._random(self.trading_date, "oi").standard_normal(keys.size)
        rows = np.zeros(keys.size, dtype=QUOTE)
        rows["key"], rows["seq"] = keys, -1
        rows["open_interest"] = np.floor(3500.0 * shapes * lumps * np.exp(luck))
        return rows

    def _draw_volume(self, opening: FloatArray, shares: FloatArray) -> FloatArray:
        """Cumulative volume at the bin edges, whole numbers; shape (bins + 1, contracts).

        :param opening: at-the-money volatility · √years of each contract at the open.
        :param shares: relative size of each contract's expiry.
        """
        count = (self.path.close_us - self.path.open_us) // _VOLUME_BIN_US
        weights = np.diff(activity(np.linspace(0.0, 1.0, count + 1)))[:, None]
        spots = self.path.samples(count)[:, None]
        distances = np.log(self._strikes / spots) / np.maximum(opening, 0.004)
        nearness = np.exp(-0.5 * distances**2) + 0.002
        nearness *= np.where(distances * self._signs < 0, 0.3, 1.0)  # in the money trades less
        luck = np.exp(0.5 * self._random(self.trading_date, "volume").standard_normal(shares.size))
        edges = np.zeros((count + 1, shares.size))
        np.floor(np.cumsum(2e5 * weights * nearness * shares * luck, axis=0), out=edges[1:])
        return edges

    # --- one instant -------------------------------------------------------------------------

    def _terms(self, at_us: int) -> _Terms:
        """What one instant fixes; several questions in a row are about the same one."""
        if self._latest is None or self._latest[0] != at_us:
            self._latest = (at_us, self._terms_at(at_us))
        return self._latest[1]

    def _terms_at(self, at_us: int) -> _Terms:
        spot = self.spot(at_us)
        years = np.maximum(self._settlements - at_us, 0) / (YEAR_SECONDS * SECOND)
        leverage = (self.path.previous_close / spot) ** 4  # volatility rises as the spot falls
        variance_years = self._years_after + self.path.years_left(at_us)
        deviations = self._lifts * leverage * np.sqrt(variance_years)
        return _Terms(
            spot=spot,
            years=years,
            forwards=spot * np.exp(self.rate * years),
            discounts=np.exp(-self.rate * years),
            deviations=np.where(years > 0, deviations, 0.0),
        )

    def _deviations(self, terms: _Terms) -> FloatArray:
        """The smile: volatility · √years of each contract, both rights of a strike alike."""
        at_the_money = terms.deviations[self._of]
        away = np.log(self._strikes / terms.forwards[self._of]) / np.maximum(at_the_money, 1e-9)
        away /= np.sqrt(1.0 + (away / _WING) ** 2)
        return np.asarray(at_the_money * (1.0 + away * (_CURVATURE * away - self._skews)))

    def _prices(self, terms: _Terms) -> tuple[FloatArray, FloatArray]:
        """Black prices [$], and their change per unit of relative volatility [$].

        Once settled the price is the intrinsic value.
        """
        forwards, discounts = terms.forwards[self._of], terms.discounts[self._of]
        deviations = np.maximum(self._deviations(terms), 1e-9)
        prices = blackscholes.price(
            forwards=forwards,
            strikes=self._strikes,
            years=1.0,
            sigmas=deviations,
            discounts=discounts,
            puts=self._puts,
        )
        d1 = np.log(forwards / self._strikes) / deviations + 0.5 * deviations
        densities = np.exp(-0.5 * d1 * d1) / blackscholes.ROOT_TWO_PI
        return prices, discounts * forwards * densities * deviations

    def _volumes(self, at_us: int) -> npt.NDArray[np.int64]:
        """Cumulative volume of each contract; straight between two bin edges."""
        place = self.path.share(at_us) * (len(self._volume) - 1)
        low = min(int(place), len(self._volume) - 2)
        before, after = self._volume[low], self._volume[low + 1]
        volumes: npt.NDArray[np.int64] = (before + (place - low) * (after - before)).astype(
            np.int64
        )
        return volumes


def listed_expiries(day: date) -> tuple[Expiry, ...]:
    """The expiries listed on a trading day, ascending.

    The day itself, the next trading day, this and next week's last trading day (Friday unless
    that is a holiday), and the monthly expiration that comes next.
    """
    friday = day + timedelta(days=4 - day.weekday())
    first = day.replace(day=1)
    monthly = _monthly(first)
    if monthly <= day:
        monthly = _monthly((first + timedelta(days=31)).replace(day=1))
    weeklies = (_or_before(friday), _or_before(friday + timedelta(days=7)))
    days = {day, next_trading_day(day), *weeklies, monthly}
    return tuple(Expiry(each) for each in sorted(days) if each >= day)


def _monthly(first: date) -> date:
    """Expiration of a month's standard options, its third Friday, given its first day."""
    return _or_before(first + timedelta(days=(4 - first.weekday()) % 7 + 14))


def _or_before(day: date) -> date:
    return day if is_trading_day(day) else previous_trading_day(day)


def _strike_step(symbol: str) -> float:
    """Distance of near-dated strikes [$]: at most about ninety of them are listed."""
    level, _ = character(symbol)
    steps = (0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0)[level >= 100.0 :]
    return next((step for step in steps if 2.0 * STRIKE_REACH * level / step <= 90.0), 100.0)


def _two_sided(prices: FloatArray, vegas: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Bids and asks [$] around prices, on the grid: cents below $3, nickels above.

    :param vegas: change of the price per unit of relative volatility [$].
    """
    halves = 0.002 + 0.0015 * prices + 0.004 * vegas
    low, high = (prices - halves) * 100.0, (prices + halves) * 100.0
    bids = np.where(low < 300.0, np.floor(low), np.floor(low / 5.0) * 5.0)
    asks = np.where(high < 300.0, np.ceil(high), np.ceil(high / 5.0) * 5.0)
    return np.maximum(bids, 0.0) / 100.0, asks / 100.0
