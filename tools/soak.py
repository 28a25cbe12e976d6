"""Let every fault of the simulator happen to the whole platform again and again, and account.

Usage: python -m tools.soak [--minutes 60] [--seed 1] [--speed 10] [--json] [--keep FOLDER]

A simulator over HTTP in accelerated market time, `gex up` with the client, the ingestor, Redis
and the workers against it. Faults come one after the other, each as soon as the platform is over
the one before; after each, every contract and price that the workers hold is compared with what
the simulator holds to be true. It ends with 1 when a state stays wrong, or when an entry was
dead-lettered, a program had to be started again, or a level broke an invariant. The same seed
gives the same faults in the same order.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from common.clock import SECOND, parse_instant, session_hours
from common.errors import ServiceError
from common.models import JsonDict
from tools.soak_rig import EXPIRATIONS, STREAMS, Rig, running
from tools.soak_truth import Board, Wrong
from tools.soak_turns import ACROSS, Turn, one_round

START = "2026-11-24T09:31"
NEXT_DATE = "next date"
_LIMIT = 150.0
"""A state that is not right this long after a fault is wrong for good [s]."""
_LOOK = 0.1
_QUIET_STEPS = 3
"""Steps of the market that must stay right before the next fault."""
_NEAR_CLOSE = 180.0
"""No fault begins this shortly before a close [s of real time]."""
_SHOWN = 20


@dataclass(slots=True)
class Row:
    """What one kind of fault has done."""

    turns: int = 0
    affected: int = 0
    wrong: int = 0
    """Numbers that stayed wrong."""
    states: list[float] = field(default_factory=list)
    """From the end of the fault until every state was right [s]."""
    levels: list[float] = field(default_factory=list)
    """… until a live level was made of them [s]."""
    counters: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> JsonDict:
        """The row with medians."""
        return {
            "turns": self.turns,
            "affected": self.affected,
            "wrong_states": self.wrong,
            "states_seconds": _summary(self.states),
            "levels_seconds": _summary(self.levels),
            "counters": dict(sorted(self.counters.items())),
        }


@dataclass(slots=True)
class Steps:
    """Successive steps of the market, each right or wrong."""

    first: float = 0.0
    """When the first of those that are right in a row was seen to be [s, monotonic]; 0: none."""
    since: str = ""
    """What market time it was."""
    right: int = 0
    """So many are right in a row."""
    _now: str = ""
    _now_right: bool = False

    def saw(self, as_of: str, *, right: bool, at: float) -> None:
        """Take in a comparison; a step is right once one of it was and none after it was not."""
        if as_of != self._now:
            if not self._now_right:
                self.right = 0
            self._now, self._now_right = as_of, False
        if not right:
            self.right = 0 if self._now_right else self.right
            self._now_right = False
        elif not self._now_right:
            self._now_right = True
            if not self.right:
                self.first, self.since = at, as_of
            self.right += 1


class Soak:
    """Turn after turn, and the account of it."""

    def __init__(self, rig: Rig, *, speed: float, progress: Progress) -> None:
        """Nothing goes wrong before :meth:`run`."""
        self._rig, self._speed, self._progress = rig, speed, progress
        self.rows: dict[str, Row] = {}
        self.samples: list[JsonDict] = []
        """Some of what stayed wrong."""
        self.comparisons = self.compared = self.rounds = 0
        self.market_seconds = 0.0

    def run(self, minutes: float, seed: int) -> None:
        """Rounds of faults for so long; the last one is broken off.

        :raises ServiceError: the simulator or the platform has ended, or never becomes right.
        """
        task = self._progress.add_task("start", total=60.0 * minutes)
        chance, began = random.Random(seed), time.monotonic()  # noqa: S311  a seed is the point
        self._recover("start", [])
        while True:
            for turn in one_round(chance):
                passed = time.monotonic() - began
                self._progress.update(task, completed=passed, description=turn.name)
                if passed >= 60.0 * minutes:
                    self.market_seconds = passed * self._speed
                    return
                self._leave_the_close()
                self._turn(turn)
            self.rounds += 1

    def _turn(self, turn: Turn) -> None:
        before = self._rig.happened()
        numbers = [self._rig.let(fault)["number"] for fault in turn.faults]
        if turn.name == ACROSS:
            self._wait_for_another(self._rig.state()["trading_date"])
        while not all(each["ended_at"] for each in self._rig.records(numbers)):
            self._rig.check_alive()
            time.sleep(_LOOK)
        affected = sum(each["affected"] for each in self._rig.records(numbers[:1]))
        row = self._recover(turn.name, [str(fault) for fault in turn.faults])
        row.affected += affected
        news = {name: n - before.get(name, 0) for name, n in self._rig.happened().items()}
        row.counters.update({name: n for name, n in news.items() if n})
        if turn.name == "half_day":
            self._next_date()

    def _recover(self, name: str, faults: list[str]) -> Row:
        """Wait until every state is right and stays right, and note how long that took."""
        row = self.rows.setdefault(name, Row())
        began, steps, wrong = time.monotonic(), Steps(), [Wrong("states", None, None)]
        level, since = 0.0, ""
        while steps.right <= _QUIET_STEPS or not level:
            self._rig.check_alive()
            now = time.monotonic()
            if now - began > _LIMIT:
                self._note(row, name, faults, wrong)
                break
            found = self._compare(streams=STREAMS)
            if found is not None:
                as_of, wrong = found
                steps.saw(as_of, right=not wrong, at=now)
            if not steps.right or steps.since != since:
                level, since = 0.0, steps.since
            elif not level and self._is_live(steps.since):
                level = now
            time.sleep(_LOOK)
        else:
            row.states.append(steps.first - began)
            row.levels.append(level - began)
        row.turns += 1
        self._progress.console.print(_line(name, faults, row))
        return row

    def _is_live(self, since: str) -> bool:
        level = self._rig.level()
        return level.get("state") == "live" and level["newest_quote_at"] >= since

    def _compare(self, *, streams: int | None) -> tuple[str, list[Wrong]] | None:
        """Market time and what is wrong at it; None when the market moved meanwhile.

        :param streams: how many have to be open, too.
        """
        told, held, after = self._rig.truth(), self._rig.held(), self._rig.state()
        if after["as_of"] != told["as_of"]:
            return None
        true = Board.of_truth(told, EXPIRATIONS)
        wrong = held.wrong(true)
        if streams is not None and len(after["streams_open"]) < streams:
            wrong.append(Wrong("open streams", len(after["streams_open"]), streams))
        self.comparisons += 1
        self.compared += len(true.contracts)
        return told["as_of"], wrong

    def _leave_the_close(self) -> None:
        """No fault begins where a close would come between it and the recovery."""
        state = self._rig.state()
        close = session_hours(date.fromisoformat(state["trading_date"]))[1]
        left = (close - parse_instant(state["as_of"])) / SECOND / self._speed
        if left < _NEAR_CLOSE:
            self._next_date()

    def _next_date(self) -> None:
        """Wait for the close, compare what is left of the date, and wait for the next one."""
        day = self._rig.state()["trading_date"]
        while not self._rig.state()["closed"]:
            self._rig.check_alive()
            time.sleep(_LOOK)
        wrong = [Wrong("states", None, None)]
        while wrong and self._rig.state()["trading_date"] == day:
            found = self._compare(streams=None)
            wrong = found[1] if found else wrong
            time.sleep(_LOOK)
        if wrong:
            self._note(self.rows.setdefault("close", Row()), "close", [], wrong)
        self._wait_for_another(day)
        self._recover(NEXT_DATE, [])

    def _wait_for_another(self, day: str) -> None:
        while self._rig.state()["trading_date"] == day:
            self._rig.check_alive()
            time.sleep(_LOOK)

    def _note(self, row: Row, name: str, faults: list[str], wrong: list[Wrong]) -> None:
        """Count what stayed wrong, and keep some of it."""
        row.wrong += max(len(wrong), 1)
        shown = [each.as_json() for each in wrong[:_SHOWN]] or "no live level"
        self.samples.append({"fault": name, "faults": faults, "wrong": shown})
        self._progress.console.print(f"WRONG after {name}: {self.samples[-1]}")
        if name == "start":
            raise ServiceError("the states are wrong before anything went wrong")


def _line(name: str, faults: list[str], row: Row) -> str:
    took = f"{row.states[-1]:.1f} s, level {row.levels[-1]:.1f} s" if row.states else "never"
    return f"{name} {'; '.join(faults)}: {took}"


def _summary(seconds: list[float]) -> JsonDict | None:
    if not seconds:
        return None
    return {"median": round(statistics.median(seconds), 2), "max": round(max(seconds), 2)}


def _table(soak: Soak) -> Table:
    table = Table("fault", "times", "wrong states", "recovery [s]", "level [s]", "counted")
    for name, row in sorted(soak.rows.items()):
        counted = ", ".join(f"{key} {count}" for key, count in sorted(row.counters.items()))
        times = [
            f"{s['median']} / {s['max']}" if s else "never"
            for s in map(_summary, (row.states, row.levels))
        ]
        table.add_row(name, str(row.turns), str(row.wrong), *times, counted)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="of real time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--speed", type=float, default=10.0, help="market time / real time")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--keep", type=Path, help="a new folder for logs and state, which stays")
    given = parser.parse_args()
    out = Console(width=160)
    with (
        running(seed=given.seed, speed=given.speed, start=START, keep=given.keep) as rig,
        Progress(console=Console(stderr=True)) as progress,
    ):
        soak = Soak(rig, speed=given.speed, progress=progress)
        soak.run(given.minutes, given.seed)
        health = rig.health()
    wrong = sum(row.wrong for row in soak.rows.values())
    summary = {
        "minutes": given.minutes,
        "seed": given.seed,
        "speed": given.speed,
        "market_hours": round(soak.market_seconds / 3600.0, 2),
        "rounds": soak.rounds,
        "comparisons": soak.comparisons,
        "contracts_compared": soak.compared,
        "wrong_states": wrong,
        **health,
    }
    if given.json:
        rows = {name: row.as_json() for name, row in sorted(soak.rows.items())}
        json.dump({**summary, "faults": rows, "wrong": soak.samples}, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        out.print(_table(soak))
        out.print_json(json.dumps({**summary, "wrong": soak.samples}))
    sys.exit(wrong > 0 or any(health.values()))


if __name__ == "__main__":
    main()
