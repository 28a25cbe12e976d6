"""A Redis server outside any instance, which can lose power."""

from __future__ import annotations

import subprocess
from pathlib import Path

import redis
from harness import wait_until

from common.servers.ports import Reservations
from common.servers.redis_server import binary


class OwnRedis:
    """A server of the user's own, with a log that is written to the disk every second."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = Reservations()
        self.port = self.ports.first_free("127.0.0.1", 18479)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it and wait until it answers."""
        arguments = {
            "port": self.port,
            "dir": self.folder,
            "appendonly": "yes",
            "appendfsync": "everysec",
            "auto-aof-rewrite-percentage": 0,  # one file, which can be cut
            "save": "",
        }
        options = [part for name, value in arguments.items() for part in (f"--{name}", str(value))]
        with (self.folder / "redis.out").open("ab") as output:
            self.process = subprocess.Popen([binary(), *options], stdout=output, stderr=output)
        wait_until(self.answers, seconds=30, what="Redis")

    def answers(self) -> bool:
        """Whether it does, and has read its log."""
        try:
            return bool(redis.Redis.from_url(self.url).ping())
        except redis.RedisError:
            return False

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    @property
    def log(self) -> Path:
        """The file that commands are appended to."""
        (found,) = (self.folder / "appendonlydir").glob("*.incr.aof")
        return found

    def kill_and_cut(self, size: int) -> None:
        """SIGKILL, and what a power cut leaves of the log; then run it again."""
        self.kill()
        with self.log.open("ab") as log:
            log.truncate(size)
        self.start()

    def stop(self) -> None:
        """In order."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)
