"""Celery's connection to its broker: the Redis transport, patient with a Redis that is full.

Owns which failures Celery waits out; must not know any task. To kombu a refusal for want of
memory is a defect of the program, and ends the worker; here it is an outage.
"""

from __future__ import annotations

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis
from redis.exceptions import OutOfMemoryError


class Transport(kombu_redis.Transport):
    """Redis as a broker, to which one connects again when it was full."""

    connection_errors = (*kombu_redis.Transport.connection_errors, OutOfMemoryError)


def wait_out_full_brokers() -> None:
    """Let ``redis://`` mean this transport, for every application of this process."""
    TRANSPORT_ALIASES["redis"] = f"{__name__}:{Transport.__name__}"
