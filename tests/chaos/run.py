"""Chaos by hand: ``python tests/chaos/run.py --seed 7 --seconds 60``, or ``--seeds 20``; with
``--backlog`` of Greeks workers alone that work off a backlog."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]

from backlog import Report as BacklogReport  # noqa: E402  found through the line above
from backlog import worked_off  # noqa: E402
from chaos import Report, chaos  # noqa: E402


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Run the seeds asked for; 1 when something was not true."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, one after the other")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each run")
    parser.add_argument("--backlog", action="store_true", help="a backlog instead of a live market")
    wishes = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leave nothing running
    reports: list[Report | BacklogReport] = []
    for seed in range(wishes.seed, wishes.seed + wishes.seeds):
        say(f"seed {seed}")
        if wishes.backlog:
            with worked_off(seed, say) as run:
                report: Report | BacklogReport = run.report
        else:
            report = chaos(seed, wishes.seconds, say)
        say(str(report))
        reports.append(report)
    return int(any(report.problems for report in reports))


if __name__ == "__main__":
    sys.exit(main())
