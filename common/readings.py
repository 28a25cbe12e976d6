"""Further readings of a chain: gamma near the spot, by sign and by week, the largest strikes, skew.

Owns them; must not price. Every sum runs over the contracts of the board that count.
"""

from __future__ import annotations

import msgspec
import numpy as np

from common.models import FloatArray
from common.quant.exposure import FLOW, SIGNS
from common.tally import Tally

LARGEST = 5
"""Strikes that are named for their net gamma."""


class Readings(msgspec.Struct, frozen=True):
    """NaN where there is no number."""

    local_gex: float
    """Net GEX of strikes within 1 % of the spot [$ per 1 % move]."""
    net_gex_week: float
    """Net GEX of what expires by the end of this week, today included [$ per 1 % move]."""
    net_gex_by_sign: dict[str, float]
    """Net GEX under each convention of the dealers' position [$ per 1 % move]."""
    largest_strikes: tuple[tuple[float, float], ...]
    """(strike [$], net GEX) of the largest |net GEX|, the largest first."""
    skews: dict[str, float]
    """Shard → IV of the 25-delta put less that of the 25-delta call [1]."""


def readings(
    tally: Tally, strikes: FloatArray, net_gex: FloatArray, skews: dict[str, float]
) -> Readings:
    """:param strikes: of the strike table [$]; (k,). :param net_gex: of each [$ per 1 %]; (k,)."""
    return Readings(
        local_gex=tally.total("near_gex", "near"),
        net_gex_week=tally.total("week_gex", "week"),
        net_gex_by_sign=_by_sign(tally),
        largest_strikes=_largest(strikes, net_gex),
        skews=skews,
    )


def _by_sign(tally: Tally) -> dict[str, float]:
    """NaN under a convention that no contract has a sign in."""
    calls, puts = tally.total("call_size", "priced"), tally.total("put_size", "priced")
    found = {name: call * calls + put * puts for name, (call, put) in SIGNS.items()}
    return {**found, FLOW: tally.total("flow_gex", "flow")}


def _largest(strikes: FloatArray, net_gex: FloatArray) -> tuple[tuple[float, float], ...]:
    order = (-np.abs(net_gex)).argsort(kind="stable")[:LARGEST]
    found = zip(strikes[order].tolist(), net_gex[order].tolist(), strict=True)
    return tuple((strike, gex) for strike, gex in found if abs(gex) > 0.0)
