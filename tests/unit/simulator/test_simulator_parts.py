"""Small parts: names of contracts, borders of chunks, what is written down, what has traded."""

from __future__ import annotations

import stat
import time
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_day import NEAR, contracts

from common.errors import UsageError
from common.models import QUOTE, Expiry, MarketClock, contract_keys
from workers.simulator.chunking import CHUNKINGS, Chunker, Chunking, chunking_of
from workers.simulator.contracts import Contracts, chain_root
from workers.simulator.details import expiration_type
from workers.simulator.memory import Memory, Remembered
from workers.simulator.timeline import Running
from workers.simulator.trades import Trades

# --- contracts -------------------------------------------------------------------------------


def test_contracts_stand_by_expiry_strike_and_right() -> None:
    found = contracts(strikes=2)
    assert found.names == [
        *("SPY 261120C100", "SPY 261120P100", "SPY 261120C101", "SPY 261120P101"),
        *("SPY 261123C100", "SPY 261123P100", "SPY 261123C101", "SPY 261123P101"),
    ]
    assert [found.places[name] for name in found.names] == list(range(8))


def test_a_contract_is_found_in_any_spelling() -> None:
    found = contracts(strikes=2)
    assert found.place("spy 261120p101.00") == 3
    assert found.place("SPY 261120P101.5") is None
    assert found.place("SPY") is None


@pytest.mark.parametrize(
    ("symbol", "settlement", "root"),
    [("SPY", "PM", "SPY"), ("SPX", "PM", "SPXW"), ("SPX", "AM", "SPX"), ("NDX", "PM", "NDXP")],
)
def test_the_root_follows_from_the_settlement(symbol: str, settlement: str, root: str) -> None:
    expiry = Expiry(NEAR.expiration, "AM" if settlement == "AM" else "PM")
    assert chain_root(symbol, expiry) == root


def test_both_roots_of_an_index_stand_beside_each_other() -> None:
    morning = Expiry(date(2026, 12, 18), "AM")
    keys = contract_keys(strikes=[6700.0], puts=False)
    found = Contracts.of("SPX", {NEAR: keys, morning: keys})
    assert found.names == ["SPXW 261120C6700", "SPX 261218C6700"]
    assert (found.expiries_of("SPXW"), found.expiries_of("SPX")) == ([NEAR], [morning])


@pytest.mark.parametrize(
    ("day", "kind"),
    [
        ("2026-11-20", "Monthly"),
        ("2026-11-23", "Weekly"),
        ("2026-11-30", "EOM"),
        ("2026-12-18", "Monthly"),
        ("2025-04-17", "Monthly"),  # the third Friday is Good Friday
        ("2026-12-31", "EOM"),
    ],
)
def test_the_kind_of_an_expiration(day: str, kind: str) -> None:
    assert expiration_type(date.fromisoformat(day)) == kind


# --- chunks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("chunking", [*CHUNKINGS, 1, 7])
@given(st.lists(st.binary(min_size=1, max_size=400).map(lambda part: part + b"\n")))
def test_chunks_are_the_same_bytes_whatever_their_borders(
    chunking: Chunking, lines: list[bytes]
) -> None:
    assert chunking_of(str(chunking)) == chunking
    chunks = Chunker(chunking).chunks(lines)
    assert b"".join(chunks) == b"".join(lines)
    assert all(chunks)


def test_borders_fall_where_they_are_asked_for() -> None:
    lines = [b'{"Symbol":"SPY","Last":"%d"}\n' % number for number in range(500)]
    assert Chunker("line").chunks(lines) == lines
    assert Chunker("merged").chunks(lines) == [b"".join(lines)]
    assert [chunk.count(b"\n") for chunk in Chunker(150).chunks(lines)] == [150, 150, 150, 50]
    split = Chunker("split").chunks(lines)
    assert sum(not chunk.endswith(b"\n") for chunk in split) > len(split) / 2
    assert Chunker("split", seed=1).chunks(lines) != split


def test_many_megabytes_are_cut_without_being_copied_for_each_piece() -> None:
    line = b"1" * 10_000_000 + b"\n"
    began = time.process_time()
    pieces = Chunker("split").chunks([line])
    assert time.process_time() - began < 1.0  # with a copy for each piece: several seconds
    assert b"".join(pieces) == line


# --- memory ----------------------------------------------------------------------------------

RUNNING = Running("7", NEAR.expiration, MarketClock(1, 2, 3.0), 2)


def test_what_is_written_down_is_there_after_a_restart(tmp_path: Path) -> None:
    assert Memory(tmp_path).read() == Remembered()
    Memory(tmp_path).update(running=RUNNING)
    Memory(tmp_path).update(refresh_token="rotated")
    assert Memory(tmp_path).read() == Remembered(RUNNING, "rotated")
    assert [path.name for path in tmp_path.iterdir()] == ["simulator.json"]
    assert stat.S_IMODE((tmp_path / "simulator.json").stat().st_mode) == 0o600


def test_a_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "simulator.json").write_text("{")
    with pytest.raises(UsageError, match=r"simulator\.json is not readable: .*; remove it"):
        Memory(tmp_path).read()


def test_one_simulator_holds_a_state_directory(tmp_path: Path) -> None:
    held = Memory(tmp_path).lock()
    with held, pytest.raises(UsageError, match="a simulator already runs in"):
        Memory(tmp_path).lock().__enter__()
    with Memory(tmp_path).lock():
        pass


# --- trades ----------------------------------------------------------------------------------


def test_trades_are_what_successive_boards_show() -> None:
    trades, everywhere = Trades(2), np.arange(2)
    for at, last, volume in [(1, np.nan, 0), (2, 1.5, 4), (3, 1.2, 4), (4, 1.9, 9), (5, 0.0, 8)]:
        rows = np.zeros(2, QUOTE)
        rows["time"], rows["last"], rows["volume"] = at, [last, np.nan], [volume, 0]
        trades.take(rows, everywhere)
    assert (trades.opens[0], trades.highs[0], trades.lows[0]) == (1.5, 1.9, 1.2)
    assert (trades.times[0], trades.sizes[0]) == (4, 5)
    assert np.isnan(trades.opens[1])
    assert trades.times[1] == 0
