"""Compiled and plain kernels give the same numbers; nothing is loaded before it is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.machine import code as machine
from common.machine import layout
from common.models import Status
from common.quant import kernels, machine_code
from common.quant.blackscholes import GREEKS, greeks, price
from common.quant.exposure import walls
from common.quant.implied_vol import implied_vol
from common.quant.zero_gamma import Book, curve, net_gex, zero_gammas

YEAR = 365.0 * 86400.0


def both(compute: Callable[[], Any]) -> tuple[Any, Any]:
    kernels.use("plain")
    plain = compute()
    kernels.use("compiled")
    return compute(), plain


def chain(n: int, seed: int = 3) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    years = random.choice([1 / YEAR, 3 / 24 / 365, 1 / 365, 7 / 365, 0.25, 2.0], n)
    sigmas = random.uniform(0.05, 1.5, n)
    deviations = random.normal(0.0, 2.0, n)
    return {
        "spots": np.full(n, 600.0),
        "forwards": 600.0 * np.exp(random.uniform(-0.02, 0.04, n) * years),
        "strikes": 600.0 * np.exp(deviations * sigmas * np.sqrt(years)),
        "years": years,
        "sigmas": sigmas,
        "rates": random.uniform(-0.01, 0.06, n),
        "puts": random.random(n) < 0.5,
    }


def quotes(n: int) -> dict[str, np.ndarray]:
    """Prices of a chain, one in nine of them spoilt."""
    given = chain(n)
    terms = {name: given[name] for name in ("forwards", "strikes", "years", "puts")}
    discounts = np.exp(-given["rates"] * given["years"])
    values = price(**terms, sigmas=given["sigmas"], discounts=discounts)
    spoilt = [np.nan, np.inf, -np.inf, -1.0, 0.0, 1e9, 5e-324, 1e-13, 600.0]
    for at, value in enumerate(spoilt):
        values[at * 9 :: 81] = value
    return {**terms, "discounts": discounts, "prices": values}


@pytest.mark.parametrize("n", [0, 1, 20, 300, 5000, 100_000])
def test_volatilities_of_both(n: int) -> None:
    compiled, plain = both(lambda: implied_vol(**quotes(n)))
    assert compiled.statuses.tolist() == plain.statuses.tolist()
    assert compiled.statuses.shape == compiled.sigmas.shape == (n,)
    ok = compiled.statuses == Status.OK
    assert np.array_equal(np.isnan(compiled.sigmas), ~ok)
    given = quotes(n)
    outside = given["puts"] == (given["strikes"] < given["forwards"])
    rows = ok & outside
    vegas = greeks(
        spots=given["forwards"],
        forwards=given["forwards"],
        strikes=given["strikes"],
        years=given["years"],
        sigmas=plain.sigmas,
        rates=0.0,
        puts=given["puts"],
    ).vega
    conditioning = given["prices"] / (plain.sigmas * vegas * given["discounts"])
    close = np.abs(compiled.sigmas / plain.sigmas - 1.0) / np.maximum(conditioning, 1.0)
    assert np.all(close[rows] < 3e-15)


@pytest.mark.parametrize("n", [0, 1, 20, 300, 5000, 100_000])
def test_greeks_of_both(n: int) -> None:
    compiled, plain = both(lambda: greeks(**chain(n)))
    for name in GREEKS:
        ours, theirs = getattr(compiled, name), getattr(plain, name)
        assert ours.shape == (n,)
        bound = np.abs(theirs) * 1e-10 + (np.max(np.abs(theirs)) * 1e-14 if n else 0.0)
        assert np.all(np.abs(ours - theirs) <= bound), name


@pytest.mark.parametrize(("years", "n"), [(1e-5, 300), (7 / 365, 301), (0.5, 12)])
def test_curve_and_roots_of_both(years: float, n: int) -> None:
    random = np.random.default_rng(n)
    strikes = np.linspace(560.0, 640.0, n)
    book = Book(
        strikes=strikes,
        bases=np.full(n, 1.001),
        years=np.full(n, years),
        sigmas=random.uniform(0.1, 0.4, n),
        discounts=np.full(n, 0.999),
        positions=np.where(strikes > 600.0, 1.0, -1.0) * random.uniform(10.0, 1000.0, n),
    )

    def compute() -> Any:
        grid = curve(book=book, spot=601.0, width=0.15, points=301)
        return grid.net_gex, zero_gammas(book=book, curve=grid, spot=601.0)

    (compiled, roots), (plain, plain_roots) = both(compute)
    assert np.all(np.abs(compiled - plain) <= 1e-12 * np.abs(plain).max())
    assert np.array_equal(compiled == 0.0, plain == 0.0)
    assert roots == pytest.approx(plain_roots, rel=1e-11)
    assert roots.size > 0
    grid = curve(book=book, spot=601.0, width=0.15, points=301)
    assert np.all(np.abs(net_gex(book=book, spots=roots)) < 1e-9 * np.abs(grid.net_gex).max())


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(500, 700), st.sampled_from([0.999, 1.0, 1.002]), st.booleans()),
        max_size=60,
    ),
    st.sampled_from([2, 3, 201]),
)
def test_the_grid_of_both(rows: list[tuple[int, float, bool]], points: int) -> None:
    """Whatever the order of strikes: expirations follow each other, and share some."""
    n = len(rows)
    book = Book(
        strikes=np.array([float(strike) for strike, _, _ in rows]),
        bases=np.array([basis for _, basis, _ in rows]),
        years=np.array([1e-6 if near else 0.5 for *_, near in rows]),
        sigmas=np.full(n, 0.2),
        discounts=np.ones(n),
        positions=np.ones(n),
    )
    compiled, plain = both(lambda: curve(book=book, spot=600.0, width=0.1, points=points).spots)
    assert np.array_equal(compiled, plain)
    assert np.all(np.diff(compiled) > 0.0)
    assert compiled.size >= points


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 1.0, -2.0, 2.0]), st.integers(-2, 2)), max_size=12),
    st.sampled_from([0.0, 3.0, 3.5, 20.0, float("nan")]),
)
def test_walls_of_both(sizes: list[tuple[float, int]], spot: float) -> None:
    calls, puts = (np.array([float(row[side]) for row in sizes]) for side in (0, 1))
    strikes = np.arange(float(len(sizes)))
    found = both(lambda: walls(strikes=strikes, call_gex=calls, put_gex=puts, spot=spot))
    compiled, plain = (msgspec.structs.astuple(each) for each in found)
    assert compiled == pytest.approx(plain, abs=0.0, nan_ok=True)


def test_where_a_contract_sits_changes_no_bit() -> None:
    given = chain(403)
    whole = greeks(**given)
    order = np.random.default_rng(5).permutation(403)
    shuffled = greeks(**{name: column[order] for name, column in given.items()})
    for name in GREEKS:
        assert getattr(shuffled, name).tobytes() == getattr(whole, name)[order].tobytes()
    for size in (1, 2, 3, 5, 7):
        for start in range(0, 403, 31):
            rows = slice(start, start + size)
            part = greeks(**{name: column[rows].copy() for name, column in given.items()})
            assert part.gamma.tobytes() == whole.gamma[rows].tobytes()


@pytest.mark.parametrize("name", ["compiled", "plain"])
def test_arguments_of_any_shape_and_type(name: kernels.Name) -> None:
    kernels.use(name)
    given = quotes(24)
    whole = implied_vol(**given)
    table = implied_vol(**{key: column.reshape(4, 6) for key, column in given.items()})
    assert table.sigmas.shape == (4, 6)
    assert table.sigmas.tobytes() == whole.sigmas.tobytes()
    wide = {key: np.repeat(column, 2)[::2] for key, column in given.items()}
    assert implied_vol(**wide).sigmas.tobytes() == whole.sigmas.tobytes()
    lists = {key: column.tolist() for key, column in given.items()}
    assert implied_vol(**lists).sigmas.tobytes() == whole.sigmas.tobytes()
    frozen = given["prices"].copy()
    frozen.flags.writeable = False
    assert implied_vol(**{**given, "prices": frozen}).sigmas.tobytes() == whole.sigmas.tobytes()
    one = implied_vol(**{**given, "forwards": 600.0})
    assert one.sigmas.shape == (24,)
    kernels.use("compiled")


def run(code: str, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


KEPT_IN = (
    "from pathlib import Path; from common.machine import code\n"
    "code.cache_folder = lambda *_: Path({!r})\n"
)
PACKAGE = Path(kernels.__file__).parent


def test_nothing_is_loaded_before_something_is_solved() -> None:
    code = (
        "import common.levels, common.tick, workers.ingest, workers.tasks, sys\n"
        "from common.market_model import MarketModel\n"
        "from datetime import date\n"
        "model = MarketModel(symbol='SPY', seed=1, trading_date=date(2026, 8, 19))\n"
        "model.quotes(1787155200000000)\n"
        "print('llvmlite' in sys.modules, 'numba' in sys.modules, 'scipy' in sys.modules)"
    )
    assert run(code) == "False False False"


def test_compiled_once_the_kernels_load_without_the_compiler() -> None:
    kernels.load()
    code = (
        "import sys; from common.quant import kernels\n"
        "print(kernels.load(), 'numba' in sys.modules, 'scipy' in sys.modules)\n"
    )
    assert run(code) == "compiled False False"


def test_without_a_compiler_the_plain_kernels_compute(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "from common.quant import kernels\n"
        + KEPT_IN.format(str(tmp_path))
        + "import numpy as np\n"
        "from common.quant.implied_vol import implied_vol\n"
        "row = dict(prices=np.array([2.0]), forwards=np.array([100.0]), strikes=100.0,\n"
        "           years=np.array([0.1]), discounts=1.0)\n"
        "print(kernels.load(), float(implied_vol(**row, puts=False).sigmas[0]))"
    )
    name, sigma = run(code).split()
    assert name == "plain"
    assert float(sigma) == pytest.approx(0.15856, abs=1e-4)


def test_without_the_interpreter_that_it_knows_the_plain_kernels_compute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(layout, "NUMBER", layout.NUMBER + 8)
    assert not layout.holds()
    with pytest.raises(RuntimeError, match="another way"):
        machine_code.load(Path("nowhere"))


def test_a_file_of_kernels_that_is_damaged_is_made_anew(tmp_path: Path) -> None:
    kernels.load()
    (kept,) = [
        file
        for file in machine.cache_folder(PACKAGE, None).glob("*.o")
        if file.stem == machine_code.KERNELS.digest()
    ]
    whole = kept.read_bytes()
    (tmp_path / kept.name).write_bytes(whole[: len(whole) // 2])
    code = "from common.quant import kernels\n" + KEPT_IN.format(str(tmp_path))
    assert run(code + "print(kernels.load())") == "compiled"
    assert machine._kept(tmp_path / kept.name)


@pytest.mark.parametrize("name", ["compiled", "plain"])
def test_a_kernel_refuses_what_is_no_column(name: kernels.Name) -> None:
    kernels.use(name)
    compute = kernels.active()
    given = chain(8)
    good: list[Any] = [
        given[key] for key in ("spots", "forwards", "strikes", "years", "sigmas", "rates", "puts")
    ]
    out = np.empty((11, 8))
    assert compute.greeks(*good, out)
    wrong = [None, 1.0, [1.0] * 8, np.ones(7), np.ones(8, np.float32), np.ones((8, 1)), "12345678"]
    for place in range(7):
        for bad in wrong:
            assert not compute.greeks(*good[:place], bad, *good[place + 1 :], out)
    assert not compute.greeks(*good, np.empty((10, 8)))
    with pytest.raises(ValueError, match="columns"):
        kernels.filled(False)
    kernels.use("compiled")


def test_compiled_kernels_refuse_what_is_not_contiguous_or_of_another_byte_order() -> None:
    kernels.use("compiled")
    compute, given = kernels.active(), chain(8)
    columns = [given[key] for key in ("forwards", "strikes", "years", "sigmas", "rates", "puts")]
    out = np.empty(8)
    assert compute.deltas(*columns, out)
    for bad in (np.ones(16)[::2], np.ones(8, ">f8"), np.ones(65, np.uint8)[1:].view(float)):
        assert not compute.deltas(bad, *columns[1:], out)
        assert not compute.deltas(*columns[:2], bad, *columns[3:], out)
    assert not compute.deltas(*columns)  # type: ignore[call-arg]
    assert not compute.deltas(*columns, out, out)  # type: ignore[call-arg]


def test_the_cache_of_a_read_only_installation_is_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert machine.cache_folder(PACKAGE, tmp_path).name == "__pycache__"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert machine.cache_folder(PACKAGE, tmp_path) == tmp_path
    assert machine.cache_folder(PACKAGE, None).name == "gex-platform"
