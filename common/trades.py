"""Which side began a trade: what the `flow` sign convention is made of.

Owns the rule; must not keep a record of anything. A feed shows the last trade and the day's
volume, not every trade, so growth of the volume is given to the side of the last trade in it.

.. [1] C. Lee, M. Ready, "Inferring trade direction from intraday data", J. Finance 46 (1991).
"""

from __future__ import annotations


def buyer_or_seller(*, price: float, bid: float, ask: float, price_before: float) -> int:
    """The quote rule of [1], and its tick rule for trades at the middle.

    :param price: of the trade [$]. :param bid: before it [$]. :param ask: before it [$].
    :param price_before: of the trade before it [$]. Any of them may be NaN.
    :returns: +1 where a buyer began it, -1 a seller, 0 where neither rule says.
    """
    if not 0.0 < bid < ask:
        return 0
    middle = 0.5 * (bid + ask)
    against = price_before if price == middle else middle
    return (price > against) - (price < against)
