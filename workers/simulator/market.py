"""What a market shows: the protocol of every source of simulated prices.

Owns the shape of a board and of the days that boards come from; must not know HTTP, nor any
source.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Protocol

import numpy as np
import numpy.typing as npt

from common.models import FloatArray, Rows
from workers.simulator.contracts import Contracts
from workers.simulator.timeline import Dates

Places = npt.NDArray[np.intp]
"""Rows of :class:`Contracts`."""


@dataclass(frozen=True, slots=True)
class Underlying:
    """An underlying's prices [$]; NaN for what the source does not know."""

    time: int
    """Of the last price [us, market time]."""
    last: float
    bid: float
    ask: float
    open: float
    high: float
    low: float
    previous_close: float
    vwap: float
    volume: int
    """Cumulative [shares], -1 when unknown."""


@dataclass(frozen=True, slots=True)
class Board:
    """Everything a market shows of one underlying at an instant."""

    underlying: Underlying
    rows: Rows
    """Layout QUOTE in the order of the day's contracts; those that are not listed yet carry
    FLAG_WITHDRAWN."""


class Day(Protocol):
    """One trading date of one underlying."""

    @property
    def contracts(self) -> Contracts:
        """Every contract listed at some time of the date."""

    @property
    def previous_closes(self) -> FloatArray:
        """Each contract's price at the close before [$], NaN when unknown; shape (n,)."""

    def board(self, at_us: int) -> Board:
        """What is shown at an instant."""

    def instants(self, until_us: int) -> list[int]:
        """Instants from the open to ``until_us`` that tell how the date has gone so far."""

    def analytics(self, at_us: int, places: Places, premiums: FloatArray) -> dict[str, FloatArray]:
        """TradeStation's computed fields of some contracts, by their JSON names.

        :param premiums: price of each [$ per share]. :returns: shape of ``places``, NaN where
            there is no value; a field that the source never has is left out.
        """


class Market(Protocol):
    """A source of simulated prices."""

    @property
    def symbols(self) -> frozenset[str]:
        """Plain roots of the underlyings it knows."""

    @property
    def dates(self) -> Dates:
        """The trading dates it has to offer."""

    def day(self, symbol: str, trading_date: date) -> Day:
        """One trading date of one of the ``symbols``."""
