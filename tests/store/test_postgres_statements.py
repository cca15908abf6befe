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
HEADS = {
    *("newest_sent_at", "next_exhausted_at", "next_move_due_at", "sum_up_tally"),
    "any_queue",
}
# About the few shards that there are, when somebody looks; and a sequence, which is one row.
FEW_ROWS = {
    *("shards", "shard_numbers", "remove_shard", "shard_messages"),
    *("shard_identity", "set_shard_identity"),
    "raise_message_sequence",
}


@pytest.fixture(scope="module")
def planner() -> Iterator[tuple[SharedDatabase, Any]]:
    """A session with the settings of all sessions, on tables of which nothing is known."""
    shared = shared_database()
    schema = f"{SCHEMA}_planned"
    connection = shared.loop.run(database.connect(shared.url, schema))
    shared.loop.run(database.migrate(connection, schema))
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


@pytest.mark.parametrize("name", sorted(set(NAMES) - FEW_ROWS))
def test_a_statement_reads_by_index(planner: tuple[SharedDatabase, Any], name: str) -> None:
    plan = plan_of(planner, name)
    for line, following in zip(plan, [*plan[1:], ""], strict=True):
        assert not re.search(r"Seq Scan|Bitmap|Hash Join|Merge Join", line), plan
        if re.search(r"Index (Only )?Scan", line) and name not in HEADS:
            assert following.startswith("Index Cond"), plan


MANY_MESSAGES = """
INSERT INTO message (backlog, sequence, visible_at_ms)
SELECT 1, n, n FROM generate_series(1, 20000) AS n;
INSERT INTO message_body (sequence, sent_at_ms, message_id, sender_id, attributes, body)
SELECT n, n, '', '', '', repeat('x', 500)::bytea FROM generate_series(1, 20000) AS n;
ANALYZE message, message_body
"""


def test_no_statement_reads_past_a_backlog(planner: tuple[SharedDatabase, Any]) -> None:
    """Also when the planner knows that there is one, and how many rows a limit may ask for."""
    shared, connection = planner
    shared.loop.run(connection.execute(f"BEGIN; {MANY_MESSAGES}"))
    try:
        plans = {name: plan_of(planner, name) for name in NAMES if name not in HEADS}
    finally:
        shared.loop.run(connection.execute("ROLLBACK"))
    for name, plan in plans.items():
        for line, following in zip(plan, [*plan[1:], ""], strict=True):
            assert "Gather" not in line, (name, plan)
            if re.search(r"Scan using .* on message(_body)?\b", line):
                assert following.startswith("Index Cond"), (name, plan)


def test_nothing_is_known_of_any_column(planner: tuple[SharedDatabase, Any]) -> None:
    """Statistics from when a table was nearly empty would make plans that scan it later."""
    shared, connection = planner
    counted = shared.loop.run(
        connection.fetch(
            "SELECT attrelid::regclass, attname FROM pg_attribute"
            " JOIN pg_class ON pg_class.oid = attrelid"
            " WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'"
            " AND attnum > 0 AND attstattarget IS DISTINCT FROM 0"
        )
    )
    assert [tuple(row) for row in counted] == []


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
