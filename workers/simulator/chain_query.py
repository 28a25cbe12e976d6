"""The parameters of an option chain request, and the contracts that they ask for.

Owns their spelling, defaults and refusals; must not know HTTP beyond a lookup of parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np

from common.models import BoolArray, Expiry, FloatArray
from workers.simulator.contracts import Contracts
from workers.simulator.failures import ApiError

Lookup = Callable[[str], str | None]
"""The text of a parameter, None where it is not given."""
DATE_FORMATS = ("%m-%d-%Y", "%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ")
_DEFAULT_PROXIMITY = 5


@dataclass(frozen=True, slots=True)
class ChainQuery:
    """One chain stream's wishes."""

    expiry: Expiry
    proximity: int = _DEFAULT_PROXIMITY
    """Strikes above and below the centre."""
    interval: int = 1
    centre: float | None = None
    """[$]; the underlying's last price unless given."""
    greeks: bool = True
    range: str = "All"
    right: str = "All"

    @classmethod
    def parse(cls, parameter: Lookup, expiries: list[Expiry]) -> ChainQuery:
        """Read the parameters of a request.

        :param expiries: those of the chain's root, ascending.
        :raises ApiError: when one cannot be used.
        """
        check_spread_type(parameter)
        centre = _positive(parameter, "priceCenter")
        return cls(
            expiry=asked_expiry(parameter, expiries),
            proximity=_whole(parameter, "strikeProximity", _DEFAULT_PROXIMITY),
            interval=_whole(parameter, "strikeInterval", 1),
            centre=centre,
            greeks=asked_greeks(parameter),
            range=_choice(parameter, "strikeRange", ("All", "ITM", "OTM")),
            right=_choice(parameter, "optionType", ("All", "Call", "Put")),
        )

    def window(self, contracts: Contracts, listed: BoolArray, spot: float) -> BoolArray:
        """The contracts asked for, fixed from now on; shape (n,).

        Where the window reaches past the last listed strike, strikes listed later belong to it.

        :param listed: true for the contracts that are on the board.
        :param spot: the underlying's last price [$].
        """
        window = contracts.of_expiry(self.expiry)
        centre = spot if self.centre is None else self.centre
        shown = np.unique(contracts.strikes[window & listed])
        below = shown[shown <= centre][::-1][:: self.interval]
        above = shown[shown > centre][self.interval - 1 :: self.interval]
        kept = np.concatenate((below[: self.proximity], above[: self.proximity]))
        inside = np.isin(contracts.strikes, kept)
        if below.size < self.proximity:
            inside |= contracts.strikes < _edge(below, centre)
        if above.size < self.proximity:
            inside |= contracts.strikes > _edge(above, centre)
        window &= inside
        if self.right != "All":
            window &= contracts.puts == (self.right == "Put")
        if self.range != "All":
            moneyness = np.where(contracts.puts, contracts.strikes - spot, spot - contracts.strikes)
            window &= (moneyness > 0.0) == (self.range == "ITM")
        return window


def strikes_of(
    contracts: Contracts, expiry: Expiry, listed: BoolArray, interval: int
) -> FloatArray:
    """The listed strikes of an expiry, every ``interval``-th of them [$], ascending."""
    strikes: FloatArray = np.unique(contracts.strikes[contracts.of_expiry(expiry) & listed])
    return strikes[::interval]


def asked_interval(parameter: Lookup) -> int:
    """``strikeInterval``."""
    return _whole(parameter, "strikeInterval", 1)


def asked_greeks(parameter: Lookup) -> bool:
    """``enableGreeks``."""
    return _choice(parameter, "enableGreeks", ("true", "false")) == "true"


def asked_strike(parameter: Lookup) -> float | None:
    """``strikePrice`` [$]."""
    return _positive(parameter, "strikePrice")


def asked_expiry(parameter: Lookup, expiries: list[Expiry]) -> Expiry:
    """``expiration`` in any of its formats; the next one unless given.

    :raises ApiError: when it is no date, or nothing expires then.
    """
    if not expiries:
        raise ApiError(404, "No options are listed under this symbol")
    text = parameter("expiration")
    if text is None:
        return expiries[0]
    day = parse_date(text)
    if day is None:
        raise ApiError(400, f"expiration: {text!r} is no date")
    for expiry in expiries:
        if expiry.expiration == day:
            return expiry
    raise ApiError(400, f"expiration: nothing expires on {day}")


def parse_date(text: str) -> date | None:
    """The date of ``11-23-2026``, ``2026-11-23`` or ``2026-11-23T00:00:00Z``."""
    for layout in DATE_FORMATS:
        try:
            return datetime.strptime(text.strip(), layout).date()  # noqa: DTZ007  a calendar date
        except ValueError:
            continue
    return None


def check_spread_type(parameter: Lookup) -> None:
    """Refuse spreads of several legs.

    :raises ApiError: when ``spreadType`` is not Single.
    """
    spread = parameter("spreadType") or "Single"
    if spread.lower() != "single":
        raise ApiError(501, f"spreadType {spread}: only Single is simulated")


def _edge(strikes: FloatArray, centre: float) -> float:
    """The last strike kept in a direction, or the centre where none is."""
    return float(strikes[-1]) if strikes.size else centre


def _whole(parameter: Lookup, name: str, default: int) -> int:
    text = parameter(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ApiError(400, f"{name}: {text!r} is no whole number above 0")
    return int(text)


def _positive(parameter: Lookup, name: str) -> float | None:
    text = parameter(name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise ApiError(400, f"{name}: {text!r} is no number above 0")
    return value


def _choice(parameter: Lookup, name: str, choices: tuple[str, ...]) -> str:
    text = parameter(name)
    if text is None:
        return choices[0]
    for choice in choices:
        if choice.lower() == text.lower():
            return choice
    raise ApiError(400, f"{name}: {text!r} is none of {', '.join(choices)}")
