"""A day of made-up boards: every kind of change, and contracts that are listed late."""

from __future__ import annotations

from datetime import date

import numpy as np

from common.models import FLAG_WITHDRAWN, QUOTE, Expiry, FloatArray, contract_keys
from workers.simulator.contracts import Contracts
from workers.simulator.market import Board, Places, Underlying

NEAR, FAR = Expiry(date(2026, 11, 20)), Expiry(date(2026, 11, 23))


def contracts(symbol: str = "SPY", strikes: int = 6) -> Contracts:
    """Calls and puts from 100 on, the same of two expiries."""
    levels = 100.0 + np.arange(strikes)
    keys = contract_keys(strikes=levels[:, None], puts=np.array([False, True])).ravel()
    return Contracts.of(symbol, {FAR: keys, NEAR: keys})


class RandomDay:
    """Boards that are a function of a seed and the time [s]; half of the numbers stay."""

    def __init__(self, seed: int, *, strikes: int = 6, listed_late: int = 0) -> None:
        """Draw the day.

        :param listed_late: how many contracts are listed from second 5 on only.
        """
        self.contracts = contracts(strikes=strikes)
        self.previous_closes = np.full(self.contracts.size, np.nan)
        self._seed, self._late = seed, listed_late

    def board(self, at_us: int) -> Board:
        """Whatever the seed says."""
        size = self.contracts.size
        rows = np.zeros(size, QUOTE)
        rows["key"], rows["time"], rows["seq"] = self.contracts.keys, at_us, -1
        for number, name in enumerate(("bid", "ask", "last")):
            values = self._drawn(at_us, number, size) / 100.0
            rows[name] = np.where(values < 0.02, np.nan, values)
        for number, name in enumerate(("bid_size", "ask_size", "volume", "open_interest")):
            rows[name] = self._drawn(at_us, 10 + number, size) - 1
        if at_us < 5:
            rows["flags"][size - self._late :] = FLAG_WITHDRAWN
        spot = 100.0 + float(self._drawn(at_us, 20, 1)[0]) / 100.0
        nothing = float("nan")
        return Board(
            Underlying(at_us, spot, nothing, nothing, spot, spot, spot, nothing, nothing, -1), rows
        )

    def instants(self, until_us: int) -> list[int]:
        """The whole past."""
        return list(range(until_us + 1))

    def analytics(self, at_us: int, places: Places, premiums: FloatArray) -> dict[str, FloatArray]:
        """A delta for every other contract."""
        del at_us
        return {"Delta": np.where(places % 2 == 0, 0.5 + 0.0 * premiums, np.nan)}

    def _drawn(self, at_us: int, number: int, size: int) -> FloatArray:
        """Small whole numbers, each kept for some seconds."""
        held = at_us - at_us % (1 + number % 3)
        random = np.random.Generator(np.random.PCG64([self._seed, number, held]))
        return random.integers(0, 9, size).astype(np.float64)
