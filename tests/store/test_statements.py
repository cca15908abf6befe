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
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}
    named = re.findall(r"(?:FROM|JOIN|UPDATE) (\w+)(?: AS (\w+))?", text)
    scannable = {alias or table for table, alias in named if table in tables}
    for step in plan:
        assert "TEMP B-TREE" not in step, plan
        if step.startswith("SCAN") and step.split()[1] in scannable:
            # The first rows in the order of an index are fine.
            assert re.search(r"LIMIT 1|FROM \w+ ORDER BY \w+ LIMIT", text), plan


@pytest.mark.parametrize("name", NAMES)
def test_no_statement_looks_rows_up_by_several_columns_at_once(name: str) -> None:
    """`(a, b) IN (SELECT ...)` uses the first column of an index only, and scans what it finds."""
    assert not re.search(r"\(\w+(, \w+)+\) IN", statements.statement(name))


def test_every_statement_is_used() -> None:
    sources = "".join(path.read_text("utf-8") for path in FOLDER.glob("*.py"))
    assert [name for name in NAMES if f'("{name}")' not in sources] == []


@pytest.mark.parametrize("count", [1, 5, 64, 127, 200])
def test_rows_are_laid_out_in_few_statements(count: int) -> None:
    statement = statements.RowsStatement("insert_messages")
    values: list[object] = list(range(count * statement.columns))
    batches = list(statement.batches(values))
    assert [value for _, batch in batches for value in batch] == values
    assert all(text.count("?") == len(batch) for text, batch in batches)
    assert len(batches) <= 7 + count // 64


def test_migrations_run_once_each(connection: sqlite3.Connection) -> None:
    before = connection.execute("SELECT sql FROM sqlite_schema").fetchall()
    database.migrate(connection, "test")
    assert connection.execute("SELECT sql FROM sqlite_schema").fetchall() == before
