"""The embedded Redis' log is rewritten behind everything else."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from common.bus.client import Client, connect
from common.servers import append_log
from tests.integration.harness import Servers, wait_until

KEYS = 200


@pytest.fixture
def client(own_servers: Servers) -> Iterator[Client]:
    """Of a server that takes a second to write its keys."""
    found = connect(f"{own_servers.redis_url.removesuffix('/0')}/7")
    found.flushdb()
    for number in range(KEYS):
        found.set(f"key:{number}", b"x" * 1000)
    found.config_set("rdb-key-save-delay", 5000)
    yield found
    found.config_set("rdb-key-save-delay", 0)
    wait_until(lambda: not rewriting(found), seconds=30, what="the end of the rewrite")
    found.flushdb()


def rewriting(client: Client) -> bool:
    return bool(client.info("persistence")["aof_rewrite_in_progress"])


def test_a_log_that_is_large_is_rewritten_behind_the_rest(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = append_log.AppendLog(client)
    assert not log.look()
    size = client.info("persistence")["aof_current_size"]
    monkeypatch.setattr(append_log, "REWRITE_BYTES", size)
    base = client.info("persistence")["aof_base_size"]
    while client.info("persistence")["aof_current_size"] < 2 * base:
        client.set("key:0", b"x" * 10_000)
    writers = log.look()
    (child,) = psutil.Process(client.info("server")["process_id"]).children()
    assert writers == {child.pid}
    assert child.nice() == psutil.Process().nice() + 15
    assert log.look() == writers  # one is enough
    wait_until(lambda: not rewriting(client), seconds=30, what="the end of the rewrite")
    assert client.info("persistence")["aof_last_bgrewrite_status"] == "ok"
    assert not log.look()  # it has not doubled since
