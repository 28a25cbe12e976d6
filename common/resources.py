"""Where the files that travel with the code are, in a checkout or in a wheel.

Owns that one question; must not read what is in them.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent


def project_root() -> Path | None:
    """The checkout's root, or None when running from an installed wheel."""
    return _CHECKOUT if (_CHECKOUT / "pyproject.toml").is_file() else None


def resource(name: str) -> Path:
    """Path of ``sql``, ``config`` or ``supervisord.conf``.

    :raises FileNotFoundError: when the installation is incomplete.
    """
    for base in (_PACKAGE / "_resources", _CHECKOUT):
        if (base / name).exists():
            return base / name
    raise FileNotFoundError(f"{name} is missing from this installation; install it again")
