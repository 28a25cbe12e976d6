"""States that go ahead of the committed ones: what levels are computed from meanwhile.

Owns them until they are committed; must not read or write anything, nor hold leases. A commit
goes on from where they are, so that nothing is merged or solved twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from common.bus import keys
from common.bus.codec import Batch, StateBlob
from common.bus.entries import Entry, id_order, sort_out
from common.settings import QuantParameters
from common.state import Advance, advance


class Ahead(NamedTuple):
    """What has come of one shard since its state was committed."""

    base: StateBlob
    """The committed state."""
    step: Advance
    """From there on, of the entries that can be read."""
    entries: int
    """How many there were."""
    whole: bool
    """Whether the step is what a commit of them would make."""


class StatesAhead:
    """The states of some streams that go ahead."""

    def __init__(self, parameters: QuantParameters) -> None:
        self._parameters = parameters
        self._found: dict[str, Ahead] = {}

    def clear(self) -> None:
        """Forget all of them."""
        self._found.clear()

    def pop(self, stream: str) -> Ahead | None:
        """Forget that of a stream: what it was."""
        return self._found.pop(stream, None)

    def state(self, stream: str) -> StateBlob | None:
        """The state of a stream that goes ahead, if one does."""
        found = self._found.get(stream)
        return found.step.state if found else None

    def symbols(self) -> set[str]:
        """The symbols of which one does."""
        return {keys.stream_symbol(stream) for stream in self._found}

    def go_on(self, deliveries: Sequence[tuple[StateBlob, str, list[Entry]]]) -> None:
        """Advance by what was delivered: committed state, stream, entries.

        :raises Exception: what advancing raises; then none has been.
        """
        self._found.update(
            {stream: self._further(base, stream, entries) for base, stream, entries in deliveries}
        )

    def _further(self, base: StateBlob, stream: str, entries: list[Entry]) -> Ahead:
        before = self._found.get(stream)
        if before is not None and before.base is not base:
            before = None
        fresh = beyond(before.step.state if before else base, entries)
        found = sort_out(fresh, Batch.decode)
        step = self._advance(before.step.state if before else base, stream, found.whole)
        whole = not found.damaged
        if before is not None:
            both = step.after(before.step)
            whole = whole and before.whole and both is not None
            step = step if both is None else both
        return Ahead(base, step, len(fresh) + (before.entries if before else 0), whole)

    def _advance(self, state: StateBlob, stream: str, whole: list[tuple[str, Batch]]) -> Advance:
        shard = keys.stream_shard(stream)
        return advance(state, shard, whole, self._parameters, solved=True)

    def committed(
        self, ahead: Ahead | None, state: StateBlob, stream: str, fresh: list[Entry]
    ) -> Advance | None:
        """What entries make of the committed state, going on from what has been made of the
        first of them; None where that does not hold or any of them cannot be read.
        """
        if ahead is None or not ahead.whole or ahead.base is not state:
            return None
        rest = beyond(ahead.step.state, fresh)
        if len(fresh) - len(rest) != ahead.entries:
            return None
        if not rest:
            return ahead.step
        found = sort_out(rest, Batch.decode)
        if found.damaged:
            return None
        return self._advance(ahead.step.state, stream, found.whole).after(ahead.step)


def beyond(state: StateBlob, entries: list[Entry]) -> list[Entry]:
    """The entries that are not part of the state yet."""
    last = id_order(state.last_id)
    return [entry for entry in entries if id_order(entry.id) > last]
