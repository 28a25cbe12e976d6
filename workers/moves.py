"""What a round of entries makes of a shard, and how that is committed.

Owns the arguments of the commit script; must not hold leases nor talk to anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from common.bus import keys
from common.bus.codec import ResultHeader
from common.bus.entries import Burial
from common.bus.patches import patches
from common.state import Advance


class Move(msgspec.Struct, frozen=True):
    """A shard's next state, before it is committed."""

    stream: str
    step: Advance
    blob: bytes
    """The state's encoding."""
    base: bytes
    """That of the state it follows, where Redis is known to hold it; else nothing."""
    ids: list[str]
    """The entries that were delivered for it."""
    looked_ahead: int
    """How many entries that were not delivered follow those."""
    burials: Sequence[Burial]
    """Those of all these that cannot be read."""
    counts: dict[str, int]
    after: str
    """Watermark of the state that it follows."""
    news: bool
    """Whether no level has been asked for of what it ends with."""

    @property
    def taken(self) -> int:
        """How many entries it deals with, the first of a delivery."""
        return len(self.ids) + self.looked_ahead

    def commit(self, group: str, epoch: int) -> tuple[list[Any], list[Any]]:
        """Keys and arguments of :data:`common.bus.scripts.COMMIT`.

        :param epoch: of the lease that the shard is held with.
        """
        stream, state, rows = self.stream, self.step.state, self.step.results
        symbol, shard = keys.stream_symbol(stream), keys.stream_shard(stream)
        header = ResultHeader(
            session=state.session,
            epoch=state.epoch,
            shard=shard,
            rows=len(rows),
            basis=state.basis,
            forward_source=state.forward_source,
            last_id=state.last_id,
        )
        changes = patches(self.base, self.blob) or []
        names = [
            keys.lease(symbol, shard),
            keys.chain(symbol, shard),
            keys.watermark(symbol),
            keys.greeks(symbol),
            stream,
            keys.counters(symbol),
            keys.STREAMS,
            keys.dead(group),
        ]
        return names, [
            epoch,
            group,
            shard,
            state.last_id,
            len(self.blob) if changes else self.blob,
            msgspec.msgpack.encode(header),
            rows.tobytes(),
            self.after,
            self.looked_ahead,
            len(changes),
            *(part for patch in changes for part in patch),
            len(self.counts),
            *(part for item in self.counts.items() for part in item),
            len(self.burials),
            *(part for each in self.burials for part in (each.entry.id, each.reason, each.trace)),
            *self.ids,
        ]
