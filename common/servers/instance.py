"""One running platform: its folders, ports, secrets and the URLs of its servers.

Owns the state directory and ``runtime.json`` in it (0600, as it holds the embedded Redis'
password); must not start anything.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec

from common.bus.client import check_url
from common.errors import ServiceError, UsageError
from common.servers.ports import Reservations
from common.settings import Settings

_SOCKET_ROOM = 80
"""Longest folder for unix sockets: their whole path must stay under 100 bytes."""
REDIS_USER = "gex"
INSTANCE_MARK = "GEX_INSTANCE"
"""Environment variable by which the processes of an instance are known."""


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """What is decided when an instance starts."""

    redis_port: int
    redis_password: str
    flower_port: int
    dashboard_port: int
    """0 where no page is served."""
    embedded_redis: bool
    embedded_postgres: bool
    simulator_port: int = 0


class Instance:
    """The folders and addresses of the instance that a state directory stands for."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.state_dir = settings.state_dir
        digest = hashlib.sha256(str(self.state_dir).encode()).hexdigest()[:12]
        self.id = digest
        self.group = f"gex-{digest}"
        """Name of the control group of what may wait for a processor."""
        self.run_dir = self._socket_folder(digest)
        self.log_dir = self.state_dir / "logs"
        self.redis_dir = self.state_dir / "redis"
        self._ports = Reservations()
        self._runtime_file = self.state_dir / "runtime.json"

    def make_folders(self) -> None:
        """Create the folders of the state directory, closed to others.

        As root it may be passed through, because PostgreSQL runs as another user.

        :raises UsageError: when the state directory cannot be written.
        """
        try:
            self.state_dir.mkdir(parents=True, exist_ok=True, mode=_passed_by_servers())
            for folder in (self.log_dir, self.redis_dir):
                folder.mkdir(exist_ok=True, mode=0o700)
            with tempfile.TemporaryFile(dir=self.state_dir):
                pass
        except OSError as error:
            raise UsageError(
                f"the state directory {self.state_dir} cannot be used: {error.strerror or error}; "
                "set GEX_STATE_DIR to a folder you may write"
            ) from error

    def make_run_dir(self) -> None:
        """Create the folder of the unix sockets, which need not be in the state directory.

        :raises UsageError: when it cannot be made, or is another user's.
        """
        try:
            self.run_dir.mkdir(parents=True, exist_ok=True, mode=_passed_by_servers())
        except OSError as error:
            reason = error.strerror or error
            raise UsageError(f"{self.run_dir}, for sockets, cannot be made: {reason}") from error
        if self.run_dir.stat().st_uid != os.geteuid():
            raise UsageError(f"{self.run_dir} belongs to another user; remove it")

    def remove_run_dir(self) -> None:
        """Take the folder of the sockets away again, unless a server still has one there."""
        with suppress(OSError):  # not empty, or gone
            for folder in (self.run_dir / "pg", self.run_dir):
                if folder.exists():
                    folder.rmdir()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the instance: one ``gex up`` per state directory.

        :raises UsageError: when another holds it.
        """
        with (self.state_dir / "up.lock").open("a+") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                handle.seek(0)
                raise UsageError(
                    f"an instance already runs in {self.state_dir} (pid {handle.read().strip()}); "
                    "stop it with `gex down`, or set another GEX_STATE_DIR"
                ) from error
            handle.seek(0)
            handle.truncate()
            handle.write(str(os.getpid()))
            handle.flush()
            yield

    def holder(self) -> int | None:
        """Process id of the ``gex up`` that holds this instance, or None."""
        path = self.state_dir / "up.lock"
        if not path.is_file():
            return None
        with path.open() as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                text = handle.read().strip()
                return int(text) if text.isdigit() else None
        return None

    def runtime(self) -> Runtime | None:
        """What the last start decided, or None when there was none."""
        try:
            return msgspec.json.decode(self._runtime_file.read_bytes(), type=Runtime)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise UsageError(f"{self._runtime_file} is not readable: {error}; remove it") from error

    def decide(self, *, dashboard: bool = True) -> Runtime:
        """Choose free ports, keep the password, and write it down.

        :param dashboard: whether the page gets a port; without one it is not served.
        :raises UsageError: when no port is free.
        """
        before, settings = self.runtime(), self.settings
        embedded_redis = settings.redis_url is None
        port, host = self._ports.first_free, settings.listen_host
        runtime = Runtime(
            redis_port=port(host, settings.redis_port) if embedded_redis else 0,
            redis_password=before.redis_password if before else secrets.token_urlsafe(24),
            flower_port=port(host, settings.flower_port),
            dashboard_port=port(host, settings.dashboard_port) if dashboard else 0,
            embedded_redis=embedded_redis,
            embedded_postgres=settings.database_url is None,
            simulator_port=port(host, settings.simulator_port),
        )
        write_private(self._runtime_file, msgspec.json.encode(runtime))
        return runtime

    def runtime_or_decide(self) -> Runtime:
        """What the last start decided; a program that is started alone decides itself.

        Programs that start together, as the Procfile's do, agree: one decides, the others wait.

        :raises UsageError: when no port is free.
        """
        with (self.state_dir / "runtime.lock").open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            return self.runtime() or self.decide()

    def redis_url(self) -> str:
        """Where Redis is.

        :raises ServiceError: when none is configured and none was started here.
        """
        if self.settings.redis_url is not None:
            return self.settings.redis_url.get_secret_value()
        runtime = self.runtime()
        if runtime is None or not runtime.redis_port:
            raise ServiceError(
                f"nothing was started in {self.state_dir} and GEX_REDIS_URL is not set; "
                "run `gex up`"
            )
        secret = quote(runtime.redis_password, safe="")
        host = _reachable(self.settings.listen_host)
        return f"redis://{REDIS_USER}:{secret}@{host}:{runtime.redis_port}/0"

    def broker_url(self) -> str:
        """Where Celery's messages go: the next database of the same Redis unless set."""
        if self.settings.broker_url is not None:
            return self.settings.broker_url.get_secret_value()
        url = self.redis_url()
        return urlunsplit(urlsplit(url)._replace(path=f"/{check_url(url) + 1}"))

    def database_url(self) -> str:
        """Where PostgreSQL is: the embedded server's socket unless set."""
        if self.settings.database_url is not None:
            return self.settings.database_url.get_secret_value()
        return f"postgresql://gex@/gex?host={quote(str(self.run_dir / 'pg'), safe='')}"

    def flower_url(self) -> str:
        """Where Flower is, or an empty text when nothing was started here."""
        runtime = self.runtime()
        host = _reachable(self.settings.listen_host)
        return f"http://{host}:{runtime.flower_port}" if runtime else ""

    def simulator_url(self) -> str:
        """Where the simulator serves, or an empty text when nothing was started here."""
        runtime = self.runtime()
        if runtime is None:
            return ""
        port = runtime.simulator_port or self.settings.simulator_port
        return f"http://{_reachable(self.settings.listen_host)}:{port}"

    def dashboard_url(self) -> str:
        """Where the page is, or an empty text when none is served here."""
        runtime = self.runtime()
        if runtime is None or not runtime.dashboard_port:
            return ""
        return f"http://{_reachable(self.settings.listen_host)}:{runtime.dashboard_port}"

    def _socket_folder(self, digest: str) -> Path:
        folder = self.state_dir / "run"
        reachable = os.geteuid() != 0 or passable(self.state_dir.parent)
        if len(str(folder)) <= _SOCKET_ROOM and reachable:
            return folder
        return Path(tempfile.gettempdir()) / f"gex-{os.geteuid()}-{digest}"


def _passed_by_servers() -> int:
    """Mode of a folder that the embedded servers have to pass through."""
    return 0o711 if os.geteuid() == 0 else 0o700


def passable(path: Path) -> bool:
    """Whether any user may pass through every folder down to ``path``."""
    path = path.resolve()
    return all(part.stat().st_mode & 0o001 for part in (path, *path.parents) if part.exists())


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "") else host  # noqa: S104  a comparison


def write_private(path: Path, data: bytes) -> None:
    """Replace a file atomically, readable by its owner only."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)
