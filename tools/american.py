#!/usr/bin/env python3
"""What early exercise changes on recorded chains: writes docs/american.md.

    tools/american.py DATA

Owns the report; must not change what is published. DATA is the folder of recorded market data.
American values are QuantLib's fixed-point engine (QdFp, accurate scheme). Time is scaled out:
only rT, qT and sigma² T matter, so every option is valued over one year of its own, which lets
the engine's whole days express hours.

.. [1] L. Andersen, M. Lake, D. Offengenden, "High performance American option pricing",
       J. Computational Finance 20 (2016).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import QuantLib as ql  # noqa: N813  as its own examples have it

from common.clock import iso_ms
from common.feeds.files import load_snapshot
from common.feeds.recording import read_recording
from common.feeds.snapshot import FileSnapshot
from common.feeds.source import read_source
from common.levels import Levels
from common.models import FloatArray
from common.settings import QuantParameters
from workers.commands.compute import levels_of

REPORT = Path(__file__).resolve().parent.parent / "docs" / "american.md"
PARAMETERS = QuantParameters()
CHAINS = ("spy_cboe_2022-07-12_1857et", "iwm_cboe_2025-06-06_close")
DAYS = ("spy_0dte_2026-07-20", "spy_0dte_2026-08-05", "spy_0dte_2026-08-18")
LEAST_DELTA = 0.01  # contracts whose |delta| is less, or more than one less this, are left out
BUMP = 0.2  # of a standard deviation, for both exercises alike
SHORT = 8.0 / 365.0  # years within which no dividend is assumed
BUCKETS = ((0.0, 1.5), (1.5, 8.0), (8.0, 36.0), (36.0, 100.0), (100.0, 800.0))


class Engine:
    """Values of one option by both exercises, time scaled to one year."""

    def __init__(self) -> None:
        today = ql.Date(2, ql.January, 2024)
        ql.Settings.instance().evaluationDate = today
        days, self._end = ql.Actual365Fixed(), today + 365
        self._quotes = [ql.SimpleQuote(0.0) for _ in range(4)]
        spot, rate, dividend, sigma = (ql.QuoteHandle(quote) for quote in self._quotes)
        process = ql.BlackScholesMertonProcess(
            spot,
            ql.YieldTermStructureHandle(ql.FlatForward(today, dividend, days)),
            ql.YieldTermStructureHandle(ql.FlatForward(today, rate, days)),
            ql.BlackVolTermStructureHandle(
                ql.BlackConstantVol(today, ql.NullCalendar(), sigma, days)
            ),
        )
        scheme = ql.QdFpAmericanEngine.accurateScheme()
        self._american = ql.QdFpAmericanEngine(process, scheme)
        self._european = ql.AnalyticEuropeanEngine(process)
        self._today = today

    def values(
        self, *, spots: list[float], K: float, total: float, rT: float, qT: float, put: bool
    ) -> tuple[FloatArray, FloatArray]:
        """(American, European) at each spot [$ per share]."""
        payoff = ql.PlainVanillaPayoff(ql.Option.Put if put else ql.Option.Call, K)
        found = []
        for quote, value in zip(self._quotes[1:], (rT, qT, total), strict=True):
            quote.setValue(value)
        for exercise, engine in (
            (ql.AmericanExercise(self._today, self._end), self._american),
            (ql.EuropeanExercise(self._end), self._european),
        ):
            option = ql.VanillaOption(payoff, exercise)
            option.setPricingEngine(engine)
            column = []
            for spot in spots:
                self._quotes[0].setValue(spot)
                column.append(option.NPV())
            found.append(np.asarray(column))
        return found[0], found[1]


@dataclass(frozen=True, slots=True)
class Row:
    """One contract."""

    days: float
    put: bool
    premium: float
    """American less European at the published IV [$]."""
    iv_points: float
    """What the premium would take off an IV solved as European [volatility points]."""
    gex: float
    """By our Greeks [$ per 1 %]."""
    gex_change: float
    """American less European gamma, as GEX [$ per 1 %]."""
    out: bool
    """Out of the money: the side that gives the IV."""


def rows_of(levels: Levels, engine: Engine) -> Iterator[Row]:
    """The contracts that count and are neither wings nor parity."""
    board = levels.board
    size = np.abs(board.greeks.delta)
    chosen = board.used & (size > LEAST_DELTA) & (size < 1.0 - LEAST_DELTA)
    chosen &= np.isfinite(board.sigmas)
    for i in np.flatnonzero(chosen):
        spot = levels.spot
        T, K, put = float(board.years[i]), float(board.strikes[i]), bool(board.puts[i])
        total = float(board.sigmas[i]) * T**0.5
        rT = levels.rate * T
        # Over days the parity forward is the spot itself, a cent or two off the quoted one; taken
        # for a dividend, that cent would be a yield of 100 % a year.
        near = spot * float(board.bases[i]) * float(np.exp(-rT))
        spot, qT = (near, 0.0) if T < SHORT else (spot, rT - float(np.log(board.bases[i])))
        step = BUMP * total * spot
        spots = [spot - step, spot, spot + step]
        try:
            american, european = engine.values(spots=spots, K=K, total=total, rT=rT, qT=qT, put=put)
        except RuntimeError:  # the engine's own limits, at rates it does not take
            continue
        curves = [(v[0] - 2.0 * v[1] + v[2]) / step**2 for v in (american, european)]
        weight = float(board.signs[i] * board.open_interests[i]) * spot * spot
        premium = float(american[1] - european[1])
        yield Row(
            days=365.0 * T,
            put=put,
            premium=premium,
            iv_points=100.0 * premium / max(float(board.greeks.vega[i]), 1e-12),
            gex=weight * float(board.greeks.gamma[i]),
            gex_change=weight * float(curves[0] - curves[1]),
            out=put == (spot * float(board.bases[i]) > K),
        )


def snapshots(data: Path) -> Iterator[tuple[str, FileSnapshot]]:
    for name in CHAINS:
        yield name, load_snapshot(data / "cboe_json" / f"{name}.json.gz", at_us=None, symbol=None)
    for name in DAYS:
        series = read_recording(read_source(data / "intraday" / f"{name}.csv.gz"), symbol=None)
        every = list(series.snapshots())
        for at in (1, len(every) // 2, len(every) - 2):
            yield f"{name}, {iso_ms(every[at].as_of)[11:16]} UTC", every[at]


def table(name: str, rows: list[Row]) -> list[str]:
    """Lines of one chain's table."""
    lines = [
        f"### {name}",
        "",
        "| days | contracts | premium, median / largest out of the money | "
        "largest in the money | IV of the out-of-the-money side, largest | net GEX |",
        "|---|---|---|---|---|---|",
    ]
    for low, high in BUCKETS:
        part = [row for row in rows if low <= row.days < high]
        if not part:
            continue
        out, inside = [r for r in part if r.out], [r for r in part if not r.out]
        premiums = [r.premium for r in out] or [0.0]
        net = sum(r.gex for r in part)
        gross = sum(abs(r.gex) for r in part)
        change = sum(r.gex_change for r in part)
        lines.append(
            f"| {low:g}–{high:g} | {len(part):,} | {np.median(premiums):.4f} / "
            f"{max(premiums):.4f} $ | {max([r.premium for r in inside], default=0.0):.4f} $ | "
            f"{max([r.iv_points for r in out], default=0.0):.3f} points | "
            f"{net / 1e6:,.1f} M$, {change / 1e6:+,.2f} M$ ({change / gross:+.2%} of gross) |"
        )
    return [*lines, ""]


def main(data: Path) -> None:
    """Write the report."""
    engine = Engine()
    lines = [
        "# European and American exercise on recorded chains",
        "",
        "SPY and IWM options may be exercised early; the platform prices them as European, at the",
        "forward that parity implies. This is what that changes, contract by contract, against",
        f"QuantLib {ql.__version__}'s QdFp engine at the published volatilities; written by",
        "`tools/american.py`. Contracts with |delta| from 0.01 to 0.99. The premium is American",
        "less European; the next column but one is what it takes off an IV solved as European on",
        "the side that gives the strike's IV; the last is net GEX and what American gamma adds.",
        "Within eight days q is 0 and the spot is the one parity implies; beyond, q is what the",
        "parity forward says.",
        "",
    ]
    for name, snapshot in snapshots(data):
        rows = list(rows_of(levels_of(snapshot, parameters=PARAMETERS), engine))
        lines += table(name, rows)
    REPORT.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
