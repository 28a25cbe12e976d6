"""Connections to Redis: how they are made, and what their failures are called.

Owns the client's options and the wrapping of library errors; must not know any key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from common.bus.pool import QuickPool
from common.errors import BusError, FencedError, MemoryFullError, UsageError

Client = redis.Redis
Command = tuple[Any, ...]
"""Name and arguments."""


class Errand(NamedTuple):
    """A command that nobody waits for: it may go with the next one that somebody does."""

    command: Command
    answered: Callable[[Any], object]
    """Is told the reply, which may be an error, and raises nothing: others go with it. If the
    connection is lost it is told nothing."""


_NO_URL = "GEX_REDIS_URL is no Redis URL with a host, e.g. redis://127.0.0.1:6379/0"
_OUTAGES = (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError)


def connect(url: str, *, timeout: float = 5.0, retries: int = 2) -> Client:
    """A client that returns bytes; nothing connects before the first command.

    :param timeout: for connecting and for a reply [s]; longer than any blocking read.
    :param retries: how often a command is tried again after a lost connection. Appends are
        idempotent, so a retry after a lost reply changes nothing.
    :raises UsageError: when ``url`` is none, or names a socket's file.
    """
    check_url(url)
    try:
        pool = QuickPool.from_url(
            url,
            protocol=2,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            socket_keepalive=True,
            health_check_interval=30,
            retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), retries),
        )
    except ValueError as error:
        raise UsageError(_NO_URL) from error
    return redis.Redis.from_pool(pool)


def check_url(url: str) -> int:
    """The number of the database that a URL names. It is not repeated: it may hold a password.

    :raises UsageError: when it is no URL of a Redis that listens on TCP, as Celery needs it.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme in {"redis", "rediss"}:
            return int(parts.path.strip("/") or 0)
    except ValueError as error:
        raise UsageError(_NO_URL) from error
    raise UsageError(_NO_URL)


@contextmanager
def bus_errors() -> Iterator[None]:
    """Turn the library's errors into those of :mod:`common.errors`.

    :raises BusError: Redis is out of reach or refuses.
    :raises MemoryFullError: it has reached its memory bound.
    :raises FencedError: a script refused a writer that was replaced.
    """
    try:
        yield
    except _OUTAGES as error:
        raise BusError(f"Redis is out of reach: {error}") from error
    except redis.ResponseError as error:
        if "FENCED" in str(error):
            raise FencedError(str(error)) from error
        if isinstance(error, redis.exceptions.OutOfMemoryError):
            raise MemoryFullError(f"Redis has no memory left: {error}") from error
        raise BusError(f"Redis refuses: {error}") from error
    except redis.RedisError as error:
        raise BusError(f"Redis: {error}") from error


class Posted:
    """Commands that are on their way: Redis works on them while something else is done."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.unread = 0

    def send(self, commands: Sequence[Command]) -> None:
        """Send commands behind those that were sent already."""
        if commands:
            self._connection.send_packed_command(self._connection.pack_commands(commands))
            self.unread += len(commands)

    def replies(self) -> list[Any]:
        """The replies to all that was sent, in its order; an error is an element."""
        found: list[Any] = []
        while self.unread:
            try:
                reply = self._connection.read_response()
            except redis.ResponseError as error:
                reply = error
            self.unread -= 1
            found.append(reply)
        return found


@contextmanager
def posting(client: Client) -> Iterator[Posted]:
    """A connection for commands whose replies are read later; it is given back afterwards."""
    pool = client.connection_pool
    connection: Any = pool.get_connection()
    posted = Posted(connection)
    try:
        yield posted
    finally:
        if posted.unread:  # they belong to nobody else
            connection.disconnect()
        pool.release(connection)


def run_errands(client: Client, errands: Sequence[Errand], *last: Command) -> list[Any]:
    """Send commands in one go and tell each errand its reply.

    :param last: commands behind them. :returns: their replies.
    :raises BusError: Redis is out of reach, or refuses one of the last.
    """
    if not (errands or last):
        return []
    with bus_errors(), posting(client) as post:
        post.send([*(errand.command for errand in errands), *last])
        replies = post.replies()
        for errand, reply in zip(errands, replies, strict=False):
            errand.answered(reply)
        found = replies[len(errands) :]
        for reply in found:
            if isinstance(reply, Exception):
                raise reply
    return found


def text(value: Any) -> str:
    """A reply's bytes as text."""
    return value.decode() if isinstance(value, bytes) else str(value)
