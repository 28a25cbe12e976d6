"""When the first pass over the whole chain is complete.

Owns that judgement; the chain streams send no end marker that could be relied on. Complete is
a stream that has sent every listed contract, that says so, or that has sent nothing new for a
while after its first rows; and everything once the patience is over.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from common.feeds.tradestation.symbols import Contract

IDLE_SECONDS = 1.5
PATIENCE_SECONDS = 15.0


@dataclass(slots=True)
class _Chain:
    expected: int
    seen: set[Contract] = field(default_factory=set)
    newest: float = 0.0
    """When the last new contract came [s, monotonic]."""
    ended: bool = False


class FirstPass:
    """Watches the chain streams of one session until each has shown its chain."""

    def __init__(self, expected: dict[str, int], *, began: float) -> None:
        """Begin to wait.

        :param expected: stream → contracts listed, 0 where that is not known.
        :param began: monotonic time [s].
        """
        self._chains = {name: _Chain(count) for name, count in expected.items()}
        self._began = began

    def saw(self, source: str, contract: Contract, now: float) -> None:
        """A row of a contract came at ``now`` [s, monotonic]."""
        chain = self._chains.get(source)
        if chain is not None and contract not in chain.seen:
            chain.seen.add(contract)
            chain.newest = now

    def ended(self, source: str) -> None:
        """The stream itself said that its snapshot is complete."""
        if source in self._chains:
            self._chains[source].ended = True

    def is_complete(self, now: float, *, has_spot: bool) -> bool:
        """Whether levels may begin."""
        if now - self._began >= PATIENCE_SECONDS:
            return has_spot and any(chain.seen for chain in self._chains.values())
        return has_spot and all(self._is_done(chain, now) for chain in self._chains.values())

    def missing(self) -> dict[str, int]:
        """Stream → listed contracts that have not been seen."""
        gaps = {name: c.expected - len(c.seen) for name, c in self._chains.items()}
        return {name: gap for name, gap in gaps.items() if gap > 0}

    def _is_done(self, chain: _Chain, now: float) -> bool:
        if chain.ended or (chain.expected and len(chain.seen) >= chain.expected):
            return True
        return bool(chain.seen) and now - chain.newest >= IDLE_SECONDS
