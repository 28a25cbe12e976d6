"""A simulator that sends quotes at a set pace, and when it sends each of them.

Owns the pace and the truth about it; must not measure anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt

from common.feeds.tradestation.symbols import parse_option_symbol
from common.models import contract_keys
from workers.benches.servers import SYMBOL
from workers.simulator.paced_market import change_order

IntArray = npt.NDArray[np.int64]
STEP_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Phase:
    """Some time at one pace, from the simulator's word."""

    from_wall_us: int
    before: int
    """Quotes until then."""
    quotes_per_second: float

    def sent_at(self, numbers: IntArray) -> IntArray:
        """When the market showed each quote, all of this phase [us, wall time].

        It shows what is due at its next step; how late the simulator is with it counts as ours.
        """
        step = self.quotes_per_second * STEP_SECONDS
        steps = np.ceil((numbers + 1 - self.before) / step - 1e-9)
        return self.from_wall_us + np.rint(steps * STEP_SECONDS * 1e6).astype(np.int64)


class PacedSource:
    """A running simulator whose market has a pace."""

    def __init__(self, client: httpx.Client) -> None:
        """Ask it what it quotes.

        :param client: with the simulator's address.
        """
        self._client = client
        self._contracts = self._truth()["contracts"]
        size = len(self._contracts)
        self._turns: dict[str, dict[int, int]] = {}
        for turn, place in enumerate(change_order(size).tolist()):
            contract = parse_option_symbol(self._contracts[place]["symbol"])
            assert contract is not None  # noqa: S101  the simulator's own spelling
            strikes, puts = np.array([contract.strike]), np.array([contract.right == "P"])
            key = int(contract_keys(strikes=strikes, puts=puts)[0])
            self._turns.setdefault(contract.expiry.shard, {})[key] = turn

    @property
    def size(self) -> int:
        """How many contracts it quotes, in turn."""
        return len(self._contracts)

    def go_on(self, quotes_per_second: float) -> Phase:
        """Go on at another pace."""
        reply = self._client.post(
            "/_simulator/pace", params={"quotes_per_second": quotes_per_second}
        )
        said: dict[str, Any] = reply.raise_for_status().json()
        return Phase(said["from_wall_us"], said["before"], quotes_per_second)

    def numbers(self, shard: str, contract: IntArray, volumes: IntArray) -> IntArray:
        """Which quote of all each is, by its contract's key and volume; from 0."""
        turns = self._turns[shard]
        at = np.array([turns[key] for key in contract.tolist()], np.int64)
        return (volumes - 1) * self.size + at

    def traded(self) -> int:
        """Volume of all contracts together: how many quotes there have been."""
        return sum(contract["volume"] for contract in self._truth()["contracts"])

    def _truth(self) -> dict[str, Any]:
        found: dict[str, Any] = (
            self._client.get(f"/_simulator/truth/{SYMBOL}").raise_for_status().json()
        )
        return found
