"""Where backups lie: a folder, or a bucket that speaks S3.

Owns putting and getting whole files by name; must not know what is in them. A file appears
whole or not at all.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from common.errors import ArchiveError, UsageError
from common.settings import Settings


class Archive(Protocol):
    """Files by name, e.g. ``days/2026-08-19/quotes.parquet``."""

    def put(self, name: str, data: bytes) -> None:
        """Write or replace a file.

        :raises ArchiveError: when it cannot be written.
        """

    def get(self, name: str) -> bytes | None:
        """A file, or None.

        :raises ArchiveError: when it cannot be read.
        """


class Folder:
    """A folder of this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def put(self, name: str, data: bytes) -> None:
        """Write beside it, sync, rename."""
        path = self._path / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, fresh = tempfile.mkstemp(dir=path.parent, prefix=".new-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                Path(fresh).replace(path)
            except OSError:
                Path(fresh).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise ArchiveError(f"{path} cannot be written: {error.strerror or error}") from error

    def get(self, name: str) -> bytes | None:
        """The file's bytes."""
        path = self._path / name
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ArchiveError(f"{path} cannot be read: {error.strerror or error}") from error


class Bucket:
    """A bucket, or the part of one below a prefix."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client, self._bucket = client, bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    def put(self, name: str, data: bytes) -> None:
        """One request: S3 shows an object whole."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  slow to import

        try:
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=data)
        except (BotoCoreError, ClientError) as error:
            raise ArchiveError(f"s3://{self._bucket}/{self._prefix}{name}: {error}") from error

    def get(self, name: str) -> bytes | None:
        """The object's bytes."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  slow to import

        try:
            found = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)
            data: bytes = found["Body"].read()
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "NoSuchKey":
                return None
            raise ArchiveError(f"s3://{self._bucket}/{self._prefix}{name}: {error}") from error
        except BotoCoreError as error:
            raise ArchiveError(f"s3://{self._bucket}/{self._prefix}{name}: {error}") from error
        return data


def open_archive(url: str, settings: Settings) -> Archive:
    """The archive that a URL or a path names; nothing connects yet.

    :raises UsageError: when it names none.
    """
    if not url:
        raise UsageError("name a folder or s3://bucket/prefix, or set GEX_BACKUP_URL")
    parts = urlsplit(url)
    if parts.scheme in ("", "file"):
        return Folder(Path(parts.path).expanduser().absolute())
    if parts.scheme != "s3" or not parts.netloc:
        raise UsageError(f"{url!r} is neither a folder nor s3://bucket/prefix")
    return Bucket(_s3(settings), parts.netloc, parts.path)


def _s3(settings: Settings) -> Any:
    import boto3  # noqa: PLC0415  slow to import
    from botocore.config import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415

    keys = (settings.backup_access_key, settings.backup_secret_key)
    access, secret = (key.get_secret_value() if key else None for key in keys)
    try:
        return boto3.client(
            "s3",
            endpoint_url=settings.backup_endpoint_url or None,
            region_name=settings.backup_region,
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            config=Config(connect_timeout=10, read_timeout=60, retries={"max_attempts": 3}),
        )
    except (BotoCoreError, ValueError) as error:
        raise UsageError(f"GEX_BACKUP_ENDPOINT_URL: {error}") from error
