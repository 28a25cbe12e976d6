"""The price of the underlying that a chain's own quotes imply.

Owns that number, which stands in for a price of another time than the quotes; must not decide
when it is wanted.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from common.board import ShardState
from common.chain import years_left
from common.clock import settlement_us
from common.quant.forward import carry_basis
from common.settings import QuantParameters


def parity_spot(*, shards: Iterable[ShardState], parameters: QuantParameters) -> float:
    """The forward of the first expiration that has one by parity, brought back to its quotes [$].

    A dividend between the quotes and that expiration is taken for part of the price.

    :returns: S [$]; NaN when no expiration has a forward by parity.
    """
    for shard in sorted(shards, key=lambda shard: settlement_us(shard.expiry)):
        if shard.solution.forward_source == "parity":
            newest = int(shard.quotes["time"].max())
            carry = carry_basis(
                rates=parameters.rate,
                yields=parameters.dividend_yield,
                years=years_left(times=newest, expiry=shard.expiry),
            )
            return shard.solution.basis * float(np.median(shard.quotes["spot"])) / float(carry)
    return float("nan")
