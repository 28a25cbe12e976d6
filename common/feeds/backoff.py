"""Waiting before another try: full jitter, doubling up to a minute.

Owns that, for every source.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


@dataclass(slots=True)
class Backoff:
    """How long to wait before the next try; health starts it over."""

    attempt: int = 0

    def next(self) -> float:
        """A pause [s], from none to a ceiling that doubles."""
        ceiling = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self.attempt, 16))
        self.attempt += 1
        return random.uniform(0.0, ceiling)  # noqa: S311  jitter, no secret

    def reset(self) -> None:
        """The last try went well."""
        self.attempt = 0
