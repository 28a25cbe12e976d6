"""Which side began a trade: what the `flow` sign convention is made of.

Owns the rule; must not keep a record of anything. A feed shows the last trade and the day's
volume, not every trade, so growth of the volume is given to the side of the last trade in it.

.. [1] C. Lee, M. Ready, "Inferring trade direction from intraday data", J. Finance 46 (1991).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def buyer_or_seller(
    *,
    price: npt.ArrayLike,
    bid: npt.ArrayLike,
    ask: npt.ArrayLike,
    price_before: npt.ArrayLike,
) -> npt.NDArray[np.int64]:
    """The quote rule of [1], and its tick rule for trades at the middle.

    :param price: of each trade [$]; (n,). :param bid: before it [$]. :param ask: before it [$].
    :param price_before: of the trade before it [$]. Any of them may be NaN.
    :returns: +1 where a buyer began it, -1 a seller, 0 where neither rule says; (n,).
    """
    bid, ask = np.asarray(bid, dtype=np.float64), np.asarray(ask, dtype=np.float64)
    middle = 0.5 * (bid + ask)
    against = np.where(price == middle, price_before, middle)
    side = np.greater(price, against).astype(np.int64) - np.less(price, against)
    return np.where((bid > 0.0) & (bid < ask), side, 0)
