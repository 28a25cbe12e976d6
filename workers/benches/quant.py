"""Figures of the quantities: speed against the best library, one whole aggregation, first call.

Owns measuring them; how libraries are called stands in :mod:`workers.benches.peers`, accuracy
in :mod:`workers.benches.accuracy`. Everything runs in one process on one processor, calls take
turns, medians are compared. Volatilities are asked for as F, K, D, T, Greeks as S, K, r, q, T.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping

import numpy as np

from common.chain import solve
from common.levels import ShardState, check_invariants, evaluate
from common.models import FloatArray
from common.quant import kernels
from common.quant.blackscholes import greeks, price
from common.quant.implied_vol import implied_vol
from common.quant.zero_gamma import Book, net_gex
from common.settings import QuantParameters
from workers.benches.figure import Figure, interleaved, one_processor, ratio, seconds_of
from workers.benches.peers import Slice, Solve, greek_makers, solvers
from workers.benches.sample import chain, whole_chain
from workers.startup import keep_heap

_TURNS = {20: (101, 50), 300: (101, 20), 5000: (41, 3)}
"""Contracts → (rounds, calls a turn)."""
_SPOT, _RATE, _DIVIDEND, _YEARS = 600.0, 0.04, 0.012, 3.0 / 24 / 365
_SPOTS = 200
_RIGHT = 1e-6
"""A library counts if its volatilities are within this of the ones that made the prices."""
_FIRST_CALL = """
import workers.cli
from workers.startup import without_collecting
with without_collecting():
    import workers.commands.processes, workers.greeks
    from common.chain import solve
    from common.quant import kernels
    from common.settings import load_settings
    from workers.benches.sample import whole_chain
    parameters = load_settings().quant
    name = kernels.load()
(expiry, quotes), = whole_chain(300, expirations=1)[0].items()
found = solve(quotes=quotes, expiry=expiry, parameters=parameters)
print(name, (found.status == 0).sum(), flush=True)
"""
"""What `gex worker greeks` does, with a chain at hand in place of a stream."""


def run() -> list[Figure]:
    """The figures of `gex bench quant`."""
    from workers.benches import accuracy  # noqa: PLC0415  it needs mpmath

    with one_processor():
        kernels.load()
        keep_heap()
        figures = [_volatilities(20, 6.0), _volatilities(300, 20.0), _volatilities(5000, 20.0)]
        figures += [_greeks(300), _greeks(5000), _fused(300), _curve(300), _curve(5000)]
        figures += [_tick(), *_stages()]
    return [*figures, _first_call(), *accuracy.run()]


def _slice(count: int) -> Slice:
    """A 0DTE slice three hours before its end, out of the money."""
    forward = _SPOT * float(np.exp((_RATE - _DIVIDEND) * _YEARS))
    discount = float(np.exp(-_RATE * _YEARS))
    strikes = np.linspace(585.0, 615.0, count)
    sigmas = np.random.default_rng(1).uniform(0.1, 0.4, count)
    puts = strikes < forward
    prices = price(
        forwards=forward,
        strikes=strikes,
        years=_YEARS,
        sigmas=sigmas,
        discounts=discount,
        puts=puts,
    )
    return Slice(forward, _YEARS, discount, strikes, puts, prices, sigmas)


def _own_solver(options: Slice) -> Solve:
    full = np.ones(options.strikes.shape)
    forwards, years, discounts = (
        options.forward * full,
        options.years * full,
        options.discount * full,
    )

    def solve_all() -> FloatArray:
        return implied_vol(
            prices=options.prices,
            forwards=forwards,
            strikes=options.strikes,
            years=years,
            discounts=discounts,
            puts=options.puts,
        ).sigmas

    return solve_all


def _own_greeks(options: Slice) -> Callable[[], object]:
    full = np.ones(options.strikes.shape)
    columns = {
        "spots": _SPOT * full,
        "forwards": options.forward * full,
        "strikes": options.strikes,
        "years": options.years * full,
        "sigmas": options.sigmas,
        "rates": _RATE * full,
        "puts": options.puts,
    }
    return lambda: greeks(**columns)


def _right(options: Slice) -> dict[str, Solve]:
    """The libraries that solve the slice rightly."""
    return {
        name: call
        for name, call in solvers(options).items()
        if np.max(np.abs(call() / options.sigmas - 1.0), initial=0.0) < _RIGHT
    }


def _against(
    figure_id: str,
    own: Callable[[], object],
    others: Mapping[str, Callable[[], object]],
    *,
    unit: str,
    goal: float,
) -> Figure:
    """Our rate over the best of the others; the number of contracts ends the figure's name."""
    count = int(figure_id.rpartition("_")[2])
    rounds, calls = _TURNS[count]
    times = interleaved({"": own, **others}, rounds=rounds, calls=calls)
    mine = times.pop("")
    best = min(times, key=times.__getitem__, default=None)
    return ratio(
        figure_id,
        own=count / mine,
        name=best or "",
        reference=count / times[best] if best else None,
        unit=unit,
        goal=goal,
    )


def _volatilities(count: int, goal: float) -> Figure:
    options = _slice(count)
    own = _own_solver(options)
    assert np.max(np.abs(own() / options.sigmas - 1.0)) < _RIGHT  # noqa: S101
    return _against(f"iv_{count}", own, _right(options), unit="IV/s", goal=goal)


def _greeks(count: int) -> Figure:
    options = _slice(count)
    others = greek_makers(options, spot=_SPOT, rate=_RATE, dividend=_DIVIDEND)
    own = _own_greeks(options)
    return _against(f"greeks_{count}", own, others, unit="contracts/s", goal=7.0)


def _fused(count: int) -> Figure:
    """IV and Greeks of one slice against the best library for each, one after the other."""
    options = _slice(count)
    solve_all, make = _own_solver(options), _own_greeks(options)

    def both() -> None:
        solve_all()
        make()

    makers = greek_makers(options, spot=_SPOT, rate=_RATE, dividend=_DIVIDEND)
    first, second = _best(_right(options), count), _best(makers, count)
    others: dict[str, Callable[[], object]] = {}
    if first and second:
        solver, maker = solvers(options)[first], makers[second]
        others[f"{first} and {second}"] = lambda: (solver(), maker())
    return _against(f"fused_{count}", both, others, unit="contracts/s", goal=15.0)


def _best(actions: Mapping[str, Callable[[], object]], count: int) -> str | None:
    rounds, calls = _TURNS[count]
    times = interleaved(actions, rounds=rounds, calls=calls)
    return min(times, key=times.__getitem__, default=None)


def _curve(count: int) -> Figure:
    """Net GEX at 200 spots of a week's book against the formula broadcast in plain numpy."""
    random = np.random.default_rng(1)
    full = np.ones(count)
    book = Book(
        strikes=np.linspace(540.0, 660.0, count),
        bases=1.0001 * full,
        years=7.0 / 365 * full,
        sigmas=random.uniform(0.1, 0.4, count),
        discounts=0.999 * full,
        positions=random.normal(0.0, 1000.0, count),
    )
    spots = np.linspace(510.0, 690.0, _SPOTS)

    def broadcast() -> FloatArray:
        v = book.sigmas * np.sqrt(book.years)
        d1 = np.log(book.bases * spots[:, None] / book.strikes) / v + 0.5 * v
        density = np.exp(-0.5 * d1 * d1) / np.sqrt(2.0 * np.pi)
        gammas = book.discounts * book.bases * density / (spots[:, None] * v)
        return np.asarray((gammas * book.positions).sum(axis=1) * spots * spots)

    def own() -> FloatArray:
        return net_gex(book=book, spots=spots)

    assert np.max(np.abs(own() - broadcast())) < 1e-9 * np.max(np.abs(own()))  # noqa: S101
    name = "plain numpy broadcast"
    return _against(f"curve_{count}", own, {name: broadcast}, unit="contracts/s", goal=10.0)


def _tick() -> Figure:
    """One aggregation of 5,000 contracts: the states of 20 expirations in, both documents out."""
    parameters = QuantParameters()
    found, spot, at = whole_chain(5000)
    shards = [
        ShardState(expiry, rows, solve(quotes=rows, expiry=expiry, parameters=parameters))
        for expiry, rows in found.items()
    ]

    def aggregate() -> None:
        levels = evaluate(symbol="SPY", shards=shards, spot=spot, as_of=at, parameters=parameters)
        breaches = check_invariants(levels)
        assert not breaches  # noqa: S101
        levels.profile_json(beside=levels.to_json())

    return _milliseconds("tick_5000_ms", interleaved({"": aggregate}, rounds=101)[""], 5.0)


def _stages() -> list[Figure]:
    """Solving one expiration of 300 and of 5,000 contracts."""
    parameters = QuantParameters()
    figures = []
    for contracts, goal in ((300, 5.0), (5000, 25.0)):
        expiry, quotes, _, _ = chain(contracts)

        def stage() -> None:
            solve(quotes=quotes, expiry=expiry, parameters=parameters)  # noqa: B023

        seconds = interleaved({"": stage}, rounds=51)[""]
        figures.append(_milliseconds(f"solve_{contracts}_ms", seconds, goal))
    return figures


def _first_call() -> Figure:
    """A worker's start until its first expiration is solved, kernels from the cache."""

    def start() -> None:
        result = subprocess.run(
            [sys.executable, "-c", _FIRST_CALL], capture_output=True, text=True, check=True
        )
        name, solved = result.stdout.split()
        assert name == kernels.load() == "compiled"  # noqa: S101
        assert int(solved) > 0  # noqa: S101

    start()  # compiles, if nothing has
    return _milliseconds(
        "first_call_ms", statistics.median(seconds_of(start) for _ in range(9)), 1000.0
    )


def _milliseconds(figure_id: str, seconds: float, goal: float) -> Figure:
    beside = {"name": "period of the levels", "value": 1000.0, "unit": "ms"}
    return Figure(figure_id, 1000.0 * seconds, "ms", beside, goal, "<=")
