"""What a simulator writes down so that one that was killed goes on: ``simulator.json``.

Owns that file (0600) and the lock that keeps a second simulator away from it; must not know
what the remembered things mean.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from common.errors import UsageError
from common.servers.instance import write_private
from workers.simulator.timeline import Running


class Remembered(msgspec.Struct, frozen=True):
    """The content of the file."""

    running: Running | None = None
    refresh_token: str = ""
    """The one that is valid, where refresh tokens rotate."""


class Memory:
    """The file in a state directory."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / "simulator.json"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the file: one simulator per state directory.

        :raises UsageError: when another holds it.
        """
        with (self._folder / "simulator.lock").open("a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UsageError(
                    f"a simulator already runs in {self._folder}; set another GEX_STATE_DIR"
                ) from error
            yield

    def read(self) -> Remembered:
        """What is written down; nothing before the first run.

        :raises UsageError: when the file is damaged.
        """
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Remembered)
        except FileNotFoundError:
            return Remembered()
        except (OSError, msgspec.MsgspecError) as error:
            raise UsageError(f"{self._path} is not readable: {error}; remove it") from error

    def update(self, **changes: Any) -> None:
        """Replace parts of it, atomically."""
        write_private(
            self._path, msgspec.json.encode(msgspec.structs.replace(self.read(), **changes))
        )
