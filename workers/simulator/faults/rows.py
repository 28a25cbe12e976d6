"""Faults of rows: sent twice, in another order, with zeros, with holes, in lower case, or lost.

Owns what is sent in place of what is true. When such a fault is over, streams tell everything
again; lost rows stay lost until the reader connects anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import orjson
from msgspec import Meta

from common.models import JsonDict
from workers.simulator.faults.fault import Happening, LastingFault

if TYPE_CHECKING:
    from workers.simulator.site import OpenStream, Site

Fields = Annotated[str, Meta(description="names of the fields, separated by commas")]
Share = Annotated[float, Meta(gt=0.0, le=1.0, description="share of the rows, 1 for all")]
_COUNTERS = "Volume,DailyOpenInterest"
_NUMBERS = "Bid,Ask,Last,BidSize,AskSize,Volume,DailyOpenInterest"
_NOTHING: dict[str, Any] = {"null": None, "empty": "", "nan": "NaN"}


class _Telling(LastingFault, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows that are changed for some time."""

    def end(self, happening: Happening, site: Site) -> None:
        """Tell everything again."""
        for stream in self.concerned(site):
            stream.tell_again()


class Duplicate(LastingFault, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every row is sent several times."""

    name: ClassVar[str] = "duplicate"
    times: Annotated[int, Meta(ge=2, le=100, description="how often each is sent")] = 2

    def altered(self, happening: Happening, stream: OpenStream, lines: list[bytes]) -> list[bytes]:
        """Each some times in succession."""
        happening.affected += len(lines) * (self.times - 1)
        return [line for line in lines for _ in range(self.times)]


class Reorder(_Telling, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows change places, so that an older row of a contract may come after a newer one."""

    name: ClassVar[str] = "reorder"

    def altered(self, happening: Happening, stream: OpenStream, lines: list[bytes]) -> list[bytes]:
        """Nothing, then what was held back and the new, shuffled."""
        if not lines:
            return lines
        held = happening.lines.pop(stream, None)
        if held is None:
            happening.lines[stream] = lines
            return []
        mixed = held + lines
        happening.random.shuffle(mixed)
        happening.affected += len(mixed)
        return mixed


class Zeros(_Telling, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields are zero in the middle of a session."""

    name: ClassVar[str] = "zeros"
    fields: Fields = _COUNTERS
    share: Share = 1.0

    def altered(self, happening: Happening, stream: OpenStream, lines: list[bytes]) -> list[bytes]:
        """Zero of the same type."""
        names = self.fields.split(",")

        def zero(row: JsonDict) -> None:
            for name in names:
                if name in row:
                    row[name] = "0" if isinstance(row[name], str) else 0

        return _changed(happening, lines, zero, self.share)


class Missing(_Telling, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields are left out, or hold nothing."""

    name: ClassVar[str] = "missing"
    fields: Fields = _NUMBERS
    share: Share = 0.5
    form: Annotated[
        Literal["absent", "null", "empty", "nan"], Meta(description="what stands in their place")
    ] = "absent"

    def altered(self, happening: Happening, stream: OpenStream, lines: list[bytes]) -> list[bytes]:
        """One or more of the fields, drawn by lot for each row."""
        names = self.fields.split(",")

        def empty(row: JsonDict) -> None:
            for name in happening.random.sample(names, happening.random.randint(1, len(names))):
                if self.form == "absent":
                    row.pop(name, None)
                elif name in row:
                    row[name] = _NOTHING[self.form]

        return _changed(happening, lines, empty, self.share)


class LowerCase(LastingFault, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Symbols are written in lower case."""

    name: ClassVar[str] = "lower_case"

    def altered(self, happening: Happening, stream: OpenStream, lines: list[bytes]) -> list[bytes]:
        """Those of quotes and of legs."""

        def lower(row: JsonDict) -> None:
            for each in (row, *row.get("Legs", ())):
                if "Symbol" in each:
                    each["Symbol"] = each["Symbol"].lower()

        return _changed(happening, lines, lower, 1.0)


class Gap(LastingFault, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows are lost, and afterwards the streams are cut."""

    name: ClassVar[str] = "gap"
    share: Share = 0.5

    def altered(self, happening: Happening, stream: OpenStream, lines: list[bytes]) -> list[bytes]:
        """Those that are not lost."""
        kept = [line for line in lines if happening.random.random() >= self.share]
        happening.affected += len(lines) - len(kept)
        return kept

    def end(self, happening: Happening, site: Site) -> None:
        """Cut the streams: nothing else would tell a reader that rows are missing."""
        for stream in self.concerned(site):
            stream.cut()


def _changed(
    happening: Happening, lines: list[bytes], change: Callable[[JsonDict], None], share: float
) -> list[bytes]:
    """Some of the rows changed, chosen by lot; the rest as they are."""
    found = []
    for line in lines:
        if happening.random.random() >= share:
            found.append(line)
            continue
        row: JsonDict = orjson.loads(line)
        change(row)
        happening.affected += 1
        found.append(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    return found
