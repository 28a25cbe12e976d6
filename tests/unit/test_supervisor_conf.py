"""supervisord.conf and the Procfile: the same commands, and commands that exist."""

from __future__ import annotations

import configparser
import importlib.util
import re
import shlex

import pytest
import typer
from celery.bin.celery import celery as celery_command

from common.resources import project_root, resource
from common.servers.supervisor import OURS
from workers.cli import app

IN_THE_PROCFILE_ONLY = {"migrate": "--stay", "simulator": "--when-needed"}
"""Honcho starts all of its programs and ends with any of them, so these stay there."""


def supervisor() -> configparser.ConfigParser:
    """supervisord.conf, with nothing filled in."""
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=None)
    parser.read_string(resource("supervisord.conf").read_text(encoding="utf-8"))
    return parser


def programs() -> dict[str, configparser.SectionProxy]:
    """Program → its section."""
    parser = supervisor()
    return {
        section.partition(":")[2]: parser[section]
        for section in parser.sections()
        if section.startswith("program:")
    }


def commands() -> dict[str, str]:
    """Program → its command, as the first of its processes runs it."""
    return {
        name: section["command"].replace("%(process_num)d", "0")
        for name, section in programs().items()
    }


def procfile() -> dict[str, str]:
    """Program → its command in the Procfile."""
    root = project_root()
    assert root is not None
    lines = (root / "Procfile").read_text(encoding="utf-8").strip().splitlines()
    return dict(line.split(": ", 1) for line in lines)


def test_what_is_the_platforms_own_is_known() -> None:
    assert set(programs()) == OURS


def test_both_run_the_same_commands() -> None:
    expected = {
        name: " ".join([command, *IN_THE_PROCFILE_ONLY.get(name, "").split()])
        for name, command in commands().items()
    }
    assert procfile() == expected


@pytest.mark.parametrize("command", sorted({*commands().values(), *procfile().values()}))
def test_a_command_exists_with_all_its_options(command: str) -> None:
    program, *words = shlex.split(command)
    assert program in ("gex", "celery")
    group = typer.main.get_command(app) if program == "gex" else celery_command
    if program == "celery":
        assert words[0] == "-A"
        assert importlib.util.find_spec(words[1]) is not None
        words = words[2:]
    path = []
    while hasattr(group, "commands"):
        path.append(words.pop(0))
        assert path[-1] in group.commands, f"{program} has no command {' '.join(path)}"
        group = group.commands[path[-1]]
    known = {option for parameter in group.params for option in parameter.opts}
    for option in (word.partition("=")[0] for word in words if word.startswith("--")):
        assert option in known, f"{program} {' '.join(path)} has no option {option}"


@pytest.mark.parametrize("name", sorted(programs()))
def test_a_program_keeps_a_bounded_log_and_has_time_to_stop(name: str) -> None:
    section = programs()[name]
    assert section["redirect_stderr"] == "true"
    assert section["stdout_logfile"].startswith("%(ENV_GEX_LOG_DIR)s/")
    assert section["stdout_logfile_maxbytes"].endswith("MB")
    assert section.getint("stdout_logfile_backups") >= 1
    assert section.getint("priority") > 0
    if name != "migrate":
        assert section.getint("stopwaitsecs") >= 10


def test_servers_start_first_and_the_feed_last() -> None:
    order = {name: section.getint("priority") for name, section in programs().items()}
    servers = {order["redis"], order["postgres"]}
    rest = [place for name, place in order.items() if name not in ("redis", "postgres")]
    assert max(servers) < min(rest)
    assert max(order, key=lambda name: order[name]) == "ingest"


def test_postgres_is_stopped_by_its_fast_shutdown() -> None:
    section = programs()["postgres"]
    assert section["stopsignal"] == "INT"
    assert section.getint("stopwaitsecs") >= 60


def test_the_control_socket_is_closed_to_others() -> None:
    parser = supervisor()
    assert parser["unix_http_server"]["chmod"] == "0700"
    assert not parser.has_section("inet_http_server")
    assert parser["supervisord"]["nodaemon"] == "true"


def test_every_variable_is_set_by_gex_up() -> None:
    root = project_root()
    assert root is not None
    used = set(re.findall(r"%\(ENV_(\w+)\)s", resource("supervisord.conf").read_text("utf-8")))
    setters = [root / "workers/commands/run.py", root / "common/servers/supervisor.py"]
    text = "".join(path.read_text(encoding="utf-8") for path in setters)
    assert {name for name in used if f'"{name}"' not in text} == set()
