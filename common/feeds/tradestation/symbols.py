"""TradeStation's names of underlyings, chains and option contracts.

Owns their spelling; must not know any message.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from common.feeds.roots import AM_ROOTS, INDEXES, PM_ROOTS, expiry_of, underlying_of
from common.models import MAX_STRIKE, Expiry, Right

_OPTION = re.compile(r"([A-Z0-9.$]+) (\d{6})([CP])(\d*\.?\d+)", re.ASCII)
_LONGEST_NAME = 64
_LOWEST_STRIKE = 0.0005
"""Strikes below round to no key of a contract [$]."""


class Contract(NamedTuple):
    """One option contract of an underlying."""

    root: str
    expiry: Expiry
    strike: float
    right: Right


def quote_symbol(symbol: str) -> str:
    """The quote symbol of an underlying: SPY → ``SPY``, SPX → ``$SPX.X``."""
    return f"${symbol}.X" if symbol in INDEXES else symbol


def chain_symbols(symbol: str) -> list[str]:
    """The underlyings whose chains hold a symbol's options: SPX → ``$SPX.X``, ``$SPXW.X``."""
    if symbol not in INDEXES:
        return [symbol]
    roots = [root for root in (*AM_ROOTS, *PM_ROOTS) if underlying_of(root) == symbol]
    return [f"${root}.X" for root in dict.fromkeys(roots)]


def root_of(name: str) -> str:
    """The plain root of a quote or chain symbol: ``$SPXW.X`` → SPXW, ``spy`` → SPY."""
    plain = name.strip().upper()
    return plain[1:-2] if plain.startswith("$") and plain.endswith(".X") else plain


def option_symbol(root: str, expiry: Expiry, strike: float, right: Right) -> str:
    """The symbol of a contract in its shortest form: ``SPY 261123C672``, ``AMC 251121C.5``."""
    level = f"{strike:.3f}".rstrip("0").rstrip(".")
    return f"{root} {expiry.expiration:%y%m%d}{right}{level.removeprefix('0') or '0'}"


def parse_option_symbol(text: str) -> Contract | None:
    """The contract of an option symbol in any case; None for anything else."""
    return _parse(text) if len(text) <= _LONGEST_NAME else None


@lru_cache(maxsize=65536)
def _parse(text: str) -> Contract | None:
    match = _OPTION.fullmatch(text.strip().upper())
    if match is None:
        return None
    root, digits, right, strike = match.groups()
    expiry = expiry_of(root, digits)
    level = float(strike)
    if expiry is None or not _LOWEST_STRIKE < level <= MAX_STRIKE:
        return None
    return Contract(root, expiry, level, "P" if right == "P" else "C")
