"""The dead letters: entries that a group could not handle, kept until a person decides.

Owns reading them and driving them again; burying is the actor's, through
:meth:`common.bus.streams.Streams.bury`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from common.bus import keys, scripts
from common.bus.client import Client, bus_errors, text
from common.bus.streams import Streams
from common.errors import UsageError

_FIELD = b"f:"
_PAGE = 500
_OWN = (keys.GREEKS_GROUP, keys.STORE_GROUP)


@dataclass(frozen=True, slots=True)
class Letter:
    """One entry that could not be handled."""

    group: str
    id: str
    """Of the letter; its first part is the wall time of the burial [ms]."""
    stream: str
    entry_id: str
    """Of the entry in its stream."""
    reason: str
    traceback: str
    deliveries: int
    fields: dict[bytes, bytes]
    """The entry as it was; empty when it had been trimmed away."""

    @property
    def name(self) -> str:
        """How a person names it: ``greeks:1787148000000-0``."""
        return f"{self.group}:{self.id}"

    @property
    def buried_ms(self) -> int:
        """Wall time of the burial [ms since the epoch]."""
        return int(self.id.partition("-")[0])


class DeadLetters:
    """The dead letters of every group of one Redis."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._streams = Streams(client)
        self._retry = client.register_script(scripts.RETRY)

    def groups(self) -> list[str]:
        """The platform's own groups, and who else has buried anything."""
        with bus_errors():
            names = [
                text(key) for key in self._client.scan_iter(f"{keys.DEAD_PREFIX}*", count=1000)
            ]
        others = {name.removeprefix(keys.DEAD_PREFIX) for name in names}
        return [*_OWN, *sorted(others.difference(_OWN))]

    def all(self, group: str | None = None) -> Iterator[Letter]:
        """Letters of one group or of all, the oldest first."""
        for name in [group] if group else self.groups():
            start = "-"
            while True:
                with bus_errors():
                    page: Any = self._client.xrange(keys.dead(name), min=start, count=_PAGE)
                for letter_id, fields in page:
                    yield _letter(name, text(letter_id), fields)
                if len(page) < _PAGE:
                    break
                start = f"({text(page[-1][0])}"

    def find(self, name: str) -> Letter:
        """The letter of a name.

        :raises UsageError: when there is none.
        """
        group, _, letter_id = name.partition(":")
        parts = letter_id.split("-")
        found: Any = []
        if len(parts) == 2 and all(part.isdecimal() for part in parts):
            with bus_errors():
                found = self._client.xrange(keys.dead(group), min=letter_id, max=letter_id)
        if not found:
            raise UsageError(f"{name!r} names no dead letter; `gex dead list` shows them")
        return _letter(group, letter_id, found[0][1])

    def retry(self, letter: Letter) -> str:
        """Append the entry to its stream again and drop the letter, in one step; the new id.

        Every group of the stream gets it again, which changes nothing for those that had it.

        :raises UsageError: when the content is gone, or somebody has dropped the letter.
        """
        if not letter.fields:
            raise UsageError(f"{letter.name}: the entry had been trimmed away; nothing is left")
        self._streams.register(letter.stream)
        counters = keys.counters(keys.stream_symbol(letter.stream))
        with bus_errors():
            appended = self._retry(
                keys=[keys.dead(letter.group), letter.stream, counters],
                args=[letter.id, letter.group],
            )
        if not appended:
            raise UsageError(f"{letter.name}: somebody has dealt with it in the meantime")
        return text(appended)


def _letter(group: str, letter_id: str, fields: dict[bytes, bytes]) -> Letter:
    return Letter(
        group=group,
        id=letter_id,
        stream=text(fields.get(b"stream", b"")),
        entry_id=text(fields.get(b"id", b"")),
        reason=fields.get(b"reason", b"").decode(errors="replace"),
        traceback=fields.get(b"traceback", b"").decode(errors="replace"),
        deliveries=int(fields.get(b"deliveries", b"0")),
        fields={
            name.removeprefix(_FIELD): value
            for name, value in fields.items()
            if name.startswith(_FIELD)
        },
    )
