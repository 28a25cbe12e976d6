"""The sums over the contracts of a board: which there are.

Owns their names and order; must not compute them. Sums of nothing are 0, so each comes with the
number of rows it runs over.
"""

from __future__ import annotations

SUMS = (
    *("used", "gex", "dex", "vex", "cex", "gross_gex"),
    *("same_day", "same_day_gex", "week", "week_gex", "near", "near_gex"),
    *("traded", "volume_gex"),
    *("calls", "call_oi", "call_volume", "puts", "put_oi", "put_volume"),
    *("sided", "solved", "solved_oi"),
    *("priced", "call_size", "put_size", "flow", "flow_gex"),
    *("pairs", "outliers", "oldest"),
)
"""``gex`` to ``gross_gex``, ``same_day``, ``week`` and ``near``: of the contracts that count,
all of them or those that expire today, by Friday, or are struck near the spot. ``volume_gex``: of
those that count and of which it is known whether they traded, with the volume as position.
``calls`` to ``sided``: of the contracts that live; ``sided`` is volume whose side is known.
``solved``: with an IV, and the open interest of those that count. ``priced``: that live with an
IV; sizes are their gamma exposure without a sign, ``flow_gex`` with that of the day's trades.
``pairs``: strikes both of whose quotes are two-sided, and the ``outliers`` from put-call parity
among them. ``oldest``: the time [us] of the oldest quote that one that counts rests on.
"""
PLACE = {name: at for at, name in enumerate(SUMS)}
