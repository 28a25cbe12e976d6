"""Option roots: which underlying they belong to and when they settle.

Owns that table and the shape of OCC symbols; must not know any feed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from datetime import date
from functools import lru_cache

from common.models import Expiry, Settlement

PM_ROOTS = {"SPXW": "SPX", "NDXP": "NDX", "RUTW": "RUT", "DJXW": "DJX", "XSPW": "XSP"}
"""Roots of PM-settled options whose underlying has another name."""
AM_ROOTS = {"SPX": "SPX", "NDX": "NDX", "RUT": "RUT", "DJX": "DJX", "VIX": "VIX", "VIXW": "VIX"}
"""Roots that settle at the open; every other root settles at the close."""
INDEXES = frozenset({*AM_ROOTS.values(), *PM_ROOTS.values()})
"""Underlyings that are an index: their price rests outside the cash session."""
OCC_SYMBOL = re.compile(r"([A-Z]{1,5}[0-9]?) *(\d{6})([CP])(\d{8})")
"""Root, YYMMDD, right and strike · 1000 of an OCC option symbol."""


@lru_cache(maxsize=4096)
def underlying_of(root: str) -> str:
    """The underlying of an option root: SPXW → SPX; an unknown root is its own."""
    return PM_ROOTS.get(root) or AM_ROOTS.get(root) or root


def plain_symbol(name: str) -> str:
    """The underlying of a symbol with a source's marks: ``^RUT`` → RUT, ``$SPXW.X`` → SPX."""
    marked = name.strip().upper()
    if marked.startswith("$"):
        marked = marked.partition(".")[0]
    return underlying_of(re.sub(r"[^A-Z0-9]", "", marked))


def main_underlying(roots: Iterable[str]) -> str | None:
    """The underlying that most of the roots belong to; None without any."""
    counted = Counter(underlying_of(root) for root in roots)
    return counted.most_common(1)[0][0] if counted else None


def settlement_of(root: str) -> Settlement:
    """AM for the roots that settle at the open, else PM."""
    return "AM" if root in AM_ROOTS else "PM"


@lru_cache(maxsize=4096)
def expiry_of(root: str, digits: str) -> Expiry | None:
    """The expiry of a root and a date written YYMMDD; None when there is no such date."""
    try:
        day = date(2000 + int(digits[:2]), int(digits[2:4]), int(digits[4:]))
    except ValueError:
        return None
    return Expiry(day, settlement_of(root))
