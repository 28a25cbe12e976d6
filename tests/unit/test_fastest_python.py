"""Which Python a virtual environment is made with."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools import fastest_python
from tools.fastest_python import candidates, choose, probe

HERE = sys.version_info[:2]


def test_the_one_at_hand_stays_unless_another_is_clearly_faster() -> None:
    assert choose("/a", {"/a": 1.0, "/b": 0.95}) == "/a"
    assert choose("/a", {"/a": 1.0, "/b": 0.5, "/c": 0.6}) == "/b"


def test_one_that_cannot_make_an_environment_gives_way() -> None:
    assert choose("/a", {"/b": 9.0}) == "/b"
    assert choose("/a", {}) == "/a"


def test_each_program_is_a_candidate_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "python3").symlink_to(sys.executable)
    (tmp_path / f"python{HERE[0]}.{HERE[1]}").symlink_to(sys.executable)
    (tmp_path / "python2.7").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), str(tmp_path)]))
    monkeypatch.setattr(fastest_python, "FOLDERS", ())

    assert candidates(HERE) == [os.path.realpath(sys.executable)]


def test_a_probe_times_a_python_of_the_version_and_refuses_others(tmp_path: Path) -> None:
    found = probe(sys.executable, HERE)
    broken = tmp_path / "python3"
    broken.write_text("#!/bin/sh\necho no\n")
    broken.chmod(0o755)

    assert found is not None
    assert found[0] == os.path.realpath(sys.executable)
    assert 0.0 < found[1] < 20.0
    assert probe(sys.executable, (HERE[0], HERE[1] + 1)) is None
    assert probe(str(broken), HERE) is None
    assert probe(str(tmp_path / "absent"), HERE) is None


def test_what_is_printed_is_a_python_of_the_same_version() -> None:
    script = Path(fastest_python.__file__)
    said = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True
    ).stdout.strip()
    code = "import sys, venv; print(*sys.version_info[:2])"

    version = subprocess.run([said, "-c", code], capture_output=True, text=True, check=True).stdout
    assert version.split() == [str(part) for part in HERE]
