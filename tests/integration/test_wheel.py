"""The wheel: built, installed elsewhere, run without the source."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from harness import ROOT, environment, state_folder

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel installs, and nothing of the checkout."""
    built, target = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("installed")
    subprocess.run([*PIP, "wheel", "--no-deps", "-w", str(built), str(ROOT)], check=True)
    (wheel,) = built.glob("gex_platform-*.whl")
    subprocess.run([*PIP, "install", "--no-deps", "--target", str(target), str(wheel)], check=True)
    return target


def run(installed: Path, code: str) -> str:
    """Run Python with the installed wheel first on its path, away from the checkout."""
    state = state_folder()
    env = {**environment(state), "PYTHONPATH": str(installed)}
    result = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=state, capture_output=True, text=True, check=True
    )
    return result.stdout


def test_sql_and_config_travel_inside_the_wheel(installed: Path) -> None:
    code = (
        "import common.resources as r, common.db.sql as s, common.settings as c\n"
        "assert r.project_root() is None, r.__file__\n"
        "c.load_settings()\n"
        "print(len(s.migrations()), r.resource('supervisord.conf').is_file(), 'insert_level' in"
        " s.queries())"
    )
    count = len(list((ROOT / "sql/migrations").glob("*.sql")))
    assert run(installed, code).split() == [str(count), "True", "True"]


def test_the_page_of_the_wheel_is_whole(installed: Path) -> None:
    code = (
        "import workers.dashboard.page as p, pathlib as l\n"
        "page = p.Page(None)\n"
        "folder = l.Path(p.__file__).parent\n"
        "names = [*(f'{name}.js' for name in p.SCRIPTS), 'theme.js', 'style.css', 'icon.svg']\n"
        "print(folder, len([p.asset(name) for name in names]), '{%own%}' in page.index_string)"
    )
    folder, count, framed = run(installed, code).split()
    assert folder.startswith(str(installed))
    assert int(count) == len(list((ROOT / "workers/dashboard/assets").iterdir()))
    assert framed == "True"


def test_the_command_of_the_wheel_runs(installed: Path) -> None:
    code = "import sys; sys.argv = ['gex', '--help']; from workers.cli import main; main()"
    assert "gamma exposure" in run(installed, code)
