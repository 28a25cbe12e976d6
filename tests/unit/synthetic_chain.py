"""A synthetic expiration with a known smile, for tests of the chain and the levels."""

from __future__ import annotations

from datetime import date

import numpy as np

from common.chain import years_left
from common.clock import SECOND, settlement_us
from common.models import QUOTE, Expiry, contract_keys, key_puts, key_strikes
from common.quant.blackscholes import price
from common.settings import QuantParameters

EXPIRY = Expiry(date(2026, 8, 19))
SPOT, BASIS, RATE = 755.3, 1.00012, 0.04
AT = settlement_us(EXPIRY) - 3 * 3600 * SECOND
PARAMETERS = QuantParameters(rate=RATE)


def smile(strikes, foot=SPOT):
    """Volatility by strike, least at ``foot``."""
    return 0.15 + 30.0 * np.square(np.log(strikes / foot))


def chain(
    *,
    strikes=None,
    expiry=EXPIRY,
    at=AT,
    spot=SPOT,
    basis=BASIS,
    foot=SPOT,
    half_spread=0.002,
):
    """QUOTE rows sorted by key: both sides of every strike, mids exact, no spread of 20 %."""
    strikes = np.arange(745.0, 766.0) if strikes is None else np.asarray(strikes)
    rows = np.zeros(2 * strikes.size, QUOTE)
    rows["key"] = contract_keys(
        strikes=np.repeat(strikes, 2), puts=np.tile([False, True], strikes.size)
    )
    rows["time"], rows["spot"], rows["seq"] = at, spot, np.arange(rows.size)
    years = years_left(times=at, expiry=expiry)
    every = key_strikes(rows["key"])
    values = price(
        forwards=spot * basis,
        strikes=every,
        years=years,
        sigmas=smile(every, foot),
        discounts=np.exp(-RATE * years),
        puts=key_puts(rows["key"]),
    )
    half = np.minimum(half_spread * (1.0 + 0.01 * np.abs(every - spot)), 0.1 * values)
    rows["bid"], rows["ask"] = values - half, values + half
    rows["last"] = np.nan
    rows["open_interest"] = 100 + (rows["key"] % 37) * 10
    rows["volume"] = 10 + rows["key"] % 11
    return rows


def row_of(rows, strike, right):
    """The index of one contract."""
    key = contract_keys(strikes=strike, puts=right == "P")
    return int(np.flatnonzero(rows["key"] == key)[0])
