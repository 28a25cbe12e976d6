"""A fault: what it is called, what it takes, and where it takes hold.

Owns the shape of faults and the record of one that happened; must not know any single fault.
Arguments come from a query or a schedule file alike and are checked by their types.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal
from urllib.parse import unquote

import msgspec
from msgspec import Meta

from common.clock import iso_ms
from common.errors import UsageError
from common.models import JsonDict

if TYPE_CHECKING:
    from workers.simulator.failures import ApiError
    from workers.simulator.site import OpenStream, Site

Silence = Literal["", "data", "everything"]
"""What a stream keeps to itself: nothing, its data but not heartbeats, or everything."""
Cause = Literal["request", "schedule"]
PathPart = Annotated[str, Meta(description="part of the paths it concerns, symbols and query too")]
Seconds = Annotated[float, Meta(gt=0.0, le=86_400.0, description="how long it lasts")]


@dataclass(slots=True, eq=False)
class Happening:
    """One fault that happened, or still does."""

    fault: Fault
    number: int
    cause: Cause
    began_us: int
    """[us, market time], as the next."""
    random: random.Random
    ended_us: int | None = None
    """None while it lasts."""
    affected: int = 0
    """Streams, requests or lines, whatever the fault is about."""
    lines: dict[OpenStream, list[bytes]] = field(default_factory=dict)
    """What the fault holds back of each stream."""
    until: float = 0.0
    """When it ends on its own [s, monotonic]."""

    def as_json(self) -> JsonDict:
        """The record of it."""
        return {
            "number": self.number,
            "name": self.fault.name,
            "arguments": msgspec.to_builtins(self.fault),
            "cause": self.cause,
            "began_at": iso_ms(self.began_us),
            "ended_at": None if self.ended_us is None else iso_ms(self.ended_us),
            "affected": self.affected,
        }


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that goes wrong; its fields are its arguments."""

    name: ClassVar[str] = ""
    silence: ClassVar[Silence] = ""
    moves_date: ClassVar[bool] = False
    """Whether the market goes on at another date."""

    @classmethod
    def about(cls) -> str:
        """What it does: the first line of its docstring."""
        return (cls.__doc__ or "").partition("\n")[0]

    @classmethod
    def arguments(cls) -> JsonDict:
        """Name → type, default and meaning of each argument, as JSON Schema puts it."""
        schema = msgspec.json.schema(cls)
        found: JsonDict = schema["$defs"][cls.__name__]["properties"]
        return found

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Fault:
        """The fault with these arguments, numbers as text too.

        :raises UsageError: naming the argument that cannot be used.
        """
        try:
            return msgspec.convert(dict(arguments), cls, strict=False)
        except msgspec.ValidationError as error:
            raise UsageError(_said(error)) from error

    @property
    def lasts(self) -> float:
        """Real time after which it is over [s]; 0 when it is over at once."""
        return 0.0

    def concerns(self, target: str) -> bool:
        """Whether it is about a path."""
        del target
        return True

    def concerned(self, site: Site) -> list[OpenStream]:
        """The open streams that it is about, oldest first."""
        return [stream for stream in site.streams if self.concerns(stream.target)]

    def begin(self, happening: Happening, site: Site) -> None:
        """Do what happens at once.

        :raises UsageError: when it cannot happen here.
        """

    def opened(self, happening: Happening, site: Site, stream: OpenStream) -> None:
        """A stream has been opened while it lasts."""

    def refusal(self, happening: Happening, left: float) -> ApiError | None:
        """Why a request is refused; ``left`` is how long the fault still lasts [s]."""
        del happening, left
        return None

    def is_used_up(self, happening: Happening) -> bool:
        """Whether it ends before its time."""
        del happening
        return False

    def altered(self, happening: Happening, stream: OpenStream, lines: list[bytes]) -> list[bytes]:
        """What is sent in place of some lines."""
        del happening, stream
        return lines

    def end(self, happening: Happening, site: Site) -> None:
        """Put right what has to be put right afterwards."""


class PathFault(Fault, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fault of some paths; of all where none is given."""

    path: PathPart = ""

    def concerns(self, target: str) -> bool:
        """Whether the path contains the given part."""
        return self.path in unquote(target)


class LastingFault(PathFault, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fault that lasts for some time."""

    seconds: Seconds = 10.0

    @property
    def lasts(self) -> float:
        """Real time after which it is over [s]."""
        return self.seconds


def _said(error: msgspec.ValidationError) -> str:
    """The reason in our words: ``seconds: expected `float` > 0.0``."""
    reason, _, where = str(error).partition(" - at `$.")
    name = where.rstrip("`")
    if reason.startswith("Object contains unknown field"):
        return f"there is no argument {reason.split('`')[1]!r}"
    return f"{name}: {reason[:1].lower()}{reason[1:]}" if name else reason
