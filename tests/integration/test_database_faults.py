"""The database dies, or its disk is full, while the store worker writes: nothing lost, nothing
twice, and a line that says what is the matter."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fakeredis
import psycopg
import pytest
from harness import GEX, environment, state_folder, wait_until
from history import SHARD, all_rows, count, entries

from common.bus import keys
from common.bus.producer import Producer
from common.bus.streams import Streams
from common.db import migrate
from common.db.connection import Connection, connect
from common.db.store import Store
from common.errors import StorageError
from common.servers.instance import Instance
from common.settings import load_settings
from workers import store as store_module
from workers.actor import Actor
from workers.handling import Policy
from workers.store import StoreHandler

ENTRIES, SIZE = 20, 100


class Server:
    """An embedded PostgreSQL of a test's own."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.url = Instance(load_settings(state_dir=state)).database_url()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it and wait until it answers."""
        with (self.state / "server.out").open("ab") as output:
            self.process = subprocess.Popen(
                [GEX, "serve", "postgres"],
                env=environment(self.state),
                stdout=output,
                stderr=output,
            )
        wait_until(self.answers, seconds=60, what="PostgreSQL")

    def answers(self) -> bool:
        """Whether it does."""
        try:
            psycopg.connect(self.url).close()
        except psycopg.Error:
            return False
        return True

    def kill(self) -> None:
        """SIGKILL the server's first process; the others follow by themselves."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def stop(self) -> None:
        """As supervisord does."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)


@contextmanager
def server(state: Path) -> Iterator[Server]:
    """A running one, migrated; ended whatever happens."""
    found = Server(state)
    try:
        found.start()
        with connect(found.url, name="test") as connection:
            migrate.migrate(connection)
        yield found
    finally:
        found.stop()


@pytest.fixture
def postgres() -> Iterator[Server]:
    """A server in a folder of its own."""
    state = state_folder()
    with server(state) as running:
        yield running
    shutil.rmtree(state, ignore_errors=True)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A state directory on a volume of 160 MB."""
    if os.geteuid() != 0:
        message = "only root may mount a small volume"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    state = state_folder()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160m,mode=0711", "tmpfs", str(state)]
    subprocess.run(mount, check=True)
    yield state
    subprocess.run(["umount", str(state)], check=True)
    state.rmdir()


class Worker:
    """A store worker on a Redis in memory, with twenty entries to store."""

    def __init__(self, url: str, *, begun: bool = False) -> None:
        """:param begun: whether the first is stored already, and its session there."""
        self.redis = fakeredis.FakeRedis()
        store, beside = (
            Store(lambda: connect(url, name="store"), software="test") for _ in range(2)
        )
        self.handler = StoreHandler(
            self.redis, store, beside=beside, strike_seconds=60.0, keep_seconds=60.0
        )
        policy = Policy(block_ms=1, refresh_seconds=0.0, backoff_seconds=0.0)
        self.actor = Actor(Streams(self.redis), self.handler, "store-0", policy)
        producer = Producer(self.redis, "SPY", 1)
        for number, (_, one) in enumerate(entries(ENTRIES, SIZE)):
            producer.append(SHARD, one)
            if number == 0 and begun:
                self.actor.step()

    def finish(self, url: str) -> None:
        """Work until all is stored; then everything is there, once."""

        def done() -> bool:
            try:
                self.actor.step()
            except StorageError:
                return False
            return self.actor.handled >= ENTRIES

        wait_until(done, seconds=60, what="the backlog to be stored")
        with connect(url, name="test") as connection:
            assert count(connection, "quotes", "entries", "spots") == [
                ENTRIES * SIZE,
                ENTRIES,
                ENTRIES,
            ]
            assert len(set(all_rows(connection, "quotes"))) == ENTRIES * SIZE
        (state,) = (g for g in Streams(self.redis).groups(stream()) if g.name == keys.STORE_GROUP)
        assert (state.pending, state.lag) == (0, 0)
        assert self.redis.xlen(keys.dead(keys.STORE_GROUP)) == 0
        self.handler.close()


def stream() -> str:
    return keys.quotes("SPY", SHARD)


def slow_rows(connection: Connection) -> None:
    """Each quote takes five milliseconds to store: there is time to break in."""
    connection.execute(
        "CREATE FUNCTION gex.slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.005); RETURN NEW; END $$;"
        " CREATE TRIGGER slow BEFORE INSERT ON gex.quotes FOR EACH ROW EXECUTE FUNCTION gex.slow()"
    )
    connection.commit()


def is_open(connection: Connection) -> bool:
    """Whether the server still serves it."""
    try:
        connection.execute("SELECT")
    except psycopg.Error:
        return False
    return True


def copying(url: str) -> list[int]:
    """Process ids of the backends in the middle of a COPY of quotes."""
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity"
            " WHERE application_name = 'gex-store' AND query LIKE 'COPY gex.quotes%'"
            " AND wait_event = 'PgSleep'"
        ).fetchall()
    return [pid for (pid,) in rows]


@pytest.mark.parametrize("much", [1 << 20, 10_000], ids=["one", "halves"])
@pytest.mark.parametrize("victim", ["backend", "server"])
def test_postgres_killed_in_mid_copy(
    postgres: Server, victim: str, much: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one transaction, or of two at the same time."""
    monkeypatch.setattr(store_module, "_MUCH_BYTES", much)
    worker = Worker(postgres.url, begun=True)
    with connect(postgres.url, name="test") as connection:
        slow_rows(connection)
    failures: list[Exception] = []

    def step() -> None:
        try:
            worker.actor.step()
        except StorageError as error:
            failures.append(error)

    thread = threading.Thread(target=step)
    thread.start()
    copies = 1 if much > 10_000 else 2
    found: list[int] = []

    def all_copy() -> bool:
        found[:] = copying(postgres.url)  # between two rows a backend does not sleep
        return len(found) == copies

    wait_until(all_copy, seconds=30, what="a COPY of each")
    witness = psycopg.connect(postgres.url, autocommit=True)
    if victim == "server":
        postgres.kill()
    else:
        os.kill(found[0], signal.SIGKILL)
    thread.join(60)
    assert not thread.is_alive()
    assert len(failures) == 1
    assert str(failures[0]).startswith("PostgreSQL: ")
    wait_until(lambda: not is_open(witness), seconds=60, what="the end of all connections")
    if victim == "server":
        with pytest.raises(StorageError, match="PostgreSQL: "):
            worker.actor.step()  # away for as long as it takes
        postgres.start()
    wait_until(postgres.answers, seconds=60, what="PostgreSQL again")
    with connect(postgres.url, name="test") as connection:
        assert count(connection, "quotes", "entries", "sessions") == [SIZE, 1, 1]
        connection.execute("DROP TRIGGER slow ON gex.quotes")
        connection.commit()
    worker.finish(postgres.url)


def someone_waits(url: str) -> bool:
    """Whether a lock is waited for."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
    return row is not None and row[0] > 0


def test_migrating_goes_on_after_the_server_was_killed(postgres: Server) -> None:
    """A server that is away while the platform starts does not end it."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA gex CASCADE")
        connection.execute("CREATE SCHEMA gex")
    holder = psycopg.connect(postgres.url)
    holder.execute("CREATE TABLE gex.quotes (held integer)")  # whoever wants to, too, waits
    command = subprocess.Popen(
        [GEX, "db", "migrate", "--wait", "60"],
        env=environment(postgres.state),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_until(lambda: someone_waits(postgres.url), seconds=30, what="a migration under way")
    postgres.kill()
    holder.close()
    postgres.start()
    said, _ = command.communicate(timeout=60)
    assert command.returncode == 0, said
    assert "going on once the server is there again" in said
    with connect(postgres.url, name="test") as connection:
        migrate.require_current(connection)


def test_a_full_disk_is_waited_out(small_disk: Path) -> None:
    with server(small_disk) as postgres:
        worker = Worker(postgres.url)
        filler = small_disk / "filler"
        fill(filler)
        messages = set()
        for _ in range(3):
            with pytest.raises(StorageError) as caught:
                worker.actor.step()
            messages.add(str(caught.value))
        assert all(text.startswith("PostgreSQL: ") for text in messages)
        assert any("No space left on device" in text for text in messages), messages
        filler.unlink()
        if not postgres.answers() and postgres.process and postgres.process.poll() is not None:
            postgres.start()  # without room for its log it stops; supervisord starts it again
        wait_until(postgres.answers, seconds=60, what="PostgreSQL again")
        worker.finish(postgres.url)


def fill(path: Path) -> None:
    """Leave no byte of the volume."""
    block: Any = bytes(1 << 16)
    with path.open("wb", buffering=0) as file:
        while block:
            try:
                file.write(block)
            except OSError:
                block = block[: len(block) // 2]
