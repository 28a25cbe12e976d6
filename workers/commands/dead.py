"""`gex dead`: entries that could not be handled, with their reasons; another try for them.

Owns the commands; must not decide what is dead.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.progress import track
from rich.table import Table

from common.bus.dead_letters import DeadLetters, Letter
from common.clock import iso_ms
from common.errors import UsageError
from workers.commands.tail import describe
from workers.context import Context, console, print_json

dead = typer.Typer(
    help="Entries that could not be handled: look at them, drive them again.",
    no_args_is_help=True,
)
Group = Annotated[
    str | None,
    typer.Option(
        help="Only those of one group: greeks, store, or one of yours.", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dead.command("list")
def list_letters(group: Group = None, json: AsJson = False) -> None:
    """All dead letters, the oldest first."""
    box = _letters()
    letters = list(box.all(_checked(box, group)))
    if json:
        print_json([_brief(letter) for letter in letters])
        return
    if not letters:
        console.print("no dead letters")
        return
    table = Table(box=SIMPLE_HEAD, padding=0)
    for heading in ("letter", "buried (UTC)", "stream", "tries", "reason"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "reason")
    for letter in letters:
        table.add_row(
            letter.name,
            iso_ms(letter.buried_ms * 1000)[5:19].replace("T", " "),
            letter.stream,
            str(letter.deliveries),
            letter.reason,
        )
    console.print(table)
    console.print("`gex dead show LETTER` shows one; `gex dead retry LETTER` drives it again")


@dead.command("show")
def show(
    letter: Annotated[str, typer.Argument(help="As `gex dead list` names it: greeks:1787-0.")],
    json: AsJson = False,
) -> None:
    """One dead letter: its reason, its traceback, and what is in it."""
    found = _letters().find(letter)
    lines = describe(found.stream, found.entry_id, found.fields)
    if json:
        print_json({**_brief(found), "traceback": found.traceback, "content": lines})
        return
    console.print(f"[bold]{found.name}[/] of {found.stream} {found.entry_id}")
    console.print(f"buried at {iso_ms(found.buried_ms * 1000)} after {found.deliveries} deliveries")
    console.print(found.reason, style="red", markup=False)
    if found.traceback:
        console.print(found.traceback, markup=False, style="dim")
    for line in lines:
        console.print(line, markup=False)


@dead.command("retry")
def retry(
    letters: Annotated[
        list[str] | None, typer.Argument(help="As `gex dead list` names them.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every dead letter.")] = False,
    group: Group = None,
    json: AsJson = False,
) -> None:
    """Append dead letters to their streams again, once what was wrong has been mended.

    With --all, those whose entry had been trimmed away stay where they are.
    """
    box = _letters()
    if bool(letters) == every:
        raise UsageError("name the letters to retry, or --all of them")
    if every:
        chosen = [letter for letter in box.all(_checked(box, group)) if letter.fields]
    else:
        chosen = [box.find(name) for name in letters or ()]
    appended = [
        {"letter": each.name, "stream": each.stream, "id": box.retry(each)}
        for each in track(chosen, "driving again", console=console, disable=json, transient=True)
    ]
    if json:
        print_json(appended)
        return
    for row in appended:
        console.print(f"{row['letter']} is {row['id']} of {row['stream']} now")
    if not appended:
        console.print("no dead letter that can be driven again")


def _letters() -> DeadLetters:
    return DeadLetters(Context.load().reachable_redis())


def _checked(box: DeadLetters, group: str | None) -> str | None:
    known = box.groups()
    if group is not None and group not in known:
        raise UsageError(f"{group!r} is no group: {' or '.join(known)}")
    return group


def _brief(letter: Letter) -> dict[str, Any]:
    return {
        "letter": letter.name,
        "group": letter.group,
        "buried_at": iso_ms(letter.buried_ms * 1000),
        "stream": letter.stream,
        "entry": letter.entry_id,
        "reason": letter.reason,
        "deliveries": letter.deliveries,
        "retriable": bool(letter.fields),
    }
