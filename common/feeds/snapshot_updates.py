"""A whole chain as events: the price, every contract, and what is no longer listed.

Owns that translation, which every source of snapshots shares; must not know any format.
"""

from __future__ import annotations

from common.feeds.snapshot import FileSnapshot
from common.models import Expiry, QuoteUpdate, SpotUpdate, Update, key_puts, key_strikes

Contract = tuple[Expiry, float, str]
_NUMBERS = ("bid", "ask", "last", "bid_size", "ask_size", "volume", "open_interest")


def snapshot_updates(
    snapshot: FileSnapshot, held: dict[Contract, None], seq: int
) -> tuple[list[Update], dict[Contract, None]]:
    """The events of one snapshot, and the contracts it lists.

    :param held: contracts that the source listed before; those that are gone are withdrawn.
    :param seq: number of the first event; -1 leaves numbering to the ingestor.
    """
    step = 0 if seq < 0 else 1
    updates: list[Update] = []
    if snapshot.spot > 0.0:
        updates.append(SpotUpdate(snapshot.as_of, snapshot.spot, seq, snapshot.prior_close))
    listed: dict[Contract, None] = {}
    quotes = snapshot.quotes
    columns = zip(*(quotes[name].tolist() for name in _NUMBERS), strict=True)
    contracts = zip(
        snapshot.expiry_index.tolist(),
        key_strikes(quotes["key"]).tolist(),
        key_puts(quotes["key"]).tolist(),
        strict=True,
    )
    for (index, strike, put), values in zip(contracts, columns, strict=True):
        contract: Contract = (snapshot.expiries[index], strike, "P" if put else "C")
        listed[contract] = None
        updates.append(
            QuoteUpdate(
                contract[0],
                strike,
                "P" if put else "C",
                snapshot.as_of,
                **dict(zip(_NUMBERS, values, strict=True)),
                seq=seq + step * len(updates),
            )
        )
    for contract in held:
        if contract not in listed:
            updates.append(
                QuoteUpdate(
                    contract[0],
                    contract[1],
                    "P" if contract[2] == "P" else "C",
                    snapshot.as_of,
                    withdrawn=True,
                    seq=seq + step * len(updates),
                )
            )
    return updates, listed
