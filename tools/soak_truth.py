"""What the simulator holds to be true, what the pipeline holds, and where they differ.

Owns that comparison; must not talk to anyone. Compared are every contract's bid, ask, last,
sizes, volume and open interest, whether it is there or withdrawn, and each expiration's price of
the underlying.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common.bus.codec import StateBlob
from common.models import FLAG_WITHDRAWN, JsonDict, key_puts, key_strikes

COLUMNS = ("bid", "ask", "last", "bid_size", "ask_size", "volume", "open_interest")
_SPOT_TOLERANCE = 5e-5
"""The wire has four decimals [$]."""
Contract = tuple[str, float, str]
"""Shard, strike [$], right."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """One number that is not what it should be."""

    what: str
    """E.g. ``2026-11-24 670 C volume``."""
    held: Any
    true: Any

    def as_json(self) -> JsonDict:
        """The same for people."""
        return {"what": self.what, "held": self.held, "true": self.true}


@dataclass(frozen=True, slots=True)
class Board:
    """Contracts and prices of the underlying at one moment, wherever they stand."""

    trading_date: str
    spots: Mapping[str, float | None]
    """Shard → the underlying [$]."""
    contracts: dict[Contract, tuple[Any, ...]]
    """Contract → :data:`COLUMNS`, None for what is not known; withdrawn ones are left out."""

    @classmethod
    def of_truth(cls, told: JsonDict, expirations: int) -> Board:
        """What a simulator says, of the nearest expirations that have not passed."""
        day = told["trading_date"]
        days = sorted({row["expiration"] for row in told["contracts"]} - {""})
        followed = [each for each in days if each >= day][:expirations]
        return cls(
            day,
            dict.fromkeys(followed, told["spot"]),
            {
                (row["expiration"], row["strike"], row["right"]): tuple(
                    row[name] for name in COLUMNS
                )
                for row in told["contracts"]
                if row["expiration"] in followed
            },
        )

    @classmethod
    def of_states(cls, trading_date: str, states: Mapping[str, StateBlob]) -> Board:
        """What the workers hold."""
        contracts: dict[Contract, tuple[Any, ...]] = {}
        for shard, state in states.items():
            rows = state.quote_rows()
            rows = rows[rows["flags"] & FLAG_WITHDRAWN == 0]
            strikes, puts = key_strikes(rows["key"]).tolist(), key_puts(rows["key"]).tolist()
            values = zip(*(rows[name].tolist() for name in COLUMNS), strict=True)
            for strike, put, row in zip(strikes, puts, values, strict=True):
                known = tuple(v if v >= 0 else None for v in row)  # NaN is not known, too
                contracts[shard, strike, "P" if put else "C"] = known
        spots = {shard: state.spot for shard, state in states.items()}
        return cls(trading_date, spots, contracts)

    def wrong(self, true: Board) -> list[Wrong]:
        """Where this board is not the true one."""
        found = []
        if self.trading_date != true.trading_date:
            found.append(Wrong("trading date", self.trading_date, true.trading_date))
        for shard in sorted(self.spots.keys() | true.spots.keys()):
            held, said = self.spots.get(shard), true.spots.get(shard)
            if held is None or said is None or not abs(held - said) < _SPOT_TOLERANCE:
                found.append(Wrong(f"{shard} spot", held, said))
        for contract in sorted(self.contracts.keys() | true.contracts.keys()):
            mine, theirs = self.contracts.get(contract), true.contracts.get(contract)
            if mine != theirs:
                found += _fields(contract, mine, theirs)
        return found


def _fields(
    contract: Contract, mine: tuple[Any, ...] | None, theirs: tuple[Any, ...] | None
) -> list[Wrong]:
    name = f"{contract[0]} {contract[1]:g} {contract[2]}"
    if mine is None or theirs is None:
        there = ("listed", "not there") if theirs is None else ("not there", "listed")
        return [Wrong(name, *there)]
    pairs = zip(COLUMNS, mine, theirs, strict=True)
    return [Wrong(f"{name} {column}", held, true) for column, held, true in pairs if held != true]
