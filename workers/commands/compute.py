"""``gex compute``: levels of one chain file, without any server.

Owns the command's arguments and its two outputs; must not parse a file or define a number.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from common.board import ShardState
    from common.feeds.snapshot import FileSnapshot
    from common.levels import Levels
    from common.models import JsonDict
    from common.settings import QuantParameters

TOP_STRIKES = 10
Sign = Literal["index", "short_all"]
Source = Literal["own", "vendor"]


def compute(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Chain file, plain or .gz: Cboe JSON (old or new layout), Cboe quotedata CSV in "
            "any language, TD Ameritrade or Schwab JSON, recorded series CSV.",
        ),
    ],
    *,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="ISO8601",
            help="Use the last snapshot at or before this time (New York unless it has an "
            "offset); the time of a file that carries none.",
        ),
    ] = None,
    symbol: Annotated[
        str | None,
        typer.Option(metavar="S", help="Underlying, e.g. SPY, where the file does not name it."),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(metavar="R", help="Interest rate per year, continuous: 0.04 is 4 %."),
    ] = None,
    dividend_yield: Annotated[
        float | None,
        typer.Option(metavar="Q", help="Dividend yield; used only where parity gives no forward."),
    ] = None,
    sign: Annotated[
        Sign | None,
        typer.Option(help="Modelled dealer position: index (+call, -put) or short_all."),
    ] = None,
    greeks: Annotated[
        Source,
        typer.Option(help="own: solve IV from quotes. vendor: the file's Greeks, unfiltered."),
    ] = "own",
    contracts: Annotated[
        bool, typer.Option("--contracts", help="Add every contract's Greeks to the JSON.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a summary.")] = False,
) -> None:
    """Levels, per-strike exposures and Greeks of a chain file; needs no servers."""
    from common.clock import parse_instant  # noqa: PLC0415  keeps every other command's start short
    from common.feeds.files import load_snapshot  # noqa: PLC0415

    snapshot = load_snapshot(
        file, at_us=parse_instant(at) if at else None, symbol=symbol.upper() if symbol else None
    )
    parameters = _parameters(rate=rate, dividend_yield=dividend_yield, sign=sign)
    levels = levels_of(snapshot, parameters=parameters, source=greeks)
    if json:
        _print_json(document_of(levels, snapshot, contracts=contracts))
    else:
        _print_summary(levels, snapshot)


def levels_of(
    snapshot: FileSnapshot, *, parameters: QuantParameters, source: Source = "own"
) -> Levels:
    """Solve every expiration of a snapshot and evaluate it at its own spot and time.

    Where the price of the underlying is of another time than the quotes, the quotes are solved
    at the price that they imply themselves, and only the levels are at the file's price.

    :raises InputError: when ``source`` is ``vendor`` and the file holds no Greeks.
    """
    from common.errors import InputError  # noqa: PLC0415
    from common.levels import evaluate  # noqa: PLC0415
    from common.parity_spot import parity_spot  # noqa: PLC0415

    if source == "vendor" and not snapshot.vendor:
        raise InputError("the file holds no iv, delta and gamma for --greeks vendor")
    shards = _solved(snapshot, snapshot.spot, parameters)
    if _spot_is_apart(snapshot, parameters):
        implied = parity_spot(shards=shards, parameters=parameters)
        if implied > 0.0:
            shards = _solved(snapshot, implied, parameters)
    return evaluate(
        symbol=snapshot.symbol,
        shards=shards,
        spot=snapshot.spot,
        as_of=snapshot.as_of,
        parameters=parameters,
        spot_time=snapshot.as_of,
        prior_close=snapshot.prior_close,
        source=source,
        unnamed=snapshot.unnamed,
    )


def _solved(snapshot: FileSnapshot, spot: float, parameters: QuantParameters) -> list[ShardState]:
    """Every expiration, solved with the underlying at ``spot`` when the quotes were taken."""
    from common.board import ShardState  # noqa: PLC0415
    from common.chain import solve  # noqa: PLC0415

    shards = []
    for number, expiry in enumerate(snapshot.expiries):
        rows = snapshot.expiry_index == number
        quotes = snapshot.quotes[rows]
        quotes["spot"] = spot
        solution = solve(quotes=quotes, expiry=expiry, parameters=parameters)
        vendor = {name: column[rows] for name, column in snapshot.vendor.items()}
        shards.append(ShardState(expiry, quotes, solution, vendor))
    return shards


def _spot_is_apart(snapshot: FileSnapshot, parameters: QuantParameters) -> bool:
    """Whether the quotes would be stale against the price of the underlying, or it to them."""
    from common.clock import SECOND  # noqa: PLC0415

    if snapshot.spot_at is None:
        return False
    return abs(snapshot.spot_at - snapshot.as_of) > parameters.max_quote_age_seconds * SECOND


def document_of(levels: Levels, snapshot: FileSnapshot, *, contracts: bool) -> JsonDict:
    """The JSON of the command: that of levels, and what is odd about the file, if anything.

    ``left_out`` contracts are adjusted, foreign or repeated; ``spot_at`` is the time of the
    spot where it is not that of the quotes, which is ``as_of``.
    """
    from common.clock import iso_ms  # noqa: PLC0415

    document = levels.to_json(contracts=contracts)
    if snapshot.left_out:
        document["left_out"] = snapshot.left_out
    if snapshot.spot_at is not None:
        document["spot_at"] = iso_ms(snapshot.spot_at)
    return document


def _parameters(
    *, rate: float | None, dividend_yield: float | None, sign: str | None
) -> QuantParameters:
    """The settings' parameters with what the command line changes.

    :raises UsageError: when a value is out of its range.
    """
    from common.errors import UsageError  # noqa: PLC0415
    from common.settings import load_settings  # noqa: PLC0415

    settings = load_settings(rate=rate, dividend_yield=dividend_yield, sign=sign)
    if settings.sign == "flow":
        raise UsageError(
            "a chain file holds no trades to give the 'flow' sign; choose --sign index or "
            "short_all, or replay a recording"
        )
    return settings.quant


def _print_json(document: JsonDict) -> None:
    import orjson  # noqa: PLC0415

    typer.echo(orjson.dumps(document).decode())


def _print_summary(levels: Levels, snapshot: FileSnapshot) -> None:
    from rich.console import Console  # noqa: PLC0415

    console = Console(highlight=False)
    document = document_of(levels, snapshot, contracts=False)
    console.print(
        f"[bold]{levels.symbol}[/bold]  spot {_money(document['spot'])}  {document['as_of']}  "
        f"dealer sign [italic]{levels.sign}[/italic] (modelled), {levels.source} Greeks"
    )
    if "spot_at" in document:
        console.print(f"spot of {document['spot_at']}, quotes of {document['as_of']}")
    console.print(_levels_table(document["levels"]))
    console.print(_strikes_table(document["strikes"]))
    quality = document["quality"]
    rejected = ", ".join(f"{count} {reason}" for reason, count in quality["rejected"].items())
    console.print(
        f"{quality['with_iv']} of {quality['contracts']} contracts with an IV; coverage "
        f"{_percent(quality['coverage_oi'])} of open interest, "
        f"{_percent(quality['coverage_gamma'])} of gamma; left out: {rejected or 'none'}"
        + (f"; {snapshot.left_out} of adjusted roots or repeated" if snapshot.left_out else "")
    )


def _levels_table(levels: JsonDict) -> object:
    from rich.table import Table  # noqa: PLC0415

    table = Table(show_header=False, box=None, padding=(0, 2))
    front = next(iter(levels["max_pain"].values()), None)
    roots = ", ".join(_money(root) for root in levels["zero_gamma_all"])
    rows = [
        ("net GEX", f"{_large(levels['net_gex'])} $ per 1 %", "regime", levels["regime"]),
        ("  0DTE", _large(levels["net_gex_0dte"]), "by volume", _large(levels["net_volume_gex"])),
        ("zero gamma", _money(levels["zero_gamma"]), "all roots", roots or "none"),
        ("call wall", _money(levels["call_wall"]), "put wall", _money(levels["put_wall"])),
        ("max pain", _money(front), "expected move", _money(levels["expected_move"])),
        ("DEX", f"{_large(levels['dex'])} $", "VEX", f"{_large(levels['vex'])} $ per point"),
        ("CEX", f"{_large(levels['cex'])} $ per day", "ATM IV", _percent(levels["atm_iv"])),
        (
            "put/call OI",
            _money(levels["put_call_oi"]),
            "volume",
            _money(levels["put_call_volume"]),
        ),
    ]
    for row in rows:
        table.add_row(*row)
    return table


def _strikes_table(strikes: list[JsonDict]) -> object:
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=f"largest |net GEX| strikes (of {len(strikes)})", title_justify="left")
    for name in ("strike", "call GEX", "put GEX", "net GEX", "call OI", "put OI"):
        table.add_column(name, justify="right")
    held = [row for row in strikes if row["net_gex"] or row["call_gex"]]
    top = sorted(held, key=lambda row: -abs(row["net_gex"]))[:TOP_STRIKES]
    for row in sorted(top, key=lambda row: -row["strike"]):
        exposures = [_large(row[name]) for name in ("call_gex", "put_gex", "net_gex")]
        interests = [f"{row[name]:,}" for name in ("call_oi", "put_oi")]
        table.add_row(f"{row['strike']:g}", *exposures, *interests)
    return table


def _money(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _large(value: float | None) -> str:
    """Dollars with a unit: 1.23 bn."""
    if value is None:
        return "-"
    for size, unit in ((1e9, " bn"), (1e6, " m"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:+,.2f}{unit}"
    return f"{value:+,.0f}"
