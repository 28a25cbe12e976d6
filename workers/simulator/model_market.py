"""The seeded market model as a market to simulate: any symbol, any trading day.

Owns what TradeStation shows beyond quotes and open interest; prices are the model's.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from functools import cached_property

import numpy as np

from common.clock import SECOND, YEAR_SECONDS, previous_trading_day, settlement_us
from common.feeds.roots import INDEXES
from common.market_model import MarketModel
from common.market_path import KNOWN_SYMBOLS, activity
from common.models import FloatArray
from workers.simulator.analytics import computed_fields
from workers.simulator.contracts import Contracts
from workers.simulator.market import Board, Places, Underlying
from workers.simulator.timeline import TradingDays

_SHARES_A_DAY = 6e7
_TICK = 0.01
_LOOK_BACK_US = 900 * SECOND


class ModelMarket:
    """The market of one seed."""

    def __init__(self, seed: int, symbols: Iterable[str] = ()) -> None:
        """Know the model's own symbols and these."""
        self._seed = seed
        self.symbols = KNOWN_SYMBOLS | frozenset(symbols)
        self.dates = TradingDays(seed)

    def day(self, symbol: str, trading_date: date) -> ModelDay:
        """One trading date of a symbol."""
        return ModelDay(symbol, self._seed, trading_date)


class ModelDay:
    """One trading date of the model."""

    def __init__(self, symbol: str, seed: int, trading_date: date) -> None:
        self._model = MarketModel(symbol=symbol, seed=seed, trading_date=trading_date)
        self.contracts = Contracts.of(symbol, self._model.contracts)
        self._settlements = np.array([settlement_us(each) for each in self.contracts.expiries])

    def board(self, at_us: int) -> Board:
        """The model's board; shares traded follow the day's U-shaped activity."""
        path = self._model.path
        so_far = path.so_far(at_us)
        traded = float(activity(np.array(path.share(at_us)))) * _SHARES_A_DAY
        last = path.spot(at_us)
        underlying = Underlying(
            time=at_us,
            last=last,
            bid=last - _TICK,
            ask=last + _TICK,
            open=so_far.open,
            high=so_far.high,
            low=so_far.low,
            previous_close=path.previous_close,
            vwap=so_far.vwap,
            volume=0 if self.contracts.symbol in INDEXES else int(traded),
        )
        return Board(underlying, np.concatenate(list(self._model.quotes(at_us).values())))

    def instants(self, until_us: int) -> list[int]:
        """Every quarter of an hour from the open on."""
        return [*range(self._model.path.open_us, until_us, _LOOK_BACK_US), until_us]

    @cached_property
    def previous_closes(self) -> FloatArray:
        """Mid at the close before of the contracts that were listed then."""
        before = MarketModel(
            symbol=self.contracts.symbol,
            seed=self._model.seed,
            trading_date=previous_trading_day(self._model.trading_date),
        )
        closes = np.full(self.contracts.size, np.nan)
        for expiry, rows in before.quotes(before.path.close_us).items():
            if expiry in self.contracts.expiries:
                own = np.flatnonzero(self.contracts.of_expiry(expiry))
                _, there, here = np.intersect1d(
                    rows["key"], self.contracts.keys[own], return_indices=True
                )
                closes[own[here]] = 0.5 * (rows["bid"][there] + rows["ask"][there])
        return closes

    def analytics(self, at_us: int, places: Places, premiums: FloatArray) -> dict[str, FloatArray]:
        """From the model's true volatilities and forwards; nothing once settled."""
        model, contracts = self._model, self.contracts
        index = contracts.expiry_index[places]
        vols = np.concatenate(list(model.implied_vols(at_us).values()))
        forwards = np.array([model.forward(each, at_us) for each in contracts.expiries])
        years = np.maximum(self._settlements - at_us, 0) / (YEAR_SECONDS * SECOND)
        return computed_fields(
            spot=model.spot(at_us),
            forwards=forwards[index],
            strikes=contracts.strikes[places],
            years=years[index],
            sigmas=vols[places],
            historical_sigma=model.path.vol,
            rate=model.rate,
            puts=contracts.puts[places],
            premiums=premiums,
        )
