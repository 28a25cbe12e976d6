"""Connections that a command makes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from workers.context import Context


@pytest.mark.parametrize(("own", "expected"), [(None, [4711]), ("postgresql://mine/gex", [])])
def test_a_session_of_the_embedded_server_alone_gives_way(
    own: str | None, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, float]] = []
    behind: list[int] = []

    def connect(_url: str, *, name: str, timeout_seconds: float) -> Any:
        asked.append((name, timeout_seconds))
        return SimpleNamespace(info=SimpleNamespace(backend_pid=4711))

    monkeypatch.setattr("common.db.connection.connect", connect)
    monkeypatch.setattr("common.servers.background.give_way", behind.append)
    context = Context.load(database_url=SecretStr(own) if own else None)
    context.database("test", timeout_seconds=7.0)
    assert asked == [("test", 7.0)]
    assert behind == expected
