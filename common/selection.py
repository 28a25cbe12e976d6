"""Which part of a board is followed: rules for expirations and for strikes, and their spelling.

Owns both languages and the choice that a rule makes; must not know where a board comes from.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import NormalDist
from typing import Literal

from common.clock import is_trading_day, previous_trading_day, session_hours, settlement_us
from common.models import Expiry

_MOST_EXPIRATIONS = 100
_MOST_STRIKES = 100_000
_SKEW = 1.25
"""Wings are priced with more volatility than the money: a range by delta is made so much wider."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One expiration on offer."""

    expiry: Expiry
    is_monthly: bool


@dataclass(frozen=True, slots=True)
class ExpirationRule:
    """Expirations to follow, the most important first."""

    terms: tuple[tuple[Literal["0dte", "nearest", "monthlies"], int], ...]
    """What is wanted, and how many of it."""

    @classmethod
    def parse(cls, text: str) -> ExpirationRule:
        """The rule of a text such as ``5``, ``0dte`` or ``0dte,4,2 monthlies``.

        :raises ValueError: when it is none.
        """
        return cls(tuple(_term(part.strip().lower()) for part in text.split(",")))

    def choose(self, listed: Sequence[Listed], day: date) -> list[Listed]:
        """What the rule wants on a trading date, each once, in the order of its terms.

        What has settled before the session's open (AM style, expiring that day) is never wanted.
        """
        opened = session_hours(day)[0]
        ahead = sorted(
            (each for each in listed if settlement_us(each.expiry) > opened),
            key=lambda each: each.expiry,
        )
        chosen: dict[Listed, None] = {}
        for kind, count in self.terms:
            found = ahead
            if kind == "0dte":
                found = [each for each in ahead if each.expiry.expiration == day]
            elif kind == "monthlies":
                found = [each for each in ahead if each.is_monthly]
            chosen.update(dict.fromkeys(found[:count]))
        return list(chosen)


@dataclass(frozen=True, slots=True)
class Window:
    """A range of strikes around a centre [$]."""

    centre: float
    low: float
    high: float

    def union(self, other: Window) -> Window:
        """This window, no narrower than another."""
        return Window(self.centre, min(self.low, other.low), max(self.high, other.high))

    def drift(self, spot: float) -> float:
        """How far spot [$] has come from the centre towards the edge: 0 to 1, or beyond."""
        edge = self.high if spot > self.centre else self.low
        moved, reach = abs(spot - self.centre), abs(edge - self.centre)
        if not moved:
            return 0.0
        return moved / reach if reach else math.inf


@dataclass(frozen=True, slots=True)
class StrikeRule:
    """How much of each expiration is followed."""

    kind: Literal["count", "share", "delta"]
    value: float
    """Strikes either side, a share of spot, or the smallest |delta|."""

    @classmethod
    def parse(cls, text: str) -> StrikeRule:
        """The rule of ``1000`` (strikes either side), ``15%`` (of spot) or ``delta 0.02``.

        :raises ValueError: when it is none.
        """
        plain = text.strip().lower()
        if match := re.fullmatch(r"(\d*\.?\d+) ?%", plain):
            share = float(match[1]) / 100.0
            if 0.0 < share <= 1.0:
                return cls("share", share)
        elif match := re.fullmatch(r"delta ?(\d*\.?\d+)", plain):
            delta = float(match[1])
            if 0.0 < delta < 0.5:
                return cls("delta", delta)
        elif re.fullmatch(r"\d{1,6}", plain) and 1 <= int(plain) <= _MOST_STRIKES:
            return cls("count", float(int(plain)))
        raise ValueError(
            f"{text!r} is no rule for strikes: a number either side of spot, a share of spot "
            "such as 15%, or the smallest delta such as delta 0.02 (below 0.5)"
        )

    def window(self, strikes: Sequence[float], spot: float, spread: float) -> Window | None:
        """The strikes wanted of an expiration; None for all of them.

        :param strikes: those that are listed, ascending [$]. :param spot: [$].
        :param spread: standard deviation of the log price to the expiry, NaN when unknown.
        """
        if self.kind == "count":
            wanted = int(self.value)
            below = [strike for strike in strikes if strike <= spot][-wanted:]
            above = [strike for strike in strikes if strike > spot][:wanted]
            if len(below) < wanted and len(above) < wanted:
                return None
            return Window(spot, min(below, default=spot), max(above, default=spot))
        if self.kind == "share":
            return Window(spot, spot * (1.0 - self.value), spot * (1.0 + self.value))
        if not spread > 0.0:
            return None
        reach = _SKEW * spread * NormalDist().inv_cdf(1.0 - self.value)
        drift = 0.5 * spread * spread
        return Window(spot, spot * math.exp(drift - reach), spot * math.exp(drift + reach))


def spread_of_straddle(straddle: float, spot: float) -> float:
    """Standard deviation of the log price that an at-the-money straddle's price [$] implies.

    Brenner and Subrahmanyam (1988): straddle ≈ spot · spread · √(2/π).
    """
    return straddle / spot * math.sqrt(0.5 * math.pi)


def strikes_either_side(strikes: Sequence[float], window: Window) -> int:
    """How many listed strikes lie between a window's centre and its farther edge."""
    below = sum(window.low <= strike <= window.centre for strike in strikes)
    above = sum(window.centre < strike <= window.high for strike in strikes)
    return max(below, above, 1)


def is_third_friday(day: date) -> bool:
    """Whether the standard monthly options expire: a third Friday, or the day before a holiday."""
    third = day.replace(day=15)
    third += timedelta(days=(4 - third.weekday()) % 7)
    return day == (third if is_trading_day(third) else previous_trading_day(third))


def nearest(strikes: Sequence[float], spot: float) -> float:
    """The listed strike nearest to spot [$]."""
    return min(strikes, key=lambda strike: (abs(strike - spot), strike))


def _term(part: str) -> tuple[Literal["0dte", "nearest", "monthlies"], int]:
    if part == "0dte":
        return "0dte", _MOST_EXPIRATIONS
    if match := re.fullmatch(r"(?:(\d{1,3}) ?)?monthl(?:y|ies)", part):
        count = int(match[1] or _MOST_EXPIRATIONS)
        if 1 <= count <= _MOST_EXPIRATIONS:
            return "monthlies", count
    if re.fullmatch(r"\d{1,3}", part) and 1 <= int(part) <= _MOST_EXPIRATIONS:
        return "nearest", int(part)
    raise ValueError(
        f"{part!r} is no rule for expirations: 0dte, a number of the nearest ones (1 to 100), "
        "monthlies or 2 monthlies; several with commas, the most important first"
    )
