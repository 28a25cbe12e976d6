"""The `gex` command: composition root of the platform.

Owns the list of commands and what an error looks like; each command has a module of its own,
which is imported when it is asked for, so that a worker does not wait for what others need.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from common.errors import GexError
from workers.startup import without_collecting

COMMANDS = {
    "up": "up:up",
    "down": "up:down",
    "status": "status:status",
    "doctor": "doctor:doctor",
    "levels": "levels:levels",
    "profile": "levels:profile",
    "history": "history:history",
    "compute": "compute:compute",
    "tail": "tail:tail",
    "dead": "dead:dead",
    "replay": "up:replay",
    "record": "record:record",
    "backup": "backup:back_up",
    "restore": "backup:bring_back",
    "bench": "bench:bench",
    "auth": "auth:auth",
    "simulator": "simulator:simulator",
    "db": "database:database",
    "serve": "processes:serve",
    "worker": "handlers:worker",
}
"""Name → where it stands under :mod:`workers.commands`: a function, or a group of commands."""
_STYLE: dict[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": "rich",
}


class _Imports(dict[str, Any]):
    """Name → command, imported when it is looked up."""

    def __getitem__(self, name: str) -> Any:
        module, _, attribute = COMMANDS[name].partition(":")
        with without_collecting():
            found = getattr(importlib.import_module(f"workers.commands.{module}"), attribute)
        holder = typer.Typer(**_STYLE)
        if isinstance(found, typer.Typer):
            holder.add_typer(found, name=name)
        else:
            holder.command(name)(found)
        return typer.main.get_group(holder).commands[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The command, or the default where there is none of this name."""
        return self[name] if name in COMMANDS else default


class _Group(TyperGroup):
    """The commands of `gex`."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.commands = _Imports(COMMANDS)


app = typer.Typer(
    name="gex",
    cls=_Group,
    help="Real-time gamma exposure (GEX) of listed options. Start with `gex up`.",
    no_args_is_help=True,
    **_STYLE,
)


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Real-time gamma exposure (GEX) of listed options. Start with `gex up`."""
    if version:
        from importlib.metadata import version as installed  # noqa: PLC0415

        typer.echo(f"gex-platform {installed('gex-platform')}")
        raise typer.Exit


def main() -> None:
    """Run the command line: 0 fine, 1 a check failed, 2 bad usage; errors are one line."""
    try:
        code = app(standalone_mode=False)
    except GexError as error:
        _say(str(error))
        sys.exit(error.exit_code)
    except typer.TyperException as error:
        if error.format_message():  # the help it has shown says it all
            _say(error.format_message())
        sys.exit(2)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)


def _say(text: str) -> None:
    sys.stderr.write(f"gex: {' '.join(text.split())}\n")


if __name__ == "__main__":
    main()
