"""`gex worker run` and `gex worker forget`: handlers of the user's own as actors.

Owns finding a handler by its name and checking what it is; must not know what it does.
"""

from __future__ import annotations

import pkgutil
import re
import sys
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from common.bus import keys
from common.bus.cache import Cache
from common.bus.streams import Streams
from common.errors import UsageError
from workers.actor import Actor
from workers.commands.processes import begin, usual_policy, worker
from workers.commands.processes import run as run_actor
from workers.context import Context, console
from workers.handling import Handler
from workers.startup import step_back

_OURS = (keys.GREEKS_GROUP, keys.STORE_GROUP)
_NEEDED = ("group", "exclusive", "streams", "handle", "maintain", "rest", "close")
_NAME = re.compile(r"[A-Za-z0-9._-]+")


@worker.command("run")
def worker_run(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:CLASS",
            help="A handler; its module is importable, or a file in this folder.",
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(help="Unique among the workers of its group.", show_default="GROUP-0"),
    ] = None,
) -> None:
    """A handler of yours as an actor: an analytic that reads the same streams.

    It gets the streams' entries at least once, is asked again after errors, has what it cannot
    handle buried (`gex dead list`), and is shown by `gex status`. docs/actors.md has an example;
    `gex worker forget GROUP` takes the group away once you want it no more.
    """
    step_back()
    context = begin()
    handler = load_handler(target, context)
    name = name or f"{handler.group}-0"
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be the name of a worker; letters, digits, . _ - can")
    run_actor(Actor(Streams(context.redis()), handler, name, usual_policy(context.settings)))


@worker.command("forget")
def worker_forget(
    group: Annotated[str, typer.Argument(help="As `gex status` shows it beside a stream.")],
) -> None:
    """Take a group of yours from the streams, so that nothing waits for it any more.

    Without this, entries that it has not read are kept until Redis' memory is short. What it has
    buried stays.
    """
    if group in _OURS:
        raise UsageError(f"{group!r} is the platform's own; without it there is no level")
    client = Context.load().reachable_redis()
    alive = [name for (of, name) in Cache(client).actors() if of == group]
    if alive:
        raise UsageError(
            f"{', '.join(alive)} of {group!r} said something within a minute; stop it first"
        )
    streams = Streams(client).forget(group)
    if not streams:
        raise UsageError(f"no stream has a group {group!r}; `gex status` shows those there are")
    console.print(f"{len(streams)} streams no longer wait for {group}")


def load_handler(target: str, context: Context) -> Handler:
    """The handler that MODULE:CLASS makes of a context.

    :raises UsageError: when there is no such thing, or it is no handler.
    """
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        make: Any = pkgutil.resolve_name(target)
    except (ValueError, ImportError, AttributeError) as error:
        raise UsageError(
            f"{target!r} names no handler: {error}. Give MODULE:CLASS of something that is "
            f"installed or stands in {folder}; docs/actors.md has an example"
        ) from error
    if not callable(make):
        raise UsageError(f"{target!r} is no class, nor a function that makes a handler")
    handler = make(context)
    missing = [name for name in _NEEDED if not hasattr(handler, name)]
    if missing:
        raise UsageError(
            f"{target!r} makes no handler: it has no {', '.join(missing)} "
            "(workers.handling.PlainHandler has all but group, prefix and handle)"
        )
    group = str(handler.group)
    if group in _OURS or not _NAME.fullmatch(group):
        raise UsageError(
            f"{group!r} cannot be the group of {target!r}: "
            + ("it is the platform's own" if group in _OURS else "letters, digits, . _ - can")
        )
    return cast(Handler, handler)
