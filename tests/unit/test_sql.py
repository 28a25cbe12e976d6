"""The SQL files and the Python that runs them name the same things."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.db import sql
from common.resources import resource

PACKAGE = Path(sql.__file__).parent
RUNNERS = {"query": 0, "_scalar": 1, "_rows": 1}
"""Function that runs a named query → place of the name among its arguments."""
TABLES = (
    "quotes", "greeks", "spots", "entries", "checkpoints", "levels", "sessions",
    "strike_exposures",
)  # fmt: skip
"""What stands for {table} in names that are put together."""


def names_in_python() -> Iterator[tuple[str, str]]:
    """(file, name) of every query that Python runs."""
    root = PACKAGE.parent.parent
    paths = [path for room in ("common", "workers") for path in (root / room).rglob("*.py")]
    for path in sorted(paths):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.id if isinstance(node.func, ast.Name) else ""
            if called in RUNNERS:
                arguments = node.args[RUNNERS[called] :][:1]
            else:
                arguments = node.args if path.is_relative_to(PACKAGE) else []
            for argument in arguments:
                for name in _spelled(argument, plain=called in RUNNERS):
                    yield path.name, name


def _spelled(argument: ast.expr, *, plain: bool) -> list[str]:
    """The names an argument stands for: a text, or one with a table's name in it."""
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str) and plain:
        return [argument.value]
    if isinstance(argument, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else None for part in argument.values]
        first = parts[0]
        if len(parts) == 2 and isinstance(first, str) and re.fullmatch(r"[a-z_]+_", first):
            known = [first + table for table in TABLES if first + table in sql.queries()]
            return known or [first]
    return []


def without_texts(statement: str) -> str:
    """A statement without comments, quoted texts and quoted names."""
    bare = re.sub(r"--[^\n]*", "", statement)
    return re.sub(r"'(?:[^']|'')*'|\"[^\"]*\"", "x", bare)


def test_every_query_that_python_names_exists() -> None:
    named = list(names_in_python())
    assert len(named) > 10
    assert [item for item in named if item[1] not in sql.queries()] == []


def test_every_query_is_named_in_python() -> None:
    assert set(sql.queries()) - {name for _, name in names_in_python()} == set()


def test_no_name_is_given_twice() -> None:
    text = (resource("sql") / "queries.sql").read_text(encoding="utf-8")
    names = re.findall(r"^-- name: (.*)$", text, re.MULTILINE)
    assert sorted(names) == sorted(sql.queries())


@pytest.mark.parametrize("name", sorted(sql.queries()))
def test_a_query_is_one_whole_statement(name: str) -> None:
    bare = without_texts(sql.queries()[name]).strip()
    assert bare.endswith(";")
    assert bare.count(";") == 1
    assert bare.count("(") == bare.count(")")
    assert "'" not in bare
    assert '"' not in bare
    assert re.match(
        r"(SELECT|INSERT|UPDATE|DELETE|WITH|COPY|TRUNCATE|ANALYZE|SET LOCAL"
        r"|VACUUM|CHECKPOINT|CREATE TEMPORARY TABLE|(?:CREATE|DROP) DATABASE)\b",
        bare,
    )


@pytest.mark.parametrize("name", sorted(sql.queries()))
def test_every_percent_sign_begins_a_named_parameter(name: str) -> None:
    assert "%" not in re.sub(r"%\(\w+\)s", "", sql.queries()[name])


def test_python_holds_no_sql() -> None:
    verbs = re.compile(r"\b(SELECT .* FROM|INSERT INTO|UPDATE \w+(\.\w+)? SET|DELETE FROM)\b")
    root = PACKAGE.parent.parent
    guilty = [
        path.name
        for folder in ("common", "workers")
        for path in (root / folder).rglob("*.py")
        if verbs.search(path.read_text(encoding="utf-8"))
    ]
    assert guilty == []


def test_migrations_are_numbered_without_gaps() -> None:
    found = sql.migrations()
    assert [migration.version for migration in found] == list(range(1, len(found) + 1))


def test_every_file_among_the_migrations_is_one() -> None:
    files = list((resource("sql") / "migrations").iterdir())
    assert len(files) == len(sql.migrations())


def test_a_checksum_is_of_the_text() -> None:
    one, two = sql.Migration(1, "core", "SELECT 1;"), sql.Migration(1, "core", "SELECT 2;")
    assert one.checksum != two.checksum
    assert one.checksum == sql.Migration(2, "other", "SELECT 1;").checksum
    assert re.fullmatch(r"[0-9a-f]{64}", one.checksum)


def test_what_must_exist_before_the_first_migration_is_there() -> None:
    assert "CREATE TABLE IF NOT EXISTS gex.migrations" in sql.bootstrap()
