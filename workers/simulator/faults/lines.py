"""Faults of lines: what is no message of the protocol, or no line anybody can hold.

Owns those lines; they come between rows, of which none is lost.
"""

from __future__ import annotations

from itertools import cycle, islice
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from workers.simulator.faults.fault import Happening, PathFault

if TYPE_CHECKING:
    from workers.simulator.site import Site

_BAD = (
    b'{"Symbol":"SPY","Bid":\n',
    b"no JSON at all\n",
    b'{"Symbol":"SPY","Bid":"1.0",}\n',
    b'{"Symbol":"\xff\xfe","Bid":"1.0"}\n',
    b'["Symbol","SPY"]\n',
    b'{"Bid":"1.0"}\n',
    b'{"Symbol":"SPY","Bid":{"Price":"1.0"}}\n',
)
_HEAD, _TAIL = b'{"Symbol":"SPY","Filler":"', b'"}\n'


class BadJson(PathFault, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Lines that are no JSON, or none of the protocol's messages, come between the rows."""

    name: ClassVar[str] = "bad_json"
    count: Annotated[int, Meta(ge=1, le=100_000, description="lines a stream")] = len(_BAD)

    def begin(self, happening: Happening, site: Site) -> None:
        """Every kind in turn."""
        for stream in self.concerned(site):
            stream.say(list(islice(cycle(_BAD), self.count)))
            happening.affected += self.count


class LongLine(PathFault, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line of many megabytes comes between the rows."""

    name: ClassVar[str] = "long_line"
    megabytes: Annotated[float, Meta(gt=0.0, le=256.0, description="its length")] = 10.0

    def begin(self, happening: Happening, site: Site) -> None:
        """A row like any other but for its length."""
        size = round(self.megabytes * 1_000_000) - len(_HEAD) - len(_TAIL)
        line = _HEAD + b"1" * max(size, 1) + _TAIL
        for stream in self.concerned(site):
            stream.say([line])
            happening.affected += 1
