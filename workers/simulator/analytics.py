"""The computed fields of TradeStation's chain rows, from true volatilities.

Owns their formulas and their names on the wire; must not choose a volatility.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from common.models import BoolArray, FloatArray
from common.quant import blackscholes

VOL_POINT = 0.01
"""A volatility point in units of sigma: the unit of ``Vega``."""


def computed_fields(
    *,
    spot: float,
    forwards: FloatArray,
    strikes: FloatArray,
    years: FloatArray,
    sigmas: FloatArray,
    historical_sigma: float,
    rate: float,
    puts: BoolArray,
    premiums: FloatArray,
) -> dict[str, FloatArray]:
    """Greeks, model prices and probabilities as chain rows carry them.

    Delta per $1, gamma per $1, theta per calendar day, vega per volatility point, rho per 1 %
    point; probabilities between 0 and 1 in the pricing measure, plain from the historical and
    ``_IV`` from the implied volatility. The standard deviation is sigma times the root of T.

    :param spot: [$]. :param forwards: [$]. :param strikes: [$]. :param years: to settlement.
    :param sigmas: true volatility [per square root of a year].
    :param historical_sigma: [per square root of a year].
    :param rate: continuously compounded [per year]. :param puts: true for a put.
    :param premiums: price paid in the break-even probability [$ per share].
    :returns: JSON name → array of shape (n,), NaN where there is no value.
    """
    greeks = blackscholes.greeks(
        spots=spot,
        forwards=forwards,
        strikes=strikes,
        years=years,
        sigmas=sigmas,
        rates=rate,
        puts=puts,
    )
    fields = {
        "Delta": greeks.delta,
        "Theta": greeks.theta,
        "Gamma": greeks.gamma,
        "Rho": greeks.rho,
        "Vega": greeks.vega * VOL_POINT,
        "ImpliedVolatility": np.where(years > 0.0, sigmas, np.nan),
    }
    even = np.where(puts, strikes - premiums, strikes + premiums)
    for suffix, vols in (("", np.full(years.shape, historical_sigma)), ("_IV", sigmas)):
        fields[f"TheoreticalValue{suffix}"] = blackscholes.price(
            forwards=forwards,
            strikes=strikes,
            years=years,
            sigmas=vols,
            discounts=np.exp(-rate * years),
            puts=puts,
        )
        in_the_money = _probability(forwards, strikes, years, vols, puts)
        fields[f"ProbabilityITM{suffix}"] = in_the_money
        fields[f"ProbabilityOTM{suffix}"] = 1.0 - in_the_money
        fields[f"ProbabilityBE{suffix}"] = _probability(forwards, even, years, vols, puts)
    with np.errstate(invalid="ignore"):
        fields["StandardDeviation"] = np.where(years > 0.0, sigmas * np.sqrt(years), np.nan)
    return fields


def _probability(
    forwards: FloatArray, levels: FloatArray, years: FloatArray, sigmas: FloatArray, puts: BoolArray
) -> FloatArray:
    """Probability of ending above a level, of ending below it for puts: N(phi d2)."""
    with np.errstate(all="ignore"):
        total = sigmas * np.sqrt(years)
        d2 = np.log(forwards / levels) / total - 0.5 * total
    found: FloatArray = np.where(years > 0.0, ndtr(np.where(puts, -d2, d2)), np.nan)
    return found
