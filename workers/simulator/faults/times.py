"""Faults of time: a host whose clock is off, and a date that closes early.

Owns those; must not touch prices. Times of trades are those of the market whatever the clock says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from common.clock import SECOND
from workers.simulator.faults.fault import Fault, Happening, Seconds

if TYPE_CHECKING:
    from workers.simulator.site import Site


class ClockSkew(Fault, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The host's clock is off in all it says; streams end with GoAway at either end."""

    name: ClassVar[str] = "clock_skew"
    skew: Annotated[
        float,
        Meta(ge=-86_400.0, le=86_400.0, description="seconds of market time, ahead if above 0"),
    ] = 3.0
    seconds: Seconds = 10.0

    @property
    def lasts(self) -> float:
        """Real time after which the clock is right again [s]."""
        return self.seconds

    def begin(self, happening: Happening, site: Site) -> None:
        """Put the clock wrong and make everybody hear of it."""
        happening.affected = len(site.streams)
        site.exchange.tell_time(round(self.skew * SECOND))
        site.send_all_away()

    def end(self, happening: Happening, site: Site) -> None:
        """Put it right."""
        site.exchange.tell_time(0)
        site.send_all_away()


class HalfDay(Fault, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The market goes on at the next date that closes early, shortly before that close."""

    name: ClassVar[str] = "half_day"
    moves_date: ClassVar[bool] = True
    before: Annotated[
        float, Meta(gt=0.0, le=9_000.0, description="seconds of real time before the close")
    ] = 30.0

    def begin(self, happening: Happening, site: Site) -> None:
        """Go there.

        :raises UsageError: when this market has no such date ahead.
        """
        happening.affected = len(site.streams)
        site.exchange.skip_to_early_close(round(self.before * SECOND))
