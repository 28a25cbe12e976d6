"""What has changed of a value of many kilobytes, so that only that is sent and logged.

Owns finding it; must not know what the bytes mean.
"""

from __future__ import annotations

import numpy as np

_WORD = 8
_NEAR = 32
"""Words between two changes that are sent along: another patch costs more."""
_MOST = 16
Patch = tuple[int, bytes]
"""Where from [bytes], and what is there now."""


def patches(before: bytes, after: bytes) -> list[Patch] | None:
    """What makes ``after`` of ``before``, by place; None where sending it whole is as well: where
    the length or half of it differs, or so much here and there.
    """
    if len(before) != len(after):
        return None
    words = len(after) // _WORD
    one, other = (np.frombuffer(value, np.uint64, words) for value in (before, after))
    changed = np.flatnonzero(one != other)
    if before[words * _WORD :] != after[words * _WORD :]:
        changed = np.append(changed, words)  # the rest, which fills no word
    if not changed.size:
        return []
    breaks = np.flatnonzero(np.diff(changed) > _NEAR)
    firsts = changed[np.append(0, breaks + 1)] * _WORD
    ends = (changed[np.append(breaks, -1)] + 1) * _WORD
    if len(firsts) > _MOST or 2 * int((ends - firsts).sum()) > len(after):
        return None
    return [(a, after[a:b]) for a, b in zip(firsts.tolist(), ends.tolist(), strict=True)]
