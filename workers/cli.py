"""The `gex` command: composition root of the platform.

Owns the list of commands and what an error looks like; each command has a module of its own.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from common.errors import GexError
from workers.commands.auth import auth
from workers.commands.backup import back_up, bring_back
from workers.commands.bench import bench
from workers.commands.compute import compute
from workers.commands.database import database
from workers.commands.doctor import doctor
from workers.commands.history import history
from workers.commands.levels import levels, profile
from workers.commands.processes import serve, worker
from workers.commands.record import record
from workers.commands.simulator import simulator
from workers.commands.status import status
from workers.commands.up import down, replay, up

app = typer.Typer(
    name="gex",
    help="Real-time gamma exposure (GEX) of listed options. Start with `gex up`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command()(up)
app.command()(down)
app.command()(status)
app.command()(doctor)
app.command()(levels)
app.command()(profile)
app.command()(history)
app.command("backup")(back_up)
app.command("restore")(bring_back)
app.command()(compute)
app.command()(replay)
app.command()(record)
app.command()(bench)
app.add_typer(auth, name="auth")
app.command()(simulator)
app.add_typer(database, name="db")
app.add_typer(serve, name="serve")
app.add_typer(worker, name="worker")


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
