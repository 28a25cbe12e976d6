"""Throw damaged frames at the reader of TradeStation's streams, and account for every line.

Usage: python -m tools.fuzz [--frames 1000000] [--seed 1] [--memory-mb 64]

Frames of every kind are damaged at random, cut into chunks at random places, and read as the
feed reads them, up to the batches for the bus. It ends with 1 when a line is not accounted for
(in = applied + unchanged + control + rejected by reason) or when memory grows by more than
allowed after the first tenth; anything that raises ends it with its traceback. The same seed
gives the same frames.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date

import psutil
from rich.progress import Progress

from common.batcher import Batcher
from common.clock import session_hours
from common.feeds.tradestation.book import Book
from common.feeds.tradestation.messages import Malformed
from common.feeds.tradestation.rows import Rows
from common.feeds.tradestation.wire import Lines
from common.models import Session, one_by_one

DAY = date(2026, 11, 24)
LONGEST = 4096
"""Longest line that is read here: short, so that too long ones are cheap to make [bytes]."""
_NASTY = [
    *("null", '""', '"NaN"', '"Infinity"', "-1", '"-1"', "1e400", '"1e400"', "true", "[]", "{}"),
    *('"\\ud800"', '"\\u0000"', '"٣"', '"1,5"', "00", "9" * 400, f'"{"9" * 400}"', "-0", '" 7 "'),
    *("[" * 2000, '{"a":' * 700, '"SPY 261124C99999999999"', '"SPY 269999C5"', '"spy 261124p.01"'),
]
_VALUE = re.compile(rb':("[^"]*"|[^,}\]]+)')
Damage = Callable[[bytes, random.Random], bytes]


@dataclass
class Account:
    """Where every line went."""

    lines: int = 0
    """Lines made."""
    applied: int = 0
    """Became an update."""
    unchanged: int = 0
    """Data of the underlying that tells no new price."""
    controls: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    contracts: int = 0
    batched: int = 0
    """Quotes that reached a batch for the bus."""

    @property
    def accounted(self) -> int:
        """Lines of which it is known what became of them."""
        told = self.controls.total() + self.rejected.total()
        return self.applied + self.unchanged + told


class Reader:
    """The feed's way from bytes to batches, with an account."""

    def __init__(self) -> None:
        opened, closed = session_hours(DAY)
        session = Session(
            key=f"SPY:{DAY}:fuzz",
            symbol="SPY",
            feed="tradestation",
            trading_date=DAY,
            open_us=opened,
            close_us=closed,
            stale_after_us=15_000_000,
        )
        self._time = opened
        self._framing, self._book = Lines(longest=LONGEST), Book("SPY")
        self._batcher = Batcher(session, 500, clock=lambda: 0)
        self._account = Account()

    def read(self, chunk: bytes) -> None:
        """Take one chunk."""
        account = self._account
        self._time += 1000
        rows = Rows(self._framing.feed(chunk))
        updates = self._book.apply_all(rows, self._time)
        applied = sum(1 for _ in one_by_one(updates))
        account.applied += applied
        account.unchanged += len(rows) - applied  # less those refused, at the end
        for control in rows.controls:
            if isinstance(control, Malformed):
                account.rejected[_kind(control.reason)] += 1
            else:
                account.controls[type(control).__name__] += 1
        self._batcher.add(updates)
        if self._batcher.full:
            self._flush()

    def finish(self, lines: int) -> Account:
        """The account, once all ``lines`` were read."""
        self._flush()
        account = self._account
        account.lines, account.contracts = lines, len(self._book)
        account.rejected.update(self._book.refused)
        account.rejected["too long"] += self._framing.oversized
        account.unchanged -= self._book.refused.total()
        return account

    def _flush(self) -> None:
        self._account.batched += sum(len(batch.quotes) for _, batch in self._batcher.flush())


def fuzz(frames: int, seed: int, progress: Callable[[int], None] = lambda _: None) -> Account:
    """Read damaged frames; what became of them.

    :param progress: told how many frames are done, now and then.
    """
    chance = random.Random(seed)  # noqa: S311  a seed is the point
    reader, lines, done = Reader(), 0, 0
    while done < frames:
        size = min(20, frames - done)
        block = b"".join(itertools.islice(damaged_frames(chance), size))
        lines += sum(1 for line in block.split(b"\n") if line.strip())
        for chunk in _cut(block, chance):
            reader.read(chunk)
        done += size
        if done % 10_000 < size:
            progress(done)
    return reader.finish(lines)


def damaged_frames(chance: random.Random) -> Iterator[bytes]:
    """Frames without end, half of them damaged, each ending in a newline."""
    while True:
        frame = json.dumps(chance.choice(_FRAMES)(chance), separators=(",", ":")).encode()
        while chance.random() < 0.5:
            frame = chance.choice(_DAMAGES)(frame, chance)
        yield frame + b"\n"


def _cut(block: bytes, chance: random.Random) -> list[bytes]:
    edges = sorted(chance.randrange(len(block) + 1) for _ in range(chance.randrange(6)))
    return [block[a:b] for a, b in itertools.pairwise((0, *edges, len(block)))]


def _numbers(chance: random.Random) -> dict[str, object]:
    bid = chance.randrange(10_000) / 100
    fields: dict[str, object] = {
        "Bid": f"{bid:.2f}",
        "Ask": f"{bid + 0.02:.2f}",
        "Last": f"{bid + 0.01:.2f}",
        "BidSize": chance.randrange(500),
        "AskSize": chance.randrange(500),
        "Volume": chance.randrange(100_000),
        "DailyOpenInterest": chance.randrange(10_000),
        "Delta": "0.5",
    }
    kept = chance.sample(list(fields), chance.randrange(1, len(fields) + 1))
    return {name: fields[name] for name in kept}


def _contract(chance: random.Random) -> str:
    return f"SPY 26112{chance.randrange(4, 8)}{chance.choice('CP')}{chance.randrange(600, 720)}"


def _chain_row(chance: random.Random) -> dict[str, object]:
    return {**_numbers(chance), "Side": "Call", "Legs": [{"Symbol": _contract(chance), "Ratio": 1}]}


def _quote(chance: random.Random) -> dict[str, object]:
    texts = {name: str(value) for name, value in _numbers(chance).items()}
    return {"Symbol": chance.choice(("SPY", "QQQ", _contract(chance))), **texts}


_FRAMES: list[Callable[[random.Random], dict[str, object]]] = [
    *[_chain_row] * 6,
    *[_quote] * 3,
    lambda chance: {"Heartbeat": chance.randrange(99), "Timestamp": "2026-11-24T15:00:00Z"},
    lambda chance: {"StreamStatus": chance.choice(("GoAway", "EndSnapshot"))},
    lambda chance: {"Error": chance.choice(("GoAway", "Failed")), "Message": "bye"},
    lambda chance: {"Symbol": _contract(chance), "Error": "FAILED, INVALID SYMBOL"},
]


def _flip(frame: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(frame) + 1)
    return frame[:at] + bytes([chance.randrange(256)]) + frame[at + 1 :]


def _insert(frame: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(frame) + 1)
    piece = chance.choice((b"\n", b"\r\n", b'"', b"}", b"\x00", b"\xff\xfe", b"{}", b" ", b",{}"))
    return frame[:at] + piece + frame[at:]


def _remove(frame: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(frame) + 1)
    return frame[:start] + frame[start + chance.randrange(1, 20) :]


def _repeat(frame: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(frame) + 1)
    return frame[:start] + frame[start : start + chance.randrange(80)] + frame[start:]


def _spoil(frame: bytes, chance: random.Random) -> bytes:
    """Another value in place of one, or some other symbol."""
    found = list(_VALUE.finditer(frame))
    if not found:
        return frame
    start, end = chance.choice(found).span(1)
    return frame[:start] + chance.choice(_NASTY).encode() + frame[end:]


def _renumber(frame: bytes, chance: random.Random) -> bytes:
    """Other digits: other contracts, without end."""
    return re.sub(rb"\d", lambda _: b"%d" % chance.randrange(10), frame)


def _lengthen(frame: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(frame) + 1)
    return frame[:at] + b"x" * chance.choice((50, LONGEST)) + frame[at:]


_DAMAGES: list[Damage] = [_flip, _flip, _insert, _remove, _repeat, _spoil, _renumber, _lengthen]


def _kind(reason: str) -> str:
    """A reason without what differs from line to line."""
    return re.sub(r"(:? line |\(byte|- at|bytes? (0x|in)).*", "", reason).strip()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--memory-mb", type=float, default=64.0)
    given = parser.parse_args()
    process, began = psutil.Process(), time.monotonic()
    memory: list[int] = []
    with Progress() as bar:
        task = bar.add_task("frames", total=given.frames)

        def progress(done: int) -> None:
            memory.append(process.memory_info().rss)
            bar.update(task, completed=done)

        account = fuzz(given.frames, given.seed, progress)
    memory.append(process.memory_info().rss)
    grown = (max(memory) - memory[len(memory) // 10]) / 2**20
    found = {
        "frames": given.frames,
        "seed": given.seed,
        **{name: getattr(account, name) for name in account.__dataclass_fields__},
        "accounted": account.accounted,
        "seconds": round(time.monotonic() - began, 1),
        "memory_mb": {"grown": round(grown, 1), "peak": round(max(memory) / 2**20, 1)},
    }
    json.dump(found, sys.stdout, indent=2)
    sys.stdout.write("\n")
    sys.exit(account.accounted != account.lines or grown > given.memory_mb)


if __name__ == "__main__":
    main()
