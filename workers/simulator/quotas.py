"""How often a client may ask, and how many streams it may hold open.

Owns the published quotas and the headers that tell of them; reads no clock of its own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

Headers = dict[str, str]


@dataclass(frozen=True, slots=True)
class Quota:
    """So many requests in a period."""

    limit: int
    period: float
    """[s]"""


OPTION_QUOTA = Quota(90, 60.0)
QUOTE_QUOTA = Quota(500, 300.0)
QUOTAS = {
    "option-expirations": OPTION_QUOTA,
    "option-strikes": OPTION_QUOTA,
    "option-spread-types": OPTION_QUOTA,
    "quotes": QUOTE_QUOTA,
    "quote-change-stream": QUOTE_QUOTA,
}
"""Resource → its quota; each counts by itself."""
CONCURRENCY = {"option-chain-stream": 10, "option-quote-stream": 10}
"""Resource → how many of its streams may be open at once."""


class RateLimits:
    """Rolling windows that refill gradually, one for each resource."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Start with full quotas.

        :param clock: seconds, of any origin.
        """
        self._clock = clock
        self._left = {name: (float(quota.limit), clock()) for name, quota in QUOTAS.items()}

    def take(self, resource: str) -> bool:
        """Count a request; false when the quota is used up.

        :raises KeyError: when the resource has no quota.
        """
        left, now = self._refilled(resource), self._clock()
        granted = left >= 1.0
        self._left[resource] = (left - granted, now)
        return granted

    def headers(self, resource: str) -> Headers:
        """The headers of a reply."""
        quota, left = QUOTAS[resource], self._refilled(resource)
        missing = quota.limit - left
        return {
            "X-RateLimit-Limit": str(quota.limit),
            "X-RateLimit-Period": f"{quota.period:.0f}",
            "X-RateLimit-Remaining": str(int(left)),
            "X-RateLimit-Reset": str(math.ceil(missing * quota.period / quota.limit)),
            "X-RateLimit-Resource": resource,
        }

    def _refilled(self, resource: str) -> float:
        left, at = self._left[resource]
        quota = QUOTAS[resource]
        earned = (self._clock() - at) * quota.limit / quota.period
        return min(left + earned, float(quota.limit))


class StreamLimits:
    """How many streams of each resource are open."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    def enter(self, resource: str) -> bool:
        """Count a stream in; false, uncounted, when there are as many as may be."""
        if self._open[resource] >= CONCURRENCY[resource]:
            return False
        self._open[resource] += 1
        return True

    def leave(self, resource: str) -> None:
        """Count a stream out."""
        self._open[resource] -= 1

    def headers(self, resource: str) -> Headers:
        """The headers of a reply."""
        limit = CONCURRENCY[resource]
        return {
            "X-Concurrency-Limit": str(limit),
            "X-Concurrency-Remaining": str(limit - self._open[resource]),
            "X-Concurrency-Resource": resource,
        }
