"""The one error tree of the platform.

Owns every exception that crosses a module border; must not import anything of the project.

::

    GexError
    ├── UsageError             bad arguments or settings          exit code 2
    │   ├── InputError         a file that cannot be understood   exit code 2
    │   └── CredentialsError   a login that is refused            exit code 2
    ├── ServiceError           something outside failed           exit code 1
    │   ├── BusError           Redis
    │   │   └── MemoryFullError      it has reached its memory bound
    │   ├── StorageError       PostgreSQL
    │   │   └── SlowStatementError   a statement that was given up
    │   ├── SpoolError         the files that wait for the database
    │   ├── ArchiveError       a backup's folder or bucket
    │   └── FeedError          market data
    ├── RejectedError          the database refuses these very rows
    ├── FencedError            this process no longer owns what it writes
    └── MalformedEntryError    a stream entry that cannot be decoded
        └── MalformedEntriesError   those of a delivery, each with its reason
"""

from __future__ import annotations

from collections.abc import Mapping


class GexError(Exception):
    """Base of every error raised on purpose; its text is one line that says what to do."""

    exit_code = 1


class UsageError(GexError):
    """Raised when a command, argument or setting cannot be used as given."""

    exit_code = 2


class InputError(UsageError):
    """Raised when a chain file or recording is missing, truncated, or of another kind."""


class CredentialsError(UsageError):
    """Raised when a broker refuses the login or its scopes; asking again is no use."""


class ServiceError(GexError):
    """Raised when something outside this process failed; trying again may help."""


class BusError(ServiceError):
    """Raised when Redis refuses, is out of reach or holds something unexpected."""


class MemoryFullError(BusError):
    """Raised when Redis has reached its memory bound and takes nothing more in."""


class SpoolError(ServiceError):
    """Raised when the spool is full, in use, or its disk refuses."""


class StorageError(ServiceError):
    """Raised when PostgreSQL refuses, is out of reach or has the wrong schema."""


class SlowStatementError(StorageError):
    """Raised when a statement took longer than its time and was given up."""


class ArchiveError(ServiceError):
    """Raised when a backup's folder or bucket is out of reach, or what is in it is not whole."""


class FeedError(ServiceError):
    """Raised when a market data source ends, refuses or breaks its protocol."""


class RejectedError(GexError):
    """Raised when the database refuses rows for what is in them; trying again is no use."""


class FencedError(GexError):
    """Raised when a lease has moved on: the write was refused and changed nothing."""


class MalformedEntryError(GexError):
    """Raised when a stream entry or state blob cannot be decoded; it never will be."""


class MalformedEntriesError(MalformedEntryError):
    """Raised when some entries of a delivery cannot be decoded: which ones, and why each."""

    def __init__(self, errors: Mapping[str, MalformedEntryError]) -> None:
        super().__init__(f"{len(errors)} entries cannot be decoded: {next(iter(errors.values()))}")
        self.errors = errors
        """Entry id → what is wrong with it."""
