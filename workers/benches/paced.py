"""A simulator that sends quotes at a set pace, when each is due, and when the wire gets it.

Owns the pace and the truth about it; must not measure anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt

from common.errors import ServiceError
from common.feeds.tradestation.symbols import parse_option_symbol
from common.models import FloatArray, contract_keys
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

    def due_at(self, numbers: IntArray) -> IntArray:
        """When the market had to show each quote, all of this phase [us, wall time].

        It shows what is due at its next step; the simulator may be late with it.
        """
        step = self.quotes_per_second * STEP_SECONDS
        steps = np.ceil((numbers + 1 - self.before) / step - 1e-9)
        return self.from_wall_us + np.rint(steps * STEP_SECONDS * 1e6).astype(np.int64)


class Wire:
    """When a simulator handed over what it told, by its own notes."""

    def __init__(self, notes: Mapping[str, list[tuple[int, int]]]) -> None:
        """Put them in order.

        :param notes: shard, or "" for quotes by symbol → when the newest board told was due, and
            when its lines were about to be written [us, wall time].
        """
        self._firsts = {shard: _firsts(each) for shard, each in notes.items()}

    def sent_at(self, shard: str, due: IntArray) -> FloatArray:
        """When quotes of a shard that were due then went out [us, wall time]; infinite for never.

        That is when the first board not older was told, by its chain or by a stream of quotes,
        whichever was first: what comes on both is not younger than either.
        """
        found = np.full(due.shape, np.inf)
        for boards, firsts in (self._firsts[each] for each in {shard, ""} & self._firsts.keys()):
            found = np.minimum(found, firsts[np.searchsorted(boards, due)])
        late: FloatArray = np.maximum(found, due)
        return late


def _firsts(notes: list[tuple[int, int]]) -> tuple[IntArray, FloatArray]:
    """When boards were due, ascending, and when each or a later one was first told."""
    boards, told = np.array(sorted(notes), np.int64).reshape(-1, 2).T
    return boards, np.append(np.minimum.accumulate(told[::-1])[::-1], np.inf)


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

    def wire(self, phase: Phase) -> Wire:
        """When the quotes of a phase went out, as far as they have.

        :raises ServiceError: when the simulator no longer knows all of it.
        """
        reply = self._client.get("/_simulator/wire", params={"from_wall_us": phase.from_wall_us})
        said: dict[str, Any] = reply.raise_for_status().json()
        if said["dropped_until_wall_us"] > phase.from_wall_us:
            raise ServiceError("the simulator's notes do not go back to the first quote")
        return Wire(said["notes"])

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
