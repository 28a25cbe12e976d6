"""supervisord and the processes under it.

Owns starting, watching and ending them, leftovers of a killed start included; must not know
what they do.
"""

from __future__ import annotations

import glob
import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

import psutil

from common.errors import ServiceError
from common.resources import resource
from common.servers.instance import INSTANCE_MARK, Instance

_NO_ANSWER = (OSError, http.client.HTTPException, xmlrpc.client.Error, ExpatError)
"""supervisord is not there, refuses, or ended while it answered."""
_BEGAN = "supervisord started with pid"
_SPAWNED = re.compile(r"^[-\d]+ [:,\d]+ INFO spawned: '([^']+)' with pid \d+$", re.MULTILINE)


OURS = frozenset(
    "redis postgres migrate store greeks celery upkeep beat flower dashboard simulator "
    "ingest".split()
)
"""The programs of the platform itself; what else supervisord runs is the user's."""


@dataclass(frozen=True, slots=True)
class Program:
    """One process as supervisord sees it."""

    name: str
    state: str
    pid: int
    exit_status: int
    started_at: int
    """Wall time of the last start [s since the epoch], 0 when never."""
    group: str
    """What its section of the configuration is called."""

    @property
    def ours(self) -> bool:
        """Whether the platform cannot be without it."""
        return self.group in OURS

    @property
    def failed(self) -> bool:
        """Whether supervisord has given it up."""
        return self.state == "FATAL"


def _pattern(folder: Path) -> str:
    """What finds the configurations in a folder; supervisord splits patterns at spaces."""
    return re.sub(r"\s", "?", f"{glob.escape(str(folder))}/*.conf")


def _complaint(text: str) -> str:
    """What supervisord says is wrong: one paragraph, before it names its help."""
    told = text.partition("For help, use")[0].strip()
    return " ".join(told[told.rfind("Error:") :].split()) if "Error:" in told else told[-500:]


class Supervisor:
    """The supervisord of one instance."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, environment: Mapping[str, str]) -> None:
        """Start supervisord; the programs follow on their own.

        :raises ServiceError: when it does not come up.
        """
        instance = self._instance
        folder = str(Path(sys.executable).parent)
        values = {
            **environment,
            "PATH": os.pathsep.join([folder, environment.get("PATH", os.defpath)]),
            "GEX_RUN_DIR": str(instance.run_dir),
            "GEX_LOG_DIR": str(instance.log_dir),
            "GEX_PROGRAMS": _pattern(instance.state_dir / "programs"),
            INSTANCE_MARK: instance.id,
        }
        program = shutil.which("supervisord", path=values["PATH"]) or "supervisord"
        log = instance.log_dir / "supervisord.out"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, program, "-n", "-c", str(resource("supervisord.conf"))],
                env=values,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + 15
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                text = log.read_text(encoding="utf-8", errors="replace")
                raise ServiceError(f"supervisord did not start: {_complaint(text) or log}")
            self._pause(0.05)

    def programs(self) -> list[Program]:
        """Every program by name; empty when supervisord is not there."""
        try:
            with self._proxy() as proxy:
                rows: Any = proxy.supervisor.getAllProcessInfo()
        except _NO_ANSWER:
            return []
        return [
            Program(r["name"], r["statename"], r["pid"], r["exitstatus"], r["start"], r["group"])
            for r in rows
        ]

    def starts(self) -> Counter[str]:
        """How often each program was started since supervisord was, by supervisord's own log.

        A program cannot count its own starts: it may be killed before it comes to it.
        """
        log = self._instance.log_dir / "supervisord.log"
        parts = [log.with_name(f"{log.name}{end}") for end in (".2", ".1", "")]
        text = "".join(
            part.read_text(encoding="utf-8", errors="replace") for part in parts if part.is_file()
        )
        return Counter(_SPAWNED.findall(text.rpartition(_BEGAN)[2]))

    def restart(self, program: str) -> None:
        """Stop a program, by force if it does not listen, and start it again.

        :raises ServiceError: when supervisord is not there or refuses.
        """
        try:
            with self._proxy() as proxy:
                calls: Any = proxy.supervisor
                for row in calls.getAllProcessInfo():
                    if row["name"] == program:
                        calls.stopProcess(f"{row['group']}:{program}")
                        calls.startProcess(f"{row['group']}:{program}")
        except _NO_ANSWER as error:
            raise ServiceError(f"{program} cannot be restarted: {error}") from error

    @property
    def alive(self) -> bool:
        """Whether the supervisord started here still runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self, *, timeout: float = 90) -> None:
        """Stop all programs in order, then supervisord; nothing is left behind."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        end_leftovers(self._instance)

    def log_tail(self, program: str, lines: int = 5) -> str:
        """The last lines a program wrote."""
        path = self._instance.log_dir / f"{program}.log"
        if not path.is_file():
            return ""
        text = path.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.strip().splitlines()[-lines:])

    def _answers(self) -> bool:
        try:
            with self._proxy() as proxy:
                return bool(proxy.supervisor.getState())
        except _NO_ANSWER:
            return False

    def _proxy(self) -> xmlrpc.client.ServerProxy:
        from supervisor.xmlrpc import SupervisorTransport  # noqa: PLC0415  slow to import

        address = f"unix://{self._instance.run_dir / 'supervisor.sock'}"
        return xmlrpc.client.ServerProxy(
            "http://localhost", transport=SupervisorTransport(None, None, address)
        )

    @staticmethod
    def _pause(seconds: float) -> None:
        time.sleep(seconds)


def members(instance: Instance) -> list[psutil.Process]:
    """Every process of the instance, this one and its parents left out.

    They carry the instance's mark in their environment, but for PostgreSQL, which writes over
    it: that one names the socket folder on its command line.
    """
    mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    sockets = f"unix_socket_directories={instance.run_dir / 'pg'}"
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid in mine:
                continue
            marked = process.environ().get(INSTANCE_MARK) == instance.id
            if marked or sockets in process.cmdline():
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def end_leftovers(instance: Instance, *, patience: float = 20) -> int:
    """End what a killed start left running; how many processes there were."""
    found = members(instance)
    heads = [process for process in found if _is_supervisord(process)]
    _signal(heads)
    psutil.wait_procs(heads, timeout=patience)
    rest = [process for process in found if process.is_running()]
    _signal(rest)
    _, alive = psutil.wait_procs(rest, timeout=patience)
    for process in alive:
        try:
            process.kill()
        except psutil.Error:
            continue
    psutil.wait_procs(alive, timeout=5)
    return len(found)


def _signal(processes: list[psutil.Process]) -> None:
    for process in processes:
        try:  # INT is PostgreSQL's fast shutdown; TERM would wait for its clients
            is_postgres = process.name() == "postgres"
            process.send_signal(signal.SIGINT if is_postgres else signal.SIGTERM)
        except psutil.Error:
            continue


def _is_supervisord(process: psutil.Process) -> bool:
    try:
        return any("supervisord" in part for part in process.cmdline()[:3])
    except psutil.Error:
        return False
