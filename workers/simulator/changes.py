"""Which contracts are worth an update: what the market shows against what was last said.

Owns what was last said of each contract; must not know how it is written or who listens.
"""

from __future__ import annotations

import numpy as np

from common.models import FLAG_WITHDRAWN, QUOTE, BoolArray, Rows
from workers.simulator.market import Places

TURNS = 20
"""A change of anything but bid and ask is said at every twentieth step, contracts in turn."""
_AT_ONCE = ("bid", "ask")
_IN_TURN = ("last", "bid_size", "ask_size", "volume", "open_interest")


class ChainChanges:
    """Turns the boards of successive instants into the contracts that changed."""

    def __init__(self, size: int) -> None:
        """Start with nothing said of any contract.

        :param size: how many contracts there are.
        """
        self.said: Rows = np.zeros(size, QUOTE)
        """The truth of every reader; contracts not spoken of yet carry FLAG_WITHDRAWN."""
        self.said["flags"] = FLAG_WITHDRAWN
        self._steps = 0

    @property
    def listed(self) -> BoolArray:
        """True for the contracts of which something has been said."""
        return _listed(self.said)

    def since_last(self, rows: Rows, *, everything: bool = False) -> Places:
        """Take a board in; where something is to be said.

        :param rows: the board, layout QUOTE, shape (size,).
        :param everything: leave no difference unsaid, whoever's turn it is.
        """
        self._steps += 1
        said = self.said
        changed = _differ(rows, said, _AT_ONCE)
        turn = slice(None) if everything else slice(self._steps % TURNS, None, TURNS)
        changed[turn] |= _differ(rows[turn], said[turn], _IN_TURN)
        changed |= ~_listed(said)
        (places,) = (changed & _listed(rows)).nonzero()
        said.put(places, rows.take(places))  # whole rows at once, not field by field
        return places


def _listed(rows: Rows) -> BoolArray:
    listed: BoolArray = rows["flags"] & FLAG_WITHDRAWN == 0
    return listed


def _differ(rows: Rows, said: Rows, names: tuple[str, ...]) -> BoolArray:
    """Where one of the fields differs; nothing does not differ from nothing."""
    differ = np.zeros(rows.size, np.bool_)
    for name in names:
        now, before = rows[name], said[name]
        unlike = now != before
        if now.dtype.kind == "f":
            unlike &= (now == now) | (before == before)  # noqa: PLR0124  NaN is not itself
        differ |= unlike
    return differ
