"""Every statement is used, finds its rows by index, and sorts nothing by itself."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from stanchion.store.sqlite import database, statements

FOLDER = Path(statements.__file__).parent
NAMES = sorted(statements._TEXTS)


@pytest.fixture(scope="module")
def connection() -> Iterator[sqlite3.Connection]:
    connection = database.open_memory()
    yield connection
    connection.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_statement_reads_by_index(connection: sqlite3.Connection, name: str) -> None:
    text = statements.statement(name).replace("{rows}", "")
    numbers = map(int, re.findall(r"\?(\d+)", text))
    parameters = [None] * (max(numbers, default=0) or text.count("?"))
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", parameters)]
    for step in plan:
        assert "TEMP B-TREE" not in step, plan
        if step.startswith("SCAN"):
            # Lists that came in as a parameter, and the first row in the order of an index.
            assert "json_each" in step or "LIMIT 1" in text or name == "insert_messages", plan


def test_every_statement_is_used() -> None:
    sources = "".join(path.read_text("utf-8") for path in FOLDER.glob("*.py"))
    assert [name for name in NAMES if f'("{name}")' not in sources] == []


@pytest.mark.parametrize("count", [1, 5, 64, 127, 200])
def test_rows_are_laid_out_in_few_statements(count: int) -> None:
    statement = statements.RowsStatement("insert_messages")
    values: list[object] = list(range(count * 3))
    batches = list(statement.batches(values))
    assert [value for _, batch in batches for value in batch] == values
    assert all(text.count("?") == len(batch) for text, batch in batches)
    assert len(batches) <= 7 + count // 64


def test_migrations_run_once_each(connection: sqlite3.Connection) -> None:
    before = connection.execute("SELECT sql FROM sqlite_schema").fetchall()
    database.migrate(connection, "test")
    assert connection.execute("SELECT sql FROM sqlite_schema").fetchall() == before
