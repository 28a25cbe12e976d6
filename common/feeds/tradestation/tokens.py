"""Tokens on disk: what one login yields, shared by every process that uses it.

Owns the file (0600, replaced atomically) and the lock beside it; must not talk to anyone.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import msgspec

from common.errors import CredentialsError

_LOCK_PAUSE = 0.05


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """One login; its text shows no secret."""

    access: str = ""
    expires_at: float = 0.0
    """Wall time from which the access token is refused [s since the epoch]."""
    refresh: str = ""
    scope: str = ""

    def __repr__(self) -> str:
        """The scope and the expiry alone."""
        return f"Tokens(scope={self.scope!r}, expires_at={self.expires_at:.0f})"


class TokenFile:
    """The tokens of one login."""

    def __init__(self, path: Path) -> None:
        """Nothing is read before :meth:`load`."""
        self.path = path

    def load(self) -> Tokens | None:
        """The stored tokens, or None when there are none.

        :raises CredentialsError: when the file is not readable.
        """
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Tokens)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise CredentialsError(
                f"{self.path} is not readable ({type(error).__name__}); remove it and log in again"
            ) from error

    def save(self, tokens: Tokens) -> None:
        """Replace the stored tokens; a crash leaves the old or the new ones, whole."""
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.name)
        with os.fdopen(handle, "wb") as file:  # mkstemp makes it 0600
            file.write(msgspec.json.encode(tokens))
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(self.path)

    @asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        """Held while one process renews: a rotated refresh token must not be used twice."""
        with self.path.with_suffix(".lock").open("a") as handle:
            while not _try_lock(handle):
                await asyncio.sleep(_LOCK_PAUSE)
            yield


def _try_lock(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
