"""Faults of open streams: they end, fall silent, or are too many.

Owns what happens to connections; must not touch what is sent over them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from workers.simulator.faults.fault import Happening, LastingFault, PathFault, Silence

if TYPE_CHECKING:
    from workers.simulator.site import OpenStream, Site

STATUS_GO_AWAY = b'{"StreamStatus":"GoAway"}\n'
ERROR_GO_AWAY = b'{"Error":"GoAway","Message":"The server is shutting down"}\n'
DUAL_LOGON = b'{"Error":"DualLogon"}\n'
FAILED = b'{"Error":"Failed","Message":"Internal server error"}\n'


class _Ending(PathFault, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A last line on every stream."""

    def last_line(self) -> bytes:
        """What each stream ends with."""
        raise NotImplementedError

    def begin(self, happening: Happening, site: Site) -> None:
        """Let the streams tell what is pending, then end."""
        for stream in self.concerned(site):
            stream.end_with(self.last_line())
            happening.affected += 1


class Cut(PathFault, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Streams are closed in the middle of a line."""

    name: ClassVar[str] = "cut"

    def begin(self, happening: Happening, site: Site) -> None:
        """Close them."""
        for stream in self.concerned(site):
            stream.cut()
            happening.affected += 1


class GoAway(_Ending, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Streams end with GoAway, as a status or as an error."""

    name: ClassVar[str] = "go_away"
    form: Annotated[Literal["status", "error"], Meta(description="how it is spelt")] = "status"

    def last_line(self) -> bytes:
        """Either form."""
        return STATUS_GO_AWAY if self.form == "status" else ERROR_GO_AWAY


class DualLogon(_Ending, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another login takes the streams: they end with the error DualLogon."""

    name: ClassVar[str] = "dual_logon"

    def last_line(self) -> bytes:
        """The error."""
        return DUAL_LOGON


class StreamError(_Ending, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Streams end with an error inside a reply that began with 200."""

    name: ClassVar[str] = "stream_error"

    def last_line(self) -> bytes:
        """The server's own failure."""
        return FAILED


class Stall(LastingFault, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Streams stay open and send nothing at all, heartbeats included."""

    name: ClassVar[str] = "stall"
    silence: ClassVar[Silence] = "everything"

    def begin(self, happening: Happening, site: Site) -> None:
        """Count the streams."""
        happening.affected = len(self.concerned(site))


class StallWithHeartbeats(Stall, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Streams stay open and send heartbeats alone."""

    name: ClassVar[str] = "stall_with_heartbeats"
    silence: ClassVar[Silence] = "data"


class StreamBudget(LastingFault, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Streams above a budget are opened and silently cut a moment later."""

    name: ClassVar[str] = "stream_budget"
    most: Annotated[int, Meta(ge=0, le=1000, description="streams that are left alone")] = 10
    after: Annotated[float, Meta(ge=0.0, le=3600.0, description="seconds before the cut")] = 5.0

    def begin(self, happening: Happening, site: Site) -> None:
        """The newest go, too."""
        for stream in self.concerned(site)[self.most :]:
            self._doom(happening, site, stream)

    def opened(self, happening: Happening, site: Site, stream: OpenStream) -> None:
        """One more than there may be goes."""
        if len(self.concerned(site)) > self.most:
            self._doom(happening, site, stream)

    def _doom(self, happening: Happening, site: Site, stream: OpenStream) -> None:
        def cut() -> None:
            if stream in site.streams:
                stream.cut()
                happening.affected += 1

        site.faults.later(self.after, cut)
