"""What a stream asks for.

Owns the addresses of streams; must not open one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Source:
    """One stream: what it is called and what it asks for."""

    name: str
    """E.g. ``quotes SPY`` or ``chain SPY 2026-11-24``."""
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    symbols: tuple[str, ...] = ()
    """Of a stream of quotes: what it quotes, the one that matters most first."""

    @classmethod
    def of_quotes(cls, name: str, symbols: tuple[str, ...]) -> Source:
        """The stream of some symbols' quotes."""
        listed = ",".join(quote(symbol, safe="") for symbol in symbols)
        return cls(name, f"/marketdata/stream/quotes/{listed}", symbols=symbols)

    def without(self, symbol: str) -> Source:
        """This source less a symbol that the host refuses; the first one always stays."""
        kept = [each for each in self.symbols[1:] if each.upper() != symbol.upper()]
        if len(kept) + 1 >= len(self.symbols):
            return self
        return Source.of_quotes(self.name, (self.symbols[0], *kept))

    def halves(self) -> tuple[Source, Source] | None:
        """Two sources of half the symbols each; None when there are too few."""
        middle = (len(self.symbols) + 1) // 2
        if len(self.symbols) < 2:
            return None
        return (
            Source.of_quotes(self.name, self.symbols[:middle]),
            Source.of_quotes(self.name, self.symbols[middle:]),
        )
