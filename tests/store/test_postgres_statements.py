"""Every statement of the PostgreSQL store is used, and finds its rows by index."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("asyncpg")

from stanchion.store.postgres import database, statements
from stanchion.store.sqlite import statements as sqlite_statements
from tests.postgres import SCHEMA, SharedDatabase, shared_database

FOLDER = Path(statements.__file__).parent
NAMES = sorted(statements._TEXTS)

# The first rows in the order of an index.
HEADS = {"newest_sent_at", "next_exhausted_at", "next_move_due_at", "sum_up_tally"}


@pytest.fixture(scope="module")
def planner() -> Iterator[tuple[SharedDatabase, Any]]:
    """A session with the settings of all sessions."""
    shared = shared_database()
    connection = shared.loop.run(database.connect(shared.url, SCHEMA))
    yield shared, connection
    shared.loop.run(connection.close())


def plan_of(planner: tuple[SharedDatabase, Any], name: str) -> list[str]:
    """The generic plan, which is the one that every execution has."""
    shared, connection = planner
    text = statements.statement(name)
    parameters = max(map(int, re.findall(r"\$(\d+)", text)), default=0)
    values = f"({', '.join(['NULL'] * parameters)})" if parameters else ""
    shared.loop.run(connection.execute(f"PREPARE planned AS {text}"))
    try:
        rows = shared.loop.run(connection.fetch(f"EXPLAIN EXECUTE planned{values}"))
    finally:
        shared.loop.run(connection.execute("DEALLOCATE planned"))
    return [row[0].strip() for row in rows]


@pytest.mark.parametrize("name", NAMES)
def test_a_statement_reads_by_index(planner: tuple[SharedDatabase, Any], name: str) -> None:
    plan = plan_of(planner, name)
    for line, following in zip(plan, [*plan[1:], ""], strict=True):
        assert not re.search(r"Seq Scan|Bitmap|Hash Join|Merge Join", line), plan
        if re.search(r"Index (Only )?Scan", line) and name not in HEADS:
            assert following.startswith("Index Cond"), plan


def test_a_claim_reads_in_the_order_of_the_index(planner: tuple[SharedDatabase, Any]) -> None:
    plan = plan_of(planner, "claim_candidates")
    limit = next(n for n, line in enumerate(plan) if "Limit" in line)
    assert "message_by_visibility" in " ".join(plan[limit : limit + 4]), plan
    assert not any("Sort" in line for line in plan[limit:]), plan


def test_every_statement_is_used() -> None:
    sources = "".join(path.read_text("utf-8") for path in FOLDER.glob("*.py"))
    assert [name for name in NAMES if f'("{name}")' not in sources] == []


def test_both_stores_have_most_statements_by_the_same_names() -> None:
    shared = set(NAMES) & set(sqlite_statements._TEXTS)
    assert len(shared) > 0.7 * len(sqlite_statements._TEXTS)
