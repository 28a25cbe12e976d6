"""An instance: its folders, its lock, its ports and what is written down of them."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from common.errors import ServiceError, UsageError
from common.servers import redis_server
from common.servers.instance import Instance, Runtime, passable
from common.settings import load_settings


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No GEX_ variable and no .env but the test's own."""
    for name in list(os.environ):
        if name.upper().startswith("GEX_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def instance(tmp_path: Path, **settings: Any) -> Instance:
    """The instance of a state directory of the test's own, with its folders."""
    made = Instance(load_settings(state_dir=tmp_path / "state", **settings))
    made.make_folders()
    return made


def mode(path: Path) -> int:
    """Permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on, with a free one behind it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


# --- folders ---------------------------------------------------------------------------------


def test_its_folders_are_closed_to_others(tmp_path: Path) -> None:
    made = instance(tmp_path)
    made.make_run_dir()
    assert {mode(made.log_dir), mode(made.redis_dir)} == {0o700}
    assert not mode(made.state_dir) & 0o066
    assert not mode(made.run_dir) & 0o066


def test_making_the_folders_again_changes_nothing(tmp_path: Path) -> None:
    made = instance(tmp_path)
    (made.log_dir / "ingest.log").write_text("line")
    made.make_folders()
    assert (made.log_dir / "ingest.log").read_text() == "line"
    assert not (made.state_dir / ".writable").exists()


def test_a_state_directory_that_cannot_be_one_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(UsageError, match="set GEX_STATE_DIR to a folder you may write"):
        instance(tmp_path)


def test_sockets_have_a_short_path_however_deep_the_state_directory_is(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-rather-long-folder-name"] * 5)
    made = Instance(load_settings(state_dir=deep))
    assert len(str(made.run_dir / "supervisor.sock")) < 100
    assert made.run_dir != Instance(load_settings(state_dir=deep / "other")).run_dir


def test_the_folder_of_the_sockets_is_taken_away_once_nobody_has_one_there(tmp_path: Path) -> None:
    made = instance(tmp_path)
    made.remove_run_dir()  # none was made
    made.make_run_dir()
    (made.run_dir / "pg").mkdir()
    (made.run_dir / "pg" / ".s.PGSQL.5432").touch()
    made.remove_run_dir()
    assert (made.run_dir / "pg" / ".s.PGSQL.5432").exists()
    (made.run_dir / "pg" / ".s.PGSQL.5432").unlink()
    made.remove_run_dir()
    assert not made.run_dir.exists()
    assert made.log_dir.exists()


def test_a_folder_of_the_sockets_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    made = instance(tmp_path)
    made.run_dir = tmp_path / "file" / "run"
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UsageError, match="for sockets, cannot be made: "):
        made.make_run_dir()


def test_two_state_directories_are_two_instances(tmp_path: Path) -> None:
    one = Instance(load_settings(state_dir=tmp_path / "one"))
    two = Instance(load_settings(state_dir=tmp_path / "two"))
    assert one.id != two.id
    assert one.id == Instance(load_settings(state_dir=tmp_path / "one")).id


def test_a_folder_is_passable_when_every_folder_above_it_is(tmp_path: Path) -> None:
    inner = tmp_path / "open" / "inner"
    inner.mkdir(parents=True)
    assert passable(inner) == passable(inner.parent)
    inner.parent.chmod(0o700)
    assert not passable(inner)


# --- the lock --------------------------------------------------------------------------------


def test_one_run_holds_an_instance(tmp_path: Path) -> None:
    made = instance(tmp_path)
    assert made.holder() is None
    with made.lock():
        assert made.holder() == os.getpid()
        with pytest.raises(UsageError, match=rf"already runs .* \(pid {os.getpid()}\)"):
            made.lock().__enter__()
    assert made.holder() is None


def test_a_lock_left_by_a_killed_run_is_free(tmp_path: Path) -> None:
    made = instance(tmp_path)
    (made.state_dir / "up.lock").write_text("4242")
    assert made.holder() is None
    with made.lock():
        assert made.holder() == os.getpid()


# --- what is decided -------------------------------------------------------------------------


def test_what_was_decided_is_read_again_and_is_private(tmp_path: Path) -> None:
    made = instance(tmp_path)
    assert made.runtime() is None
    decided = made.decide()
    assert Instance(made.settings).runtime() == decided
    assert mode(made.state_dir / "runtime.json") == 0o600
    assert (decided.embedded_redis, decided.embedded_postgres) == (True, True)
    assert len(decided.redis_password) >= 24


def test_the_password_stays_and_nothing_else_is_left_behind(tmp_path: Path) -> None:
    made = instance(tmp_path)
    assert made.decide().redis_password == made.decide().redis_password
    names = {path.name for path in made.state_dir.glob("runtime.json*")}
    assert names == {"runtime.json"}


def test_a_port_in_use_is_passed_over(tmp_path: Path, taken: int) -> None:
    runtime = instance(tmp_path, redis_port=taken).decide()
    assert taken < runtime.redis_port <= taken + 200


def test_servers_of_ones_own_are_not_embedded(tmp_path: Path) -> None:
    made = instance(
        tmp_path,
        redis_url="redis://cache.example/3",
        database_url="postgresql://db.example/gex",
    )
    runtime = made.decide()
    assert (runtime.embedded_redis, runtime.embedded_postgres) == (False, False)
    assert runtime.redis_port == 0
    assert made.redis_url() == "redis://cache.example/3"
    assert made.broker_url() == "redis://cache.example/4"
    assert made.database_url() == "postgresql://db.example/gex"


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b"\xff"])
def test_a_damaged_file_says_what_to_do(tmp_path: Path, damage: bytes) -> None:
    made = instance(tmp_path)
    (made.state_dir / "runtime.json").write_bytes(damage)
    with pytest.raises(UsageError, match=r"runtime\.json is not readable: .*; remove it"):
        made.runtime()


def test_a_page_that_is_not_wanted_has_no_port(tmp_path: Path) -> None:
    made = instance(tmp_path)
    assert made.decide(dashboard=False).dashboard_port == 0
    assert made.dashboard_url() == ""
    assert made.decide().dashboard_port >= made.settings.dashboard_port


# --- addresses -------------------------------------------------------------------------------


def decided(made: Instance, **changes: Any) -> Runtime:
    """Write a decision down."""
    runtime = Runtime(
        redis_port=6400,
        redis_password="p@ss/w:rd",
        flower_port=5556,
        dashboard_port=8051,
        embedded_redis=True,
        embedded_postgres=True,
    )
    runtime = msgspec.structs.replace(runtime, **changes)
    (made.state_dir / "runtime.json").write_bytes(msgspec.json.encode(runtime))
    return runtime


def test_the_embedded_servers_have_their_addresses(tmp_path: Path) -> None:
    made = instance(tmp_path)
    decided(made)
    assert made.redis_url() == "redis://gex:p%40ss%2Fw%3Ard@127.0.0.1:6400/0"
    assert made.broker_url() == "redis://gex:p%40ss%2Fw%3Ard@127.0.0.1:6400/1"
    assert made.flower_url() == "http://127.0.0.1:5556"
    assert made.dashboard_url() == "http://127.0.0.1:8051"
    assert made.database_url().startswith("postgresql://gex@/gex?host=")


def test_the_simulator_has_a_port_of_its_own(tmp_path: Path, taken: int) -> None:
    made = instance(tmp_path, simulator_port=taken)
    assert made.simulator_url() == ""
    runtime = made.decide()
    assert taken < runtime.simulator_port <= taken + 200
    assert made.simulator_url() == f"http://127.0.0.1:{runtime.simulator_port}"


def test_a_file_of_an_older_version_is_still_read(tmp_path: Path) -> None:
    made = instance(tmp_path)
    old = msgspec.to_builtins(decided(made))
    del old["simulator_port"]
    (made.state_dir / "runtime.json").write_bytes(msgspec.json.encode(old))
    assert made.runtime() == decided(made)
    assert made.simulator_url() == "http://127.0.0.1:8760"


def test_listening_everywhere_is_reached_locally(tmp_path: Path) -> None:
    made = instance(tmp_path, listen_host="0.0.0.0")  # noqa: S104  what is tested
    decided(made)
    assert "@127.0.0.1:6400/" in made.redis_url()


def test_before_the_first_start_there_is_no_redis(tmp_path: Path) -> None:
    made = instance(tmp_path)
    assert made.flower_url() == made.dashboard_url() == ""
    with pytest.raises(ServiceError, match="run `gex up`"):
        made.redis_url()


# --- the embedded Redis ----------------------------------------------------------------------


def lines(tmp_path: Path, **settings: Any) -> dict[str, str]:
    """The configuration of the embedded server: directive → rest of its last line."""
    made = instance(tmp_path, **settings)
    text = redis_server.configuration(made, decided(made))
    return {line.partition(" ")[0]: line.partition(" ")[2] for line in text.splitlines()}


def test_the_embedded_redis_loses_and_evicts_nothing(tmp_path: Path) -> None:
    found = lines(tmp_path, redis_maxmemory_mb=64)
    assert (found["appendonly"], found["appendfsync"]) == ("yes", "everysec")
    assert (found["maxmemory"], found["maxmemory-policy"]) == ("64mb", "noeviction")
    assert (found["bind"], found["port"]) == ("127.0.0.1", "6400")


@pytest.mark.parametrize(("host", "open_to_readers"), [("127.0.0.1", True), ("0.0.0.0", False)])  # noqa: S104
def test_strangers_may_read_only_where_no_other_machine_can_ask(
    tmp_path: Path, host: str, *, open_to_readers: bool
) -> None:
    made = instance(tmp_path, listen_host=host)
    text = redis_server.configuration(made, decided(made))
    assert ("user default off" in text) is not open_to_readers
    assert "+@write" not in text
    assert "user gex on >p@ss/w:rd" in text
