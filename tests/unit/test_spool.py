"""The spool's files: whole records in order, whatever killed the process that wrote them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import SpoolError
from common.spool import Place, Record, Spool

Fields = dict[bytes, bytes]


def entries(*numbers: int) -> list[tuple[str, Fields]]:
    return [(f"{number}-0", {b"n": b"%d" % number, b"q": bytes(100)}) for number in numbers]


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Spool]:
    """Spools of one folder, one after the other."""
    held: list[Spool] = []

    def open_spool(
        start: Place = Place(),  # noqa: B008  immutable
        *,
        max_bytes: int = 1 << 20,
        file_bytes: int = 400,
    ) -> Spool:
        for spool in held:
            spool.close()
        spool = Spool(tmp_path / "spool", max_bytes=max_bytes, file_bytes=file_bytes)
        held.append(spool)
        spool.open(start)
        return spool

    return open_spool


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "spool").glob("*.spool"))


def load(spool: Spool, count: int = 1000) -> list[str]:
    """Take records off; the ids of their entries."""
    found: list[str] = []
    for _ in range(count):
        record = spool.first()
        if record is None:
            break
        found += [entry_id for entry_id, _ in record.entries]
        spool.done(record)
    return found


def test_what_is_written_is_read_in_order(make: Callable[..., Spool], tmp_path: Path) -> None:
    spool = make()
    for number in range(0, 20, 2):
        spool.write("quotes:SPY:x", entries(number, number + 1))
    assert spool.entries == 20
    assert spool.size == sum(path.stat().st_size for path in files(tmp_path))
    assert len(files(tmp_path)) > 2
    assert spool.first() == Record("quotes:SPY:x", entries(0, 1), spool.first().after)  # type: ignore[union-attr]
    assert load(spool) == [f"{number}-0" for number in range(20)]
    assert (spool.entries, spool.size, files(tmp_path)) == (0, 0, [])
    assert spool.first() is None


def test_what_is_written_after_all_was_loaded_has_its_size_and_its_bound(
    make: Callable[..., Spool], tmp_path: Path
) -> None:
    spool = make(max_bytes=700)
    spool.write("quotes:SPY:x", entries(1, 2))
    load(spool)
    spool.write("quotes:SPY:x", entries(3, 4))
    assert spool.size == sum(path.stat().st_size for path in files(tmp_path))
    spool.write("quotes:SPY:x", entries(5, 6))
    with pytest.raises(SpoolError, match="full"):
        spool.write("quotes:SPY:x", entries(7, 8))
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 700


def test_writing_goes_on_while_it_is_read(make: Callable[..., Spool]) -> None:
    spool, found = make(), []
    for number in range(30):
        spool.write("levels:SPY", entries(number))
        if number % 3:
            found += load(spool, 1)
    assert found + load(spool) == [f"{number}-0" for number in range(30)]
    spool.write("levels:SPY", entries(30))
    assert load(spool) == ["30-0"]


def test_a_successor_goes_on_where_loading_had_come_to(make: Callable[..., Spool]) -> None:
    spool = make()
    for number in range(10):
        spool.write("levels:SPY", entries(number))
    place = Place()
    for _ in range(4):
        record = spool.first()
        assert record is not None
        spool.done(record)
        place = record.after
    again = make(place)
    assert again.entries == 6
    again.write("levels:SPY", entries(10))
    assert load(again) == [f"{number}-0" for number in range(4, 11)]


def test_a_place_that_is_not_known_loads_what_is_there(make: Callable[..., Spool]) -> None:
    """Redis may have lost it: rows that come twice are known to the database."""
    spool = make()
    for number in range(10):
        spool.write("levels:SPY", entries(number))
    load(spool, 5)
    left = load(make())
    assert left[-5:] == [f"{number}-0" for number in range(5, 10)]


def test_numbers_of_files_never_come_again(make: Callable[..., Spool], tmp_path: Path) -> None:
    spool = make()
    spool.write("levels:SPY", entries(1))
    record = spool.first()
    assert record is not None
    spool.done(record)
    again = make(record.after)
    again.write("levels:SPY", entries(2))
    assert int(files(tmp_path)[0].stem) > record.after.file
    assert load(make(record.after)) == ["2-0"]


@pytest.mark.parametrize("torn", [1, 10, 15, 16, 17, 60, 140])
def test_a_torn_record_is_cut_at_the_last_whole_one(
    make: Callable[..., Spool], tmp_path: Path, torn: int
) -> None:
    spool = make(file_bytes=1 << 20)
    spool.write("levels:SPY", entries(1))
    whole = files(tmp_path)[0].stat().st_size
    spool.write("levels:SPY", entries(2))
    with files(tmp_path)[0].open("r+b") as file:
        file.truncate(whole + torn)
    again = make()
    assert (again.entries, again.cut_bytes) == (1, torn)
    assert again.last == {("levels:SPY", "1-0")}
    again.write("levels:SPY", entries(3))
    assert load(again) == ["1-0", "3-0"]


def test_a_record_whose_bytes_have_changed_is_cut(
    make: Callable[..., Spool], tmp_path: Path
) -> None:
    spool = make()
    spool.write("levels:SPY", entries(1))
    with files(tmp_path)[0].open("r+b") as file:
        file.seek(40)
        file.write(b"\xff")
    again = make()
    assert again.entries == 0
    assert again.cut_bytes > 0
    assert files(tmp_path) == []


def test_a_damaged_file_is_put_aside_and_the_next_goes_on(
    make: Callable[..., Spool], tmp_path: Path
) -> None:
    spool = make(file_bytes=1)
    for number in range(3):
        spool.write("levels:SPY", entries(number))
    with files(tmp_path)[1].open("r+b") as file:
        file.seek(30)
        file.write(b"\xff\xff")
    again = make(file_bytes=1)
    assert load(again) == ["0-0", "2-0"]
    assert again.entries == 0
    assert again.cut_bytes > 0
    assert len(list((tmp_path / "spool").glob("*.damaged"))) == 1


def test_a_successor_knows_what_may_never_have_been_acknowledged(
    make: Callable[..., Spool],
) -> None:
    spool = make()
    spool.write("levels:SPY", entries(1))
    spool.write("levels:SPY", entries(2, 3))
    assert spool.last == frozenset()
    assert make().last == {("levels:SPY", "2-0"), ("levels:SPY", "3-0")}


def test_the_disk_has_a_bound(make: Callable[..., Spool]) -> None:
    spool = make(max_bytes=500)
    for number in range(3):
        spool.write("levels:SPY", entries(number))
    with pytest.raises(SpoolError, match=r"the spool is full.*GEX_SPOOL_MAX_MB"):
        spool.write("levels:SPY", entries(3))
    assert 0 < spool.size <= 500
    load(spool, 1)
    spool.write("levels:SPY", entries(11))


def test_a_disk_that_refuses_leaves_whole_records(
    make: Callable[..., Spool], monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = make()
    spool.write("levels:SPY", entries(1))

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", refuse)
        with pytest.raises(SpoolError, match="No space left"):
            spool.write("levels:SPY", entries(2))
    spool.write("levels:SPY", entries(3))
    assert load(make()) == ["1-0", "3-0"]


def test_a_spool_has_one_process(make: Callable[..., Spool], tmp_path: Path) -> None:
    make()
    other = Spool(tmp_path / "spool", max_bytes=1)
    with pytest.raises(SpoolError, match="cannot be used"):
        other.open(Place())
    other.close()
