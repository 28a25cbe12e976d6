"""Where the files that travel with the code are found, in a checkout and in a wheel."""

from __future__ import annotations

from pathlib import Path

import pytest

from common import resources


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed wheel: the package beside others, its resources inside."""
    package = tmp_path / "site-packages" / "common"
    (package / "_resources" / "config").mkdir(parents=True)
    monkeypatch.setattr(resources, "_PACKAGE", package)
    monkeypatch.setattr(resources, "_CHECKOUT", package.parent)
    return package


def test_a_checkout_knows_its_root() -> None:
    root = resources.project_root()
    assert root is not None
    assert (root / "common" / "resources.py").is_file()


@pytest.mark.parametrize("name", ["sql", "config"])
def test_a_checkout_holds_its_resources_at_the_top(name: str) -> None:
    assert resources.resource(name) == resources.project_root() / name  # type: ignore[operator]
    assert resources.resource(name).is_dir()


def test_a_wheel_has_no_root_and_its_resources_inside(wheel: Path) -> None:
    assert resources.project_root() is None
    assert resources.resource("config") == wheel / "_resources" / "config"


def test_a_wheel_prefers_its_own_resources(wheel: Path) -> None:
    (wheel.parent / "config").mkdir()  # some other distribution's
    assert resources.resource("config") == wheel / "_resources" / "config"


def test_an_incomplete_installation_says_so(wheel: Path) -> None:
    assert wheel.is_dir()
    with pytest.raises(FileNotFoundError, match=r"^sql is missing from this installation"):
        resources.resource("sql")
