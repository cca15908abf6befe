"""Everything that is in a data directory is in the schema afterwards, table by table."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from stanchion.store.migrate.parts import PARTS, Part
from stanchion.store.sqlite import database
from stanchion.store.sqlite.files import DATABASE_NAME
from tests.migrate.conftest import FullDirectory, copied
from tests.migrate.rig import Schema, new_schema
from tests.store.driver import RETENTION_MS

NOT_COPIED = {
    # Of SQLite's own; `sqlite_sequence` becomes the sequences of PostgreSQL.
    "sqlite_sequence",
    # Its values are those of numbers and instants, and are set one by one.
    "meta",
}
NOT_FILLED = {
    "meta",
    "schema_version",
    "moved_directory",
    # What flushes add up to; sums are in tally.
    "tally_change",
    # Of databases that are several: one that was moved to stands alone.
    "shard",
    "shard_identity",
    "queue_part",
    "dropped_part",
    "past_part",
}
COLUMNS_NOT_COPIED = {
    # Totals are rows of tally, and what has no queue stays behind.
    ("backlog", "messages"),
    # The order of rows, which has no meaning of its own.
    ("receive_attempt", "number"),
}
COLUMNS_NOT_FILLED = {
    ("backlog", "doomed_at_ms"),
    ("backlog", "drop_at_ms"),
    # Of a part of a queue, on another shard.
    ("queue", "home_queue_id"),
    ("queue", "is_still"),
}
LIVE = "backlog IN (SELECT id FROM backlog WHERE queue_id IS NOT NULL)"
ROWS_IN_VIEW = {
    "backlog": "queue_id IS NOT NULL",
    "fifo_group": LIVE,
    "message": LIVE,
    "message_body": f"sequence IN (SELECT sequence FROM message WHERE {LIVE})",
    "noisy_tenant": LIVE,
    "tally": LIVE,
}
"""Other rows are of queues that are gone."""

COPIED = {
    (table.name, column) for part in PARTS for table in part.tables for column in table.columns
}
TABLES = sorted({table for table, _ in COPIED})


@pytest.fixture(scope="module")
def moved(filled: FullDirectory) -> Iterator[tuple[sqlite3.Connection, Schema]]:
    """What there was, and what came of it."""
    with new_schema() as schema, copied(filled) as directory:
        schema.migrate(directory.path)
        with closing(sqlite3.connect(directory.path / DATABASE_NAME)) as connection:
            yield connection, schema


def test_every_column_of_a_directory_has_a_place() -> None:
    with closing(database.open_memory()) as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        columns = {
            (table, row[1])
            for (table,) in tables.fetchall()
            for row in connection.execute(f"PRAGMA table_info({table})")
            if table not in NOT_COPIED
        }
    assert columns == COPIED | COLUMNS_NOT_COPIED


def test_every_column_of_the_schema_is_filled(moved: tuple[sqlite3.Connection, Schema]) -> None:
    _, schema = moved
    rows = schema.query(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = $1",
        schema.name,
    )
    columns = {tuple(row) for row in rows if row[0] not in NOT_FILLED}
    assert columns == COPIED | COLUMNS_NOT_FILLED


def test_a_part_reads_what_its_tables_have() -> None:
    with closing(database.open_memory()) as connection:
        for part in PARTS:
            read = connection.execute(part.select, part.first_after).description
            columns = [column for table in part.tables for column in table.columns]
            assert len(read) == len(part.first_after) + len(columns), part.name


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_a_part_is_read_by_its_key(part: Part) -> None:
    """Wherever copying goes on, nothing that has arrived is read again, and nothing sorted."""
    with closing(database.open_memory()) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {part.select}", part.first_after).fetchall()
    steps = [row[3] for row in plan]
    assert not [step for step in steps if "TEMP B-TREE" in step], steps
    assert re.match(r"SEARCH \w+ USING .*\(.*>", steps[0]), steps


@pytest.mark.parametrize("table", TABLES)
def test_rows_are_the_same(moved: tuple[sqlite3.Connection, Schema], table: str) -> None:
    embedded, schema = moved
    names = sorted(column for of, column in COPIED if of == table)
    if table == "backlog":
        names.remove("check_at_ms")
    columns = ", ".join(names)
    where = ROWS_IN_VIEW.get(table, "true")
    here = embedded.execute(f"SELECT {columns} FROM {table} WHERE {where}").fetchall()
    if table == "tally":
        totals = "SELECT id, 0, messages, 2 FROM backlog WHERE queue_id IS NOT NULL AND messages"
        here += embedded.execute(totals).fetchall()
    assert here
    there = schema.query(f"SELECT {columns} FROM {table}")
    assert sorted(map(_plain, there), key=repr) == sorted(map(_plain, here), key=repr)


def _plain(row: Any) -> tuple[Any, ...]:
    """SQLite has numbers for truth values."""
    return tuple(int(value) if isinstance(value, bool) else value for value in row)


def test_backlogs_are_looked_at_in_time(moved: tuple[sqlite3.Connection, Schema]) -> None:
    embedded, schema = moved
    here = dict(embedded.execute("SELECT id, check_at_ms FROM backlog").fetchall())
    ((latest_ms,),) = embedded.execute("SELECT value FROM meta WHERE name = 'latest_ms'")
    there = schema.query("SELECT id, check_at_ms FROM backlog")
    assert {check_at_ms is None for check_at_ms in here.values()} == {True, False}
    for backlog, check_at_ms in there:
        assert check_at_ms == (here[backlog] or latest_ms + RETENTION_MS)


def test_what_nobody_can_see_stays_behind(moved: tuple[sqlite3.Connection, Schema]) -> None:
    embedded, schema = moved
    gone = "SELECT count(*) FROM message_body WHERE body = CAST('gone' AS {})"
    assert embedded.execute(gone.format("BLOB")).fetchone() == (2,)
    assert [tuple(row) for row in schema.query(gone.format("bytea"))] == [(0,)]


def test_numbers_are_not_given_out_again(moved: tuple[sqlite3.Connection, Schema]) -> None:
    embedded, schema = moved
    here = dict(embedded.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
    meta = dict(embedded.execute("SELECT name, value FROM meta").fetchall())
    for sequence, highest in (
        ("queue_id_seq", here["queue"]),
        ("backlog_id_seq", here["backlog"]),
        ("move_task_number_seq", here["move_task"]),
        ("message_sequence", meta["sequence_reserved"]),
    ):
        assert highest > 0
        (row,) = schema.query("SELECT nextval($1::text::regclass)", sequence)
        assert row[0] > highest, sequence
    ((step, first),) = schema.query(
        "SELECT increment_by, start_value FROM pg_sequences"
        " WHERE schemaname = $1 AND sequencename = 'message_sequence'",
        schema.name,
    )
    ((number,),) = schema.query("SELECT nextval('message_sequence')")
    # The remainder says which shard it is.
    assert number % step == first % step


def test_what_the_store_notes_about_itself(moved: tuple[sqlite3.Connection, Schema]) -> None:
    embedded, schema = moved
    here = dict(embedded.execute("SELECT name, value FROM meta").fetchall())
    there = dict(tuple(row) for row in schema.query("SELECT name, value FROM meta"))
    assert here.keys() - there.keys() == {"sequence_reserved", "moved_to"}
    # What one database alone has no use for.
    assert {there[name] for name in there.keys() - here.keys()} == {0}
    same = here.keys() & there.keys()
    assert {name: there[name] for name in same} == {name: here[name] for name in same}
    assert min(here["edits"], here["latest_edit"], here["latest_ms"]) > 0
    assert here["edits"] > here["latest_edit"]
